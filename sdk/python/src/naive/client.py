"""`Naive` and `AsyncNaive`: one surface, and two ways to wait for an answer."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack

from naive import lazy, options, params, requests, resources, transport
from naive.options import Timeout
from naive.requests import Request
from naive.routes import Async, AsyncRaw, Raw, RawRoutes, Resource, Route, Sync

if TYPE_CHECKING:
    from types import TracebackType

    import httpx

    from naive import types
    from naive.tools import toolset
    from naive.tools.forms import Form
else:
    httpx = lazy.module("httpx")
    types = lazy.module("naive.types")
    toolset = lazy.module("naive.tools.toolset")


class Surface[M](Resource[M]):
    """Everything that can be asked of the platform."""

    with_raw_response: RawRoutes[Surface[Raw], Surface[AsyncRaw]] = RawRoutes()

    def _raw(self) -> Surface[Any]:
        return Surface(self._sender.raw())

    @property
    def llm(self) -> resources.LLM[M]:
        """Call models, list them, and see what a call cost or would cost."""
        return resources.LLM(self._sender)

    @property
    def users(self) -> resources.Users[M]:
        """Your own users."""
        return resources.Users(self._sender)

    @property
    def account_kits(self) -> resources.AccountKits[M]:
        """Templates of what users may do."""
        return resources.AccountKits(self._sender)

    @property
    def keys(self) -> resources.Keys[M]:
        """API keys of the company."""
        return resources.Keys(self._sender)

    @property
    def billing(self) -> resources.Billing[M]:
        """Packs of credits, the ledger, statements."""
        return resources.Billing(self._sender)

    @property
    def webhooks(self) -> resources.Webhooks[M]:
        """Endpoints that hear of events."""
        return resources.Webhooks(self._sender)

    @property
    def audit(self) -> resources.Audit[M]:
        """Who changed what."""
        return resources.Audit(self._sender)

    @property
    def auth(self) -> resources.Auth[M]:
        """Sign up, sign in, choose a company."""
        return resources.Auth(self._sender)

    @Route
    def usage(self, **given: Unpack[params.UsageParams]) -> Request[types.Usage]:
        """What is left and what was used, with the latest entries; `group_by` adds `summary.groups`."""
        return requests.get("/v1/usage", given, types.Usage)

    @Route
    def status(self, **given: Unpack[params.Options]) -> Request[types.Status]:
        """Who asks, for which company, and what is left."""
        return requests.get("/v1/status", given, types.Status)

    @Route
    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        **given: Unpack[params.Options],
    ) -> Request[dict[str, Any]]:
        """Send a request that this version has no method for, such as `("GET", "/v1/status")`; return its JSON."""
        return requests.unnamed(method, path, query=query, body=body, chosen=given)


class _ForUser(resources.ForUser[Sync]):
    """What `Naive.for_user` gives."""

    def agent_tools(self, *, form: Form = "anthropic") -> toolset.Toolset:
        """The toolset for an agent that works for this user."""
        return toolset.of(self, form)


class _AsyncForUser(resources.ForUser[Async]):
    """What `AsyncNaive.for_user` gives."""

    def agent_tools(self, *, form: Form = "anthropic") -> toolset.AsyncToolset:
        """The toolset for an agent that works for this user; its `handle` is awaited."""
        return toolset.of_async(self, form)


class Naive(Surface[Sync]):
    """The platform, for code that waits.

        with Naive() as naive:
            print(naive.llm.chat(model="openai/gpt-5.2", prompt="Hello").text)

    `api_key` and `base_url` come from NAIVE_API_KEY and NAIVE_BASE_URL where they are not given. `timeout` is in
    seconds, of which connecting may take five. `http_client` is used as it is and stays yours to close; `sleep` is
    what waits between two attempts. One client serves many threads.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: Timeout = options.DEFAULT_TIMEOUT_S,
        max_retries: int = options.DEFAULT_MAX_RETRIES,
        default_headers: Mapping[str, str] | None = None,
        http_client: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        settings = options.settings(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
            headers=default_headers,
        )
        self._is_owner = http_client is None
        http = http_client or httpx.Client(limits=_limits())
        self._transport = transport.Transport(settings, http, sleep)
        super().__init__(self._transport)

    @property
    def base_url(self) -> str:
        """The platform's address."""
        return self._transport.settings.base_url

    def for_user(self, user_id: str) -> _ForUser:
        """The same primitives for one user: an id, `ext:<external_id>`, `default` or `me`."""
        return _ForUser(self._transport, "users", _id(user_id))

    def agent_tools(self, *, form: Form = "anthropic") -> toolset.Toolset:
        """Tools for an agent, in the form of `anthropic`, `openai` or `langchain`, and `handle(name, input)`."""
        return toolset.of(self, form)

    def with_options(
        self,
        *,
        api_key: str | None = None,
        timeout: Timeout = None,
        max_retries: int | None = None,
        default_headers: Mapping[str, str] | None = None,
    ) -> Naive:
        """Return a client that differs in what is given, over the same connections."""
        own = self._transport
        changed = own.settings.changed(
            api_key=api_key, timeout=timeout, max_retries=max_retries, headers=default_headers
        )
        return Naive(
            api_key=changed.api_key,
            base_url=changed.base_url,
            timeout=changed.timeout,
            max_retries=changed.max_retries,
            default_headers=changed.headers,
            http_client=own.http,
            sleep=own.sleep,
        )

    def close(self) -> None:
        """Close the connections, unless they are of an `http_client` that was given."""
        if self._is_owner:
            self._transport.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


class AsyncNaive(Surface[Async]):
    """The platform, for code that awaits.

        async with AsyncNaive() as naive:
            print((await naive.llm.chat(model="openai/gpt-5.2", prompt="Hello")).text)

    Takes what `Naive` takes; `sleep` is awaited. Streams and lists are iterated over with `async for`. One client
    serves one event loop: a second `asyncio.run` needs a client of its own.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: Timeout = options.DEFAULT_TIMEOUT_S,
        max_retries: int = options.DEFAULT_MAX_RETRIES,
        default_headers: Mapping[str, str] | None = None,
        http_client: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        settings = options.settings(
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
            headers=default_headers,
        )
        self._is_owner = http_client is None
        http = http_client or httpx.AsyncClient(limits=_limits())
        self._transport = transport.AsyncTransport(settings, http, sleep)
        super().__init__(self._transport)

    @property
    def base_url(self) -> str:
        """The platform's address."""
        return self._transport.settings.base_url

    def for_user(self, user_id: str) -> _AsyncForUser:
        """The same primitives for one user: an id, `ext:<external_id>`, `default` or `me`."""
        return _AsyncForUser(self._transport, "users", _id(user_id))

    def agent_tools(self, *, form: Form = "anthropic") -> toolset.AsyncToolset:
        """Tools for an agent, in the form of `anthropic`, `openai` or `langchain`, and `handle(name, input)`."""
        return toolset.of_async(self, form)

    def with_options(
        self,
        *,
        api_key: str | None = None,
        timeout: Timeout = None,
        max_retries: int | None = None,
        default_headers: Mapping[str, str] | None = None,
    ) -> AsyncNaive:
        """Return a client that differs in what is given, over the same connections."""
        own = self._transport
        changed = own.settings.changed(
            api_key=api_key, timeout=timeout, max_retries=max_retries, headers=default_headers
        )
        return AsyncNaive(
            api_key=changed.api_key,
            base_url=changed.base_url,
            timeout=changed.timeout,
            max_retries=changed.max_retries,
            default_headers=changed.headers,
            http_client=own.http,
            sleep=own.sleep,
        )

    async def close(self) -> None:
        """Close the connections, unless they are of an `http_client` that was given."""
        if self._is_owner:
            await self._transport.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


def _limits() -> httpx.Limits:
    return httpx.Limits(max_connections=1000, max_keepalive_connections=100)


def _id(user_id: str) -> str:
    requests.at(user_id)  # Errors: ValueError for what is no id.
    return user_id
