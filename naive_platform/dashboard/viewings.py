"""An operator who looks on: at one company's dashboard, as its owner would see it, for a while and read-only.

It stands in the operator's own session, and ends with it; its beginning and its end are in the company's audit log.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.http import HttpRequest

from accounts import audit, fields, ids
from accounts.models import Company, User

SESSION = "viewing"
LENGTH = timedelta(minutes=30)
REASON_LENGTH_MAX = 500
# What an owner reads and an operator does not: what their users wrote.
HIDDEN = frozenset({"prompts"})
READ_ONLY = "You only look on: nothing can be changed. End looking on, and do it from the operator console."


@dataclass(frozen=True, slots=True)
class Viewing:
    """Which company is looked at, why, and until when."""

    id: UUID
    company_id: UUID
    reason: str
    until: datetime

    def refusal(self, route: str, verb: str) -> str | None:
        """Why whoever looks on may not do that; None where they may."""
        if verb != "get":
            return READ_ONLY
        return "What users wrote is not shown to who only looks on." if route in HIDDEN else None


@transaction.atomic
def start(session: SessionBase, *, company: Company, reason: str, now: datetime) -> Viewing:
    """Begin to look on; who looks at another company already ends that first. Errors: InvalidInput (the reason)."""
    why = fields.text("reason", reason, length_max=REASON_LENGTH_MAX)
    end(session, now=now)
    found = Viewing(id=ids.uuid7(), company_id=company.id, reason=why, until=now + LENGTH)
    session[SESSION] = {
        "id": str(found.id),
        "company_id": str(company.id),
        "reason": why,
        "until": found.until.isoformat(),
    }
    _record("company.viewed", found, company.name, reason=why, now=now)
    return found


def current(request: HttpRequest, *, now: datetime) -> Viewing | None:
    """What this session looks at; None where it does not, no more, or is no operator's any longer."""
    found = _read(request.session)
    if found is None:
        return None
    person = request.user
    if isinstance(person, User) and person.is_staff and person.is_active and now < found.until:
        return found
    end(request.session, now=now)
    return None


@transaction.atomic
def end(session: SessionBase, *, now: datetime) -> Viewing | None:
    """Look on no more; returns what was looked at, None where nothing was."""
    found = _read(session)
    session.pop(SESSION, None)
    if found is not None:
        name = Company.objects.values_list("name", flat=True).get(id=found.company_id)
        _record("company.viewing_ended", found, name, now=now)
    return found


def _read(session: SessionBase) -> Viewing | None:
    said = session.get(SESSION)
    if not isinstance(said, dict):
        return None
    return Viewing(
        id=UUID(said["id"]),
        company_id=UUID(said["company_id"]),
        reason=said["reason"],
        until=datetime.fromisoformat(said["until"]),
    )


def _record(action: str, found: Viewing, name: str, *, now: datetime, reason: str = "") -> None:
    audit.record(
        company_id=found.company_id,
        action=action,
        target_kind="company",
        target_id=found.company_id,
        target_label=name,
        after={"viewing_id": str(found.id), "until": found.until.isoformat(timespec="seconds")},
        reason=reason,
        now=now,
    )
