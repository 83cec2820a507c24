"""Movements that are worth so much that a second person approves them; how they are made is movements' business."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts import audit, database
from accounts.audit import Filters
from accounts.errors import Conflict, DuplicateRecord, Forbidden, NotFound
from billing import money, movements
from billing.ledger import Posted
from billing.movements import Movement
from billing.report_models import MovementRequest

LIST_MAX = 100
ASKED, TARGET = "movement.asked", "movement_request"


@dataclass(frozen=True, slots=True)
class Approved:
    """A request that was approved, and what was posted."""

    request: MovementRequest
    posted: Posted


@transaction.atomic
def ask(
    *,
    company_id: UUID,
    action: Movement,
    credits: Decimal,
    actor: str,
    reason: str,
    reference: str,
    now: datetime,
    corrects: str = "",
) -> MovementRequest:
    """Put a movement before a second person; it is checked as if it were posted, and moves nothing.

    Errors: as movements.post; DuplicateRecord where another one of that name waits.
    """
    checked = movements.preview(
        company_id=company_id, action=action, credits=credits, actor=actor, reason=reason, reference=reference,
        corrects=corrects,
    )  # fmt: skip
    try:
        with transaction.atomic():
            found = MovementRequest.objects.create(
                company_id=company_id, action=action, amount_nanocredits=checked.amount_nanocredits,
                reference=reference, corrects=corrects, reason=reason, asked_by=actor, asked_at=now,
            )  # fmt: skip
    except IntegrityError as exc:
        if database.violated(exc) != "billing_movement_request_once":
            raise
        raise DuplicateRecord(
            f"{action} {reference!r} waits for its approval already.", details={"field": "reference"}
        ) from exc
    _record(found, ASKED, reason=reason, now=now)
    return found


def list_open(*, company_id: UUID | None = None) -> list[MovementRequest]:
    """What waits for a second person, the oldest first; of one company where it is given."""
    rows = MovementRequest.objects.filter(state=MovementRequest.State.OPEN)
    if company_id is not None:
        rows = rows.filter(company_id=company_id)
    return list(rows.order_by("id")[:LIST_MAX])


def get(*, request_id: UUID) -> MovementRequest:
    """Errors: NotFound."""
    found = MovementRequest.objects.filter(id=request_id).first()
    if found is None:
        raise NotFound(f"There is no request {request_id}.")
    return found


def is_own(found: MovementRequest, *, actor: str) -> bool:
    """Whether who acts now asked for it: by that name, or as the same person under an address they had then."""
    if found.asked_by.casefold() == actor.casefold():
        return True
    person_id = audit.actor().person_id
    asked = Filters(action=ASKED, target_kind=TARGET, target_id=str(found.id))
    # What the log says cannot be changed by whoever may write the request's row.
    lines = audit.page(company_id=None, filters=asked, limit=1).lines
    return person_id is not None and person_id in {line.person_id for line in lines}


@transaction.atomic
def approve(*, request_id: UUID, actor: str, now: datetime) -> Approved:
    """Post what somebody else asked for; of two who approve at once one does.

    Errors: NotFound; Forbidden (reason `second_approver`) for who asked; Conflict where it is decided; as
    movements.post, and then it stays open.
    """
    found = _locked(request_id)
    if is_own(found, actor=actor):
        raise Forbidden(
            "A second person approves a movement: you asked for this one.",
            hint="Have another operator open this page.",
            details={"reason": "second_approver"},
        )
    posted = movements.post(
        company_id=found.company_id,
        action=cast("Movement", found.action),
        credits=money.credits_from_nanocredits(found.amount_nanocredits),
        actor=found.asked_by,
        reason=found.reason,
        reference=found.reference,
        corrects=found.corrects,
        approved_by=actor,
        now=now,
    )
    _decide(found, MovementRequest.State.APPROVED, actor, now)
    _record(found, "movement.approved", now=now)
    return Approved(request=found, posted=posted)


@transaction.atomic
def reject(*, request_id: UUID, actor: str, reason: str, now: datetime) -> MovementRequest:
    """Say no, for a reason; who asked may take it back so. Errors: NotFound, Conflict where it is decided."""
    found = _locked(request_id)
    _decide(found, MovementRequest.State.REJECTED, actor, now)
    _record(found, "movement.rejected", reason=reason, now=now)
    return found


def _locked(request_id: UUID) -> MovementRequest:
    found = MovementRequest.objects.select_for_update().filter(id=request_id).first()
    if found is None:
        raise NotFound(f"There is no request {request_id}.")
    if found.state != MovementRequest.State.OPEN:
        raise Conflict(f"{found.decided_by} has {found.state} this already.")
    return found


def _decide(found: MovementRequest, state: MovementRequest.State, actor: str, now: datetime) -> None:
    found.state, found.decided_by, found.decided_at = state.value, actor, now
    found.save(update_fields=["state", "decided_by", "decided_at"])


def _record(found: MovementRequest, action: str, *, now: datetime, reason: str = "") -> None:
    # The operator's own business: the company reads of what is posted, in its ledger and in its log.
    audit.record(
        company_id=None,
        action=action,
        target_kind=TARGET,
        target_id=found.id,
        target_label=found.reference,
        after={
            "company_id": str(found.company_id),
            "action": found.action,
            "amount": money.json_number(found.amount_nanocredits),
        },
        reason=reason,
        now=now,
    )
