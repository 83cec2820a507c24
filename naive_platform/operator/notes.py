"""What operators note about a company for each other: entries of the audit log that are of no company, so that none
reads them; added, never changed."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from accounts import audit, fields, locks
from accounts.models import Company
from naive_platform.operator import timeline

# The same words of the same person, this soon after, are a button that was pressed twice.
TWICE = timedelta(minutes=10)


@transaction.atomic
def add(*, company: Company, text: str, person_id: UUID, now: datetime) -> bool:
    """Note something; False where it is noted already. Errors: InvalidInput (empty, too long)."""
    said = fields.text("note", text, length_max=audit.REASON_LENGTH_MAX)
    locks.hold("notes of", str(company.id))
    latest = audit.page(company_id=None, filters=timeline.note_filters(company.id), limit=1).lines
    if (
        latest
        and (latest[0].reason, latest[0].actor_id) == (said, person_id)
        and now - latest[0].created_at < TWICE
    ):
        return False
    audit.record(
        company_id=None,
        action=timeline.NOTED,
        target_kind="company",
        target_id=company.id,
        target_label=company.name,
        reason=said,
        now=now,
    )
    return True
