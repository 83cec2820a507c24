"""API keys: their spelling, digest, life and spend cap; who a key speaks for is in auth.py."""

import hmac
import re
import secrets
import string
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts import database, fields
from accounts.errors import Conflict, Forbidden, NotFound
from accounts.models import (
    CAP_CREDITS_MAX,
    NAME_LENGTH_MAX,
    APIKey,
    CapPeriod,
    Company,
    Membership,
    Role,
    TenantUser,
    TenantUserStatus,
)

PREFIX = "nv_sk_live_"
# 62 ** 32 is 190 bits; what follows them is a CRC32, 62 ** 6 > 2 ** 32.
RANDOM_LENGTH = 32
CHECK_LENGTH = 6
TOKEN_LENGTH = len(PREFIX) + RANDOM_LENGTH + CHECK_LENGTH
ROTATION_OVERLAP = timedelta(hours=24)
# "total" is one period that never ends; a budget row needs some first day.
EPOCH = date(1970, 1, 1)

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{RANDOM_LENGTH + CHECK_LENGTH}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key and its secret, which exists only here: show it once."""

    key: APIKey
    secret: str = field(repr=False)


def generate() -> str:
    """A new secret: `nv_sk_live_`, 190 random bits in base 62, and a CRC32 of all that precedes it."""
    body = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_LENGTH))
    return body + _check(body)


def is_well_formed(token: str) -> bool:
    """Whether the token could be one of ours; decided without the database, which noise never reaches."""
    return _SHAPE.fullmatch(token) is not None and token[-CHECK_LENGTH:] == _check(token[:-CHECK_LENGTH])


def digest(token: str) -> bytes:
    """What is stored and looked up: HMAC-SHA-256 under settings.KEY_PEPPER, 32 bytes."""
    return hmac.digest(settings.KEY_PEPPER.encode(), token.encode(), "sha256")


def cap_period_start(period: str, now: datetime) -> date:
    """First day (UTC) of the cap period `now` lies in; weeks begin on Monday, "total" never begins anew."""
    today = now.astimezone(UTC).date()
    match CapPeriod(period):
        case CapPeriod.DAY:
            return today
        case CapPeriod.WEEK:
            return today - timedelta(days=today.weekday())
        case CapPeriod.MONTH:
            return today.replace(day=1)
        case CapPeriod.TOTAL:
            return EPOCH


@transaction.atomic
def create(
    *,
    company_id: UUID,
    name: str,
    role: str,
    created_by_id: UUID | None,
    now: datetime,
    account_kit_id: UUID | None = None,
    active_tenant_user_id: UUID | None = None,
    expires_at: datetime | None = None,
    cap_credits: Decimal | None = None,
    cap_period: str = "",
) -> IssuedKey:
    """Issue a key; its secret is in the answer and nowhere else.

    Shape: `created_by_id` is a member of the company, or None for the operator.
    Units: cap_credits in credits, per cap_period (`day`, `week`, `month`, `total`); both or neither.
    Errors: InvalidInput (also a seal and a kit that disagree), Forbidden (role above the creator's), NotFound
    (company; creator, kit or user elsewhere).
    Source: docs/product.md 3, "API key".
    """
    wanted = Role(fields.choice("role", role, Role.values))
    if created_by_id is not None:
        _require_rank(company_id, created_by_id, wanted)
    elif not Company.objects.filter(id=company_id).exists():
        raise NotFound(f"Company {company_id} was not found.")
    _require_user(company_id, active_tenant_user_id, account_kit_id)
    credits, period = _cap(cap_credits, cap_period)
    key = APIKey(
        company_id=company_id,
        name=fields.text("name", name, length_max=NAME_LENGTH_MAX),
        role=wanted.value,
        created_by_id=created_by_id,
        account_kit_id=account_kit_id,
        active_tenant_user_id=active_tenant_user_id,
        expires_at=_future(expires_at, now),
        cap_credits=credits,
        cap_period=period,
        created_at=now,
    )
    key.family_id = key.id
    return _issue(key)


def get(*, company_id: UUID, key_id: UUID) -> APIKey:
    """The company's key, live or dead. Errors: NotFound."""
    return _find(company_id, key_id, for_update=False)


@transaction.atomic
def update(*, company_id: UUID, key_id: UUID, changes: Mapping[str, Any], now: datetime) -> APIKey:
    """Change a key's `name`, `expires_at`, `cap_credits` or `cap_period`; scope, role and secret stay.

    A cap holds for the whole rotation family, so that the predecessor in its overlap has no other limit.
    Errors: InvalidInput, NotFound, Conflict (revoked, or past its end).
    """
    fields.known_keys("key", changes, ("name", "expires_at", "cap_credits", "cap_period"))
    key = _require_live(_find(company_id, key_id, for_update=True), now)
    if "name" in changes:
        key.name = fields.text("name", changes["name"], length_max=NAME_LENGTH_MAX)
    if "expires_at" in changes:
        key.expires_at = _future(changes["expires_at"], now)
    if "cap_credits" in changes or "cap_period" in changes:
        key.cap_credits, key.cap_period = _cap(
            changes.get("cap_credits", key.cap_credits), changes.get("cap_period", key.cap_period)
        )
        family = APIKey.objects.filter(company_id=company_id, family_id=key.family_id)
        family.update(cap_credits=key.cap_credits, cap_period=key.cap_period)
    key.save(update_fields=["name", "expires_at"])
    return key


@transaction.atomic
def revoke(*, company_id: UUID, key_id: UUID, now: datetime) -> APIKey:
    """End a key now, on every gateway process within a second; ending it again changes nothing.

    Errors: NotFound.
    """
    key = _find(company_id, key_id, for_update=True)
    if key.revoked_at is None:
        key.revoked_at = now
        key.save(update_fields=["revoked_at"])
    return key


@transaction.atomic
def rotate(
    *, company_id: UUID, key_id: UUID, now: datetime, overlap: timedelta = ROTATION_OVERLAP
) -> IssuedKey:
    """Issue a successor with the same scope, role, end and cap; the old key ends after the overlap.

    Shape: both count into one spend cap (family_id); a key has one successor, ever.
    Errors: NotFound, Conflict (revoked, past its end, or rotated before), InvalidInput (overlap below zero).
    """
    if overlap < timedelta(0):
        raise fields.refuse("overlap", "must not be negative.")
    old = _require_live(_find(company_id, key_id, for_update=True), now)
    if APIKey.objects.filter(rotated_from=old).exists():
        raise Conflict(
            f"API key {old.id} has been rotated already.", hint="Rotate its successor, or create a new key."
        )
    successor = APIKey(
        family_id=old.family_id,
        company_id=old.company_id,
        name=old.name,
        role=old.role,
        created_by_id=old.created_by_id,
        account_kit_id=old.account_kit_id,
        active_tenant_user_id=old.active_tenant_user_id,
        cap_credits=old.cap_credits,
        cap_period=old.cap_period,
        rotated_from=old,
        expires_at=old.expires_at,
        created_at=now,
    )
    old.expires_at = min(old.expires_at or now + overlap, now + overlap)
    old.save(update_fields=["expires_at"])
    return _issue(successor)


def _issue(key: APIKey) -> IssuedKey:
    secret = generate()
    key.digest = digest(secret)
    key.last_4 = secret[-4:]
    try:
        with transaction.atomic():
            key.save(force_insert=True)
    except IntegrityError as exc:
        if database.violated(exc) != "accounts_apikey_account_kit":
            raise
        raise NotFound(f"AccountKit {key.account_kit_id} was not found.") from exc
    return IssuedKey(key=key, secret=secret)


def _check(body: str) -> str:
    value = zlib.crc32(body.encode())
    spelt = ""
    for _ in range(CHECK_LENGTH):
        value, digit = divmod(value, len(_ALPHABET))
        spelt = _ALPHABET[digit] + spelt
    return spelt


def _find(company_id: UUID, key_id: UUID, *, for_update: bool) -> APIKey:
    rows = APIKey.objects.select_for_update() if for_update else APIKey.objects
    key = rows.filter(company_id=company_id, id=key_id).first()
    if key is None:
        raise NotFound(f"API key {key_id} was not found.")
    return key


def _require_live(key: APIKey, now: datetime) -> APIKey:
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise Conflict(f"API key {key.id} has ended already.", hint="Create a new key.")
    return key


def _require_rank(company_id: UUID, user_id: UUID, wanted: Role) -> None:
    # The row is held to the end, so that nobody leaves the company while a key of theirs is being made.
    member = Membership.objects.select_for_update().filter(company_id=company_id, user_id=user_id).first()
    if member is None:
        raise NotFound(f"User {user_id} is not a member of this company.")
    if not wanted.is_at_most(Role(member.role)):
        raise Forbidden(
            f'A key\'s role is at most its creator\'s: "{wanted}" is above "{member.role}".',
            details={"reason": "role"},
        )


def _require_user(company_id: UUID, user_id: UUID | None, kit_id: UUID | None) -> None:
    if user_id is None:
        return
    users = TenantUser.objects.exclude(status=TenantUserStatus.DELETED)
    user = users.filter(company_id=company_id, id=user_id).first()
    if user is None:
        raise NotFound(f"Tenant user {user_id} was not found.")
    if kit_id not in (None, user.account_kit_id):
        raise fields.refuse(
            "account_kit_id", f"must be the kit of the user whom the key is sealed to, {user.account_kit_id}."
        )


def _cap(credits: object, period: object) -> tuple[Decimal | None, str]:
    if credits is None and not period:
        return None, ""
    if credits is None:
        raise fields.refuse("cap_credits", "is needed beside cap_period.")
    exact = fields.amount("cap_credits", credits, most=CAP_CREDITS_MAX)
    return exact, fields.choice("cap_period", period, CapPeriod.values)


def _future(expires_at: object, now: datetime) -> datetime | None:
    if expires_at is None:
        return None
    if not isinstance(expires_at, datetime) or expires_at.tzinfo is None:
        raise fields.refuse("expires_at", "must be an instant with a time zone.")
    if expires_at <= now:
        raise fields.refuse("expires_at", "must lie in the future.")
    return expires_at
