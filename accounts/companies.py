"""Companies and the people in them: founded, renamed, suspended, joined, left; their wallet is in billing."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from accounts import database, fields, kits, tenants
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
    membership = Membership.objects.create(
        company=company, user_id=owner_id, role=Role.OWNER.value, created_at=now
    )
    kit = kits.create(company_id=company.id, name=kits.DEFAULT_NAME, is_default=True, now=now)
    user = tenants.create(
        company_id=company.id,
        label=DEFAULT_USER_LABEL,
        account_kit_id=kit.id,
        is_default=True,
        now=now,
    )
    return Founded(company=company, membership=membership, kit=kit, default_user=user)


def rename(*, company_id: UUID, name: str) -> Company:
    """Give a company another name; its slug, which links may carry, stays. Errors: InvalidInput, NotFound."""
    return _change(company_id, name=fields.text("name", name, length_max=NAME_LENGTH_MAX))


def suspend(*, company_id: UUID) -> Company:
    """Refuse the company's calls until `reactivate`. Errors: NotFound, Conflict (closed)."""
    return _change(company_id, status=CompanyStatus.SUSPENDED.value)


def reactivate(*, company_id: UUID) -> Company:
    """Let a suspended company's calls through again. Errors: NotFound, Conflict (closed)."""
    return _change(company_id, status=CompanyStatus.ACTIVE.value)


@transaction.atomic
def close(*, company_id: UUID, now: datetime) -> Company:
    """End a company for good: its keys are revoked, its records stay. Errors: NotFound, Conflict (closed)."""
    company = _change(company_id, status=CompanyStatus.CLOSED.value)
    APIKey.objects.filter(company_id=company_id, revoked_at=None).update(revoked_at=now)
    return company


def set_markup(*, company_id: UUID, markup: Decimal | None) -> Company:
    """Give a company its own markup, or None for settings.MARKUP; calls admitted before keep theirs.

    Errors: InvalidInput (not above 0, above 100, more than 4 decimals), NotFound, Conflict (closed).
    """
    exact = None if markup is None else fields.amount("markup", markup, most=MARKUP_MAX)
    if exact is not None and (exact == 0 or exact != round(exact, 4)):
        raise fields.refuse("markup", f"must be above 0, at most {MARKUP_MAX}, with at most 4 decimals.")
    return _change(company_id, markup=exact)


def set_low_credits(*, company_id: UUID, credits: Decimal) -> Company:
    """Say below how many credits the company is told that they run low; 0 tells it only when they are gone.

    Errors: InvalidInput (below 0, too many, finer than a nanocredit), NotFound, Conflict (closed).
    """
    return _change(company_id, low_credits=fields.amount("low_credits", credits, most=CAP_CREDITS_MAX))


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
            return Membership.objects.create(
                company_id=company_id, user_id=user_id, role=chosen, created_at=now
            )
    except IntegrityError as exc:
        if database.violated(exc) != "accounts_membership_once":
            raise
        raise DuplicateRecord(f"User {user_id} is a member already.", details={"field": "user_id"}) from exc


@transaction.atomic
def change_role(*, company_id: UUID, user_id: UUID, role: str) -> Membership:
    """Give a member another role; keys they made keep no role above it.

    Errors: InvalidInput, NotFound, Conflict (the last owner).
    """
    chosen = Role(fields.choice("role", role, Role.values))
    member = _member(company_id, user_id)
    if member.role == Role.OWNER and chosen != Role.OWNER:
        _require_other_owner(company_id, user_id)
    member.role = chosen.value
    member.save(update_fields=["role"])
    above = [rank.value for rank in Role if not rank.is_at_most(chosen)]
    APIKey.objects.filter(company_id=company_id, created_by_id=user_id, role__in=above).update(
        role=chosen.value
    )
    return member


@transaction.atomic
def remove_member(*, company_id: UUID, user_id: UUID, now: datetime) -> None:
    """Take a person out of the company and revoke every key they made in it.

    Errors: NotFound, Conflict (the last owner).
    """
    member = _member(company_id, user_id)
    if member.role == Role.OWNER:
        _require_other_owner(company_id, user_id)
    APIKey.objects.filter(company_id=company_id, created_by_id=user_id, revoked_at=None).update(
        revoked_at=now
    )
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


@transaction.atomic
def _change(company_id: UUID, **values: object) -> Company:
    company = Company.objects.select_for_update().filter(id=company_id).first()
    if company is None:
        raise NotFound(f"Company {company_id} was not found.")
    if company.status == CompanyStatus.CLOSED:
        raise Conflict(f"Company {company_id} is closed.", hint="A closed company stays closed.")
    for name, value in values.items():
        setattr(company, name, value)
    company.save(update_fields=list(values))
    return company


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
