"""PostgreSQL for asynchronous code: psycopg as it is, without the ORM and without Django's connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, LiteralString

import psycopg
from django.db import IntegrityError, connections
from psycopg import AsyncConnection, pq
from psycopg import conninfo as psycopg_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from accounts.errors import Unavailable

CONNECT_TIMEOUT_S = 2
STATEMENT_TIMEOUT_MS = 5_000
LOCK_TIMEOUT_MS = 2_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
# A peer that vanished without a word is noticed this soon; libpq ignores it on a Unix socket.
TCP_USER_TIMEOUT_MS = 5_000
POOL_MAX_SIZE = 4
POOL_TIMEOUT_S = 1.0
# Connections that strangers may use at once: what they ask for must leave room for those we know.
STRANGERS_MAX = 2
# A look-up takes about a millisecond, so that the last of so many waits a quarter of a second.
STRANGERS_WAITING_MAX = 500

# What psycopg counts among the troubles of the server, though the parameters are at fault: too large, too deep.
TOO_MUCH = (psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex)

# Django keeps its own switches beside libpq's in OPTIONS; only these words mean something to libpq.
_LIBPQ_KEYWORDS = frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())
_DJANGO_NAMES = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}


class LazyPool(AsyncConnectionPool[AsyncConnection[TupleRow]]):
    """A pool that opens at its first use, so that asking for it needs no `await`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.strangers = asyncio.Semaphore(STRANGERS_MAX)
        self.strangers_waiting = 0

    async def getconn(self, timeout: float | None = None) -> AsyncConnection[TupleRow]:
        if self.closed:
            await self.open()
        return await super().getconn(timeout)


_UNREACHABLE = "The database cannot be reached; nothing was changed."
_TRY_AGAIN = "Try again in a moment."
_CROWDED = "Too many callers whom we do not know yet; nothing was changed."

_pools: dict[asyncio.AbstractEventLoop, LazyPool] = {}
_visitors: dict[asyncio.AbstractEventLoop, int] = {}


def conninfo() -> str:
    """libpq's connection string of Django's default database, the test database included."""
    settings = connections.settings["default"]
    named = {word: settings[name] for word, name in _DJANGO_NAMES.items() if settings.get(name)}
    extra = {word: value for word, value in settings.get("OPTIONS", {}).items() if word in _LIBPQ_KEYWORDS}
    return psycopg_conninfo.make_conninfo(**(extra | named))


async def connect(
    *, application_name: str = "naive", lock_timeout_ms: int = LOCK_TIMEOUT_MS
) -> AsyncConnection[TupleRow]:
    """A connection of its own, autocommit, with every statement prepared and bounded in time."""
    return await AsyncConnection.connect(conninfo(), **_session(application_name, lock_timeout_ms))


def pool() -> LazyPool:
    """The running event loop's pool; close it with `close()` before the loop ends."""
    loop = asyncio.get_running_loop()
    found = _pools.get(loop)
    if found is None:
        for other in [other for other in _pools if other.is_closed()]:
            _pools.pop(other, None)
        found = _pools[loop] = LazyPool(
            conninfo(),
            kwargs=_session("naive-pool"),
            min_size=1,
            max_size=POOL_MAX_SIZE,
            timeout=POOL_TIMEOUT_S,
            # A failed attempt is given up at once: the next caller starts a new one, without any back-off.
            reconnect_timeout=0,
            open=False,
        )
    return found


async def close() -> None:
    """Close the running event loop's pool, if it has one."""
    found = _pools.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()


@contextlib.asynccontextmanager
async def visit() -> AsyncIterator[None]:
    """Use the pool from a loop that may live for this visit only: what the visitors opened, the last of them closes."""
    loop = asyncio.get_running_loop()
    if loop in _pools and loop not in _visitors:
        yield  # A gateway's own loop, which keeps its pool.
        return
    _visitors[loop] = _visitors.get(loop, 0) + 1
    try:
        yield
    finally:
        _visitors[loop] -= 1
        if not _visitors[loop]:
            del _visitors[loop]
            await close()


async def fetch_row(query: LiteralString, parameters: Sequence[Any]) -> TupleRow | None:
    """The first row that a read gives. Errors: as `fetch_rows`."""
    rows = await fetch_rows(query, parameters)
    return rows[0] if rows else None


async def fetch_rows(query: LiteralString, parameters: Sequence[Any] = ()) -> list[TupleRow]:
    """All rows that a read gives; a connection that turns out to be dead is replaced once.

    Errors: Unavailable when PostgreSQL cannot be asked.
    """
    try:
        return await _fetch_rows(query, parameters)
    except (PoolTimeout, psycopg.errors.QueryCanceled) as exc:
        raise Unavailable(_UNREACHABLE, hint=_TRY_AGAIN) from exc
    except (psycopg.OperationalError, psycopg.InterfaceError):
        # The server restarted since this connection was last used: sort out the others, then ask again.
        await pool().check()
    try:
        return await _fetch_rows(query, parameters)
    except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
        raise Unavailable(_UNREACHABLE, hint=_TRY_AGAIN) from exc


@contextlib.asynccontextmanager
async def for_strangers() -> AsyncIterator[None]:
    """Room for a read that anybody can cause, of which there is never more than a part of the pool.

    Errors: Unavailable, at once when the queue is too long already, else when a second in it was not enough.
    """
    found = pool()
    if found.strangers_waiting >= STRANGERS_WAITING_MAX:
        raise Unavailable(_CROWDED, hint=_TRY_AGAIN)
    found.strangers_waiting += 1
    try:
        async with asyncio.timeout(POOL_TIMEOUT_S):
            await found.strangers.acquire()
    except TimeoutError as exc:
        raise Unavailable(_CROWDED, hint=_TRY_AGAIN) from exc
    finally:
        found.strangers_waiting -= 1
    try:
        yield
    finally:
        found.strangers.release()


def violated(exc: IntegrityError) -> str:
    """The name of the constraint that refused a write, or an empty string."""
    cause = exc.__cause__
    return (cause.diag.constraint_name or "") if isinstance(cause, psycopg.Error) else ""


async def _fetch_rows(query: LiteralString, parameters: Sequence[Any]) -> list[TupleRow]:
    async with pool().connection() as connection:
        cursor = await connection.execute(query, parameters, binary=True)
        return await cursor.fetchall()


def _session(application_name: str, lock_timeout_ms: int = LOCK_TIMEOUT_MS) -> dict[str, Any]:
    given = psycopg_conninfo.conninfo_to_dict(conninfo()).get("options") or ""
    bounds = (
        f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={lock_timeout_ms}"
        f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS}"
    )
    return {
        "autocommit": True,
        "prepare_threshold": 0,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
        "application_name": application_name,
        "options": f"{given} {bounds}".strip(),
    }
