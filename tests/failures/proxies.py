"""A wire between a gateway and its database that loses the answer to a statement, or goes away."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from psycopg import conninfo

CHUNK_BYTES = 65536


class DatabaseProxy:
    """Forwards connections to the server of `database_url`; its own `url` is for whoever is to suffer."""

    def __init__(self, database_url: str) -> None:
        found = conninfo.conninfo_to_dict(database_url)
        self._host, self._port = str(found["host"]), int(found.get("port") or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        found |= {"host": "127.0.0.1", "port": self._listener.getsockname()[1]}
        self.url = f"postgresql:///{found.pop('dbname')}?{urlencode(found)}"
        self._lost: bytes | None = None
        self._is_away = False
        self._pairs: list[_Pair] = []

    def lose_answer_to(self, statement: bytes) -> None:
        """Carry out the next statement with these words, and cut its connection instead of answering."""
        self._lost = statement

    @property
    def has_lost(self) -> bool:
        return self._lost is None

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """No connection lives, and none can be made, for the length of a with block."""
        self._is_away = True
        for pair in self._pairs:
            pair.close()
        try:
            yield
        finally:
            self._is_away = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        _close(self._listener)
        for pair in self._pairs:
            pair.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._is_away:
                    client.close()
                else:
                    pair = _Pair(self, client, self._connect())
                    self._pairs.append(pair)
                    pair.start()

    def _connect(self) -> socket.socket:
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, self._port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._host}/.s.PGSQL.{self._port}")
        return server

    def takes_answer(self, seen: bytes, answer: bytes) -> bool:
        """Whether this answer, on a connection that has sent `seen`, is the one to lose; it is lost once."""
        # A statement is named where it is prepared, once a connection, and a batcher's connection has one only; the
        # tag of a command says that it was carried out and committed.
        if self._lost is None or self._lost not in seen or b"SELECT " not in answer:
            return False
        self._lost = None
        return True


class _Pair:
    """One connection of a client's, and its other half to the server."""

    def __init__(self, proxy: DatabaseProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._seen = b""

    def start(self) -> None:
        for work in (self._forward, self._answer):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        _close(self._client)
        _close(self._server)

    def _forward(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(CHUNK_BYTES):
                self._seen = (self._seen + data)[-CHUNK_BYTES:]
                self._server.sendall(data)
        self.close()

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(CHUNK_BYTES):
                if self._proxy.takes_answer(self._seen, data):
                    break
                self._client.sendall(data)
        self.close()


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
