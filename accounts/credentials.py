"""API keys as whoever asks may see, make, change and end them: nobody gets more by a key than they have.

A key's own life is in keys.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts import fields, keys, pages
from accounts.errors import Forbidden, NotFound
from accounts.keys import IssuedKey
from accounts.models import APIKey, Role


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: a person signed in, or an API key and who made it.

    Shape: the family, the limit (a spend cap, or requests a minute) and the end are the key's; `person_id` is None for
    a key of the operator's.
    """

    company_id: UUID
    role: Role
    person_id: UUID | None
    family_id: UUID | None = None
    is_limited: bool = False
    ends_at: datetime | None = None

    @property
    def sees_all(self) -> bool:
        return Role.ADMIN.is_at_most(self.role)

    def stands_for(self, key: APIKey) -> bool:
        """Whether it is the key itself that asks, or one of its family, or its person signed in."""
        return self.person_id == key.created_by_id and self.family_id in (None, key.family_id)


@dataclass(frozen=True, slots=True)
class Page:
    """Some keys, the latest first; the next ones are before `before_id`, and there are none where that is None."""

    keys: list[APIKey]
    before_id: UUID | None


@dataclass(frozen=True, slots=True)
class Filters:
    """Which keys are wanted; each that is given narrows them."""

    is_revoked: bool | None = None
    account_kit_id: UUID | None = None
    user_id: UUID | None = None


def page(*, asker: Asker, filters: Filters, limit: int, before_id: UUID | None = None) -> Page:
    """The keys of the asker's company that are theirs to see; below an admin, their own."""
    rows = _visible(asker)
    if filters.is_revoked is not None:
        rows = rows.filter(revoked_at__isnull=not filters.is_revoked)
    if filters.account_kit_id is not None:
        rows = rows.filter(account_kit_id=filters.account_kit_id)
    if filters.user_id is not None:
        rows = rows.filter(active_tenant_user_id=filters.user_id)
    return Page(*pages.latest(rows, limit=limit, before_id=before_id))


def get(*, asker: Asker, key_id: UUID) -> APIKey:
    """Errors: NotFound, for another company's key and for somebody else's alike."""
    found = _visible(asker).filter(id=key_id).first()
    if found is None:
        raise NotFound(f"API key {key_id} was not found.")
    return found


def create(
    *,
    asker: Asker,
    name: str,
    role: str,
    now: datetime,
    account_kit_id: UUID | None = None,
    active_tenant_user_id: UUID | None = None,
    expires_at: datetime | None = None,
    cap_credits: Decimal | None = None,
    cap_period: str = "",
    requests_per_minute: int | None = None,
) -> IssuedKey:
    """Issue a key in the asker's name: its role at most theirs, its end no later than theirs.

    Errors: those of keys.create; Forbidden with reason `role` or `key_limit` (a key with a limit makes none).
    """
    _require_rank(asker, Role(fields.choice("role", role, Role.values)), "make")
    _require_no_limit(asker)
    _require_end(asker, expires_at)
    return keys.create(
        company_id=asker.company_id,
        name=name,
        role=role,
        created_by_id=asker.person_id,
        account_kit_id=account_kit_id,
        active_tenant_user_id=active_tenant_user_id,
        expires_at=expires_at,
        cap_credits=cap_credits,
        cap_period=cap_period,
        requests_per_minute=requests_per_minute,
        now=now,
    )


@transaction.atomic
def update(*, asker: Asker, key_id: UUID, changes: Mapping[str, Any], now: datetime) -> APIKey:
    """Errors: those of keys.update; Forbidden with reason `role` (a key above theirs) or `key_limit`."""
    key = get(asker=asker, key_id=key_id)
    _require_rank(asker, Role(key.role), "change")
    _require_no_limit(asker)
    if "expires_at" in changes:
        _require_end(asker, changes["expires_at"])
    return keys.update(company_id=asker.company_id, key_id=key_id, changes=changes, now=now)


@transaction.atomic
def rotate(*, asker: Asker, key_id: UUID, overlap: timedelta, now: datetime) -> IssuedKey:
    """Errors: those of keys.rotate; Forbidden with reason `role` (a key above theirs), `key_personal`, `key_limit` or
    `key_end`.

    Shape: a key with a limit or an end rotates itself, and its successor has the same ones.
    """
    key = get(asker=asker, key_id=key_id)
    _require_rank(asker, Role(key.role), "rotate")
    if key.is_personal and not asker.stands_for(key):
        raise Forbidden(
            "This API key was given to a person who signed in, and opens their other companies too.",
            hint="Its person rotates it, by the key itself or in the dashboard; you may revoke it.",
            details={"reason": "key_personal"},
        )
    if key.family_id != asker.family_id:
        _require_no_limit(asker)
        if asker.ends_at is not None and (key.expires_at is None or key.expires_at > asker.ends_at):
            raise Forbidden(
                f"This API key ends at {asker.ends_at:%Y-%m-%dT%H:%M:%SZ}, before the key it would rotate.",
                hint="Use a key that lasts longer, or the dashboard.",
                details={"reason": "key_end"},
            )
    return keys.rotate(company_id=asker.company_id, key_id=key_id, overlap=overlap, now=now)


@transaction.atomic
def revoke(*, asker: Asker, key_id: UUID, now: datetime) -> APIKey:
    """End a key that is theirs to see, whatever its role: a key that leaked must end. Errors: NotFound."""
    key = get(asker=asker, key_id=key_id)
    return keys.revoke(company_id=asker.company_id, key_id=key.id, now=now)


def _visible(asker: Asker) -> QuerySet[APIKey]:
    rows = APIKey.objects.filter(company_id=asker.company_id)
    if asker.sees_all:
        return rows
    own = Q(created_by_id=asker.person_id) if asker.person_id else Q(family_id=asker.family_id)
    return rows.filter(own)


def _require_rank(asker: Asker, role: Role, act: str) -> None:
    if not role.is_at_most(asker.role):
        raise Forbidden(
            f'Your role here is {asker.role.value}; you cannot {act} a key with the role "{role.value}".',
            hint=f"Ask somebody who is {role.value}, or choose {asker.role.value} or below.",
            details={"reason": "role", "role": asker.role.value, "required": role.value},
        )


def _require_no_limit(asker: Asker) -> None:
    if asker.is_limited:
        raise Forbidden(
            "This API key has a limit of its own, which another key would get around.",
            hint="Use a key without a spend cap and without requests_per_minute, or the dashboard.",
            details={"reason": "key_limit"},
        )


def _require_end(asker: Asker, expires_at: object) -> None:
    if asker.ends_at is not None and not (
        isinstance(expires_at, datetime) and expires_at.tzinfo and expires_at <= asker.ends_at
    ):
        limit = f"{asker.ends_at:%Y-%m-%dT%H:%M:%SZ}"
        raise fields.refuse("expires_at", f"must be at most {limit}, when the API key that asks ends.")
