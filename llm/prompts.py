"""Prompts and answers on their way into storage: kept in memory while a call runs, written after it, never awaited.

Only calls whose kit stores them come here. What waits is bounded; what finds no room is dropped and counted, and a
gateway that is killed loses what waits. Nothing of a prompt is ever logged. Reading is llm/stored_prompts.py.
"""

import asyncio
import contextlib
import logging
import zlib
from collections import deque
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from accounts import ciphers, database, ids

log = logging.getLogger(__name__)

# Of a request, and of an answer; what is longer is cut there.
STORED_BYTES_MAX = 1024 * 1024
# Of all calls that run and all that wait to be written. A machine with less has other limits first.
WAITING_BYTES_MAX = 64 * 1024 * 1024
WAITING_ROWS_MAX = 5_000
BATCH_BYTES_MAX = 8 * 1024 * 1024
BATCH_ROWS_MAX = 100
# What ends within this time of each other is written together. Unit: seconds.
LINGER_S = 0.2
RETRY_S = (0.5, 1.0, 2.0, 5.0)
# For what is left when the gateway ends.
STOP_TIMEOUT_S = 3.0
PURPOSE = "prompts"
REQUEST, ANSWER = b"request", b"answer"
# Text of models shrinks to a fifth, and streams of small events to a twentieth; more effort gains little.
_EFFORT = 1

# The kit as it is now decides: one that was turned off meanwhile gets nothing, a shorter time holds for these too.
_INSERT: LiteralString = """
    INSERT INTO llm_stored_prompt (company_id, hold_id, kit_id, request, answer, is_request_cut, is_answer_cut,
                                   called_at, expires_at)
    SELECT r.company_id, r.hold_id, r.kit_id, r.request, r.answer, r.is_request_cut, r.is_answer_cut, r.called_at,
           r.called_at + least(r.days, k.prompt_retention_days) * interval '1 day'
      FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::bytea[], %s::bytea[], %s::bool[], %s::bool[],
                  %s::timestamptz[], %s::int[])
           AS r(company_id, hold_id, kit_id, request, answer, is_request_cut, is_answer_cut, called_at, days)
      JOIN accounts_accountkit k ON (k.company_id, k.id) = (r.company_id, r.kit_id)
       AND k.prompts_since_at <= r.called_at
    ON CONFLICT DO NOTHING
"""

type Row = tuple[Any, ...]


@dataclass(slots=True)
class Count:
    """Since this process began: calls that were written down, and calls that were not though they should be."""

    stored: int = 0
    dropped: int = 0


class Kept:
    """What one call asked and is answered, while it runs; `add` what its client gets, then `hand_in`."""

    __slots__ = (
        "answer",
        "company_id",
        "days",
        "hold_id",
        "is_answer_cut",
        "is_lost",
        "is_request_cut",
        "kit_id",
        "request",
        "size_bytes",
    )

    def __init__(self, *, company_id: UUID, hold_id: UUID, kit_id: UUID, days: int, request: bytes) -> None:
        self.company_id, self.hold_id, self.kit_id, self.days = company_id, hold_id, kit_id, days
        self.is_request_cut = len(request) > STORED_BYTES_MAX
        self.request = request[:STORED_BYTES_MAX]
        self.answer: bytearray | None = None
        self.is_answer_cut = False
        self.size_bytes = 0
        self.is_lost = False  # There was no room.
        self._take(len(self.request))

    def add(self, data: bytes) -> None:
        """Keep more of the answer; what is past STORED_BYTES_MAX is only noted."""
        if self.is_lost:
            return
        answer = self.answer if self.answer is not None else bytearray()
        room = STORED_BYTES_MAX - len(answer)
        if len(data) > room:
            self.is_answer_cut = True
            data = data[:room]
        if data and self._take(len(data)):
            answer += data
            self.answer = answer

    def _take(self, size: int) -> bool:
        if _desk.bytes_taken + size > WAITING_BYTES_MAX:
            self.lose()
            return False
        self.size_bytes += size
        _desk.bytes_taken += size
        return True

    def lose(self) -> None:
        """Give the room back; this call is not written down."""
        self.release()
        self.is_lost = True
        count.dropped += 1

    def release(self) -> None:
        _desk.bytes_taken -= self.size_bytes
        self.size_bytes = 0
        self.request, self.answer = b"", None


class _Desk:
    """What waits in this process, and the task that writes it."""

    def __init__(self) -> None:
        self.bytes_taken = 0
        self.waiting: deque[Kept] = deque()
        self.writer: asyncio.Task[None] | None = None
        self.wake = asyncio.Event()
        self.is_stopping = False


count = Count()
_desk = _Desk()


def begin(*, company_id: UUID, hold_id: UUID, kit_id: UUID, days: int, request: bytes) -> Kept | None:
    """Begin to keep a call whose kit stores prompts for `days`; None where no room is left, or nobody would write it.

    Shape: `hold_id` is a UUIDv7, whose moment is the call's.
    """
    if _desk.writer is None:
        count.dropped += 1
        return None
    kept = Kept(company_id=company_id, hold_id=hold_id, kit_id=kit_id, days=days, request=request)
    return None if kept.is_lost else kept


def hand_in(kept: Kept) -> None:
    """Queue a call that is over to be written; nobody waits for that."""
    if kept.is_lost:
        return
    if _desk.writer is None or len(_desk.waiting) >= WAITING_ROWS_MAX:
        kept.lose()
        return
    _desk.waiting.append(kept)
    _desk.wake.set()


def waiting_bytes() -> int:
    """How many bytes are kept for calls that run or wait to be written."""
    return _desk.bytes_taken


async def start() -> None:
    """Begin to write, on the running loop."""
    if _desk.writer is None:
        _desk.wake = asyncio.Event()
        _desk.is_stopping = False
        _desk.writer = asyncio.create_task(_write_all(), name="prompts")


async def stop() -> None:
    """Write what waits, for STOP_TIMEOUT_S at most; what is left then is dropped."""
    writer = _desk.writer
    if writer is None:
        return
    _desk.is_stopping = True
    _desk.wake.set()
    done, _ = await asyncio.wait({writer}, timeout=STOP_TIMEOUT_S)
    if not done:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
    _desk.writer = None
    while _desk.waiting:
        _desk.waiting.popleft().lose()


async def _write_all() -> None:
    lane = _Lane()
    try:
        while True:
            if not _desk.waiting:
                if _desk.is_stopping:
                    return
                _desk.wake.clear()
                await _desk.wake.wait()
                if not _desk.is_stopping:
                    await asyncio.sleep(LINGER_S)
                continue
            await _write(lane)
    finally:
        await lane.close()


async def _write(lane: "_Lane") -> None:
    """Write one batch, however long that takes; what the database refuses for its own sake is dropped."""
    batch = _take_batch()
    try:
        rows = await asyncio.to_thread(_seal, batch)
        await lane.insert(rows)
        count.stored += len(batch)
    except asyncio.CancelledError:
        count.dropped += len(batch)
        raise
    except Exception as exc:
        # What its message quotes may be a prompt. The writer goes on: the next batch is another.
        log.error("%d prompts are not stored: %s", len(batch), type(exc).__name__)
        count.dropped += len(batch)
    finally:
        for kept in batch:
            kept.release()


def _take_batch() -> list[Kept]:
    batch = [_desk.waiting.popleft()]
    size = batch[0].size_bytes
    while _desk.waiting and len(batch) < BATCH_ROWS_MAX:
        size += _desk.waiting[0].size_bytes
        if size > BATCH_BYTES_MAX:
            break
        batch.append(_desk.waiting.popleft())
    return batch


class _Lane:
    """The writer's own connection, made anew as often as it breaks."""

    def __init__(self) -> None:
        self._connection: AsyncConnection[TupleRow] | None = None

    async def insert(self, rows: list[Row]) -> None:
        """Write rows, again and again until it is done. Errors: psycopg.DataError, psycopg.IntegrityError."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        failures = 0
        while True:
            try:
                if self._connection is None:
                    self._connection = await database.connect(application_name="naive-prompts")
                await self._connection.execute(_INSERT, columns)
                return
            except (psycopg.DataError, psycopg.IntegrityError):
                raise
            except (psycopg.Error, OSError) as exc:
                if failures == 0:
                    log.warning("%d prompts wait to be stored: %s", len(rows), type(exc).__name__)
                await self.close()
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()


def seal(text: bytes, *, company_id: UUID, hold_id: UUID, part: bytes) -> bytes:
    """The text compressed and encrypted, bound to its company, its call, and to being that part of it."""
    about = company_id.bytes + hold_id.bytes + part
    return ciphers.encrypt(zlib.compress(text, _EFFORT), purpose=PURPOSE, about=about)


def unseal(sealed: bytes, *, company_id: UUID, hold_id: UUID, part: bytes) -> bytes | None:
    """The text again; None where SECRET_KEY is another one by now, or somebody changed what is stored."""
    about = company_id.bytes + hold_id.bytes + part
    packed = ciphers.decrypt(sealed, purpose=PURPOSE, about=about)
    return None if packed is None else zlib.decompress(packed)


def _seal(batch: list[Kept]) -> list[Row]:
    return [_row(kept) for kept in batch]


def _row(kept: Kept) -> Row:
    company_id, hold_id, answer = kept.company_id, kept.hold_id, kept.answer
    return (
        company_id,
        hold_id,
        kept.kit_id,
        seal(kept.request, company_id=company_id, hold_id=hold_id, part=REQUEST),
        None if answer is None else seal(bytes(answer), company_id=company_id, hold_id=hold_id, part=ANSWER),
        kept.is_request_cut,
        kept.is_answer_cut,
        ids.made_at(hold_id),
        kept.days,
    )
