"""The end of a hold: the one function that charges a call, for the gateway (async) and for workers (`_now`)."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import orjson
import psycopg
from django.conf import settings
from django.db import DataError, IntegrityError
from psycopg.rows import TupleRow
from psycopg.types.numeric import Int8

from billing import batches, holds, money, spool, statements
from billing.errors import BooksUnavailable, HoldNotFound, ImplausibleCost

log = logging.getLogger(__name__)

# The pause before a settlement is tried again; each further one is twice as long, until SETTLE_RETRY_S is over.
RETRY_PAUSE_S = 0.05
# How much of an impossible literal a person gets to see.
COST_SHOWN_CHARACTERS = 200

type Source = Literal["inline", "stream", "generation", "broadcast", "estimate", "no_evidence", "operator"]
type Outcome = Literal["posted", "already", "quarantined", "spooled"]

_SETTLE = """
    SELECT * FROM billing_settle(
        %s::uuid[], %s::uuid[], %s::text[], %s::numeric[], %s::bigint[], %s::text[], %s::text[], %s::jsonb[],
        %s::double precision)
"""
_DETAILS_REFUSED = '{"details_refused": true}'


@dataclass(frozen=True, slots=True)
class HoldKey:
    """Which hold, and the prices it was placed with: they decide the charge."""

    company_id: UUID
    hold_id: UUID
    markup: Decimal
    credit_value_usd: Decimal


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a call's cost, and from where.

    `details` is a JSON object: usage reads `model`, `tokens_prompt` and `tokens_completion`, the rest is only kept.
    Details that PostgreSQL cannot keep are dropped.
    """

    source: Source
    cost_usd: Decimal | None = None
    generation_id: str | None = None
    details: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a call ended. Balance and held are the wallet's right after it, and 0 unless `is_charged`.

    `outcome`: posted (by this evidence), already (the charge is what the call costs now: if this evidence was better
    than what settled it, it has corrected the charge), quarantined (a person decides; the hold stays), spooled (the
    database is away; it is settled when it is back).
    """

    outcome: Outcome
    charged_nanocredits: int
    balance_nanocredits: int
    held_nanocredits: int

    @property
    def is_charged(self) -> bool:
        """Whether the ledger has this call's charge, be it zero."""
        return self.outcome in ("posted", "already")


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of billing_settle."""

    company_id: UUID
    hold_id: UUID
    kind: Literal["post", "void", "quarantine"]
    cost_usd: Decimal
    charged_nanocredits: int
    source: Source
    generation_id: str
    details: str


async def settle(*, hold: HoldKey, evidence: Evidence) -> Settlement:
    """Charge an open hold with what upstream reported and give the rest back.

    Shape: at most one settlement and one entry; a zero cost makes no entry; the same hold twice returns what it costs,
    and only better evidence changes that, by a correction.
    Tried for SETTLE_RETRY_S while the database is away, then spooled.
    Units: USD in, charged up to a whole nanocredit; 0 <= cost_usd <= 1000.
    Errors: HoldNotFound. An implausible cost raises nothing: it is quarantined and the hold kept.
    Source: docs/books.md, "Life of a hold".
    """
    return await _settle(_post_row(hold, evidence))


async def void(*, hold: HoldKey, evidence: Evidence) -> Settlement:
    """Give a hold back whole: the call cost nothing, and `evidence` says why that is known.

    Shape, errors: as `settle`; `evidence.cost_usd` is not looked at.
    """
    return await _settle(_void_row(hold, evidence))


def settle_now(*, hold: HoldKey, evidence: Evidence) -> Settlement:
    """`settle` for workers: one try.

    Errors: HoldNotFound, BooksUnavailable (nothing was spooled; the hold is still open).
    """
    return _settle_now(_post_row(hold, evidence))


def void_now(*, hold: HoldKey, evidence: Evidence) -> Settlement:
    """`void` for workers.

    Errors: as `settle_now`.
    """
    return _settle_now(_void_row(hold, evidence))


def _post_row(hold: HoldKey, evidence: Evidence) -> _Row:
    kind: Literal["post", "quarantine"] = "post"
    cost, charged, details = Decimal(0), 0, _text(evidence.details)
    try:
        cost = money.parse_cost_usd(evidence.cost_usd)
        charged = money.charge_nanocredits(
            cost_usd=cost, markup=hold.markup, credit_value_usd=hold.credit_value_usd
        )
    except ImplausibleCost as exc:
        kind, cost = "quarantine", Decimal(0)
        literal = str(evidence.cost_usd)[:COST_SHOWN_CHARACTERS]
        details = orjson.dumps(
            {"why": exc.message, "cost_usd": literal, "details": orjson.Fragment(details)}
        ).decode()
    return _Row(
        company_id=hold.company_id,
        hold_id=hold.hold_id,
        kind=kind,
        cost_usd=cost,
        charged_nanocredits=charged,
        source=evidence.source,
        generation_id=holds.printable(evidence.generation_id or ""),
        details=details,
    )


def _void_row(hold: HoldKey, evidence: Evidence) -> _Row:
    return _Row(
        company_id=hold.company_id,
        hold_id=hold.hold_id,
        kind="void",
        cost_usd=Decimal(0),
        charged_nanocredits=0,
        source=evidence.source,
        generation_id=holds.printable(evidence.generation_id or ""),
        details=_text(evidence.details),
    )


def _text(details: bytes) -> str:
    """A charge must not fail for what merely describes it, such as bytes that are no UTF-8."""
    return details.decode(errors="replace")


def _columns(rows: Sequence[_Row]) -> Sequence[Any]:
    return (
        [r.company_id for r in rows],
        [r.hold_id for r in rows],
        [r.kind for r in rows],
        [r.cost_usd for r in rows],
        [Int8(r.charged_nanocredits) for r in rows],
        [r.source for r in rows],
        [r.generation_id for r in rows],
        [r.details for r in rows],
        settings.SECOND_LOOK_S[0] if settings.SECOND_LOOK_S else None,
    )


_settling = batches.Batcher("settlements", _SETTLE, _columns, company_of=lambda row: row.company_id)


async def _settle(row: _Row) -> Settlement:
    """Settle, or write down what to settle: whatever happens here, the evidence is in one of the two places."""
    try:
        return await _settle_in_time(row)
    except TimeoutError:
        return _spooled(row)
    except HoldNotFound:
        raise
    except asyncio.CancelledError:
        # The statement may still be carried out; a second one then answers `already`.
        _spool(row)
        raise
    except Exception as exc:
        log.error("Hold %s: its settlement failed, and is kept in the spool: %s", row.hold_id, exc)
        _spool(row)
        raise


async def _settle_in_time(row: _Row) -> Settlement:
    """Errors: TimeoutError when the database could not be written to for SETTLE_RETRY_S."""
    give_up_at = asyncio.get_running_loop().time() + settings.SETTLE_RETRY_S
    pause_s = RETRY_PAUSE_S
    refusals = 0
    async with asyncio.timeout_at(give_up_at):
        while True:
            try:
                return _settlement(row, await _settling.submit(row))
            except BooksUnavailable:
                # The statement may have been carried out; a second one then answers `already`.
                await asyncio.sleep(pause_s)
                pause_s *= 2
            except (psycopg.DataError, psycopg.IntegrityError) as exc:
                refusals += 1
                row = _second_try(row, refusals, exc)


def _settlement(row: _Row, answer: TupleRow) -> Settlement:
    outcome, charged, balance, held = answer
    if outcome == "unknown_hold":
        raise HoldNotFound(f"Hold {row.hold_id} of company {row.company_id} was never placed.")
    if outcome == "quarantined":
        log.error("Hold %s: its evidence is quarantined; see billing_anomaly", row.hold_id)
        return Settlement(outcome, 0, 0, 0)
    return Settlement(outcome, charged, balance, held)


def _second_try(row: _Row, refusals: int, error: BaseException) -> _Row:
    """The row to send after PostgreSQL refused it: a charge must not fail for what merely describes it.

    A unique violation needs no change: another transaction took the generation id, and now its row can be seen.
    """
    if refusals > 1:
        raise error
    log.error("Hold %s: its settlement was refused, and is tried again: %s", row.hold_id, error)
    return row if isinstance(error, psycopg.IntegrityError) else replace(row, details=_DETAILS_REFUSED)


def _spooled(row: _Row) -> Settlement:
    if not _spool(row):
        raise BooksUnavailable(
            f"Hold {row.hold_id}: neither the database nor the spool took its settlement.",
            hint="The sweep looks its cost up; make room on the disk of SPOOL_DIR.",
        )
    return Settlement("spooled", row.charged_nanocredits, 0, 0)


def _spool(row: _Row) -> bool:
    record = {
        "kind": "settle",
        "company": row.company_id,
        "hold": row.hold_id,
        "settlement": row.kind,
        "cost_usd": row.cost_usd,
        "charged_nanocredits": row.charged_nanocredits,
        "source": row.source,
        "generation": row.generation_id,
        "details": row.details,
    }
    if not spool.append(record):
        return False
    spool.rotate_soon()
    return True


def _settle_now(row: _Row) -> Settlement:
    refusals = 0
    while True:
        try:
            answer = statements.row(_SETTLE, *_columns([row]))
            break
        except (DataError, IntegrityError) as exc:
            refusals += 1
            row = _second_try(row, refusals, exc.__cause__ or exc)
    return _settlement(row, answer)


@spool.applies("settle")
def _replay(records: list[spool.Record]) -> None:
    for record in records:
        row = _Row(
            company_id=UUID(record["company"]),
            hold_id=UUID(record["hold"]),
            kind=record["settlement"],
            cost_usd=Decimal(record["cost_usd"]),
            charged_nanocredits=record["charged_nanocredits"],
            source=record["source"],
            generation_id=record["generation"],
            details=record["details"],
        )
        try:
            _settle_now(row)
        except HoldNotFound as exc:
            log.error("Spool: %s It is on billing_anomaly.", exc)
