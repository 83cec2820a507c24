"""A company's people as whoever asks may change them: nobody gives, or takes, more than they have.

What joining and leaving do is in companies.py.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts import companies, fields, pages
from accounts.errors import Forbidden, NotFound
from accounts.models import Membership, Role


@dataclass(frozen=True, slots=True)
class Page:
    """Some members with their people, who joined last first; the next ones are before `before_id`."""

    members: list[Membership]
    before_id: UUID | None


def page(*, company_id: UUID, limit: int, before_id: UUID | None = None) -> Page:
    """The company's members."""
    rows = Membership.objects.filter(company_id=company_id).select_related("user")
    return Page(*pages.latest(rows, limit=limit, before_id=before_id))


def get(*, company_id: UUID, user_id: UUID) -> Membership:
    """A person's place in the company. Errors: NotFound."""
    rows = Membership.objects.filter(company_id=company_id, user_id=user_id)
    found = rows.select_related("user").first()
    if found is None:
        raise _absent(user_id)
    return found


@transaction.atomic
def change_role(*, company_id: UUID, asker_id: UUID, user_id: UUID, role: str) -> Membership:
    """Give a member another role.

    Errors: InvalidInput, NotFound, Conflict (the last owner), Forbidden (reason `role`: the asker is no admin, or the
    member's role or the new one is above theirs).
    """
    wanted = Role(fields.choice("role", role, Role.values))
    asker, member = _hold(company_id, asker_id, user_id)
    require_rank(asker, Role(member.role), "change somebody who is")
    require_rank(asker, wanted, "make somebody")
    return companies.change_role(company_id=company_id, user_id=user_id, role=role)


@transaction.atomic
def remove(*, company_id: UUID, asker_id: UUID, user_id: UUID, now: datetime) -> None:
    """Take a member out of the company with every key they made in it; everybody may take out themselves.

    Errors: NotFound, Conflict (the last owner), Forbidden (as `change_role`).
    """
    asker, member = _hold(company_id, asker_id, user_id)
    if asker_id != user_id:
        require_rank(asker, Role(member.role), "remove somebody who is")
    companies.remove_member(company_id=company_id, user_id=user_id, now=now)


def hold(*, company_id: UUID, user_id: UUID) -> Membership:
    """A person's place, held to the transaction's end: they neither leave nor step down meanwhile. Errors: NotFound."""
    return _hold(company_id, user_id, user_id)[0]


def require_rank(asker: Membership, role: Role, act: str) -> None:
    """Errors: Forbidden, where the asker is below admin or below the role that it is about."""
    mine = Role(asker.role)
    least = role if Role.ADMIN.is_at_most(role) else Role.ADMIN
    if not least.is_at_most(mine):
        raise Forbidden(
            f"Your role here is {mine.value}; you cannot {act} {role.value}.",
            hint=f"Ask somebody who is {least.value}.",
            details={"reason": "role", "role": mine.value, "required": least.value},
        )


def _hold(company_id: UUID, asker_id: UUID, user_id: UUID) -> tuple[Membership, Membership]:
    # In one order, so that two who change each other take turns.
    rows = Membership.objects.select_for_update().filter(
        company_id=company_id, user_id__in={asker_id, user_id}
    )
    found = {member.user_id: member for member in rows.order_by("id")}
    for wanted in (asker_id, user_id):
        if wanted not in found:
            raise _absent(wanted)
    return found[asker_id], found[user_id]


def _absent(user_id: UUID) -> NotFound:
    return NotFound(f"User {user_id} is not a member of this company.")
