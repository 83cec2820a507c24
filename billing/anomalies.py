"""Evidence the books refused to act on: read, and decided by a person, once."""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from uuid import UUID

import orjson
from django.db import transaction

from accounts import audit
from accounts.errors import InvalidInput
from billing import days, ledger, money, statements
from billing.errors import (
    AnomalyDecided,
    AnomalyNotFound,
    HoldNotFound,
    ImplausibleCost,
    LedgerInvariantBroken,
)

LIST_MAX = 200
DAY_MISMATCH = "day_mismatch"

type Word = Literal["charge", "void"]

_COLUMNS = """
    SELECT a.kind, a.reference, a.company_id, a.hold_id, a.details, a.created_at, d.decision, d.cost_usd, d.actor,
           d.reason, d.created_at,
           CASE WHEN a.hold_id IS NULL THEN ''
                WHEN o.hold_id IS NOT NULL THEN o.stage
                WHEN s.hold_id IS NOT NULL THEN 'settled' ELSE '' END
      FROM billing_anomaly a
      LEFT JOIN billing_decision d USING (kind, reference)
      LEFT JOIN billing_open_hold o ON (o.company_id, o.hold_id) = (a.company_id, a.hold_id)
      LEFT JOIN billing_settlement s ON (s.company_id, s.hold_id) = (a.company_id, a.hold_id)
"""
# A day that was closed after all needs no decision any more.
_IS_OPEN = """
    NOT EXISTS (SELECT FROM billing_decision d WHERE (d.kind, d.reference) = (a.kind, a.reference))
    AND (a.kind <> 'day_mismatch'
         OR NOT EXISTS (SELECT FROM billing_day WHERE day::text = a.reference AND closed_at IS NOT NULL))
"""
_OPEN = f"""
    {_COLUMNS} WHERE {_IS_OPEN} AND (a.created_at, a.kind, a.reference) < (%s, %s, %s)
     ORDER BY a.created_at DESC, a.kind DESC, a.reference DESC LIMIT %s
"""
_COUNT = f"SELECT count(*) FROM billing_anomaly a WHERE {_IS_OPEN}"  # noqa: S608 - constants of this module.
_ONE = _COLUMNS + " WHERE (a.kind, a.reference) = (%s, %s)"
_DECIDE = "SELECT * FROM billing_carry_out(%s, %s, %s, %s, %s, %s, %s)"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said; `is_new` is false when it was said before. Units: USD, None for a void."""

    decision: Word
    cost_usd: Decimal | None
    actor: str
    reason: str
    decided_at: datetime
    is_new: bool = True
    charged_nanocredits: int | None = None


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something a person must look at. `state` is its call's: held, dispatched, parked, settled, or '' for no call.

    Units: `cost_usd` is what a `charge` would charge, USD; None where the evidence names no cost that could be one.
    """

    kind: str
    reference: str
    company_id: UUID | None
    hold_id: UUID | None
    details: dict[str, Any]
    created_at: datetime
    decision: Decision | None
    state: str

    @property
    def cost_usd(self) -> Decimal | None:
        return _evidence_cost(self.details)


@dataclass(frozen=True, slots=True)
class Page:
    """Some anomalies, and where the next page begins; None at the end."""

    anomalies: list[Anomaly]
    next_cursor: str | None


def list_open(*, limit: int = 50, cursor: str | None = None) -> Page:
    """Return the anomalies nobody has decided about, the latest first.

    Errors: InvalidInput for a cursor that is none of ours.
    """
    wanted = max(1, min(limit, LIST_MAX))
    rows = statements.rows(_OPEN, *_read_cursor(cursor), wanted + 1)
    found = [_anomaly(row) for row in rows[:wanted]]
    return Page(anomalies=found, next_cursor=_cursor(found[-1]) if len(rows) > wanted else None)


def count_open() -> int:
    """Return how many anomalies nobody has decided about."""
    (count,) = statements.row(_COUNT)
    return int(count)


def get(*, kind: str, reference: str) -> Anomaly:
    """Return one anomaly, decided or not.

    Errors: AnomalyNotFound.
    """
    rows = statements.rows(_ONE, kind, reference)
    if not rows:
        raise AnomalyNotFound(f"There is no anomaly {kind} {reference!r}.")
    return _anomaly(rows[0])


def decide(
    *, kind: str, reference: str, decision: Word, actor: str, reason: str, cost_usd: Decimal | None = None
) -> Decision:
    """Act on an anomaly by a person's word, for good.

    Shape: `charge` makes the evidence's cost, or the one given, the call's: a call that waits is settled with it, a
    settled one corrected, both with source `operator`. `void` rejects the evidence: a parked call is given back, one
    that still goes its way or is settled stays as it is; a day's difference is accepted. Once: the same again
    returns the first.
    Units: USD, the call's whole cost; 0 <= cost_usd <= 1000.
    Errors: AnomalyNotFound; AnomalyDecided when another decision stands; InvalidInput without actor or reason, where
    no cost is to be charged or there is no call; ImplausibleCost; BooksUnavailable.
    Source: docs/books.md, "Evidence".
    """
    actor = _text("actor", actor, ledger.ACTOR_LENGTH_MAX)
    reason = _text("reason", reason, ledger.NOTE_LENGTH_MAX)
    found = get(kind=kind, reference=reference)
    cost = cost_to_charge(found, decision, cost_usd)
    charged = None if cost is None else charge(found, cost)
    with transaction.atomic():
        row = statements.row(_DECIDE, kind, reference, decision, actor, reason, cost, charged)
        outcome, stands, its_cost, its_actor, its_reason, decided_at, charged_now = row
        if outcome == "conflict":
            raise AnomalyDecided(
                f"{its_actor} has decided about {kind} {reference!r} already: {_words(stands, its_cost)}.",
                hint="A decision is for good; correct the call itself where it was wrong.",
            )
        if outcome == "no_call":
            raise _no_call(found)
        if outcome not in ("decided", "already"):
            raise LedgerInvariantBroken(f"Anomaly {kind} {reference!r}: unknown answer {outcome!r}.")
        if outcome == "decided" and kind == DAY_MISMATCH:
            days.accept(day=_day(reference), actor=actor)
        if outcome == "decided":
            _record(found, decision, cost_usd=cost, reason=reason, now=decided_at)
    return Decision(stands, its_cost, its_actor, its_reason, decided_at, outcome == "decided", charged_now)


def _record(found: Anomaly, decision: Word, *, cost_usd: Decimal | None, reason: str, now: datetime) -> None:
    audit.record(
        company_id=found.company_id,
        action="anomaly.charged" if decision == "charge" else "anomaly.voided",
        target_kind="anomaly",
        target_id=found.reference,
        target_label=found.kind,
        after={"decision": decision, "cost_usd": cost_usd},
        reason=reason,
        now=now,
    )


def cost_to_charge(found: Anomaly, decision: str, given_usd: Decimal | None) -> Decimal | None:
    """What a decision would charge, the call's whole cost in USD; None for a void. Errors: as `decide`."""
    if decision == "void":
        if given_usd is not None:
            raise InvalidInput("A void charges nothing: leave the cost out, or decide for charge.")
        return None
    if decision != "charge":
        raise InvalidInput(f"A decision is charge or void, not {decision!r}.")
    cost = found.cost_usd if given_usd is None else money.parse_cost_usd(given_usd)
    if cost is None:
        raise InvalidInput(
            f"The evidence of {found.kind} {found.reference!r} names no cost that could be charged.",
            hint="Give the call's whole cost in USD, or void it.",
        )
    return cost


def standing_nanocredits(found: Anomaly) -> int | None:
    """What its call is charged now; None where it is not settled, or there is none."""
    rows = statements.rows(
        "SELECT charged_nanocredits, source FROM billing_standing(%s, %s)", found.company_id, found.hold_id
    )
    return None if not rows or rows[0][1] is None else int(rows[0][0])


def charge(found: Anomaly, cost_usd: Decimal) -> int:
    """What that cost comes to for its call. Units: nanocredits. Errors: InvalidInput where there is no call."""
    if found.company_id is None or found.hold_id is None:
        raise _no_call(found)
    try:
        return ledger.charge_of(company_id=found.company_id, hold_id=found.hold_id, cost_usd=cost_usd)
    except HoldNotFound as exc:
        raise _no_call(found) from exc


def _no_call(found: Anomaly) -> InvalidInput:
    return InvalidInput(f"{found.kind} {found.reference!r} is about no call that could be charged: void it.")


def _evidence_cost(details: dict[str, Any]) -> Decimal | None:
    """The cost that quarantined evidence names, wherever its kind keeps it; None for what was never an amount."""
    if details.get("kind") == "quarantine":
        return None
    record = details.get("record")
    written = details.get("cost_usd") or (record.get("total_cost") if isinstance(record, dict) else None)
    try:
        return money.parse_cost_usd(Decimal(written)) if isinstance(written, str) else None
    except (InvalidOperation, ImplausibleCost):
        return None


def _anomaly(row: tuple[Any, ...]) -> Anomaly:
    kind, reference, company_id, hold_id, details, created_at, *decided, state = row
    word, cost, actor, reason, decided_at = decided
    return Anomaly(
        kind=kind,
        reference=reference,
        company_id=company_id,
        hold_id=hold_id,
        details=orjson.loads(details),
        created_at=created_at,
        decision=Decision(word, cost, actor, reason, decided_at, is_new=False) if word else None,
        state=state,
    )


def _text(name: str, text: str, length_max: int) -> str:
    text = text.strip()
    if not 0 < len(text) <= length_max or not all(c.isprintable() or c in "\n\t" for c in text):
        raise InvalidInput(f"A decision needs its {name}: 1 to {length_max} plain characters.")
    return text


def _words(decision: str, cost_usd: Decimal | None) -> str:
    return decision if cost_usd is None else f"{decision} {cost_usd:f} USD"


def _day(reference: str) -> Any:
    return datetime.strptime(reference, "%Y-%m-%d").date()  # noqa: DTZ007 - a day, no instant.


def _cursor(last: Anomaly) -> str:
    place = [last.created_at.isoformat(), last.kind, last.reference]
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def _read_cursor(cursor: str | None) -> tuple[str, str, str]:
    """Return the place after which to go on; without a cursor that is before all of them."""
    if cursor is None:
        return "infinity", "", ""
    try:
        at, kind, reference = orjson.loads(base64.urlsafe_b64decode(cursor.encode()))
        return datetime.fromisoformat(at).isoformat(), str(kind), str(reference)
    except (binascii.Error, ValueError, TypeError) as exc:
        raise InvalidInput("The cursor is none of ours.", hint="Start again without it.") from exc
