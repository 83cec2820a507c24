"""Companies and the people in them: founded, renamed, suspended, joined, left; their wallet is in billing."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from accounts import audit, database, fields, keys, kits, tenants
from accounts.errors import Conflict, DuplicateRecord, NotFound
from accounts.models import (
    CAP_CREDITS_MAX,
    MARKUP_MAX,
    NAME_LENGTH_MAX,
    AccountKit,
    APIKey,
    Company,
    CompanyStatus,
    Membership,
    Role,
    TenantUser,
    User,
)

# Leaves room for two suffixes in the column.
SLUG_LENGTH_MAX = 40
SLUG_SUFFIX_BYTES = 3
DEFAULT_USER_LABEL = "Default user"


@dataclass(frozen=True, slots=True)
class Founded:
    """A new company and what no company is without."""

    company: Company
    membership: Membership
    kit: AccountKit
    default_user: TenantUser


@transaction.atomic
def create(*, name: str, owner_id: UUID, now: datetime) -> Founded:
    """Found a company with its owner, its Default kit (everything open) and its default tenant user.

    The wallet and the first key are not made here: naive_platform/onboarding.py composes them.
    Errors: InvalidInput, NotFound (the owner).
    """
    _require_person(owner_id)
    company = _insert(fields.text("company_name", name, length_max=NAME_LENGTH_MAX), now)
    _note("company.created", company, after=_told(company))
    membership = Membership.objects.create(
        company=company, user_id=owner_id, role=Role.OWNER.value, created_at=now
    )
    _note_member("member.added", membership, after={"role": membership.role})
    kit = kits.create(company_id=company.id, name=kits.DEFAULT_NAME, is_default=True, now=now)
    user = tenants.create(
        company_id=company.id,
        label=DEFAULT_USER_LABEL,
        account_kit_id=kit.id,
        is_default=True,
        now=now,
    )
    return Founded(company=company, membership=membership, kit=kit, default_user=user)


def update(*, company_id: UUID, changes: Mapping[str, Any]) -> Company:
    """Change a company's `name`, `markup` or `low_credits`; its slug, which links may carry, stays.

    Shape: of the markup None is settings.MARKUP, and calls admitted before keep theirs; below `low_credits` the company
    is told that its credits run low, with 0 only when they are gone.
    Errors: InvalidInput (a markup not above 0, above 100, finer than 4 decimals), NotFound, Conflict (closed).
    """
    fields.known_keys("company", changes, _CHECKS)
    checked = {name: _CHECKS[name](value) for name, value in changes.items()}
    return _change(company_id, "company.updated", **checked)


def rename(*, company_id: UUID, name: str) -> Company:
    """As `update`."""
    return update(company_id=company_id, changes={"name": name})


def suspend(*, company_id: UUID) -> Company:
    """Refuse the company's calls until `reactivate`. Errors: NotFound, Conflict (closed)."""
    return _change(company_id, "company.suspended", status=CompanyStatus.SUSPENDED.value)


def reactivate(*, company_id: UUID) -> Company:
    """Let a suspended company's calls through again. Errors: NotFound, Conflict (closed)."""
    return _change(company_id, "company.reactivated", status=CompanyStatus.ACTIVE.value)


@transaction.atomic
def close(*, company_id: UUID, now: datetime) -> Company:
    """End a company for good: its keys are revoked, its records stay. Errors: NotFound, Conflict (closed)."""
    company = _change(company_id, "company.closed", status=CompanyStatus.CLOSED.value)
    keys.revoke_all(company_id=company_id, now=now)
    return company


def set_markup(*, company_id: UUID, markup: Decimal | None) -> Company:
    """As `update`."""
    return update(company_id=company_id, changes={"markup": markup})


def set_low_credits(*, company_id: UUID, credits: Decimal) -> Company:
    """As `update`."""
    return update(company_id=company_id, changes={"low_credits": credits})


@transaction.atomic
def add_member(*, company_id: UUID, user_id: UUID, role: str, now: datetime) -> Membership:
    """Give a person a place in the company.

    Errors: InvalidInput, NotFound (the company or the person), DuplicateRecord (a member already).
    """
    chosen = fields.choice("role", role, Role.values)
    if not Company.objects.filter(id=company_id).exists():
        raise NotFound(f"Company {company_id} was not found.")
    _require_person(user_id)
    try:
        with transaction.atomic():
            member = Membership.objects.create(
                company_id=company_id, user_id=user_id, role=chosen, created_at=now
            )
    except IntegrityError as exc:
        if database.violated(exc) != "accounts_membership_once":
            raise
        raise DuplicateRecord(f"User {user_id} is a member already.", details={"field": "user_id"}) from exc
    _note_member("member.added", member, after={"role": member.role})
    return member


@transaction.atomic
def change_role(*, company_id: UUID, user_id: UUID, role: str) -> Membership:
    """Give a member another role; keys they made keep no role above it.

    Errors: InvalidInput, NotFound, Conflict (the last owner).
    """
    chosen = Role(fields.choice("role", role, Role.values))
    member = _member(company_id, user_id)
    if member.role == Role.OWNER and chosen != Role.OWNER:
        _require_other_owner(company_id, user_id)
    before = {"role": member.role}
    member.role = chosen.value
    member.save(update_fields=["role"])
    above = [rank.value for rank in Role if not rank.is_at_most(chosen)]
    lowered = APIKey.objects.filter(company_id=company_id, created_by_id=user_id, role__in=above)
    after = {"role": member.role, "keys_lowered": lowered.update(role=chosen.value)}
    _note_member("member.role_changed", member, before=before, after=after)
    return member


@transaction.atomic
def remove_member(*, company_id: UUID, user_id: UUID, now: datetime) -> None:
    """Take a person out of the company and revoke every key they made in it.

    Errors: NotFound, Conflict (the last owner).
    """
    member = _member(company_id, user_id)
    if member.role == Role.OWNER:
        _require_other_owner(company_id, user_id)
    keys.revoke_all(company_id=company_id, created_by_id=user_id, now=now)
    _note_member("member.removed", member, before={"role": member.role})
    member.delete()


def _insert(name: str, now: datetime) -> Company:
    slug = slugify(name)[:SLUG_LENGTH_MAX] or "company"
    if Company.objects.filter(slug=slug).exists():
        slug = _suffixed(slug)
    try:
        with transaction.atomic():
            return Company.objects.create(name=name, slug=slug, created_at=now)
    except IntegrityError:
        # Another company took the slug between the look and the write.
        return Company.objects.create(name=name, slug=_suffixed(slug), created_at=now)


def _suffixed(slug: str) -> str:
    return f"{slug}-{secrets.token_hex(SLUG_SUFFIX_BYTES)}"


def _name(value: object) -> str:
    return fields.text("name", value, length_max=NAME_LENGTH_MAX)


def _markup(value: object) -> Decimal | None:
    if value is None:
        return None
    exact = fields.amount("markup", value, most=MARKUP_MAX)
    if exact == 0 or exact != round(exact, 4):
        raise fields.refuse("markup", f"must be above 0, at most {MARKUP_MAX}, with at most 4 decimals.")
    return exact


def _low_credits(value: object) -> Decimal:
    return fields.amount("low_credits", value, most=CAP_CREDITS_MAX)


_CHECKS: Mapping[str, Callable[[object], object]] = {
    "name": _name,
    "markup": _markup,
    "low_credits": _low_credits,
}


@transaction.atomic
def _change(company_id: UUID, action: str, **values: object) -> Company:
    company = Company.objects.select_for_update().filter(id=company_id).first()
    if company is None:
        raise NotFound(f"Company {company_id} was not found.")
    if company.status == CompanyStatus.CLOSED:
        raise Conflict(f"Company {company_id} is closed.", hint="A closed company stays closed.")
    before = _told(company)
    for name, value in values.items():
        setattr(company, name, value)
    company.save(update_fields=list(values))
    if _told(company) != before:
        _note(action, company, before=before, after=_told(company))
    return company


def _told(company: Company) -> dict[str, Any]:
    return {
        "name": company.name,
        "status": company.status,
        "markup": company.markup,
        "low_credits": company.low_credits,
    }


def _note(action: str, company: Company, **states: Any) -> None:
    audit.record(
        company_id=company.id,
        action=action,
        target_kind="company",
        target_id=company.id,
        target_label=company.name,
        **states,
    )


def _note_member(action: str, member: Membership, **states: Any) -> None:
    audit.record(
        company_id=member.company_id,
        action=action,
        target_kind="member",
        target_id=member.user_id,
        target_label=member.user.email,
        **states,
    )


def _member(company_id: UUID, user_id: UUID) -> Membership:
    member = Membership.objects.select_for_update().filter(company_id=company_id, user_id=user_id).first()
    if member is None:
        raise NotFound(f"User {user_id} is not a member of this company.")
    return member


def _require_person(user_id: UUID) -> None:
    if not User.objects.filter(id=user_id).exists():
        raise NotFound(f"User {user_id} was not found.")


def _require_other_owner(company_id: UUID, user_id: UUID) -> None:
    # Two owners who leave at once take turns here; migration 0004 holds the rule for every other writer.
    Company.objects.select_for_update(no_key=True).get(id=company_id)
    others = Membership.objects.filter(company_id=company_id, role=Role.OWNER.value).exclude(user_id=user_id)
    if not others.exists():
        raise Conflict("A company keeps at least one owner.", hint="Make another member an owner first.")
