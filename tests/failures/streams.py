"""A client of a stream that reads as little, as slowly and as rudely as a test likes."""

import contextlib
import json
import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests import factories
from tests.failures.gateways import CHAT

MESSAGES = [{"role": "user", "content": "Tell me about the tides of the North Sea."}]
WAIT_S = 20.0


def body(faults: str = "", *, model: str = "openai/gpt-4o-mini", **fields: Any) -> dict[str, Any]:
    """A chat request for the simulator, with what is to go wrong."""
    return {"model": f"{model}:sim={faults}" if faults else model, "messages": MESSAGES, **fields}


class Client:
    """One connection to a gateway with one request sent over it."""

    def __init__(
        self, url: str, member: factories.Cast, request: Mapping[str, Any], *, receive_bytes: int = 0
    ) -> None:
        where = urlsplit(url)
        self._socket = socket.socket()
        if receive_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.settimeout(WAIT_S)
        self._socket.connect((where.hostname or "", where.port or 0))
        content = json.dumps(request).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: {member.authorization}\r\nConnection: close\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        self.got = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def read_frames(self, count: int) -> None:
        """Read until so many data frames have come."""
        while self.got.count(b"data: ") < count:
            self._read()

    def read_piece(self, size: int) -> bytes:
        """Read at most so much; b"" at the end."""
        data = self._socket.recv(size)
        self.got += data
        return data

    def read_all(self) -> bytes:
        while self.read_piece(65536):
            pass
        return self.got

    def read_to_a_broken_end(self) -> None:
        """Read until whoever answers is gone."""
        with contextlib.suppress(ConnectionError):
            self.read_all()

    def reset(self) -> None:
        """Leave with a RST, as a client does that crashed."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def leave(self) -> None:
        self._socket.close()

    def _read(self) -> None:
        assert self.read_piece(65536), self.got[-300:]
