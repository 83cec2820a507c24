"""One client's connection: uvicorn's HTTP protocol with limits on what it leaves unbounded.

A head that is too large or does not come, a client that takes nothing, a call that the server cuts at its own end.
What a request means is not known here.
"""

import asyncio
import logging

import orjson
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http import flow_control
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from accounts import ids

log = logging.getLogger(__name__)

# Request line and headers; what proxies in front allow is less.
HEAD_BYTES_MAX = 64 * 1024
HEADERS_MAX = 200
# From a connection's or request's first byte to the end of its headers.
HEAD_TIMEOUT_S = 15.0
# A client that takes nothing of what waits for it this long is cut off: nothing else ends a write to it.
CLIENT_STALL_S = 30.0


class HeadTooLarge(Exception):
    """The request line and headers are more than we read."""


class FragmentInTarget(Exception):
    """The request line has a `#`: whoever reads it may end the path there, or not."""


class TargetElsewhere(Exception):
    """The request line names another host than the Host header: whoever reads it may go by either."""


class Connection(HttpToolsProtocol):
    """For `uvicorn --http`: see the constants above."""

    _in_head = True
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _is_lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._unwatch_head()
        self._unwatch_writes()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if was_in_head:
            # The parser keeps a header's bytes to itself until it has it whole.
            self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self.send_400_response(_TOO_LARGE)
        elif self._head_timer is None:
            self._watch_head()

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unwatch_head()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > HEAD_BYTES_MAX or len(self.headers) > HEADERS_MAX:
            raise HeadTooLarge
        if b"#" in self.url:
            raise FragmentInTarget
        if not self.url.startswith((b"/", b"*")) and not self._is_of_host():
            raise TargetElsewhere
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in the shape of every other error."""
        self._unwatch_head()
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            message = _TOO_LARGE if self._is_too_large() else msg
            self.transport.write(_refusal(message))
        self._close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writes()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._unwatch_writes()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_close()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_close()

    def shutdown(self) -> None:
        super().shutdown()
        self._watch_close()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: a client that asks for another protocol is answered in this one, and the log is not its."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        async def until_cut(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            try:
                await app(scope, receive, send)
            except asyncio.CancelledError:
                # The server's own end: its task ends here, and it would write a traceback for each.
                await self._cut(cycle)

        super()._start_asgi_task(cycle, until_cut)

    async def _cut(self, cycle: RequestResponseCycle) -> None:
        if not cycle.response_started:
            await flow_control.service_unavailable(cycle.scope, cycle.receive, cycle.send)
        elif not cycle.response_complete:
            cycle.disconnected = True
            self._close()

    def _is_of_host(self) -> bool:
        authority = self.url.partition(b"://")[2].partition(b"/")[0]
        return any(name == b"host" and value.lower() == authority.lower() for name, value in self.headers)

    def _is_too_large(self) -> bool:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        return max(size, self._head_bytes) > HEAD_BYTES_MAX or len(self.headers) > HEADERS_MAX

    def _watch_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._close)

    def _unwatch_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close(self) -> None:
        self.transport.close()
        self._watch_writes()

    def _watch_close(self) -> None:
        """A closed connection stays until the client has taken everything: not for ever."""
        if self.transport.is_closing():
            self._watch_writes()

    def _watch_writes(self) -> None:
        # An answer may end after its client has left: there is nothing to wait for then.
        if self._stall_timer is None and not self._is_lost:
            self._stall_timer = self.loop.call_later(CLIENT_STALL_S, self._abort)

    def _unwatch_writes(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _abort(self) -> None:
        log.info("%s took nothing for %g s and was cut off", self.client, CLIENT_STALL_S)
        self.transport.abort()


_TOO_LARGE = (
    f"The request line and headers are more than {HEAD_BYTES_MAX // 1024} KB or {HEADERS_MAX} headers."
)


def _refusal(message: str) -> bytes:
    request_id = f"req_{ids.uuid7().hex}"
    body = orjson.dumps({"error": {"code": "invalid_input", "message": message, "request_id": request_id}})
    head = (
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
        f"x-request-id: {request_id}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
