"""Credits set aside before a call goes upstream, and what becomes known while it runs; charging is settlement's."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import orjson
from django.conf import settings
from psycopg.rows import TupleRow
from psycopg.types.numeric import Int4, Int8

from accounts.errors import InvalidInput
from billing import batches, money, notes, spool, statements
from billing.errors import (
    AlreadyCompleted,
    HoldNotFound,
    IdempotencyInProgress,
    IdempotencyMismatch,
    ImplausibleCost,
    InsufficientCredits,
    LedgerInvariantBroken,
    WalletFrozen,
    WalletNotFound,
)
from billing.notes import Note

log = logging.getLogger(__name__)

REPLAY_ROWS_MAX = 500
# Upstream's are some 40 characters.
GENERATION_ID_LENGTH_MAX = 200
# A million credits, as for a hold.
EXTENSION_NANOCREDITS_MAX = 10**15

_PLACE = """
    SELECT * FROM billing_place_holds(
        %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::bigint[], %s::boolean[],
        %s::numeric[], %s::numeric[], %s::integer[], %s::jsonb[], %s::jsonb[], %s::bytea[], %s::bytea[])
"""
_EXTEND = "SELECT * FROM billing_extend_holds(%s::uuid[], %s::uuid[], %s::integer[], %s::bigint[])"


@dataclass(frozen=True, slots=True)
class Cap:
    """A spending limit this call counts against: what a key or a user may spend in one period."""

    scope: Literal["key", "user"]
    scope_id: UUID
    period: Literal["day", "week", "month", "total"]
    period_start: date
    limit_nanocredits: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The client's word that a request with this key is made once; the fingerprint tells one body from another."""

    key_sha256: bytes
    fingerprint: bytes


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
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """What a hold was granted, and the wallet right after it."""

    granted_nanocredits: int
    balance_nanocredits: int
    held_nanocredits: int


@dataclass(frozen=True, slots=True)
class Extended:
    """What an extension added to its hold, and the wallet right after it."""

    amount_nanocredits: int
    balance_nanocredits: int
    held_nanocredits: int


@dataclass(frozen=True, slots=True)
class _Extension:
    """One row of billing_extend_holds."""

    company_id: UUID
    hold_id: UUID
    number: int
    amount_nanocredits: int


async def place(request: HoldRequest) -> Placed:
    """Set credits aside for a call, durably, before anything is sent upstream.

    Shape: grants what is wanted, or what wallet and caps leave of it if that is not below the least.
    Units: nanocredits.
    Errors: InsufficientCredits, WalletFrozen, WalletNotFound: nothing is held. BooksUnavailable: something may be
    held, so the id must not be used again; the sweep gives it back. The same if the caller is cancelled here.
    With a claim also IdempotencyMismatch, IdempotencyInProgress, AlreadyCompleted: another call has it, of the last
    24 hours or still open, and was not given back; nothing is held.
    Source: docs/books.md, "Life of a hold".
    """
    return _placed(request, await _placing.submit(request))


def place_now(request: HoldRequest) -> Placed:
    """`place` on Django's connection, in the caller's transaction: for what is no call that waits.

    Errors: as `place`.
    """
    return _placed(request, statements.row(_PLACE, *_place_columns([request])))


async def try_out(request: HoldRequest) -> Placed:
    """What `place` would answer now, through the same gate; nothing is held.

    Errors: as `place`.
    """
    return _placed(request, await _trying_out.submit(request))


async def extend(*, company_id: UUID, hold_id: UUID, number: int, amount_nanocredits: int) -> Extended:
    """Set more credits aside for a running call, durably, before it may cost more than it holds.

    Shape: all of the amount or nothing, against the wallet and the caps of the hold; extensions of a hold are numbered
    from 1, and the same number twice is one extension, the first.
    Units: nanocredits, above 0.
    Errors: InsufficientCredits, WalletFrozen: nothing is added, the call must end within what it holds. HoldNotFound:
    it is not open. BooksUnavailable: perhaps added; the same number may be sent again. InvalidInput.
    Source: docs/books.md, "Life of a hold".
    """
    if number < 1 or not 0 < amount_nanocredits <= EXTENSION_NANOCREDITS_MAX:
        raise InvalidInput(f"Hold {hold_id}: no extension {number} over {amount_nanocredits} nanocredits.")
    extension = _Extension(company_id, hold_id, number, amount_nanocredits)
    return _extended(extension, await _extending.submit(extension))


def dispatched(
    *, hold_id: UUID, company_id: UUID, generation_id: str, estimate_usd: Decimal | None = None
) -> None:
    """Note upstream's id on the open hold, behind the caller's back; the caller has spooled it before.

    Shape: needs a running event loop; tried again for a while, then left to the spool. `estimate_usd` is what was
    seen of the answer, priced; the highest stands, in whatever order they come.
    """
    notes.take(
        Note(
            company_id=company_id,
            hold_id=hold_id,
            generation_id=printable(generation_id),
            estimate_usd=_kept_estimate(estimate_usd),
        )
    )


async def look_up_soon(*, hold_id: UUID, company_id: UUID, estimate_usd: Decimal | None = None) -> None:
    """Have the sweep ask upstream for this call's cost after the first back-off.

    Shape: returns after the first try; what it could not note is tried again, and at worst the hold's time ends.
    `estimate_usd` as for `dispatched`.
    """
    note = Note(
        company_id=company_id,
        hold_id=hold_id,
        delay_s=settings.LOOKUP_BACKOFF_S[0],
        estimate_usd=_kept_estimate(estimate_usd),
    )
    await asyncio.wait([notes.take(note)])


def forget_claims(*, limit: int) -> int:
    """Remove claims that no request can meet any more, oldest first; returns how many. Errors: BooksUnavailable."""
    (forgotten,) = statements.row("SELECT billing_forget_claims(%s)", limit)
    return int(forgotten)


def printable(generation_id: str) -> str:
    """The id as PostgreSQL can keep it; real ones are plain ASCII and pass as they are."""
    text = generation_id[:GENERATION_ID_LENGTH_MAX]
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def _kept_estimate(estimate_usd: Decimal | None) -> Decimal | None:
    """An estimate that the books can keep; one that is no amount of money a call can cost is none."""
    if estimate_usd is None:
        return None
    try:
        return money.parse_cost_usd(estimate_usd)
    except ImplausibleCost as exc:
        log.warning("An estimate is dropped: %s", exc)
        return None


_CLAIMED = {
    "mismatch": IdempotencyMismatch,
    "in_progress": IdempotencyInProgress,
    "completed": AlreadyCompleted,
}


def _placed(request: HoldRequest, answer: TupleRow) -> Placed:
    outcome, limit, granted, available, balance, held, first_hold_id = answer
    if outcome == "placed":
        return Placed(granted_nanocredits=granted, balance_nanocredits=balance, held_nanocredits=held)
    if outcome in _CLAIMED:
        raise _CLAIMED[outcome](first_hold_id)
    needed = request.least_nanocredits
    raise _refusal(request, outcome, limit, needed, available, balance, held)


def _extended(extension: _Extension, answer: TupleRow) -> Extended:
    outcome, limit, amount, available, balance, held = answer
    if outcome in ("extended", "already"):
        return Extended(amount_nanocredits=amount, balance_nanocredits=balance, held_nanocredits=held)
    if outcome == "closed":
        raise HoldNotFound(f"Hold {extension.hold_id} of company {extension.company_id} is not open.")
    raise _refusal(extension, outcome, limit, extension.amount_nanocredits, available, balance, held)


def _refusal(
    row: HoldRequest | _Extension,
    outcome: str,
    limit: str,
    needed: int,
    available: int,
    balance: int,
    held: int,
) -> Exception:
    if outcome == "insufficient":
        return InsufficientCredits(
            f"Hold {row.hold_id}: needs {money.json_number(needed)} credits, "
            f"{money.json_number(available)} available.",
            limit=limit,
            required_nanocredits=needed,
            available_nanocredits=available,
            balance_nanocredits=balance,
            held_nanocredits=held,
        )
    if outcome == "frozen":
        return WalletFrozen(row.company_id)
    if outcome == "no_wallet":
        return WalletNotFound(row.company_id)
    return LedgerInvariantBroken(f"Hold {row.hold_id}: unknown answer {outcome!r}.")


def _place_columns(requests: Sequence[HoldRequest]) -> Sequence[Any]:
    # Int8 and Int4 pin the type of each array, so that one prepared statement serves every batch.
    claims = [r.claim for r in requests]
    is_any_claimed = any(claims)
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
        [claim and claim.key_sha256 for claim in claims] if is_any_claimed else None,
        [claim and claim.fingerprint for claim in claims] if is_any_claimed else None,
    )


def _caps_json(caps: tuple[Cap, ...]) -> str:
    return orjson.dumps(
        [
            {
                "scope": c.scope,
                "scope_id": c.scope_id,
                "period": c.period,
                "period_start": c.period_start,
                "limit": c.limit_nanocredits,
            }
            for c in caps
        ]
    ).decode()


def _extend_columns(extensions: Sequence[_Extension]) -> Sequence[Any]:
    return (
        [e.company_id for e in extensions],
        [e.hold_id for e in extensions],
        [Int4(e.number) for e in extensions],
        [Int8(e.amount_nanocredits) for e in extensions],
    )


def _company(row: HoldRequest | _Extension) -> UUID:
    return row.company_id


_placing = batches.Batcher("holds", _PLACE, _place_columns, company_of=_company)
# One by one: what is only tried out must not leave less for the next.
_trying_out = batches.Batcher(
    "estimates", _PLACE, _place_columns, company_of=_company, rows_max=1, is_kept=False
)
_extending = batches.Batcher("extensions", _EXTEND, _extend_columns, company_of=_company)


@spool.applies("dispatched")
def _replay_dispatched(records: list[spool.Record]) -> None:
    for start in range(0, len(records), REPLAY_ROWS_MAX):
        found = [
            Note(
                company_id=UUID(record["company"]),
                hold_id=UUID(record["hold"]),
                generation_id=printable(record["generation"]),
                # Whoever wrote this is gone, or wrote much since: the call is asked for soon, not when its hold ends.
                delay_s=settings.LOOKUP_BACKOFF_S[0],
                estimate_usd=_spooled_estimate(record),
            )
            for record in records[start : start + REPLAY_ROWS_MAX]
        ]
        notes.take_now(found)


def _spooled_estimate(record: spool.Record) -> Decimal | None:
    try:
        return _kept_estimate(Decimal(record["estimate_usd"])) if record.get("estimate_usd") else None
    except (ArithmeticError, TypeError, ValueError):
        log.warning("Spool: the estimate of hold %s is no number, and is dropped", record["hold"])
        return None
