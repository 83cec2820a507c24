"""The two transports: they send, wait and read; what there is to decide is decided in calls and retries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from naive import calls, lazy, paging, responses, streaming

if TYPE_CHECKING:
    import anyio
    import httpx

    from naive.options import Settings
    from naive.requests import Listing, Request
else:
    anyio = lazy.module("anyio")
    httpx = lazy.module("httpx")

EVENT_STREAM = "text/event-stream"


class Transport:
    """Sends requests for `Naive`."""

    def __init__(self, settings: Settings, http: httpx.Client, sleep: Callable[[float], None]) -> None:
        self.settings = settings
        self.http = http
        self.sleep = sleep

    def send[T](self, request: Request[T]) -> T:
        return responses.read(request, self.response(request))

    def pages[T](self, request: Listing[T]) -> paging.Page[T]:
        return paging.Page(self, request, self.response(request))

    def stream(self, request: Request[Any]) -> streaming.Stream:
        return streaming.Stream(self, request)

    def raw(self) -> RawTransport:
        return RawTransport(self)

    def response(self, request: Request[Any]) -> httpx.Response:
        """Return an answer of success, read whole. Errors: NaiveError."""
        return self._answered(calls.Call(request, self.settings))

    def opened(self, request: Request[Any]) -> httpx.Response:
        """Return a stream of success that nobody has read from. Errors: NaiveError."""
        return self._answered(calls.Call(request, self.settings, accept=EVENT_STREAM), is_stream=True)

    def _answered(self, call: calls.Call, *, is_stream: bool = False) -> httpx.Response:
        while True:
            outcome: httpx.Response | httpx.RequestError
            try:
                outcome = self.http.send(call.built(self.http), stream=is_stream)
                if outcome.is_success:
                    return outcome
                outcome.read()
            except httpx.RequestError as exc:
                outcome = exc
            self.sleep(call.delay_after(outcome))


class AsyncTransport:
    """Sends requests for `AsyncNaive`."""

    def __init__(
        self,
        settings: Settings,
        http: httpx.AsyncClient,
        sleep: Callable[[float], Awaitable[None]] | None,
    ) -> None:
        self.settings = settings
        self.http = http
        self.sleep = sleep

    async def send[T](self, request: Request[T]) -> T:
        return responses.read(request, await self.response(request))

    async def page[T](self, request: Listing[T]) -> paging.AsyncPage[T]:
        return paging.AsyncPage(self, request, await self.response(request))

    def pages[T](self, request: Listing[T]) -> paging.AsyncPages[T]:
        return paging.AsyncPages(self, request)

    def stream(self, request: Request[Any]) -> streaming.AsyncStream:
        return streaming.AsyncStream(self, request)

    def raw(self) -> AsyncRawTransport:
        return AsyncRawTransport(self)

    async def response(self, request: Request[Any]) -> httpx.Response:
        """Return an answer of success, read whole. Errors: NaiveError."""
        return await self._answered(calls.Call(request, self.settings))

    async def opened(self, request: Request[Any]) -> httpx.Response:
        """Return a stream of success that nobody has read from. Errors: NaiveError."""
        return await self._answered(calls.Call(request, self.settings, accept=EVENT_STREAM), is_stream=True)

    async def _answered(self, call: calls.Call, *, is_stream: bool = False) -> httpx.Response:
        while True:
            outcome: httpx.Response | httpx.RequestError
            try:
                outcome = await self.http.send(call.built(self.http), stream=is_stream)
                if outcome.is_success:
                    return outcome
                await outcome.aread()
            except httpx.RequestError as exc:
                outcome = exc
            await (self.sleep or anyio.sleep)(call.delay_after(outcome))


class RawTransport:
    """Sends requests for `with_raw_response`: what comes back is the HTTP answer."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def send[T](self, request: Request[T]) -> responses.RawResponse[T]:
        return responses.RawResponse(request, self._transport.response(request))

    def pages[T](self, request: Listing[T]) -> responses.RawResponse[list[T]]:
        return self.send(request)

    def stream(self, request: Request[Any]) -> streaming.Stream:
        return self._transport.stream(request)

    def raw(self) -> RawTransport:
        return self


class AsyncRawTransport:
    """The same for `AsyncNaive`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def send[T](self, request: Request[T]) -> responses.RawResponse[T]:
        return responses.RawResponse(request, await self._transport.response(request))

    async def pages[T](self, request: Listing[T]) -> responses.RawResponse[list[T]]:
        return await self.send(request)

    def stream(self, request: Request[Any]) -> streaming.AsyncStream:
        return self._transport.stream(request)

    def raw(self) -> AsyncRawTransport:
        return self
