"""The bytes of an answer: status line and headers, and bodies in chunks, compressed, split or cut."""

import os
import zlib
from http import HTTPStatus

from simulator.exchange import Exchange
from simulator.faults import NONE, Faults
from simulator.traffic import STREAM

FLUSH_BYTES = 32_768
BLANKS = b" " * 65_536
_STANDARD = (
    b"access-control-allow-origin: *\r\n"
    b"access-control-expose-headers: X-Generation-Id,X-Provider-Name,request-id,cf-ray\r\n"
    b"vary: Accept-Encoding\r\n"
    b"permissions-policy: payment=(self)\r\n"
    b"referrer-policy: no-referrer, strict-origin-when-cross-origin\r\n"
    b"x-content-type-options: nosniff\r\n"
    b"server: cloudflare\r\n"
    b"cf-ray: 8f2c1d9b7a6e5f40-FRA\r\n"
)
_COOKIE = b"set-cookie: __cf_bm=simulated; path=/; HttpOnly; Secure; SameSite=None\r\n"
_LEAKS = (
    b"x-openrouter-user: user_2simulatorAccount0000000000\r\n"
    b"x-openrouter-organization: org_operator\r\n"
    b"x-clerk-auth-reason: operator@example.com\r\n"
)


class CutOff(Exception):
    """The knob's point in the answer is reached: the connection ends here."""


def _status_line(status: int) -> bytes:
    known = {item.value: item.phrase for item in HTTPStatus}
    return f"HTTP/1.1 {status} {known.get(status, 'Unknown')}\r\n".encode()


_LINES = {item.value: _status_line(item.value) for item in HTTPStatus}


def head(
    exchange: Exchange,
    *,
    status: int,
    content_type: str,
    headers: tuple[tuple[str, str], ...],
    spoilt: Faults,
    length: int | None,
) -> bytes:
    """Status line and headers; without a length the body goes in chunks."""
    parts = [_LINES.get(status) or _status_line(status), f"content-type: {content_type}\r\n".encode()]
    parts += [f"{name}: {value}\r\n".encode() for name, value in headers]
    if not any(name == "request-id" for name, _ in headers):
        parts.append(b"request-id: req-%b\r\n" % os.urandom(10).hex().encode())
    parts.append(_STANDARD)
    if content_type == STREAM:
        parts.append(b"cache-control: no-cache\r\n")
    if spoilt is not NONE:
        parts.append(b"content-encoding: gzip\r\n" * spoilt.gzip + _COOKIE * spoilt.set_cookie)
        parts.append(_LEAKS * spoilt.leaky_headers)
    chunked = b"transfer-encoding: chunked\r\n"
    parts.append(chunked if length is None else b"content-length: %d\r\n" % length)
    if not exchange.keep_alive:
        parts.append(b"connection: close\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


class Wire:
    """A body on its way out in HTTP chunks: line ends, gzip, splitting, padding and cutting are done here."""

    def __init__(self, exchange: Exchange, spoilt: Faults, *, is_text: bool = True) -> None:
        self._exchange = exchange
        self._spoilt = spoilt
        self._line_end = b"\r\n" if spoilt.crlf else b"\r" if spoilt.cr else b"\n"
        self._is_text = is_text
        self._zip = zlib.compressobj(wbits=31) if spoilt.gzip else None
        self._waiting: list[bytes] = []
        self._bytes = 0
        self.frames_sent = 0

    def put(self, data: bytes) -> None:
        if self._is_text and self._line_end != b"\n":
            data = data.replace(b"\n", self._line_end)
        self._waiting.append(data)
        self._bytes += len(data)

    async def frame(self, data: bytes) -> None:
        """One data frame. CutOff when the knob wants the connection to end at, or inside, this one."""
        if self._spoilt.cut_after is not None and self.frames_sent >= self._spoilt.cut_after:
            if self._spoilt.cut_bytes:
                self.put(data[: self._spoilt.cut_bytes])
            await self.flush()
            raise CutOff
        self.frames_sent += 1
        if self.frames_sent == 1 and self._spoilt.pad_bytes and self._is_text:
            beginning, _, data = data.partition(b"data: ")
            self.put(beginning + b"data: ")
            await self.pad()
        self.put(data)
        if self._bytes >= FLUSH_BYTES:
            await self.flush()

    async def pad(self) -> None:
        """The blanks of `pad_bytes`, made as they go: however many, they take no memory here."""
        left = self._spoilt.pad_bytes
        while left > 0 and not self._exchange.left:
            self._waiting.append(BLANKS[:left])
            left -= len(BLANKS)
            await self.flush()

    async def flush(self) -> None:
        """Send what waits as one chunk, or in the pieces that `split` wants."""
        if not self._waiting:
            return
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        if self._zip is not None:
            data = self._zip.compress(data) + self._zip.flush(zlib.Z_SYNC_FLUSH)
            # Writing alone would never let the loop see that the client has left.
            await self._exchange.pause(0)
        size = self._spoilt.split
        if not size:
            self._chunk(data)
        else:
            for start in range(0, len(data), size):
                self._chunk(data[start : start + size])
                await self._exchange.pause(self._spoilt.split_delay_ms / 1000)
        await self._exchange.drained()

    def _chunk(self, data: bytes) -> None:
        self._exchange.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.flush()
        if self._zip is not None:
            self._chunk(self._zip.flush())
        self._exchange.write(b"0\r\n\r\n")
