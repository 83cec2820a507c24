"""Outages on purpose: a database that refuses, one that falls silent, and writes that nobody is told about."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

from django.db import connections
from psycopg import Connection
from psycopg.rows import TupleRow

from accounts.models import APIKey

type Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.contextmanager
def unreachable() -> Iterator[None]:
    """New asynchronous connections are refused; those of the ORM and those already open go on."""
    with socket.socket() as taken:
        # Bound and not listening: nobody else can take the port, and nothing answers on it.
        taken.bind(("127.0.0.1", 0))
        with database_at("127.0.0.1", taken.getsockname()[1]):
            yield


@contextlib.contextmanager
def database_at(host: str, port: int) -> Iterator[None]:
    """New connections of this process go to another address."""
    given = connections.settings["default"]
    before = {name: given[name] for name in ("HOST", "PORT")}
    given.update(HOST=host, PORT=port)
    try:
        yield
    finally:
        given.update(before)


def hang_up(own: Connection[TupleRow], application_name: str) -> None:
    """End every connection of this name and wait until they are gone."""
    own.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = %s",
        [application_name],
    )


def revoke_silently(own: Connection[TupleRow], key: APIKey) -> None:
    """Revoke a key with the trigger off: who believes in it after this has it from a cache."""
    with own.transaction():
        own.execute("ALTER TABLE accounts_apikey DISABLE TRIGGER accounts_apikey_changed")
        own.execute("UPDATE accounts_apikey SET revoked_at = now() WHERE id = %s", [key.id])
        own.execute("SET CONSTRAINTS ALL IMMEDIATE")
        own.execute("ALTER TABLE accounts_apikey ENABLE TRIGGER accounts_apikey_changed")


class Proxy:
    """A TCP proxy before PostgreSQL that can fall silent without closing anything."""

    def __init__(self) -> None:
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.port = 0
        self._given = dict(connections.settings["default"])
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        server_reader, server_writer = await self._dial()
        try:
            await asyncio.gather(self._pump(reader, server_writer), self._pump(server_reader, writer))
        finally:
            for end in (writer, server_writer):
                end.close()

    async def _dial(self) -> Streams:
        host, port = str(self._given.get("HOST") or "localhost"), int(self._given.get("PORT") or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self.speaks.wait()
            writer.write(data)
            await writer.drain()
        writer.close()
