"""API keys: their life and limits; their spelling is in tokens.py, whom they speak for in auth.py.

Whoever may ask for what is decided in credentials.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts import audit, database, fields, tokens, webhook_events
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
from accounts.webhook_events import Kind

ROTATION_OVERLAP = timedelta(hours=24)
# "total" is one period that never ends; a budget row needs some first day.
EPOCH = date(1970, 1, 1)
REQUESTS_PER_MINUTE_MAX = 1_000_000
CHANGEABLE = ("name", "expires_at", "cap_credits", "cap_period", "requests_per_minute")


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key and its secret, which exists only here: show it once."""

    key: APIKey
    secret: str = field(repr=False)


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
    requests_per_minute: int | None = None,
    is_personal: bool = False,
) -> IssuedKey:
    """Issue a key; its secret is in the answer and nowhere else.

    Shape: `created_by_id` is a member of the company, or None for the operator; a personal key is what signing in
    gives, and opens the person's other companies to them.
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
        requests_per_minute=_per_minute(requests_per_minute),
        is_personal=is_personal,
        created_at=now,
    )
    key.family_id = key.id
    issued = _issue(key)
    _note("api_key.created", key, after=told(key), now=now)
    return issued


def get(*, company_id: UUID, key_id: UUID) -> APIKey:
    """The company's key, live or dead. Errors: NotFound."""
    return _find(company_id, key_id, for_update=False)


def get_live(*, company_id: UUID, key_id: UUID, now: datetime) -> APIKey:
    """The company's key. Errors: NotFound, Conflict (revoked, or past its end)."""
    return _require_live(_find(company_id, key_id, for_update=False), now)


def told(key: APIKey) -> dict[str, Any]:
    """What may be said of a key: to its company's endpoints and in the audit log, and never its digest."""
    return {
        "name": key.name,
        "last_4": key.last_4,
        "role": key.role,
        "account_kit_id": key.account_kit_id,
        "active_tenant_user_id": key.active_tenant_user_id,
        "cap_credits": key.cap_credits,
        "cap_period": key.cap_period or None,
        "requests_per_minute": key.requests_per_minute,
        "created_by": key.created_by_id,
        "rotated_from": key.rotated_from_id,
        "expires_at": key.expires_at,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


@transaction.atomic
def update(*, company_id: UUID, key_id: UUID, changes: Mapping[str, Any], now: datetime) -> APIKey:
    """Change a key's name, end or limits (CHANGEABLE); scope, role and secret stay.

    A limit holds for the whole rotation family, so that the predecessor in its overlap has no other one.
    Errors: InvalidInput, NotFound, Conflict (revoked, or past its end).
    """
    fields.known_keys("key", changes, CHANGEABLE)
    key = _require_live(_hold_family(company_id, key_id), now)
    before = told(key)
    if "name" in changes:
        key.name = fields.text("name", changes["name"], length_max=NAME_LENGTH_MAX)
    if "expires_at" in changes:
        key.expires_at = _future(changes["expires_at"], now)
    if "cap_credits" in changes or "cap_period" in changes:
        key.cap_credits, key.cap_period = _cap(
            changes.get("cap_credits", key.cap_credits), changes.get("cap_period", key.cap_period)
        )
    if "requests_per_minute" in changes:
        key.requests_per_minute = _per_minute(changes["requests_per_minute"])
    limits = {name: getattr(key, name) for name in ("cap_credits", "cap_period", "requests_per_minute")}
    if limits.keys() & changes.keys():
        APIKey.objects.filter(company_id=company_id, family_id=key.family_id).update(**limits)
    key.save(update_fields=["name", "expires_at"])
    if told(key) != before:
        _note("api_key.updated", key, before=before, after=told(key), now=now)
    return key


@transaction.atomic
def revoke(*, company_id: UUID, key_id: UUID, now: datetime) -> APIKey:
    """End a key now, on every gateway process within a second; ending it again changes nothing.

    Errors: NotFound.
    """
    key = _find(company_id, key_id, for_update=True)
    if key.revoked_at is None:
        _end(key, now)
    return key


@transaction.atomic
def revoke_all(*, company_id: UUID, now: datetime, created_by_id: UUID | None = None) -> int:
    """End every key of a company, or those that one person made in it; how many there were."""
    rows = APIKey.objects.select_for_update().filter(company_id=company_id, revoked_at=None)
    if created_by_id is not None:
        rows = rows.filter(created_by_id=created_by_id)
    found = list(rows.order_by("id"))
    for key in found:
        _end(key, now)
    return len(found)


@transaction.atomic
def revoke_personal(*, person_id: UUID, now: datetime) -> int:
    """End every key that signing in gave a person, in whatever company; how many there were."""
    rows = APIKey.objects.select_for_update().filter(
        created_by_id=person_id, is_personal=True, revoked_at=None
    )
    found = list(rows.order_by("id"))
    for key in found:
        _end(key, now)
    return len(found)


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
    maker_id = _find(company_id, key_id, for_update=False).created_by_id
    if maker_id is not None:
        _hold_member(company_id, maker_id)
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
        requests_per_minute=old.requests_per_minute,
        is_personal=old.is_personal,
        rotated_from=old,
        expires_at=old.expires_at,
        created_at=now,
    )
    before = {"expires_at": old.expires_at}
    old.expires_at = min(old.expires_at or now + overlap, now + overlap)
    old.save(update_fields=["expires_at"])
    issued = _issue(successor)
    after = {"expires_at": old.expires_at, "successor_id": successor.id, "successor_last_4": successor.last_4}
    _note("api_key.rotated", old, before=before, after=after, now=now)
    return issued


def _issue(key: APIKey) -> IssuedKey:
    secret = tokens.generate(tokens.KEY_PREFIX)
    key.digest = tokens.digest(secret)
    key.last_4 = secret[-4:]
    try:
        with transaction.atomic():
            key.save(force_insert=True)
    except IntegrityError as exc:
        if database.violated(exc) != "accounts_apikey_account_kit":
            raise
        raise NotFound(f"AccountKit {key.account_kit_id} was not found.") from exc
    _tell(Kind.KEY_CREATED, key, key.created_at)
    return IssuedKey(key=key, secret=secret)


def _end(key: APIKey, now: datetime) -> None:
    before = told(key)
    key.revoked_at = now
    key.save(update_fields=["revoked_at"])
    _note("api_key.revoked", key, before=before, after=told(key), now=now)
    _tell(Kind.KEY_REVOKED, key, now)


def _tell(kind: Kind, key: APIKey, now: datetime) -> None:
    """Tell the company's endpoints of a key; docs/webhooks.md has the payload."""
    payload = {"id": key.id, **told(key)}
    webhook_events.tell(company_id=key.company_id, kind=kind, payload=payload, now=now)


def _note(action: str, key: APIKey, *, now: datetime, **states: Any) -> None:
    audit.record(
        company_id=key.company_id,
        action=action,
        target_kind="api_key",
        target_id=key.id,
        target_label=key.name,
        now=now,
        **states,
    )


def _find(company_id: UUID, key_id: UUID, *, for_update: bool) -> APIKey:
    rows = APIKey.objects.select_for_update() if for_update else APIKey.objects
    key = rows.filter(company_id=company_id, id=key_id).first()
    if key is None:
        raise NotFound(f"API key {key_id} was not found.")
    return key


def _hold_family(company_id: UUID, key_id: UUID) -> APIKey:
    """The key, with all of its family held in one order: nobody has another limit, or rotates it, meanwhile."""
    family_id = _find(company_id, key_id, for_update=False).family_id
    rows = APIKey.objects.select_for_update().filter(company_id=company_id, family_id=family_id)
    return next(key for key in rows.order_by("id") if key.id == key_id)


def _hold_member(company_id: UUID, user_id: UUID) -> Membership | None:
    """The person's place, held to the end: nobody leaves or steps down while a key of theirs is being made."""
    return Membership.objects.select_for_update().filter(company_id=company_id, user_id=user_id).first()


def _require_live(key: APIKey, now: datetime) -> APIKey:
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise Conflict(f"API key {key.id} has ended already.", hint="Create a new key.")
    return key


def _require_rank(company_id: UUID, user_id: UUID, wanted: Role) -> None:
    member = _hold_member(company_id, user_id)
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


def _per_minute(value: object) -> int | None:
    if value is None:
        return None
    return fields.whole_number("requests_per_minute", value, least=1, most=REQUESTS_PER_MINUTE_MAX)


def _future(expires_at: object, now: datetime) -> datetime | None:
    if expires_at is None:
        return None
    if not isinstance(expires_at, datetime) or expires_at.tzinfo is None:
        raise fields.refuse("expires_at", "must be an instant with a time zone.")
    if expires_at <= now:
        raise fields.refuse("expires_at", "must lie in the future.")
    return expires_at
