"""OpenRouter over HTTP: the only module that speaks it, and the only one that knows the operator's key."""

import asyncio
import functools
import ssl
import sys
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import httpx
import httpx_aiohttp
from django.conf import settings

from llm import crashpoints, encodings, metering
from llm.errors import NotConfigured, UpstreamError, UpstreamLost, UpstreamTimeout, UpstreamUnreachable

CONNECT_TIMEOUT_S = 5.0
# Between two reads of a stream, its first byte included.
READ_TIMEOUT_S = 120.0
# A JSON answer comes when the model has finished, and is charged in full whether anybody waits or not.
JSON_TIMEOUT_S = 600.0
# A bound on what one answer may hold in memory; images come as base64.
ANSWER_BYTES_MAX = 64 * 1024 * 1024
LOOKUP_TIMEOUT_S = 10.0
_KEEPALIVE_S = 45.0
_CONNECTIONS_MAX = 4096
_USER_AGENT = "naive/0.1"
_PLAIN = [(b"Accept", b"*/*")]


@dataclass(frozen=True, slots=True)
class Sending:
    """What goes upstream beside the operator's own headers: a body, whole or as it comes, and the client's headers.

    Shape: `headers` None are the ordinary ones; `length` is that of a body which comes in pieces, None where unknown.
    """

    content: bytes | AsyncIterable[bytes]
    content_type: str = "application/json"
    length: int | None = None
    headers: list[tuple[bytes, bytes]] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Upstream's answer from its headers on; the body is still to be read, and `close` must be called."""

    status: int
    generation_id: str | None
    provider: str | None
    content_type: str
    retry_after: str | None
    _response: httpx.Response

    @property
    def is_stream(self) -> bool:
        return self.content_type.startswith("text/event-stream")

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def headers(self) -> Mapping[str, str]:
        """Upstream's headers, in lower case."""
        return self._response.headers

    @property
    def encoding(self) -> str:
        return str(self._response.headers.get("content-encoding", "identity"))

    async def chunks(self, *, as_sent: bool = False) -> AsyncIterator[bytes]:
        """Yield the body as it comes, decoded only where upstream compressed it against our wish; `as_sent`, never.

        Errors: UpstreamTimeout (silence for READ_TIMEOUT_S), UpstreamLost (cut before its end).
        """
        stream = cast("AsyncIterator[bytes]", self._response.stream)
        if not as_sent and self.encoding.strip().lower() not in encodings.IDENTITY:
            stream = _unpacked(stream, self.encoding)
        try:
            async for chunk in stream:
                yield chunk
        except encodings.CannotUnpack as exc:
            raise UpstreamLost(f"Upstream's answer is {exc}.", maybe_charged=True) from exc
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as exc:
            raise _lost(exc) from exc

    async def read(self, *, as_sent: bool = False) -> bytes:
        """Return the whole body.

        Errors: as `chunks`; UpstreamLost where it is longer than ANSWER_BYTES_MAX.
        """
        pieces, size = [], 0
        async for chunk in self.chunks(as_sent=as_sent):
            size += len(chunk)
            if size > ANSWER_BYTES_MAX:
                raise UpstreamLost("Upstream's answer is too long.", maybe_charged=True)
            pieces.append(chunk)
        return b"".join(pieces)

    async def close(self) -> None:
        """Give the connection back, or cut it where the body was not read to its end: upstream sees us leave."""
        await self._response.stream.aclose()  # type: ignore[union-attr]


class Client:
    """The connections of one gateway process to upstream. Made on the event loop that uses it."""

    def __init__(self, *, as_manager: bool = False) -> None:
        base = settings.OPENROUTER_BASE_URL
        self._urls: dict[str, httpx.URL] = {}
        self._base = base
        self._headers = _headers(as_manager=as_manager)
        self._transport = httpx_aiohttp.AiohttpTransport(client=_session, trust_env=False, verify=_tls())
        self._stream_extensions = _patience(READ_TIMEOUT_S)
        self._json_extensions = _patience(JSON_TIMEOUT_S)

    async def post(self, path: str, sending: Sending, *, is_stream: bool) -> Answer:
        """Ask for a generation and return once the answer's headers are there.

        Shape: `path` is one of the table's (llm/shapes), never a client's own text.
        Errors: UpstreamUnreachable (nothing was sent), UpstreamTimeout and UpstreamLost (it may have been run).
        """
        content = sending.content
        length = len(content) if isinstance(content, bytes) else sending.length
        extent = (b"Transfer-Encoding", b"chunked") if length is None else (b"Content-Length", b"%d" % length)
        theirs = _PLAIN if sending.headers is None else sending.headers
        headers = [*self._headers, *theirs, (b"Content-Type", sending.content_type.encode("latin-1")), extent]
        url = self._urls.get(path) or self._urls.setdefault(path, httpx.URL(f"{self._base}/{path}"))
        # The request goes straight to the transport: the client's own layers (auth flow, redirects, cookies, merging
        # of defaults) do nothing for us and cost as much as the rest of the call (docs/adr/0002-data-plane.md).
        patience = self._stream_extensions if is_stream else self._json_extensions
        request = httpx.Request("POST", url, headers=headers, content=content, extensions=patience)
        return await self._ask(request)

    async def open(
        self, path: str, *, query: str = "", headers: list[tuple[bytes, bytes]] | None = None
    ) -> Answer:
        """Ask for something that costs nothing and return once the answer's headers are there, whatever its status.

        Errors: as `post`.
        """
        url = httpx.URL(f"{self._base}/{path}" + (f"?{query}" if query else ""))
        theirs = _PLAIN if headers is None else headers
        return await self._ask(
            httpx.Request("GET", url, headers=[*self._headers, *theirs], extensions=self._stream_extensions)
        )

    async def _ask(self, request: httpx.Request) -> Answer:
        try:
            response = await self._transport.handle_async_request(request)
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as exc:
            raise _lost(exc) from exc
        return _answer(response)

    async def get(self, path: str, *, params: Mapping[str, str] | None = None, timeout_s: float) -> bytes:
        """Return a free route's body.

        Errors: UpstreamError with upstream's status where it is not 200; the rest as `chat`.
        """
        url = httpx.URL(f"{self._base}/{path}", params=dict(params or {}))
        headers = [*self._headers, *_PLAIN]
        request = httpx.Request("GET", url, headers=headers, extensions=self._stream_extensions)
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._transport.handle_async_request(request)
                try:
                    raw = await _answer(response).read()
                finally:
                    await response.aclose()
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as exc:
            raise _lost(exc) from exc
        if response.status_code != 200:
            raise UpstreamError(
                f"Upstream answered {response.status_code}.",
                status=response.status_code,
                retry_after=response.headers.get("retry-after"),
            )
        return raw

    async def close(self) -> None:
        await self._transport.aclose()


def look_up(path: str, *, params: Mapping[str, str] | None = None, as_manager: bool = False) -> bytes:
    """Return a free route's raw JSON, from synchronous code (Celery).

    Shape: `as_manager` asks with the key that may read the account, where the operator has set one. The whole answer
    has to be there within LOOKUP_TIMEOUT_S: one that comes byte by byte must not keep a worker for ever.
    Errors: UpstreamError with upstream's status; its kin where it does not answer in time.
    """
    return asyncio.run(_look_up(path, params=params, as_manager=as_manager))


async def _look_up(path: str, *, params: Mapping[str, str] | None, as_manager: bool) -> bytes:
    asking = Client(as_manager=as_manager)
    try:
        return await asking.get(path, params=params, timeout_s=LOOKUP_TIMEOUT_S)
    finally:
        await asking.close()


_clients: dict[asyncio.AbstractEventLoop, Client] = {}


def client() -> Client:
    """Return this event loop's client.

    Errors: NotConfigured where the operator has set no key.
    """
    require_configured()
    loop = asyncio.get_running_loop()
    found = _clients.get(loop)
    if found is None:
        found = _clients[loop] = Client()
    return found


async def close() -> None:
    """Close this event loop's connections."""
    found = _clients.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()


def require_configured() -> None:
    """Refuse where no call can be made.

    Errors: NotConfigured naming the setting.
    """
    if not settings.OPENROUTER_API_KEY:
        raise NotConfigured(
            "The llm primitive is not configured on this deployment.",
            hint="The operator must set OPENROUTER_API_KEY.",
            details={"missing": ["OPENROUTER_API_KEY"]},
        )


def _headers(*, as_manager: bool = False) -> list[tuple[bytes, bytes]]:
    key = (as_manager and settings.OPENROUTER_MANAGEMENT_KEY) or settings.OPENROUTER_API_KEY
    return [
        (b"Authorization", b"Bearer " + key.encode()),
        (b"Accept-Encoding", b"identity"),
        (b"User-Agent", _USER_AGENT.encode()),
        *((name.encode(), value.encode("latin-1")) for name, value in attribution().items()),
    ]


def attribution() -> dict[str, str]:
    """Return the headers by which upstream lists the operator's app; none unless the operator names it."""
    named = {"HTTP-Referer": settings.UPSTREAM_REFERER, "X-Title": settings.UPSTREAM_TITLE}
    return {name: value for name, value in named.items() if value}


async def _unpacked(stream: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """Decode piece by piece, so that a few bytes never become many at once, and others get their turn."""
    unpacking = encodings.Unpacking(encoding, most=sys.maxsize)
    async for chunk in stream:
        for piece in unpacking.feed(chunk):
            yield piece
            await asyncio.sleep(0)


def _patience(read_s: float) -> dict[str, Any]:
    timeout = httpx.Timeout(connect=CONNECT_TIMEOUT_S, read=read_s, write=None, pool=CONNECT_TIMEOUT_S)
    return {"timeout": timeout.as_dict()}


@functools.cache
def _tls() -> ssl.SSLContext:
    """What certificates are checked with: reading them takes 15 ms, and each look-up has a client of its own."""
    return httpx.create_ssl_context(trust_env=False)


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS_MAX, keepalive_timeout=_KEEPALIVE_S)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=_crash_traces(),
    )


def _crash_traces() -> list[aiohttp.TraceConfig]:
    """What it takes to die after a request was sent and before upstream's headers; nothing outside of tests."""
    if not crashpoints.is_armed("C"):
        return []
    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(_die_once_sent)
    return [trace]


async def _die_once_sent(
    session: aiohttp.ClientSession, context: object, sent: aiohttp.TraceRequestChunkSentParams
) -> None:
    if sent.method == "POST":
        # The bytes are handed over right after this. One turn of the loop later the kernel has them, and it sends
        # them for a process that is dead; an answer would take yet another turn to be looked at.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, crashpoints.reach, "C")


def _answer(response: httpx.Response) -> Answer:
    headers = response.headers
    return Answer(
        status=response.status_code,
        generation_id=metering.text(headers.get("x-generation-id")),
        provider=metering.text(headers.get("x-provider-name")),
        content_type=headers.get("content-type", ""),
        retry_after=headers.get("retry-after"),
        _response=response,
    )


def _lost(exc: BaseException) -> UpstreamError:
    """Say which kind of failure this is: what counts is whether the request can have reached upstream.

    httpx-aiohttp maps "disconnected after sending" onto httpx.ConnectTimeout, so the cause decides, not the class.
    """
    cause = exc.__cause__ if isinstance(exc, httpx.HTTPError) and exc.__cause__ else exc
    if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return UpstreamUnreachable("The model provider cannot be reached.", hint="Retry in a moment.")
    if isinstance(cause, TimeoutError | httpx.TimeoutException):
        return UpstreamTimeout("The model provider did not answer in time.", status=504, maybe_charged=True)
    return UpstreamLost("The connection to the model provider broke.", maybe_charged=True)
