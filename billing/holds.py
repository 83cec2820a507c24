"""Credits set aside before a call goes upstream, and what becomes known while it runs; charging is settlement's."""

import asyncio
import functools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import orjson
import psycopg
from django.conf import settings
from django.db import DataError, Error, IntegrityError, connection
from psycopg.rows import TupleRow
from psycopg.types.numeric import Int4, Int8

from billing import batches, money, spool
from billing.errors import (
    BooksUnavailable,
    InsufficientCredits,
    LedgerInvariantBroken,
    WalletFrozen,
    WalletNotFound,
)

log = logging.getLogger(__name__)

# How long a generation id is offered to an open hold whose row is busy or whose database is away; then the spool
# is the only one that has it. Unit: seconds.
NOTE_PAUSES_S = (0.02, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
REPLAY_ROWS_MAX = 500
# Upstream's are some 40 characters.
GENERATION_ID_LENGTH_MAX = 200

_PLACE = """
    SELECT * FROM billing_place_holds(
        %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::bigint[], %s::boolean[],
        %s::numeric[], %s::numeric[], %s::integer[], %s::jsonb[], %s::jsonb[])
"""
_NOTE = "SELECT * FROM billing_note_open_holds(%s::uuid[], %s::uuid[], %s::text[], %s::double precision[])"


@dataclass(frozen=True, slots=True)
class Cap:
    """A spending limit this call counts against: what a key or a user may spend in one period."""

    scope: Literal["key", "user"]
    scope_id: UUID
    period_start: date
    limit_nanocredits: int


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """What a call needs, and the prices it will be charged at, which are frozen with the hold.

    Units: `wanted` covers the worst case, `least` is what makes the call worth sending; `details` is a JSON object
    that billing keeps and does not read.
    """

    hold_id: UUID
    company_id: UUID
    key_id: UUID
    kit_id: UUID
    tenant_user_id: UUID
    wanted_nanocredits: int
    least_nanocredits: int
    markup: Decimal
    credit_value_usd: Decimal
    ttl_s: int
    details: bytes = b"{}"
    caps: tuple[Cap, ...] = ()
    # Whether `wanted` bounds what the call can cost; if not, it is a guess, and no cost is implausible for it.
    is_price_known: bool = True


@dataclass(frozen=True, slots=True)
class Placed:
    """What a hold was granted, and the wallet right after it."""

    granted_nanocredits: int
    balance_nanocredits: int
    held_nanocredits: int


@dataclass(frozen=True, slots=True)
class _Note:
    """News of an open hold: its generation id, or in how many seconds to look it up."""

    company_id: UUID
    hold_id: UUID
    generation_id: str = ""
    delay_s: float | None = None


async def place(request: HoldRequest) -> Placed:
    """Set credits aside for a call, durably, before anything is sent upstream.

    Shape: grants what is wanted, or what wallet and caps leave of it if that is not below the least.
    Units: nanocredits.
    Errors: InsufficientCredits, WalletFrozen, WalletNotFound: nothing is held. BooksUnavailable: something may be
    held, so the id must not be used again; the sweep gives it back. The same if the caller is cancelled here.
    Source: docs/money.md, "Life of a hold".
    """
    return _placed(request, await _placing.submit(request))


async def try_out(request: HoldRequest) -> Placed:
    """What `place` would answer now, through the same gate; nothing is held.

    Errors: as `place`.
    """
    return _placed(request, await _trying_out.submit(request))


def dispatched(*, hold_id: UUID, company_id: UUID, generation_id: str) -> None:
    """Note upstream's id on the open hold, behind the caller's back; the caller has spooled it before.

    Shape: needs a running event loop; tried again for a while, then left to the spool.
    """
    _note(_Note(company_id=company_id, hold_id=hold_id, generation_id=printable(generation_id)))


async def look_up_soon(*, hold_id: UUID, company_id: UUID) -> None:
    """Have the sweep ask upstream for this call's cost after the first back-off.

    Shape: returns after the first try; what it could not note is tried again, and at worst the hold's time ends.
    """
    delay_s = settings.LOOKUP_BACKOFF_S[0]
    await asyncio.wait([_note(_Note(company_id=company_id, hold_id=hold_id, delay_s=delay_s))])


def printable(generation_id: str) -> str:
    """The id as PostgreSQL can keep it; real ones are plain ASCII and pass as they are."""
    text = generation_id[:GENERATION_ID_LENGTH_MAX]
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def _placed(request: HoldRequest, answer: TupleRow) -> Placed:
    outcome, limit, granted, available, balance, held = answer
    if outcome == "placed":
        return Placed(granted_nanocredits=granted, balance_nanocredits=balance, held_nanocredits=held)
    if outcome == "insufficient":
        raise InsufficientCredits(
            f"Hold {request.hold_id}: needs {money.json_number(request.least_nanocredits)} credits, "
            f"{money.json_number(available)} available.",
            limit=limit,
            required_nanocredits=request.least_nanocredits,
            available_nanocredits=available,
            balance_nanocredits=balance,
            held_nanocredits=held,
        )
    if outcome == "frozen":
        raise WalletFrozen(request.company_id)
    if outcome == "no_wallet":
        raise WalletNotFound(request.company_id)
    raise LedgerInvariantBroken(f"Hold {request.hold_id}: unknown answer {outcome!r}.")


def _place_columns(requests: Sequence[HoldRequest]) -> Sequence[Any]:
    # Int8 and Int4 pin the type of each array, so that one prepared statement serves every batch.
    return (
        [r.company_id for r in requests],
        [r.hold_id for r in requests],
        [r.key_id for r in requests],
        [r.kit_id for r in requests],
        [r.tenant_user_id for r in requests],
        [Int8(r.wanted_nanocredits) for r in requests],
        [Int8(r.least_nanocredits) for r in requests],
        [r.is_price_known for r in requests],
        [r.markup for r in requests],
        [r.credit_value_usd for r in requests],
        [Int4(r.ttl_s) for r in requests],
        [r.details.decode() for r in requests],
        [_caps_json(r.caps) if r.caps else None for r in requests] if any(r.caps for r in requests) else None,
    )


def _caps_json(caps: tuple[Cap, ...]) -> str:
    return orjson.dumps(
        [
            {
                "scope": c.scope,
                "scope_id": c.scope_id,
                "period_start": c.period_start,
                "limit": c.limit_nanocredits,
            }
            for c in caps
        ]
    ).decode()


def _note_columns(notes: Sequence[_Note]) -> Sequence[Any]:
    return (
        [n.company_id for n in notes],
        [n.hold_id for n in notes],
        [n.generation_id for n in notes],
        [n.delay_s for n in notes],
    )


def _company(row: HoldRequest | _Note) -> UUID:
    return row.company_id


_placing = batches.Batcher("holds", _PLACE, _place_columns, company_of=_company)
# One by one: what is only tried out must not leave less for the next.
_trying_out = batches.Batcher(
    "estimates", _PLACE, _place_columns, company_of=_company, rows_max=1, is_kept=False
)
_noting = batches.Batcher("notes", _NOTE, _note_columns, company_of=_company)


def _note(note: _Note, tries: int = 0) -> asyncio.Future[TupleRow]:
    first = _noting.submit(note)
    first.add_done_callback(functools.partial(_noted, note, tries))
    return first


def _noted(note: _Note, tries: int, answer: asyncio.Future[TupleRow]) -> None:
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
    if tries < len(NOTE_PAUSES_S):
        asyncio.get_running_loop().call_later(NOTE_PAUSES_S[tries], _note_again, note, tries + 1)
    else:
        log.warning("Hold %s: its news are left to the spool and the sweep", note.hold_id)
        spool.rotate_soon()


def _note_again(note: _Note, tries: int) -> None:
    if _noting.is_running():
        _note(note, tries)


@spool.applies("dispatched")
def _replay_dispatched(records: list[spool.Record]) -> None:
    for start in range(0, len(records), REPLAY_ROWS_MAX):
        notes = [
            _Note(
                company_id=UUID(record["company"]),
                hold_id=UUID(record["hold"]),
                generation_id=printable(record["generation"]),
                # Whoever wrote this is gone, or wrote much since: the call is asked for soon, not when its hold ends.
                delay_s=settings.LOOKUP_BACKOFF_S[0],
            )
            for record in records[start : start + REPLAY_ROWS_MAX]
        ]
        for pause_s in NOTE_PAUSES_S:
            notes = _note_now(notes)
            if not notes:
                break
            time.sleep(pause_s)
        if notes:
            raise BooksUnavailable(f"{len(notes)} open holds stay busy.", hint="They are tried again.")


def _note_now(notes: list[_Note]) -> list[_Note]:
    """Note what can be noted; return what was busy."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_NOTE, _note_columns(notes))
            answers = cursor.fetchall()
    except (DataError, IntegrityError):
        raise
    except Error as exc:
        raise BooksUnavailable("The database cannot be written to.", hint="Try again in a moment.") from exc
    return [note for note, (outcome,) in zip(notes, answers, strict=True) if outcome == "busy"]
