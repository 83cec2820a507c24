"""A person's way in without the dashboard: a key for one company of theirs, and with it one for another."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts import audit, keys, people, sign_ins
from accounts.errors import Forbidden, NotFound
from accounts.models import APIKey, CompanyStatus, Membership, User

KEY_NAME = "Sign-in"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A personal key for the company of `member`, and all places of its person; the secret exists only here."""

    member: Membership
    members: list[Membership]
    key: APIKey
    secret: str = field(repr=False)


def sign_in(*, email: str, password: str, prove: Callable[[User], None], now: datetime) -> SignedIn:
    """Give a person a new key with their role in the first company they joined that is active; older keys stay.

    Shape: `prove` asks for what a person needs beside the password, and raises Unauthorized where it is missing.
    Errors: Unauthorized (the same words whatever is wrong with address and password), Forbidden (reason `no_company`).
    Source: docs/product.md 5, `POST /v1/auth/login`.
    """
    user = people.recognise(email=email, password=password)
    prove(user)
    members = memberships(user.id)
    if not members:
        raise Forbidden(
            "You belong to no company.",
            hint="Ask somebody to invite you, or register a company.",
            details={"reason": "no_company"},
        )
    with transaction.atomic(), people.acting(user):
        User.objects.filter(id=user.id).update(last_login=now)
        sign_ins.record(person=user, action="person.signed_in")
        return _issue(first(members), members, ends_at=None, now=now)


@transaction.atomic
def change_company(*, company_id: UUID, key_id: UUID, chosen_id: UUID, now: datetime) -> SignedIn:
    """Give a personal key's person a key for another company of theirs, which ends when the first one does.

    Shape: only with a key that signing in gave. The others are their company's own, and whoever has one there is not to
    get into what else its maker belongs to.
    Errors: NotFound (no company of theirs), Forbidden (reason `key_not_personal` or `key_limit`).
    """
    key = keys.get(company_id=company_id, key_id=key_id)
    if not key.is_personal or key.created_by is None:
        raise Forbidden(
            "This API key is its company's own; it opens no other company.",
            hint="Sign in (POST /v1/auth/login), and choose the company with the key that you are given.",
            details={"reason": "key_not_personal"},
        )
    if (key.cap_credits, key.requests_per_minute) != (None, None):
        raise Forbidden(
            "This API key has a limit of its own, which another key would get around.",
            hint="Sign in again (POST /v1/auth/login).",
            details={"reason": "key_limit"},
        )
    members = memberships(key.created_by.id)
    with people.acting(key.created_by):
        return _issue(_named(members, chosen_id), members, ends_at=key.expires_at, now=now)


@transaction.atomic
def note_company(*, user: User, chosen_id: UUID) -> tuple[Membership, list[Membership]]:
    """Leave the entry that a person goes on in another company of theirs. Errors: NotFound."""
    members = memberships(user.id)
    member = _named(members, chosen_id)
    audit.record(
        company_id=chosen_id,
        action="person.changed_company",
        target_kind="person",
        target_id=user.id,
        target_label=user.email,
    )
    return member, members


def memberships(user_id: UUID) -> list[Membership]:
    """A person's places with their companies, in the order they joined; closed companies have none."""
    rows = Membership.objects.filter(user_id=user_id).exclude(company__status=CompanyStatus.CLOSED)
    return list(rows.select_related("company").order_by("id"))


def first(members: list[Membership]) -> Membership:
    """Where a person begins: in the first company that is active, else in the first of all."""
    active = (member for member in members if member.company.status == CompanyStatus.ACTIVE)
    return next(active, members[0])


def _named(members: list[Membership], company_id: UUID) -> Membership:
    for member in members:
        if member.company_id == company_id:
            return member
    raise NotFound(
        f"Company {company_id} was not found.", hint="Name one of your companies: GET /v1/auth/me lists them."
    )


def _issue(
    member: Membership, members: list[Membership], *, ends_at: datetime | None, now: datetime
) -> SignedIn:
    issued = keys.create(
        company_id=member.company_id,
        name=KEY_NAME,
        role=member.role,
        created_by_id=member.user_id,
        expires_at=ends_at,
        is_personal=True,
        now=now,
    )
    return SignedIn(member=member, members=members, key=issued.key, secret=issued.secret)
