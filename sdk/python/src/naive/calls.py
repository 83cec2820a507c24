"""What both transports do to one request: its HTTP form, its repetitions, and the error it ends in."""

from __future__ import annotations

import platform
import re
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from naive import errors, lazy, numbers, options, retries

if TYPE_CHECKING:
    from importlib import metadata

    import httpx

    from naive.options import Settings, Timeout
    from naive.requests import Request
else:
    httpx = lazy.module("httpx")
    metadata = lazy.module("importlib.metadata")

_RANDOM = secrets.SystemRandom()
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


class Call:
    """One request under way: the same Idempotency-Key in each of its attempts."""

    def __init__(
        self,
        request: Request[Any],
        settings: Settings,
        *,
        accept: str = "application/json",
        random: Callable[[], float] = _RANDOM.random,
    ) -> None:
        chosen = request.options
        self._request = request
        self._settings = settings
        self._random = random
        self._attempt = 0
        self._max_retries = chosen.get("max_retries", settings.max_retries)
        self.idempotency_key = None
        if request.method != "GET":
            self.idempotency_key = chosen.get("idempotency_key") or f"naive-sdk-{secrets.token_hex(16)}"
        self._headers = self._made_headers(accept)
        self._content = None
        if request.body is not None:
            self._content = numbers.written({**request.body, **chosen.get("extra_body", {})})

    def built(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Return the next attempt."""
        return http.build_request(
            self._request.method,
            self._settings.base_url + self._request.path,
            params=_query({**self._request.query, **self._request.options.get("extra_query", {})}),
            content=self._content,
            headers={**self._headers, "x-naive-retry-count": str(self._attempt)},
            timeout=_timeout(self._request.options.get("timeout", self._settings.timeout)),
        )

    def delay_after(self, outcome: httpx.Response | httpx.RequestError) -> float:
        """Return how long to wait before the next attempt, in seconds.

        Errors: what the outcome means, where there is none.
        """
        response = outcome if isinstance(outcome, httpx.Response) else None
        attempt, self._attempt = self._attempt, self._attempt + 1
        if attempt >= self._max_retries or not self._may_be_repeated(outcome):
            self._give_up(outcome)
        return retries.delay_s(attempt=attempt, response=response, random=self._random)

    def _may_be_repeated(self, outcome: httpx.Response | httpx.RequestError) -> bool:
        if isinstance(outcome, httpx.Response):
            return retries.is_worth_it(outcome)
        # Where no connection was made, nothing was done.
        return self._request.is_repeatable or isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout)

    def _give_up(self, outcome: httpx.Response | httpx.RequestError) -> NoReturn:
        # An error is logged, pickled, sent to whoever collects errors: the key stays here.
        outcome.request.headers.pop("authorization", None)
        if isinstance(outcome, httpx.Response):
            raise errors.from_response(outcome)
        where = f"{self._request.method} {self._settings.base_url}{self._request.path}"
        again = {"idempotency_key": self.idempotency_key} if self.idempotency_key else {}
        if isinstance(outcome, httpx.TimeoutException):
            raise errors.APITimeoutError(
                f"{where}: no answer in time ({type(outcome).__name__}), {self._attempt} times.",
                code="timeout",
                hint="Give it a longer timeout=; the same idempotency_key= does not do it twice.",
                details=again,
            ) from outcome
        raise errors.APIConnectionError(
            f"{where}: {outcome or type(outcome).__name__}",
            code="connection_failed",
            hint=None if self._attempt > 1 else "Is the platform running, and is base_url its address?",
            details=again,
        ) from outcome

    def _made_headers(self, accept: str) -> dict[str, str]:
        settings = self._settings
        headers = {"accept": accept, "user-agent": user_agent()}
        if settings.api_key:
            headers["authorization"] = f"Bearer {settings.api_key}"
        if self._request.body is not None:
            headers["content-type"] = "application/json"
        if self.idempotency_key:
            headers["idempotency-key"] = self.idempotency_key
        for more in (settings.headers, self._request.headers, self._request.options.get("extra_headers", {})):
            # However it is written, a name is one header.
            headers |= {name.lower(): value for name, value in more.items()}
        for name, value in headers.items():
            _check_header(name, value)
        return headers


def _check_header(name: str, value: object) -> None:
    """Errors: ConfigurationError for what HTTP cannot say; it does not repeat the value, which may be a secret."""
    if not _HEADER_NAME.fullmatch(name) or not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise errors.ConfigurationError(
            f"The header {name!r} is not ASCII text on one line.", code="invalid_header"
        )


def _timeout(given: Timeout) -> httpx.Timeout | None:
    if given is None or isinstance(given, httpx.Timeout):
        return given
    return httpx.Timeout(given, connect=min(given, options.CONNECT_TIMEOUT_S))


def user_agent() -> str:
    return f"naive-python/{version()} Python/{platform.python_version()}"


def version() -> str:
    return metadata.version("naive-sdk")


def _query(query: Mapping[str, Any]) -> dict[str, str]:
    """Return a query without what was left out; lists are separated by commas."""
    return {name: _text(value) for name, value in query.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(_text(part) for part in value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
