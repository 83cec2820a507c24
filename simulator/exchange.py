"""One request and the connection it came on, as delivery sees them: write, wait, notice who left, cut."""

import asyncio
import socket
import struct
from collections.abc import Callable

from simulator.journal import Visit
from simulator.traffic import Request

# Long enough for the reader to take what was sent before the reset arrives.
BEFORE_CUT_S = 0.03
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Exchange:
    """The way back to one client. `left` turns true the moment its connection is gone."""

    def __init__(
        self,
        *,
        transport: asyncio.Transport,
        request: Request,
        visit: Visit | None,
        keep_alive: bool,
        finished: Callable[[], None],
    ) -> None:
        self.request = request
        self.keep_alive = keep_alive
        self.left = False
        self._transport = transport
        self._visit = visit
        self._finished = finished
        self._waiter: asyncio.Future[None] | None = None
        self._full = False

    def write(self, data: bytes) -> None:
        if not self.left:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait while the client reads slower than we write."""
        while self._full and not self.left:
            await self._wait(None)

    async def pause(self, seconds: float) -> None:
        """Sleep, or until the client leaves."""
        if self.left or seconds <= 0:
            await asyncio.sleep(0)
        else:
            await self._wait(seconds)

    async def _wait(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def set_full(self, *, full: bool) -> None:
        """The transport's buffer passed its high or low mark."""
        self._full = full
        if not full:
            self._wake()

    def lost(self) -> None:
        """The client closed its connection, or half of it."""
        self.left = True
        if self._visit is not None and self._visit.state == "open":
            self._visit.state = "left"
        self._wake()

    def done(self) -> None:
        """The answer is written; the connection may take the next request."""
        if self._visit is not None and self._visit.state == "open":
            self._visit.state = "done"
        if not self.keep_alive:
            self._transport.close()
        self._finished()

    async def cut(self, style: str) -> None:
        """End the connection in the middle: `rst` resets it, `fin` closes it as if all were said."""
        await self.drained()
        await self.pause(BEFORE_CUT_S)
        connection: socket.socket | None = self._transport.get_extra_info("socket")
        if style == "rst" and connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()
        else:
            self._transport.close()
        self.keep_alive = False
        if self._visit is not None:
            self._visit.state = "done"
