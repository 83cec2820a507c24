"""Open holds whose time has come: claimed, looked up later, estimated, given back or settled; llm asks upstream."""

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_FLOOR, Context, Decimal, localcontext
from typing import Any, Literal
from uuid import UUID

import orjson
from django.conf import settings

from billing import alerts, holds, money, settlement, statements
from billing.errors import LedgerInvariantBroken
from billing.settlement import Evidence, HoldKey, Settlement

log = logging.getLogger(__name__)

# A worker has this long for what it claimed; then another one may claim it, which changes nothing but the traffic.
LEASE_S = 60
# Two look-ups of many calls must not fall on the same second for ever. A part of the pause, both ways.
JITTER_PERCENT = 20
# An expired hold of which nothing was heard is given back this part of its time later, at the second look: in
# between, every spool of every gateway that lives has been replayed.
GRACE_PART = 10

# Upstream's records are seconds late, not minutes: a record that is missing for this long is told to the operator.
RECORD_LATE_S = 900
# A look-up that upstream did not answer is tried again after this part of the call's age, but at least every hour.
NO_ANSWER_PART = Decimal("0.25")
NO_ANSWER_MAX_S = 3600
# For so long credits wait for an upstream that answers no look-up at all.
UNANSWERED_MAX_S = 86_400
# What an estimate is reckoned with, and to which place of a dollar it is cut where the hold covers no more.
_ESTIMATING = Context(prec=100, rounding=ROUND_FLOOR)
_ESTIMATE_PLACES = Decimal("1e-20")

_LATE = """
    SELECT count(*), min(hold_id::text), coalesce(max(extract(epoch FROM clock_timestamp() - created_at))::bigint, 0)
      FROM billing_open_hold
     WHERE stage = 'dispatched'
       -- A job (llm/lookups.py) takes the time it takes.
       AND coalesce(left(generation_id, 4), '') <> 'job:'
       AND (attempts > 0 AND created_at < clock_timestamp() - make_interval(secs => %s)
            OR created_at < clock_timestamp() - make_interval(secs => %s))
"""


@dataclass(frozen=True, slots=True)
class OpenHold:
    """A call that is not settled yet, as a worker claimed it."""

    company_id: UUID
    hold_id: UUID
    key_id: UUID
    kit_id: UUID
    tenant_user_id: UUID
    held_nanocredits: int
    markup: Decimal
    credit_value_usd: Decimal
    generation_id: str | None
    stage: Literal["held", "dispatched", "parked"]
    attempts: int
    created_at: datetime
    is_expired: bool
    age_s: Decimal
    estimate_usd: Decimal | None
    details: dict[str, Any]

    @property
    def key(self) -> HoldKey:
        """What settlement needs to know of it."""
        return HoldKey(
            company_id=self.company_id,
            hold_id=self.hold_id,
            markup=self.markup,
            credit_value_usd=self.credit_value_usd,
        )


def claim_due(*, limit: int) -> list[OpenHold]:
    """Take open holds whose time has come, for LEASE_S; no other worker gets the same in the meantime.

    Errors: BooksUnavailable.
    """
    claimed = statements.rows("SELECT * FROM billing_claim_due(%s, %s)", limit, LEASE_S)
    return [OpenHold(*(*columns, orjson.loads(details))) for *columns, details in claimed]


def settle_from_generation(
    hold: OpenHold, *, cost_usd: Decimal, facts: Mapping[str, Any] | None = None
) -> Settlement:
    """Charge an open hold with what upstream's own record of the generation says.

    Units, errors: as settlement.settle_now; `facts` is kept and not read.
    """
    evidence = Evidence(
        source="generation",
        cost_usd=cost_usd,
        generation_id=hold.generation_id,
        details=orjson.dumps(facts or {}),
    )
    return settlement.settle_now(hold=hold.key, evidence=evidence)


def not_found(hold: OpenHold) -> bool:
    """Put the next look-up off after one to which upstream had no record; after the last one a person decides.

    Shape: counts once however often it is called for the same claim; False when it was counted already or settled.
    A call that upstream has named and not recorded for ESTIMATE_AFTER_S is settled by an estimate, where there is
    something to estimate from; `second_looks` corrects that when the record appears.
    Errors: BooksUnavailable.
    """
    estimate = _estimate(hold)
    if estimate is not None and hold.age_s >= settings.ESTIMATE_AFTER_S:
        return settlement.settle_now(hold=hold.key, evidence=estimate).outcome == "posted"
    pauses_s = settings.LOOKUP_BACKOFF_S
    pause_s = None
    if hold.attempts + 1 < len(pauses_s):
        pause_s = _jittered(pauses_s[hold.attempts + 1])
        if estimate is not None:
            # The estimate is not to wait for a look-up that comes long after its time.
            pause_s = min(pause_s, max(settings.ESTIMATE_AFTER_S - hold.age_s, Decimal(0)))
    else:
        log.error(
            "Hold %s: no evidence after %d look-ups; parked for a person", hold.hold_id, hold.attempts + 1
        )
    (found,) = statements.row(
        "SELECT billing_look_up_later(%s, %s, %s, %s)", hold.company_id, hold.hold_id, hold.attempts, pause_s
    )
    return bool(found)


def no_answer(hold: OpenHold) -> bool:
    """Put a look-up off that upstream did not answer: that is no evidence of anything, and counts as no look-up.

    Shape: the pause grows with the call's age. After UNANSWERED_MAX_S it counts like `not_found` all the same: a
    company's credits do not stay held for as long as an upstream is silent. False when somebody counted a look-up
    meanwhile, or it is settled.
    Errors: BooksUnavailable.
    """
    if hold.age_s >= UNANSWERED_MAX_S:
        return not_found(hold)
    pauses_s = settings.LOOKUP_BACKOFF_S
    least_s = Decimal(pauses_s[min(hold.attempts, len(pauses_s) - 1)])
    pause_s = min(max(least_s, hold.age_s * NO_ANSWER_PART), Decimal(NO_ANSWER_MAX_S))
    (found,) = statements.row(
        "SELECT billing_look_up_again(%s, %s, %s, %s)",
        hold.company_id, hold.hold_id, hold.attempts, _jittered(pause_s),
    )  # fmt: skip
    return bool(found)


def warn_of_missing_records() -> int:
    """Alert the operator of calls whose record upstream has kept back for RECORD_LATE_S; returns how many they are.

    Shape: one alert for all of them, resolved when there is none any more. A call no look-up was answered for may
    be running still; it counts after twice that time.
    Errors: BooksUnavailable.
    Source: docs/reconciliation.md, "What is still open".
    """
    count, first, oldest_s = statements.row(_LATE, RECORD_LATE_S, 2 * RECORD_LATE_S)
    if not count:
        alerts.resolve("records_missing")
        return 0
    alerts.raise_alert(
        "records_missing",
        reference="generation",
        message=f"Upstream keeps back the record of {count} calls, for up to {oldest_s // 60} minutes: gen_{first}.",
        details={"calls": count, "oldest_s": oldest_s},
    )
    return int(count)


def report(
    kind: str,
    *,
    reference: str,
    company_id: UUID,
    hold_id: UUID,
    details: Mapping[str, Any],
) -> bool:
    """Put something about a call before a person, once per (kind, reference); the call itself goes its way.

    Errors: BooksUnavailable.
    """
    (is_new,) = statements.row(
        "SELECT billing_quarantine(%s, %s, %s, %s, %s::jsonb)",
        kind, reference, company_id, hold_id, orjson.dumps(dict(details)).decode(),
    )  # fmt: skip
    if is_new:
        log.error("Hold %s: %s; see billing_anomaly", hold_id, kind)
    return bool(is_new)


def is_record_of(details: Mapping[str, Any], generation_id: str | None, *, told_id: Any, user: Any) -> bool:
    """Whether upstream's record is this call's: it names the same generation, and the same user where both name one.

    Shape: `details` are those of the call's hold.
    """
    if not isinstance(told_id, str) or holds.printable(told_id) != generation_id:
        return False
    sent = details.get("user")
    return not sent or not user or user == sent


def quarantine_mismatch(hold: OpenHold, *, record: Mapping[str, Any]) -> bool:
    """Park a hold whose look-up was answered with another call's record: nothing is posted, a person decides.

    Shape: `record` goes to the anomaly `generation_mismatch`; one of them a hold. False, and nothing done, when the
    claim was counted already or the hold is settled.
    Errors: BooksUnavailable.
    Source: docs/books.md, "Evidence".
    """
    details = {"source": "generation", "generation_id": hold.generation_id, "record": dict(record)}
    (found,) = statements.row(
        "SELECT billing_quarantine_claimed(%s, %s, %s, 'generation_mismatch', %s::jsonb)",
        hold.company_id, hold.hold_id, hold.attempts, orjson.dumps(details).decode(),
    )  # fmt: skip
    if found:
        log.error("Hold %s: upstream answered with another call's record; see billing_anomaly", hold.hold_id)
    return bool(found)


def void_unsent(hold: OpenHold) -> Literal["voided", "waiting", "kept"]:
    """Give a hold back of which nothing was heard in all its time: the gateway died before upstream answered.

    Shape: at the second look; the first one waits for a generation id that may still sit in a spool. Kept when the
    hold has an id by now, is not expired, or is settled.
    Errors: BooksUnavailable.
    """
    (outcome,) = statements.row(
        "SELECT billing_void_unsent(%s, %s, %s, %s)",
        hold.company_id,
        hold.hold_id,
        hold.attempts,
        settings.HOLD_TTL_S / GRACE_PART,
    )
    if outcome == "voided":
        log.warning("Hold %s: given back, nothing was ever heard of it", hold.hold_id)
    if outcome not in ("voided", "waiting", "kept"):
        raise LedgerInvariantBroken(f"Hold {hold.hold_id}: unknown answer {outcome!r}.")
    found: Literal["voided", "waiting", "kept"] = outcome
    return found


def _estimate(hold: OpenHold) -> Evidence | None:
    """What a call may have cost as far as we saw it, never more than its hold covers; None where nothing was seen."""
    if not settings.ESTIMATE_AFTER_S or not hold.generation_id:
        return None
    seen = hold.estimate_usd
    if seen is None:
        return None
    with localcontext(_ESTIMATING):
        covered = hold.held_nanocredits * hold.credit_value_usd / hold.markup / money.NANOCREDITS_PER_CREDIT
        if seen > covered:
            seen = covered.quantize(_ESTIMATE_PLACES)
    return Evidence(
        source="estimate",
        cost_usd=seen,
        generation_id=hold.generation_id,
        details=orjson.dumps({"model": hold.details.get("model"), "seen_usd": f"{hold.estimate_usd:f}"}),
    )


def _jittered(pause_s: Decimal | float) -> Decimal:
    percent = random.randint(100 - JITTER_PERCENT, 100 + JITTER_PERCENT)  # noqa: S311 - no secret.
    return Decimal(pause_s) * percent / 100
