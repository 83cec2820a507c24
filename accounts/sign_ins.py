"""What became of a person's way in: said in the audit log of every company they belong to."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from accounts import audit
from accounts.models import Membership, User


def record(
    *,
    person: User,
    action: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry for each of the person's companies; for somebody who has none, the operator's own."""
    rows = Membership.objects.filter(user_id=person.id).order_by("id")
    companies: list[UUID | None] = list(rows.values_list("company_id", flat=True))
    for company_id in companies or [None]:
        audit.record(
            company_id=company_id,
            action=action,
            target_kind="person",
            target_id=person.id,
            target_label=person.email,
            before=before,
            after=after,
        )
