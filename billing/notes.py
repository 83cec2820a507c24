"""News of open holds: offered behind the caller's back until each is noted; what they are about is holds'."""

import asyncio
import functools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import TupleRow

from billing import batches, spool, statements
from billing.errors import BooksUnavailable

log = logging.getLogger(__name__)

# How long a generation id is offered to an open hold whose row is busy or whose database is away; then the spool
# is the only one that has it. Unit: seconds.
PAUSES_S = (0.02, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)

_NOTE = """
    SELECT * FROM billing_note_open_holds(
        %s::uuid[], %s::uuid[], %s::text[], %s::double precision[], %s::numeric[])
"""
_UNKNOWN = "SELECT billing_quarantine('unknown_hold', %s, %s, %s, %s::jsonb)"


@dataclass(frozen=True, slots=True)
class Note:
    """News of an open hold: its generation id, in how many seconds to look it up, what was seen of its answer."""

    company_id: UUID
    hold_id: UUID
    generation_id: str = ""
    delay_s: float | None = None
    estimate_usd: Decimal | None = None


def take(note: Note) -> asyncio.Future[TupleRow]:
    """Offer a note until it is noted or its hold is closed; the future is the first try's.

    Shape: needs a running event loop; after PAUSES_S it is left to the spool and the sweep.
    """
    return _offer(note, 0)


def take_now(notes: list[Note]) -> None:
    """Note all of them for a worker, waiting for those that are busy.

    Shape: of a hold that these books do not know, because they are a backup's, the id is kept as an anomaly
    `unknown_hold`: nothing else is left of the call.
    Errors: BooksUnavailable when the database cannot be reached, or some stay busy.
    """
    for pause_s in PAUSES_S:
        notes = _note_now(notes)
        if not notes:
            return
        time.sleep(pause_s)
    raise BooksUnavailable(f"{len(notes)} open holds stay busy.", hint="They are tried again.")


def _columns(notes: Sequence[Note]) -> Sequence[Any]:
    return (
        [n.company_id for n in notes],
        [n.hold_id for n in notes],
        [n.generation_id for n in notes],
        [n.delay_s for n in notes],
        [n.estimate_usd for n in notes],
    )


_noting = batches.Batcher("notes", _NOTE, _columns, company_of=lambda note: note.company_id)


def _offer(note: Note, tries: int) -> asyncio.Future[TupleRow]:
    first = _noting.submit(note)
    first.add_done_callback(functools.partial(_noted, note, tries))
    return first


def _noted(note: Note, tries: int, answer: asyncio.Future[TupleRow]) -> None:
    """Try again what was busy or unreachable: later than a settlement or a sweep needs, sooner than the hold ends."""
    if answer.cancelled():
        return
    error = answer.exception()
    if error is None and answer.result()[0] != "busy":
        return
    if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
        log.error("Hold %s: its generation id was refused: %s", note.hold_id, error)
        return
    if error is not None and not isinstance(error, BooksUnavailable):
        log.error("Hold %s: its generation id was not noted yet: %s", note.hold_id, error)
    if tries < len(PAUSES_S):
        asyncio.get_running_loop().call_later(PAUSES_S[tries], _again, note, tries + 1)
    else:
        log.warning("Hold %s: its news are left to the spool and the sweep", note.hold_id)
        spool.rotate_soon()


def _again(note: Note, tries: int) -> None:
    if _noting.is_running():
        _offer(note, tries)


def _note_now(notes: list[Note]) -> list[Note]:
    """Note what can be noted; return what was busy."""
    answers = statements.rows(_NOTE, *_columns(notes))
    for note, (outcome,) in zip(notes, answers, strict=True):
        if outcome == "unknown":
            log.error("Hold %s is in no book; its generation is on billing_anomaly", note.hold_id)
            reference = f"gen_{note.hold_id}:{note.generation_id}"
            details = orjson.dumps({"source": "spool", "generation_id": note.generation_id}).decode()
            statements.row(_UNKNOWN, reference, note.company_id, note.hold_id, details)
    return [note for note, (outcome,) in zip(notes, answers, strict=True) if outcome == "busy"]
