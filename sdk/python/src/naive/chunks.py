"""What a stream's bytes say: chunks, credits, an error or an end. Pure: streaming does the reading."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from naive import errors, gathering, lazy, numbers, sse

if TYPE_CHECKING:
    import httpx

    from naive import types
    from naive.requests import Request
else:
    httpx = lazy.module("httpx")

DONE = "[DONE]"
# The platform's last comment before [DONE]: `{"credits_used":…,"credits_remaining":…}`.
_CREDITS = '"credits_used"'
SHOWN = 200


class Reader:
    """Takes a stream's bytes, gives its chunks and gathers the answer that they make."""

    def __init__(self, request: Request[types.ChatChunk]) -> None:
        self._request = request
        self._decoder = sse.Decoder()
        self._gathered = gathering.Gathered()
        self.response: httpx.Response | None = None
        self.is_done = False
        self.usage: types.ChatUsage | None = None
        self.credits_used: Decimal | None = None
        self.credits_remaining: Decimal | None = None

    @property
    def request_id(self) -> str | None:
        return self._header("x-request-id")

    @property
    def generation_id(self) -> str | None:
        return self._header("x-naive-generation-id")

    def open(self, response: httpx.Response) -> None:
        """Take the answer's head. Errors: StreamInterruptedError where it is no event stream."""
        self.response = response
        kind = response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            raise self._interrupted(
                f"The answer is {kind or 'nothing'}, not an event stream.", "malformed_stream"
            )

    def feed(self, data: bytes) -> Iterator[types.ChatChunk]:
        """Yield the chunks that are whole by now. Errors: StreamInterruptedError."""
        for event in self._events(data):
            if isinstance(event, sse.Comment):
                self._note(event.text)
            elif event.data.strip() == DONE:
                self.is_done = True
                return
            else:
                yield self._chunk(event.data)

    def end(self) -> None:
        """The connection ended by itself. Errors: StreamInterruptedError where the answer did not."""
        # Some proxies drop [DONE]; an answer with its last chunk is whole without it.
        if not self.is_done and not (
            self._gathered.is_finished and self.usage and self._decoder.is_between_events
        ):
            raise self._interrupted("The stream ended before the answer did.", "stream_cut")
        self.is_done = True

    def broken(self, cause: httpx.RequestError | httpx.StreamError) -> errors.StreamInterruptedError:
        """Return the error of a connection that failed while it was read."""
        code = "timeout" if isinstance(cause, httpx.TimeoutException) else "stream_cut"
        return self._interrupted(f"The stream broke: {cause or type(cause).__name__}.", code)

    def completion(self) -> types.ChatCompletion:
        """Return the whole answer. Errors: StreamInterruptedError where the stream was closed before its end."""
        if not self.is_done:
            raise self._interrupted("The stream was closed before its end.", "stream_closed")
        return self._gathered.completion(
            credits_used=self.credits_used,
            credits_remaining=self.credits_remaining,
            headers=self.response.headers if self.response else {},
        )

    def _events(self, data: bytes) -> Iterator[sse.Event | sse.Comment]:
        try:
            yield from self._decoder.feed(data)
        except ValueError as exc:
            raise self._malformed(str(exc)) from exc

    def _chunk(self, text: str) -> types.ChatChunk:
        try:
            data = numbers.read(text)
        except ValueError as exc:
            raise self._malformed(text) from exc
        if not isinstance(data, dict):
            raise self._malformed(text)
        if data.get("error") is not None:
            raise self._told(data["error"])
        try:
            chunk = self._request.answer(data)
            self._gathered.add(data)
        except (AttributeError, TypeError, ValueError) as exc:
            raise self._malformed(text) from exc
        self.usage = chunk.usage or self.usage
        return chunk

    def _note(self, comment: str) -> None:
        if _CREDITS not in comment:
            return
        try:
            told = numbers.read(comment)
            self.credits_used = numbers.exact(told["credits_used"])
            self.credits_remaining = numbers.exact(told["credits_remaining"])
        except (ValueError, KeyError, TypeError):
            return  # A comment of somebody else's.

    def _told(self, told: Any) -> errors.StreamInterruptedError:
        """Return the error that the platform put into the stream."""
        told = told if isinstance(told, dict) else {"message": str(told)}
        about = told.get("metadata")
        about = about if isinstance(about, dict) else {}
        status = told.get("code")
        error = self._interrupted(
            str(told.get("message") or "The stream ended with an error."),
            str(about.get("error_type") or "provider_error"),
            status=status if isinstance(status, int) else None,
        )
        error.details = {**about, **error.details}
        return error

    def _malformed(self, text: str) -> errors.StreamInterruptedError:
        return self._interrupted(f"What came is no chunk: {text[:SHOWN]!r}.", "malformed_stream")

    def _interrupted(
        self, message: str, code: str, status: int | None = None
    ) -> errors.StreamInterruptedError:
        return errors.StreamInterruptedError(
            message,
            code=code,
            status=status,
            hint="What was produced is charged; naive.llm.generation(error.generation_id) says how much.",
            request_id=self.request_id,
            generation_id=self.generation_id,
            text=self._gathered.text,
        )

    def _header(self, name: str) -> str | None:
        return self.response.headers.get(name) if self.response is not None else None
