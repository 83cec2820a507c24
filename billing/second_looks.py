"""Settled calls whose cost did not come with the answer: upstream's record is looked at again, and corrects them."""

import logging
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import orjson
from django.conf import settings
from django.db import transaction

from billing import ledger, reconciliation, statements
from billing.errors import ImplausibleCost

log = logging.getLogger(__name__)

# What a later record of upstream's may correct: it is a better word than these, or their own, told again.
CONFIRMED_BY_RECORD = frozenset({"generation", "broadcast", "estimate"})

type Outcome = Literal["corrected", "confirmed", "quarantined", "counted"]


@dataclass(frozen=True, slots=True)
class SecondLook:
    """A settled call to be looked at again, as a worker claimed it; `source` and `cost_usd` are what stands today."""

    company_id: UUID
    hold_id: UUID
    generation_id: str
    number: int
    markup: Decimal
    credit_value_usd: Decimal
    source: str
    cost_usd: Decimal
    created_at: datetime
    age_s: Decimal
    details: dict[str, Any]

    @property
    def is_needed(self) -> bool:
        """Whether upstream's record could change what stands: a person's word or the answer's own is better."""
        return self.source in CONFIRMED_BY_RECORD


def claim_due(*, limit: int) -> list[SecondLook]:
    """Take second looks whose time has come, for reconciliation.LEASE_S; no other worker gets the same meanwhile.

    Errors: BooksUnavailable.
    """
    claimed = statements.rows(
        "SELECT * FROM billing_claim_second_looks(%s, %s)", limit, reconciliation.LEASE_S
    )
    return [SecondLook(*(*columns, orjson.loads(details))) for *columns, details in claimed]


def apply_record(look: SecondLook, *, cost_usd: Decimal) -> Outcome:
    """Set a call right by upstream's record as it reads now, and count this look.

    Shape: another cost, or a call that stands on a lesser word, becomes a correction `second_look:<n>`, in one
    transaction with the count; twice is once. A cost that cannot be charged is an anomaly and changes nothing.
    Units: USD, the call's whole cost.
    Errors: BooksUnavailable.
    Source: docs/reconciliation.md, "Second looks".
    """
    if not look.is_needed or (look.source == "generation" and look.cost_usd == cost_usd):
        return _counted(look, "confirmed")
    with transaction.atomic():
        try:
            corrected = ledger.correct(
                company_id=look.company_id,
                hold_id=look.hold_id,
                cost_usd=cost_usd,
                source="generation",
                reference=f"second_look:{look.number}",
                generation_id=look.generation_id,
                note="Upstream's record, looked at again",
            )
            outcome: Outcome = (
                "quarantined" if corrected.outcome == "quarantined"
                else "corrected" if corrected.difference_nanocredits else "confirmed"
            )  # fmt: skip
        except ImplausibleCost as exc:
            reconciliation.report(
                "implausible_cost",
                reference=f"gen_{look.hold_id}:second_look:{look.number}",
                company_id=look.company_id,
                hold_id=look.hold_id,
                details={"why": exc.message, "cost_usd": str(cost_usd)[:200], "source": "generation"},
            )
            outcome = "quarantined"
        return _counted(look, outcome)


def not_found(look: SecondLook) -> bool:
    """Count a look that found no record; an estimate that none ever confirmed is then put before a person.

    Shape: False when it was counted already. The estimate stands: it is what the call costs until somebody decides.
    Errors: BooksUnavailable.
    """
    with transaction.atomic():
        is_counted = _done(look)
        if is_counted and look.number >= len(settings.SECOND_LOOK_S) and look.source == "estimate":
            reconciliation.report(
                "never_confirmed",
                reference=f"gen_{look.hold_id}",
                company_id=look.company_id,
                hold_id=look.hold_id,
                details={"generation_id": look.generation_id, "estimated_usd": f"{look.cost_usd:f}"},
            )
    return is_counted


def mismatch(look: SecondLook, *, record: dict[str, Any]) -> bool:
    """Put another call's record, given for this one, before a person; nothing is corrected, and the look is counted.

    Errors: BooksUnavailable.
    """
    with transaction.atomic():
        is_counted = _done(look)
        if is_counted:
            reconciliation.report(
                "generation_mismatch",
                reference=f"gen_{look.hold_id}:second_look:{look.number}",
                company_id=look.company_id,
                hold_id=look.hold_id,
                details={"source": "generation", "generation_id": look.generation_id, "record": record},
            )
    return is_counted


def no_answer(look: SecondLook, *, delay_s: Decimal) -> bool:
    """Put this look off: upstream did not say anything, so nothing is counted.

    Errors: BooksUnavailable.
    """
    (found,) = statements.row(
        "SELECT billing_second_look_again(%s, %s, %s, %s)",
        look.company_id, look.hold_id, look.number, delay_s,
    )  # fmt: skip
    return bool(found)


def _counted(look: SecondLook, outcome: Outcome) -> Outcome:
    return outcome if _done(look) else "counted"


def _done(look: SecondLook) -> bool:
    pauses_s = settings.SECOND_LOOK_S
    next_s = pauses_s[look.number] if look.number < len(pauses_s) else None
    (found,) = statements.row(
        "SELECT billing_second_look_done(%s, %s, %s, %s)",
        look.company_id, look.hold_id, look.number, next_s,
    )  # fmt: skip
    return bool(found)
