"""Streams of an answer: chunks as they come, and when they have come, the message and what it cost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Self

from naive import chunks, errors, lazy

if TYPE_CHECKING:
    from decimal import Decimal
    from types import TracebackType

    import httpx

    from naive import types
    from naive.requests import Request
    from naive.transport import AsyncTransport, Transport
else:
    httpx = lazy.module("httpx")


class _Answer:
    """What both streams know of their answer."""

    def __init__(self, request: Request[types.ChatChunk]) -> None:
        self._request = request
        self._reader = chunks.Reader(request)

    @property
    def response(self) -> httpx.Response:
        """The HTTP answer: its status and headers, once the stream is open."""
        if self._reader.response is None:
            raise RuntimeError("nothing was sent yet: enter the stream, or iterate over it")
        return self._reader.response

    @property
    def request_id(self) -> str | None:
        return self._reader.request_id

    @property
    def generation_id(self) -> str | None:
        """What `naive.llm.generation(...)` finds this call by, also where the stream breaks."""
        return self._reader.generation_id

    @property
    def usage(self) -> types.ChatUsage | None:
        """Tokens and cost; None until the last chunk has come."""
        return self._reader.usage

    @property
    def credits_used(self) -> Decimal | None:
        """None until the stream has ended."""
        return self._reader.credits_used

    @property
    def credits_remaining(self) -> Decimal | None:
        """None until the stream has ended."""
        return self._reader.credits_remaining


class Stream(_Answer):
    """A stream of chunks, opened when it is entered or first iterated over.

    `with ... as stream:` closes it however the block is left. What is no longer read is charged all the same.
    """

    def __init__(self, transport: Transport, request: Request[types.ChatChunk]) -> None:
        super().__init__(request)
        self._transport = transport
        self._chunks = _read(transport, request, self._reader)

    def __enter__(self) -> Self:
        _open(self._transport, self._request, self._reader)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[types.ChatChunk]:
        return self._chunks

    def __next__(self) -> types.ChatChunk:
        return next(self._chunks)

    @property
    def text(self) -> Iterator[str]:
        """The text of the first choice, piece by piece."""
        return (piece for chunk in self._chunks if (piece := chunk.text))

    def final_completion(self) -> types.ChatCompletion:
        """Read what is left and return the whole answer, as `llm.chat` would have."""
        for _ in self._chunks:
            pass
        return self._reader.completion()

    def final_message(self) -> types.Message:
        """Read what is left and return the message of the first choice."""
        return self.final_completion().message

    def close(self) -> None:
        self._chunks.close()
        if self._reader.response is not None:
            self._reader.response.close()


class AsyncStream(_Answer):
    """A stream of chunks, opened when it is entered or first iterated over."""

    def __init__(self, transport: AsyncTransport, request: Request[types.ChatChunk]) -> None:
        super().__init__(request)
        self._transport = transport
        self._chunks = _read_async(transport, request, self._reader)

    async def __aenter__(self) -> Self:
        await _open_async(self._transport, self._request, self._reader)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[types.ChatChunk]:
        return self._chunks

    async def __anext__(self) -> types.ChatChunk:
        return await anext(self._chunks)

    @property
    def text(self) -> AsyncIterator[str]:
        """The text of the first choice, piece by piece."""
        return (piece async for chunk in self._chunks if (piece := chunk.text))

    async def final_completion(self) -> types.ChatCompletion:
        """Read what is left and return the whole answer, as `llm.chat` would have."""
        async for _ in self._chunks:
            pass
        return self._reader.completion()

    async def final_message(self) -> types.Message:
        """Read what is left and return the message of the first choice."""
        return (await self.final_completion()).message

    async def close(self) -> None:
        await self._chunks.aclose()
        if self._reader.response is not None:
            await self._reader.response.aclose()


# What reads holds no stream: whoever lets go of a stream, or leaves a loop over it, closes the connection.


def _open(transport: Transport, request: Request[types.ChatChunk], reader: chunks.Reader) -> httpx.Response:
    response = reader.response or transport.opened(request)
    try:
        reader.open(response)
    except errors.StreamInterruptedError:
        response.close()
        raise
    return response


async def _open_async(
    transport: AsyncTransport, request: Request[types.ChatChunk], reader: chunks.Reader
) -> httpx.Response:
    response = reader.response or await transport.opened(request)
    try:
        reader.open(response)
    except errors.StreamInterruptedError:
        await response.aclose()
        raise
    return response


def _read(
    transport: Transport, request: Request[types.ChatChunk], reader: chunks.Reader
) -> Generator[types.ChatChunk]:
    response = _open(transport, request, reader)
    try:
        try:
            for data in response.iter_bytes():
                yield from reader.feed(data)
                if reader.is_done:
                    return
        except (httpx.RequestError, httpx.StreamError) as exc:
            raise reader.broken(exc) from exc
        reader.end()
    finally:
        response.close()


async def _read_async(
    transport: AsyncTransport, request: Request[types.ChatChunk], reader: chunks.Reader
) -> AsyncGenerator[types.ChatChunk]:
    response = await _open_async(transport, request, reader)
    try:
        try:
            async for data in response.aiter_bytes():
                for chunk in reader.feed(data):
                    yield chunk
                if reader.is_done:
                    return
        except (httpx.RequestError, httpx.StreamError) as exc:
            raise reader.broken(exc) from exc
        reader.end()
    finally:
        await response.aclose()
