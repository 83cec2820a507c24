"""What PostgreSQL says has changed, and the caches that may live only while somebody listens."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from accounts import database, ids

# A silent server is asked for a sign of life this often, and counts as gone when it takes longer to give one.
HEARTBEAT_INTERVAL_S = 1.0
HEARTBEAT_TIMEOUT_S = 1.0
RECONNECT_DELAYS_S = (0.1, 0.5, 1.0)
# Of its time: from here on, who asks for a value has it read anew in the background.
REFRESH_AFTER = 0.6
# What is being read anew is believed this long past its time at most: more than a slow database takes to answer.
STALE_MAX_S = 30.0
# A value that could not be read anew is believed so much longer at least; who asks for it towards the end tries again.
RETRY_S = 0.5
# At the end of the process; longer than a read takes while the database is well.
REST_TIMEOUT_S = 1.0

type Read[V] = Callable[[], Coroutine[Any, Any, V]]

log = logging.getLogger(__name__)


class Mark(NamedTuple):
    """A moment before a query: what was heard until then, and the monotonic clock."""

    epoch: int
    at_s: float


@dataclass(slots=True)
class _Entry[V]:
    """A value, and the moments (of the monotonic clock) that decide about it."""

    value: V
    company_id: UUID | None
    refresh_at_s: float
    ends_at_s: float
    # Its end while it is read anew; never later than the value's own end, such as a key's.
    last_s: float
    is_refreshing: bool = False

    def is_over(self, now_s: float) -> bool:
        return now_s >= (self.last_s if self.is_refreshing else self.ends_at_s)


class _Flight[V](NamedTuple):
    """A read that is under way."""

    epoch: int
    task: asyncio.Task[V]


class Cache[K: Hashable, V]:
    """Answers of one process by key, dropped per company at a notification and used only while we listen.

    Reading takes no lock; it costs a dictionary look-up and a glance at the clock.
    """

    def __init__(self, *, entries_max: int, ttl_s: float) -> None:
        self.entries_max = entries_max
        self.ttl_s = ttl_s
        self._entries: dict[K, _Entry[V]] = {}
        self._keys_of: dict[UUID, set[K]] = {}
        self._flights: dict[tuple[asyncio.AbstractEventLoop, K], _Flight[V]] = {}
        _feed.caches.append(self)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value, unless it is past its time; while nobody listens there is none."""
        entry = self._entries.get(key)
        return None if entry is None or entry.is_over(monotonic()) else entry.value

    def recall(self, key: K, read: Read[V]) -> V | None:
        """What `get` gives; towards the end of its time the value is also read anew, and nobody waits for that.

        While that read is under way the value is believed past its time: revocation comes by notification, the
        time is the net under it. What nobody asked for in time ends in time, so that the net is the time and one read.
        """
        entry = self._entries.get(key)
        now_s = monotonic()
        if entry is None or entry.is_over(now_s):
            return None
        if entry.refresh_at_s <= now_s and not entry.is_refreshing:
            entry.is_refreshing = True
            self._fly(key, read)
        return entry.value

    def put(
        self, key: K, value: V, *, as_of: Mark, company_id: UUID | None = None, ends_in_s: float | None = None
    ) -> None:
        """Keep a value that was read after `as_of`, unless something has changed since then.

        Shape: `ends_in_s` is the value's own end, past which nothing believes it.
        """
        with _feed.lock:
            if as_of.epoch != _feed.epoch or not _feed.is_listening:
                return
            self._forget(key)
            if len(self._entries) >= self.entries_max:
                self._forget(next(iter(self._entries)))
            own_end_s = inf if ends_in_s is None else as_of.at_s + ends_in_s
            ends_at_s = as_of.at_s + self.ttl_s
            self._entries[key] = _Entry(
                value=value,
                company_id=company_id,
                refresh_at_s=as_of.at_s + REFRESH_AFTER * self.ttl_s,
                ends_at_s=min(ends_at_s, own_end_s),
                last_s=min(ends_at_s + STALE_MAX_S, own_end_s),
            )
            if company_id is not None:
                self._keys_of.setdefault(company_id, set()).add(key)

    def forget(self, key: K) -> None:
        """Believe this value no longer: it was read anew, and is not there."""
        with _feed.lock:
            self._forget(key)

    async def read_once(self, key: K, read: Read[V]) -> V:
        """What `read` gives, which is run once for all who ask for the key at the same time.

        When an entry ends, a crowd would otherwise queue for the pool. Nobody joins a read that began before a change
        was heard, or while nobody listens.
        """
        # A caller that is cancelled must not take the others with it.
        return await asyncio.shield(self._fly(key, read))

    async def rest(self) -> None:
        """Wait until no read is under way on this loop, and end those that take too long."""
        here = asyncio.get_running_loop()
        tasks = [flight.task for (loop, _), flight in self._flights.items() if loop is here]
        if tasks:
            _, slow = await asyncio.wait(tasks, timeout=REST_TIMEOUT_S)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)

    def drop(self, company_id: UUID) -> None:
        """Forget one company; the caller holds the feed's lock."""
        for key in self._keys_of.pop(company_id, ()):
            self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget everything; the caller holds the feed's lock."""
        self._entries.clear()
        self._keys_of.clear()

    def _fly(self, key: K, read: Read[V]) -> asyncio.Task[V]:
        loop = asyncio.get_running_loop()
        flight = self._flights.get((loop, key))
        if flight is None or flight.epoch != _feed.epoch or not _feed.is_listening:
            flight = self._flights[loop, key] = _Flight(_feed.epoch, loop.create_task(read()))
            flight.task.add_done_callback(lambda _: self._land(loop, key))
        return flight.task

    def _land(self, loop: asyncio.AbstractEventLoop, key: K) -> None:
        flight = self._flights.get((loop, key))
        if flight is not None and flight.task.done():
            del self._flights[loop, key]
            if not flight.task.cancelled():
                flight.task.exception()  # Seen, though all who asked may have left.
            entry = self._entries.get(key)
            if entry is not None and entry.is_refreshing:
                # The read failed, or something changed meanwhile; a value that was read anew has another entry.
                entry.is_refreshing = False
                entry.refresh_at_s = monotonic() + RETRY_S / 2
                entry.ends_at_s = min(entry.last_s, max(entry.ends_at_s, monotonic() + RETRY_S))

    def _forget(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is None or entry.company_id is None:
            return
        siblings = self._keys_of[entry.company_id]
        siblings.discard(key)
        if not siblings:
            del self._keys_of[entry.company_id]


class _Feed:
    """The state of listening, one per process, whatever threads and event loops it has."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_listening = False
        # Counts every moment that made answers doubtful; one that was read across such a moment is not kept.
        self.epoch = 0
        self.caches: list[Cache[Any, Any]] = []
        self.task: asyncio.Task[None] | None = None

    def heard(self, company_id: UUID | None) -> None:
        """Drop what is known of a company, or of all when the message names none."""
        with self.lock:
            self.epoch += 1
            for cache in self.caches:
                if company_id is None:
                    cache.clear()
                else:
                    cache.drop(company_id)

    def turn(self, *, is_listening: bool) -> None:
        with self.lock:
            self.epoch += 1
            self.is_listening = is_listening
            for cache in self.caches:
                cache.clear()


_feed = _Feed()


def mark() -> Mark:
    """What to take before a query whose answer may be cached."""
    return Mark(epoch=_feed.epoch, at_s=monotonic())


def is_listening() -> bool:
    """Whether changes reach this process, so that caches are in use."""
    return _feed.is_listening


async def start() -> None:
    """Begin to listen; returns after the first attempt, successful or not. A second start changes nothing."""
    if _feed.task is not None and not _feed.task.done() and not _feed.task.get_loop().is_closed():
        return
    tried = asyncio.Event()
    _feed.task = asyncio.create_task(_listen(tried.set), name="accounts-changes")
    await tried.wait()


async def stop() -> None:
    """Stop listening, on the loop that began it; caches are out of use from here on."""
    task = _feed.task
    if task is not None and task.get_loop() is asyncio.get_running_loop():
        _feed.task = None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    # They would otherwise go on to use a pool that is closed behind them.
    for cache in _feed.caches:
        await cache.rest()


async def _listen(tried: Callable[[], None]) -> None:
    failures = 0
    while True:
        try:
            async with await database.connect(application_name="naive-changes") as connection:
                await connection.execute("LISTEN accounts_changed")
                # Whatever happened before this moment was not heard, so nothing from before it is believed.
                _feed.turn(is_listening=True)
                failures = 0
                tried()
                await _follow(connection)
        except (psycopg.Error, OSError) as exc:
            log.warning("Not listening for changes, caches are off: %s", type(exc).__name__)
        finally:
            _feed.turn(is_listening=False)
            tried()
        await asyncio.sleep(RECONNECT_DELAYS_S[min(failures, len(RECONNECT_DELAYS_S) - 1)])
        failures += 1


async def _follow(connection: AsyncConnection[TupleRow]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        async with contextlib.aclosing(connection.notifies(timeout=HEARTBEAT_INTERVAL_S)) as notices:
            async for notice in notices:
                _feed.heard(ids.parse(notice.payload))
        # A peer that vanished without a word keeps the socket open: off with the caches before the wait ends.
        doubt = loop.call_later(HEARTBEAT_TIMEOUT_S, lambda: _feed.turn(is_listening=False))
        try:
            await connection.execute("SELECT 1")
        finally:
            doubt.cancel()
        if not _feed.is_listening:
            raise psycopg.OperationalError("The server answered too late.")
