"""Group commit: what waits goes as one statement the moment its connection is free; no statement is written here.

Each batcher has one connection of its own per event loop. Nothing waits for a timer: alone, a row goes at once; in
a crowd, the rows that came while the last statement ran go together. A company whose lock somebody keeps is sent
aside, through a second connection, until it is to be had again: its neighbours do not wait for it.
"""

import asyncio
import contextlib
import logging
import os
import select
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, LiteralString
from weakref import WeakKeyDictionary

import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import TupleRow

from accounts import database
from billing.errors import BooksUnavailable, LedgerInvariantBroken

log = logging.getLogger(__name__)

ROWS_MAX = 256
# How long one company's lock may keep the rows of others waiting. Unit: milliseconds.
LOCK_TIMEOUT_MS = 500
# After so many seconds of sending a held up batch company by company, what is left is refused.
APART_TIMEOUT_S = 5.0
# Past PostgreSQL's own bound on a statement the server is not slow but gone.
ANSWER_TIMEOUT_S = database.STATEMENT_TIMEOUT_MS / 1000 + 1
RECONNECT_S = (0.05, 0.1, 0.2, 0.5, 1.0)
DRAIN_TIMEOUT_S = 10.0
# Reads of an idle connection before it is given up: a notice or two may come, then silence or the end.
LAST_WORDS_MAX = 4

_RETRY = "Nothing is lost; try again in a moment."

# Rows that are wrong by themselves: sent again they are refused again, and reconnecting helps nobody.
_WRONG_ROWS = (psycopg.DataError, psycopg.IntegrityError)
# The statement was rolled back for somebody else's sake; the connection is as good as before.
_HELD_UP = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.DeadlockDetected,
)

_batchers: "list[Batcher[Any]]" = []

type _Waiting[Row] = list[tuple[Row, asyncio.Future[TupleRow]]]


class _HeldUp(BooksUnavailable):
    """Nothing was carried out: a lock was not to be had in time."""


class Batcher[Row]:
    """One statement that takes many rows and answers each of them with one row, in order.

    Shape: `columns` turns rows into the statement's parameters, one array a parameter; rows of one `company_of` wait
    for the same lock; without `is_kept` each statement is rolled back once it is answered.
    Errors of `submit`: BooksUnavailable when the database cannot be reached or refuses to write, when the company's
    lock was not to be had, or when the connection was lost before the answer came: then the statement may have been
    carried out. psycopg.DataError and IntegrityError when this very row was refused.
    """

    def __init__(
        self,
        name: str,
        statement: LiteralString,
        columns: Callable[[Sequence[Row]], Sequence[Any]],
        *,
        company_of: Callable[[Row], Hashable] | None = None,
        rows_max: int = ROWS_MAX,
        is_kept: bool = True,
    ) -> None:
        self.name = name
        self.statement = statement
        self.columns = columns
        self.company_of = company_of or _nobody
        self.rows_max = rows_max
        self.is_kept = is_kept
        self._lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lane[Row]] = WeakKeyDictionary()
        _batchers.append(self)

    def submit(self, row: Row) -> asyncio.Future[TupleRow]:
        """Queue a row on the running loop. A caller that is cancelled takes nothing back."""
        return self.lane().put(row)

    def is_running(self) -> bool:
        """Whether the running loop has used this batcher and not stopped it."""
        lane = self.lane_in_use()
        return lane is not None and not lane.is_closing

    def lane(self) -> "_Lane[Row]":
        """The running loop's lane, made when there is none; once stopped it refuses everything."""
        lane = self.lane_in_use()
        return self.open_lane() if lane is None else lane

    def lane_in_use(self) -> "_Lane[Row] | None":
        return self._lanes.get(asyncio.get_running_loop())

    def open_lane(self) -> "_Lane[Row]":
        """A lane that takes rows: the running loop's, or a new one where that was stopped."""
        lane = self.lane_in_use()
        if lane is None or lane.is_closing:
            lane = self._lanes[asyncio.get_running_loop()] = _Lane(self)
        return lane


class _Lane[Row]:
    """A batcher on one event loop: what waits, and the connection it goes through."""

    def __init__(self, batcher: Batcher[Row], held_up: set[Hashable] | None = None) -> None:
        self._batcher = batcher
        # The companies whose lock was not to be had when it was last tried: they go through the lane aside.
        self._held_up: set[Hashable] = set() if held_up is None else held_up
        self._is_aside = held_up is not None
        self._aside: _Lane[Row] | None = None
        self._waiting: _Waiting[Row] = []
        self._work: asyncio.Task[None] | None = None
        self._connection: AsyncConnection[TupleRow] | None = None
        self._cursor: AsyncCursor[TupleRow] | None = None
        self._failures = 0
        self._connect_not_before = 0.0
        self.is_closing = False  # No row is taken any more.
        self._is_closed = False  # No connection is made any more.

    def put(self, row: Row) -> asyncio.Future[TupleRow]:
        answer: asyncio.Future[TupleRow] = asyncio.get_running_loop().create_future()
        self._queue([(row, answer)])
        return answer

    async def connect(self) -> AsyncCursor[TupleRow]:
        """The lane's cursor, on a connection that lives as far as can be seen from here.

        Errors: BooksUnavailable, at once while the last failure is too fresh to try again.
        """
        await self._disconnect_if_closed()
        if self._cursor is not None and self._is_alive():
            return self._cursor
        await self.disconnect()
        if time.monotonic() < self._connect_not_before:
            raise BooksUnavailable("The database could not be reached a moment ago.", hint=_RETRY)
        try:
            connection = await database.connect(
                application_name=f"naive-{self._batcher.name}", lock_timeout_ms=LOCK_TIMEOUT_MS
            )
        except (psycopg.Error, OSError) as exc:
            self._note_failure()
            raise BooksUnavailable("The database cannot be reached.", hint=_RETRY) from exc
        self._failures = 0
        self._connection = connection
        self._cursor = cursor = connection.cursor(binary=True)
        await self._disconnect_if_closed()
        return cursor

    async def disconnect(self) -> None:
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            await connection.close()

    async def drain(self, *, timeout_s: float) -> None:
        """Wait for what was queued, then close: for good, whatever still waits for an answer."""
        self.is_closing = True
        give_up_at = time.monotonic() + timeout_s
        if self._work is not None:
            await asyncio.wait([self._work], timeout=timeout_s)
        if self._aside is not None:
            await self._aside.drain(timeout_s=max(give_up_at - time.monotonic(), 0))
        self._is_closed = True
        if self._work is not None:
            if self._connection is not None:
                _hang_up(self._connection)
            await asyncio.wait([self._work])
        await self.disconnect()

    async def _disconnect_if_closed(self) -> None:
        if self._is_closed:
            await self.disconnect()
            raise _stopping()

    def _is_alive(self) -> bool:
        """Whether the server has not hung up on the idle connection, as far as this end has been told."""
        if self._connection is None or self._connection.closed:
            return False
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        for _ in range(LAST_WORDS_MAX):
            if not poll.poll(0):
                return True
            try:
                self._connection.pgconn.consume_input()
            except psycopg.OperationalError:
                return False
        return False

    def _note_failure(self) -> None:
        pause = RECONNECT_S[min(self._failures, len(RECONNECT_S) - 1)]
        self._failures += 1
        self._connect_not_before = time.monotonic() + pause

    def _queue(self, rows: _Waiting[Row]) -> None:
        if self.is_closing:
            _refuse(rows, _stopping())
            return
        self._waiting += rows
        if self._work is None:
            loop = asyncio.get_running_loop()
            self._work = loop.create_task(self._send_all(), name=f"batch:{self._batcher.name}")

    def _take(self) -> _Waiting[Row]:
        """The next rows to go together; those that would hold the others up are passed on to the lane aside."""
        batch = self._waiting[: self._batcher.rows_max]
        del self._waiting[: len(batch)]
        if self._is_aside or self._is_closed or not self._held_up:
            return batch
        aside = [one for one in batch if self._batcher.company_of(one[0]) in self._held_up]
        if not aside:
            return batch
        if self._aside is None:
            self._aside = _Lane(self._batcher, self._held_up)
        self._aside._queue(aside)
        return [one for one in batch if self._batcher.company_of(one[0]) not in self._held_up]

    async def _send_all(self) -> None:
        batch: _Waiting[Row] = []
        try:
            while self._waiting:
                batch = self._take()
                if batch:
                    await self._send(batch)
        finally:
            # Nothing is left here unless this task was cancelled.
            self._work = None
            _refuse(batch + self._waiting, _stopping())
            self._waiting.clear()

    async def _send(self, batch: _Waiting[Row]) -> None:
        try:
            answers = await self._execute([row for row, _ in batch])
        except _HeldUp as exc:
            await self._send_apart(batch, exc)
        except BooksUnavailable as exc:
            _refuse(batch, exc)
        except Exception as exc:
            # One row that PostgreSQL refuses undoes the whole statement, so each is tried on its own.
            if len(batch) == 1:
                _refuse(batch, exc)
            else:
                log.warning("%s: a batch of %d is sent row by row: %s", self._batcher.name, len(batch), exc)
                for one in batch:
                    await self._send([one])
        else:
            for (row, answer), found in zip(batch, answers, strict=True):
                self._held_up.discard(self._batcher.company_of(row))
                if not answer.done():
                    answer.set_result(found)

    async def _send_apart(self, batch: _Waiting[Row], error: _HeldUp) -> None:
        """Send each company's rows on their own, so that only those whose lock is kept are refused."""
        shares: dict[Hashable, _Waiting[Row]] = defaultdict(list)
        for one in batch:
            shares[self._batcher.company_of(one[0])].append(one)
        if len(shares) == 1:
            self._held_up.update(company for company in shares if company is not None)
            _refuse(batch, error)
            return
        log.warning("%s: %d rows are sent company by company: %s", self._batcher.name, len(batch), error)
        give_up_at = time.monotonic() + APART_TIMEOUT_S
        for share in shares.values():
            if time.monotonic() < give_up_at:
                await self._send(share)
            else:
                _refuse(share, error)

    async def _execute(self, rows: Sequence[Row]) -> Sequence[TupleRow]:
        cursor = await self.connect()
        parameters = self._batcher.columns(rows)
        # Cancelling through a server that is silent would take seconds more; a socket without an end tells at once.
        timer = asyncio.get_running_loop().call_later(ANSWER_TIMEOUT_S, _hang_up, cursor.connection)
        try:
            answers = await self._ask(cursor, parameters)
        except _WRONG_ROWS:
            raise
        except database.TOO_MUCH as exc:
            raise psycopg.DataError(*exc.args) from exc
        except _HELD_UP as exc:
            raise _HeldUp("Somebody else keeps the wallet's lock.", hint=_RETRY) from exc
        except (psycopg.Error, OSError) as exc:
            # Lost, or on a server that takes no writes: what became of the statement is not known here.
            log.warning("%s: %d rows were not answered: %s", self._batcher.name, len(rows), exc)
            await self.disconnect()
            raise BooksUnavailable("The database did not answer.", hint=_RETRY) from exc
        finally:
            timer.cancel()
        if len(answers) != len(rows):
            raise LedgerInvariantBroken(f"{self._batcher.name}: {len(rows)} rows got {len(answers)} answers.")
        return answers

    async def _ask(self, cursor: AsyncCursor[TupleRow], parameters: Sequence[Any]) -> Sequence[TupleRow]:
        if self._batcher.is_kept:
            await cursor.execute(self._batcher.statement, parameters, prepare=True)
            return await cursor.fetchall()
        async with cursor.connection.transaction(force_rollback=True):
            await cursor.execute(self._batcher.statement, parameters, prepare=True)
            return await cursor.fetchall()


def _nobody(row: object) -> Hashable:
    return None


def _stopping() -> BooksUnavailable:
    return BooksUnavailable("The gateway is stopping; the answer was not waited for.", hint=_RETRY)


def _hang_up(connection: AsyncConnection[TupleRow]) -> None:
    """End the conversation from this side: whoever waits for an answer is told that the connection is lost."""
    if connection.closed:
        return
    with (
        contextlib.suppress(OSError),
        socket.socket(fileno=os.dup(connection.pgconn.socket)) as end,
    ):
        end.shutdown(socket.SHUT_RDWR)


def _refuse[Row](batch: _Waiting[Row], error: Exception) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(_copy(error))


def _copy(error: Exception) -> Exception:
    """An error of its own for each caller: a shared one would gather all their tracebacks."""
    if not isinstance(error, BooksUnavailable):
        return error
    copy = BooksUnavailable(error.message, hint=error.hint)
    copy.__cause__ = error.__cause__
    return copy


async def start() -> None:
    """Open every batcher's connection on the running loop, so that the first call need not.

    A database that is away is no error here: each batcher tries again when a row comes.
    """
    opened = await asyncio.gather(
        *(batcher.open_lane().connect() for batcher in _batchers), return_exceptions=True
    )
    for batcher, found in zip(_batchers, opened, strict=True):
        if isinstance(found, BaseException):
            log.warning("%s: not connected yet: %s", batcher.name, found)


async def stop() -> None:
    """Send what is queued on the running loop, then close its connections; rows that come later are refused."""
    lanes = [lane for batcher in _batchers if (lane := batcher.lane_in_use()) is not None]
    await asyncio.gather(*(lane.drain(timeout_s=DRAIN_TIMEOUT_S) for lane in lanes))
