"""Clients that write bytes themselves: patient ones, slow ones, and those that leave at any moment."""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.chaos.asks import Ask

PATH = "/v1/llm/chat/completions"
# Past everything the platform waits for at the harness's pace.
PATIENCE_S = 45.0
# Small enough that an answer of a few hundred frames fills it: then the platform's queues fill too.
SLOW_BUFFER_BYTES = 4096
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Answer:
    """What a client got to see: no status where the connection broke before the head."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_whole: bool = False
    has_left: bool = False

    @property
    def error_code(self) -> str:
        """The platform's word for a refusal, or an empty string."""
        try:
            found: Any = orjson.loads(self.body)
            return str(found["error"]["code"]) if self.status >= 400 else ""
        except (ValueError, KeyError, TypeError):
            return ""

    @property
    def credits_used(self) -> str | None:
        """What the answer says the call cost, as it was written; None where it does not say."""
        name = b'"credits_used":'
        _, found, rest = self.body.rpartition(name)
        if not found or self.status != 200:
            return None
        literal = rest.split(b",", 1)[0].strip(b"} \r\n").decode()
        return None if literal == "null" else literal


async def call(ask: Ask, *, port: int, secret: str) -> Answer:
    """Make one call as its client would; a connection that breaks is an answer too."""
    answer = Answer()
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        async with asyncio.timeout(PATIENCE_S), _connected(ask, port) as (reader, writer):
            writer.write(_request(ask, secret))
            try:
                async with asyncio.timeout(ask.leaves_after_s):
                    await _receive(ask, reader, answer)
            except TimeoutError:
                answer.has_left = True
            if answer.has_left and ask.leaves_by_reset:
                _reset(writer)
    return answer


@contextlib.asynccontextmanager
async def _connected(ask: Ask, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    end = socket.socket()
    end.setblocking(False)
    if ask.pause_between_reads_s:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
    try:
        await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", port))
    except BaseException:
        end.close()
        raise
    limit = SLOW_BUFFER_BYTES if ask.pause_between_reads_s else 2**16
    reader, writer = await asyncio.open_connection(sock=end, limit=limit)
    try:
        yield reader, writer
    finally:
        writer.close()


def _request(ask: Ask, secret: str) -> bytes:
    lines = [
        f"POST {PATH} HTTP/1.1",
        "host: localhost",
        f"authorization: Bearer {secret}",
        "content-type: application/json",
        f"content-length: {len(ask.body)}",
        "connection: close",
    ]
    if ask.user is not None:
        lines.append(f"x-naive-user-id: ext:u{ask.user}")
    if ask.idempotency_key:
        lines.append(f"idempotency-key: {ask.idempotency_key}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + ask.body


async def _receive(ask: Ask, reader: asyncio.StreamReader, answer: Answer) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    answer.status = int(status.split(" ", 2)[1])
    answer.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    reads = 0
    # Of a stream the end is enough.
    pieces: deque[bytes] = deque(maxlen=4 if ask.is_stream else None)
    while True:
        if ask.leaves_after_reads is not None and reads >= ask.leaves_after_reads:
            answer.has_left = True
            return
        if ask.pause_between_reads_s:
            await asyncio.sleep(ask.pause_between_reads_s)
        piece = await reader.read(2**16)
        if not piece:
            break
        pieces.append(piece)
        answer.body = b"".join(pieces)
        reads += 1
    chunked = answer.headers.get("transfer-encoding") == "chunked"
    length = int(answer.headers.get("content-length", "0"))
    answer.is_whole = answer.body.endswith(b"0\r\n\r\n") if chunked else len(answer.body) == length


def _reset(writer: asyncio.StreamWriter) -> None:
    """Let the connection end in a reset instead of a farewell."""
    found = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
