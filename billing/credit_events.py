"""What a company is told about its credits: low, gone, topped up; once per crossing, by letter and by webhook."""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction

from accounts import webhook_events
from accounts.ids import uuid7
from accounts.webhook_events import Kind
from billing import money, statements
from billing.payment_models import CreditEvent, CreditLevel

# Less buys no call. Unit: nanocredits.
EXHAUSTED_BELOW = 10_000_000
# What ends a state lies so far above what began it that holds, which come and go, do not cross it back and forth:
# low ends at six fifths of the threshold; exhausted at one fifth of it, and at no less than 0.1 credit.
FINE_FIFTHS = 6
REFILLED_FIFTHS = 1
REFILLED_NANOCREDITS_MIN = 100_000_000
# Companies at once; where more have crossed, the next round takes them.
COMPANIES_MAX = 1000

FINE, LOW, EXHAUSTED = CreditLevel.Level
_WORTH = {FINE: 2, LOW: 1, EXHAUSTED: 0}

# What stands and what it was told as. A wallet that never had an entry has nothing to lose, and is told nothing.
_STANDING = """
    SELECT w.company_id, w.posted_nanocredits, w.held_nanocredits, (c.low_credits * 1000000000)::bigint AS threshold,
           coalesce(l.level, 'fine') AS told
      FROM billing_wallet w
      JOIN accounts_company c ON c.id = w.company_id AND c.status <> 'closed'
      LEFT JOIN billing_credit_level l ON l.company_id = w.company_id
     WHERE w.version > 0
"""
# The same rule as `level`: the few companies that have crossed something, and no other that would stand in their way.
_CROSSED = f"""
    SELECT company_id FROM ({_STANDING}) s
     WHERE CASE told WHEN 'fine' THEN posted_nanocredits - held_nanocredits < greatest(threshold, %s)
                     WHEN 'low'  THEN posted_nanocredits - held_nanocredits < %s
                                   OR (posted_nanocredits - held_nanocredits) * 5 >= threshold::numeric * {FINE_FIFTHS}
                     ELSE posted_nanocredits - held_nanocredits >= greatest(threshold * {REFILLED_FIFTHS} / 5, %s) END
     ORDER BY company_id LIMIT %s
"""  # noqa: S608 - of constants.


def level(
    *, available_nanocredits: int, threshold_nanocredits: int, told: CreditLevel.Level
) -> CreditLevel.Level:
    """How credits stand, given how they stood when the company was last told."""
    if available_nanocredits < EXHAUSTED_BELOW:
        return EXHAUSTED
    refilled = max(threshold_nanocredits * REFILLED_FIFTHS // 5, REFILLED_NANOCREDITS_MIN)
    if told is EXHAUSTED and available_nanocredits < refilled:
        return EXHAUSTED
    if available_nanocredits < threshold_nanocredits:
        return LOW
    if told is not FINE and available_nanocredits * 5 < threshold_nanocredits * FINE_FIFTHS:
        return LOW
    return FINE


def check_all(*, now: datetime) -> int:
    """Tell every company whose credits have crossed a threshold; how many have. Safe to run twice, and beside itself.

    Errors: BooksUnavailable.
    """
    found = statements.rows(
        _CROSSED, EXHAUSTED_BELOW, EXHAUSTED_BELOW, REFILLED_NANOCREDITS_MIN, COMPANIES_MAX
    )
    return sum(check(company_id=company_id, now=now) for (company_id,) in found)


@transaction.atomic
def check(*, company_id: UUID, now: datetime) -> bool:
    """Tell one company if its credits have crossed a threshold; whether they have.

    Shape: the crossing and what is told of it are one transaction, and one such transaction at a time per company, so
    that each crossing is told once. Who falls below both thresholds at once is told of both.
    Errors: BooksUnavailable.
    """
    CreditLevel.objects.bulk_create(
        [CreditLevel(company_id=company_id, level=FINE.value, since=now)], ignore_conflicts=True
    )
    row = CreditLevel.objects.select_for_update().get(company_id=company_id)
    found = statements.rows(f"{_STANDING} AND w.company_id = %s", company_id)
    if not found:
        return False
    _, balance, held, threshold, _ = found[0]
    told = CreditLevel.Level(row.level)
    now_at = level(available_nanocredits=balance - held, threshold_nanocredits=threshold, told=told)
    if now_at is told:
        return False
    CreditLevel.objects.filter(company_id=company_id).update(level=now_at.value, since=now)
    amounts = {"balance": balance, "held": held, "available": balance - held, "threshold": threshold}
    if told is FINE and threshold > EXHAUSTED_BELOW:
        _tell(company_id, CreditEvent.Kind.LOW, amounts, now=now)
    if now_at is EXHAUSTED:
        _tell(company_id, CreditEvent.Kind.EXHAUSTED, amounts, now=now)
    return True


@transaction.atomic
def topped_up(
    *, company_id: UUID, amount_nanocredits: int, action: str, reference: str, now: datetime
) -> None:
    """Tell a company that credits came; in the transaction of the entry that brought them.

    Errors: BooksUnavailable.
    """
    row = statements.rows(
        "SELECT posted_nanocredits, held_nanocredits FROM billing_wallet WHERE company_id = %s", company_id
    )
    balance, held = row[0]
    amounts = {"credits": amount_nanocredits, "balance": balance, "held": held, "available": balance - held}
    _tell(company_id, CreditEvent.Kind.TOPPED_UP, amounts, now=now, action=action, reference=reference)
    check(company_id=company_id, now=now)


def _tell(
    company_id: UUID, kind: CreditEvent.Kind, amounts: dict[str, int], *, now: datetime, **words: str
) -> None:
    payload: dict[str, Any] = {name: money.json_number(amount) for name, amount in amounts.items()}
    CreditEvent.objects.create(
        id=uuid7(), company_id=company_id, kind=kind.value, payload=payload | words, created_at=now
    )
    numbers = {name: orjson.Fragment(amount) for name, amount in payload.items()}
    webhook_events.tell(company_id=company_id, kind=Kind(kind.value), payload=numbers | words, now=now)
