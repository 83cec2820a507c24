"""Open holds whose time has come: claimed, looked up later, given back or settled; who asks upstream is llm."""

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import orjson
from django.conf import settings
from django.db import DataError, Error, IntegrityError, connection

from billing import holds, settlement
from billing.errors import BooksUnavailable, LedgerInvariantBroken
from billing.settlement import Evidence, HoldKey, Settlement

log = logging.getLogger(__name__)

# A worker has this long for what it claimed; then another one may claim it, which changes nothing but the traffic.
LEASE_S = 60
# Two look-ups of many calls must not fall on the same second for ever. A part of the pause, both ways.
JITTER = 0.2
# An expired hold of which nothing was heard is given back this part of its time later, at the second look: in
# between, every spool of every gateway that lives has been replayed.
GRACE_PART = 10

_PARK_MISMATCH = """
    WITH parked AS MATERIALIZED (SELECT billing_look_up_later(%s, %s, %s, NULL) AS is_done),
         reported AS (
             INSERT INTO billing_anomaly (kind, reference, company_id, hold_id, details)
             SELECT 'generation_mismatch', %s, %s, %s, %s::jsonb FROM parked WHERE is_done
             ON CONFLICT DO NOTHING)
    SELECT is_done FROM parked
"""


@dataclass(frozen=True, slots=True)
class OpenHold:
    """A call that is not settled yet, as a worker claimed it."""

    company_id: UUID
    hold_id: UUID
    key_id: UUID
    kit_id: UUID
    tenant_user_id: UUID
    granted_nanocredits: int
    markup: Decimal
    credit_value_usd: Decimal
    generation_id: str | None
    stage: Literal["held", "dispatched", "parked"]
    attempts: int
    created_at: datetime
    is_expired: bool
    details: dict[str, Any]

    @property
    def key(self) -> HoldKey:
        """What settlement needs to know of it."""
        return HoldKey(
            company_id=self.company_id,
            hold_id=self.hold_id,
            markup=self.markup,
            credit_value_usd=self.credit_value_usd,
            granted_nanocredits=self.granted_nanocredits,
        )


def claim_due(*, limit: int) -> list[OpenHold]:
    """Take open holds whose time has come, for LEASE_S; no other worker gets the same in the meantime.

    Errors: BooksUnavailable.
    """
    rows = _rows("SELECT * FROM billing_claim_due(%s, %s)", limit, LEASE_S)
    return [OpenHold(*(*columns, orjson.loads(details))) for *columns, details in rows]


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
    """Put the next look-up off after one that gave no evidence; after the last one a person decides.

    Shape: counts once however often it is called for the same claim; False when it was counted already or settled.
    Errors: BooksUnavailable.
    """
    pauses_s = settings.LOOKUP_BACKOFF_S
    pause_s = None
    if hold.attempts + 1 < len(pauses_s):
        pause_s = pauses_s[hold.attempts + 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret.
    else:
        log.error(
            "Hold %s: no evidence after %d look-ups; parked for a person", hold.hold_id, hold.attempts + 1
        )
    ((found,),) = _rows(
        "SELECT billing_look_up_later(%s, %s, %s, %s)", hold.company_id, hold.hold_id, hold.attempts, pause_s
    )
    return bool(found)


def is_record_of(hold: OpenHold, *, generation_id: Any, user: Any) -> bool:
    """Whether upstream's record is this hold's: it names the same generation, and the same user where both name one."""
    if not isinstance(generation_id, str) or holds.printable(generation_id) != hold.generation_id:
        return False
    sent = hold.details.get("user")
    return not sent or not user or user == sent


def quarantine_mismatch(hold: OpenHold, *, record: Mapping[str, Any]) -> bool:
    """Park a hold whose look-up was answered with another call's record: nothing is posted, a person decides.

    Shape: `record` goes to the anomaly `generation_mismatch`; one of them a hold. False, and nothing done, when the
    claim was counted already or the hold is settled.
    Errors: BooksUnavailable.
    Source: docs/money.md, "Evidence".
    """
    ((found,),) = _rows(
        _PARK_MISMATCH, hold.company_id, hold.hold_id, hold.attempts,
        f"gen_{hold.hold_id}", hold.company_id, hold.hold_id,
        orjson.dumps({"source": "generation", "generation_id": hold.generation_id, "record": record}).decode(),
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
    ((outcome,),) = _rows(
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


def _rows(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
    except (DataError, IntegrityError):
        raise
    except Error as exc:
        raise BooksUnavailable("The database cannot be written to.", hint="Try again in a moment.") from exc
    return rows
