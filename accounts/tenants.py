"""Tenant users, a company's own end users: created, listed, changed, suspended; whom a call is for: subjects.py."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet, Value
from django.db.models.functions import Lower

from accounts import audit, database, fields, pages
from accounts.errors import Conflict, DuplicateRecord, NotFound
from accounts.models import (
    EXTERNAL_ID_LENGTH_MAX,
    NAME_LENGTH_MAX,
    AccountKit,
    Company,
    TenantUser,
    TenantUserStatus,
)

METADATA_BYTES_MAX = 16 * 1024
CHANGEABLE = ("external_id", "email", "label", "status", "account_kit_id", "metadata")
# Of those who were not found, an error names so many.
MISSING_SHOWN_MAX = 50


@dataclass(frozen=True, slots=True)
class Filters:
    """Which users are wanted; each that is given narrows them.

    Shape: `search` is what the e-mail address, the label or the external id begins with, whatever the case; of the
    instants of creation `since` is the first, `until` the one after.
    """

    status: str | None = None
    account_kit_id: UUID | None = None
    external_id: str | None = None
    search: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some users, the newest first; the next ones are before `before_id`, and there are none where that is None."""

    users: list[TenantUser]
    before_id: UUID | None


@dataclass(frozen=True, slots=True)
class Assigned:
    """How many users were given another kit, and how many of those meant had it already."""

    assigned: int
    unchanged: int


@transaction.atomic
def create(
    *,
    company_id: UUID,
    now: datetime,
    external_id: str | None = None,
    email: str = "",
    label: str = "",
    account_kit_id: UUID | None = None,
    metadata: object = None,
    is_default: bool = False,
) -> TenantUser:
    """Add a tenant user, under the company's default kit where none is named.

    Errors: InvalidInput, NotFound (the company or the kit), DuplicateRecord (the external_id is another user's).
    """
    user = TenantUser(
        company_id=company_id,
        external_id=_external_id(external_id),
        email=_email(email),
        label=_label(label),
        account_kit_id=account_kit_id or _default_kit_id(company_id),
        metadata=fields.json_object(
            "metadata", {} if metadata is None else metadata, bytes_max=METADATA_BYTES_MAX
        ),
        is_default=is_default,
        created_at=now,
    )
    _save(user)
    _record("tenant_user.created", user, after=_facts(user))
    return user


def get(*, company_id: UUID, user_id: UUID) -> TenantUser:
    """The company's tenant user, suspended ones included. Errors: NotFound."""
    return _find(company_id, user_id)


def get_many(*, company_id: UUID, user_ids: Collection[UUID]) -> list[TenantUser]:
    """Those of the company's users that have these ids, suspended ones included, the newest first."""
    return list(_known(TenantUser.objects.filter(company_id=company_id, id__in=user_ids)).order_by("-id"))


def page(*, company_id: UUID, filters: Filters, limit: int, before_id: UUID | None = None) -> Page:
    """The company's users, suspended ones included, the newest first; one query by an index whatever is asked for."""
    rows = TenantUser.objects.filter(company_id=company_id)
    rows = rows.filter(status=filters.status) if filters.status else _known(rows)
    if filters.account_kit_id is not None:
        rows = rows.filter(account_kit_id=filters.account_kit_id)
    if filters.external_id is not None:
        rows = rows.filter(external_id=filters.external_id)
    if filters.search:
        rows = _found(rows, filters.search)
    if filters.since is not None:
        rows = rows.filter(created_at__gte=filters.since)
    if filters.until is not None:
        rows = rows.filter(created_at__lt=filters.until)
    return Page(*pages.latest(rows, limit=limit, before_id=before_id))


@transaction.atomic
def update(*, company_id: UUID, user_id: UUID, changes: Mapping[str, Any]) -> TenantUser:
    """Change a tenant user; `metadata` is merged, null removes a key; `status` is active or suspended.

    Errors: InvalidInput, NotFound (the user or the kit), DuplicateRecord (external_id).
    """
    fields.known_keys("user", changes, CHANGEABLE)
    user = _find(company_id, user_id, for_update=True)
    before = _facts(user)
    if "external_id" in changes:
        user.external_id = _external_id(changes["external_id"])
    if "email" in changes:
        user.email = _email(changes["email"])
    if "label" in changes:
        user.label = _label(changes["label"])
    if "status" in changes:
        choices = (TenantUserStatus.ACTIVE.value, TenantUserStatus.SUSPENDED.value)
        user.status = fields.choice("status", changes["status"], choices)
    if "account_kit_id" in changes:
        user.account_kit_id = fields.uuid("account_kit_id", changes["account_kit_id"])
    if "metadata" in changes:
        user.metadata = _merged_metadata(user.metadata, changes["metadata"])
    _save(user, changes)
    _record(_action(changes, user.status), user, before=before, after=_facts(user))
    return user


def assign_kit(*, company_id: UUID, user_id: UUID, account_kit_id: UUID) -> TenantUser:
    """Put a tenant user under another of the company's kits. Errors: NotFound."""
    return update(company_id=company_id, user_id=user_id, changes={"account_kit_id": account_kit_id})


@transaction.atomic
def assign_many(
    *,
    company_id: UUID,
    account_kit_id: UUID,
    users: Collection[UUID | str] | None = None,
    from_kit_id: UUID | None = None,
) -> Assigned:
    """Put many tenant users under a kit, all of them or none.

    Shape: the `users` named by id or external id, or those who have the kit `from_kit_id`, or, with neither, every
    user of the company; the suspended included.
    Errors: NotFound (a kit, or a user: details.users names the first 50 that are not there).
    """
    # Two at once take turns here, instead of waiting for each other's users.
    Company.objects.select_for_update(no_key=True).filter(id=company_id).first()
    kit = _kit(company_id, account_kit_id)
    rows = TenantUser.objects.filter(company_id=company_id)
    if from_kit_id is not None:
        rows = rows.filter(account_kit=_kit(company_id, from_kit_id))
    if users is not None:
        rows = _named(rows, users)
    before = _ids_by_kit(rows) if users is not None else _counts_by_kit(rows)
    unchanged = rows.filter(account_kit=kit).count()
    assigned = _assign(rows, kit)
    audit.record(
        company_id=company_id,
        action="account_kit.assigned",
        target_kind="account_kit",
        target_id=kit.id,
        target_label=kit.name,
        # Of users who were named, who had which kit; of all others, how many had it.
        before={"users_by_kit": before},
        after={"users_by_kit": {str(kit.id): assigned + unchanged}},
    )
    return Assigned(assigned=assigned, unchanged=unchanged)


def by_kit(
    *, company_id: UUID, users: Collection[UUID | str] | None = None, from_kit_id: UUID | None = None
) -> dict[UUID, int]:
    """Of those whom `assign_many` would move, how many have which kit now. Errors: NotFound, as there."""
    rows = TenantUser.objects.filter(company_id=company_id)
    if from_kit_id is not None:
        rows = rows.filter(account_kit=_kit(company_id, from_kit_id))
    if users is not None:
        rows = _named(rows, users)
    return dict(rows.order_by().values_list("account_kit_id").annotate(Count("id")))


@transaction.atomic
def suspend_many(*, company_id: UUID, user_ids: Collection[UUID]) -> int:
    """Suspend all of these users or none; how many were active, each with an audit entry. Errors: NotFound."""
    done = 0
    # In one order, so that two at once never wait for each other.
    for user_id in sorted(user_ids):
        if _find(company_id, user_id, for_update=True).status == TenantUserStatus.ACTIVE:
            suspend(company_id=company_id, user_id=user_id)
            done += 1
    return done


def suspend(*, company_id: UUID, user_id: UUID) -> TenantUser:
    """Refuse this user's calls until `reactivate`. Errors: NotFound."""
    return update(company_id=company_id, user_id=user_id, changes={"status": "suspended"})


def reactivate(*, company_id: UUID, user_id: UUID) -> TenantUser:
    """Let this user's calls through again. Errors: NotFound."""
    return update(company_id=company_id, user_id=user_id, changes={"status": "active"})


@transaction.atomic
def delete(*, company_id: UUID, user_id: UUID) -> TenantUser:
    """What DELETE does: suspend, so that past calls keep their user.

    Errors: NotFound, Conflict (the default user, whom calls without a user are for).
    """
    user = _find(company_id, user_id, for_update=True)
    if user.is_default:
        raise Conflict("The default user cannot be deleted.", hint="Suspend it with PATCH status.")
    return suspend(company_id=company_id, user_id=user_id)


def _find(company_id: UUID, user_id: UUID, *, for_update: bool = False) -> TenantUser:
    # Rows that refer to the user are added meanwhile.
    rows = TenantUser.objects.select_for_update(no_key=True) if for_update else TenantUser.objects.all()
    user = _known(rows).filter(company_id=company_id, id=user_id).first()
    if user is None:
        raise NotFound(f"Tenant user {user_id} was not found.")
    return user


def _kit(company_id: UUID, kit_id: UUID) -> AccountKit:
    kit = AccountKit.objects.filter(company_id=company_id, id=kit_id).first()
    if kit is None:
        raise NotFound(f"AccountKit {kit_id} was not found.")
    return kit


def _known(rows: QuerySet[TenantUser]) -> QuerySet[TenantUser]:
    return rows.filter(status__in=(TenantUserStatus.ACTIVE.value, TenantUserStatus.SUSPENDED.value))


def _found(rows: QuerySet[TenantUser], search: str) -> QuerySet[TenantUser]:
    """Those in whom one of three texts begins with `search`, by the indexes of migration 0009."""
    rows = rows.alias(
        email_lower=Lower("email"), label_lower=Lower("label"), external_id_lower=Lower("external_id")
    )
    # Lowered by the database alone, which does not lower every letter as Python does: the last of ΟΔΟΣ, for one.
    start = Lower(Value(search))
    return rows.filter(
        Q(email_lower__startswith=start)
        | Q(label_lower__startswith=start)
        | Q(external_id_lower__startswith=start)
    )


def _named(rows: QuerySet[TenantUser], wanted: Collection[UUID | str]) -> QuerySet[TenantUser]:
    ids = {name for name in wanted if isinstance(name, UUID)}
    external_ids = {name for name in wanted if isinstance(name, str)}
    found = _known(rows).filter(Q(id__in=ids) | Q(external_id__in=external_ids))
    there: set[object] = {name for pair in found.values_list("id", "external_id") for name in pair}
    missing = [str(name) for name in wanted if name not in there]
    if missing:
        raise NotFound(
            f"Tenant user {missing[0]} was not found.",
            hint="Nobody was given another kit.",
            details={"users": missing[:MISSING_SHOWN_MAX]},
        )
    return found


def _action(changes: Iterable[str], status: str) -> str:
    if set(changes) == {"account_kit_id"}:
        return "account_kit.assigned"
    if set(changes) == {"status"}:
        is_active = status == TenantUserStatus.ACTIVE.value
        return "tenant_user.reactivated" if is_active else "tenant_user.suspended"
    return "tenant_user.updated"


def _facts(user: TenantUser) -> dict[str, Any]:
    return {name: getattr(user, name) for name in CHANGEABLE}


def _record(
    action: str,
    user: TenantUser,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    audit.record(
        company_id=user.company_id,
        action=action,
        target_kind="tenant_user",
        target_id=user.id,
        target_label=str(user),
        before=before,
        after=after,
    )


def _assign(rows: QuerySet[TenantUser], kit: AccountKit) -> int:
    try:
        with transaction.atomic():
            return rows.exclude(account_kit=kit).update(account_kit=kit)
    except IntegrityError as exc:
        if database.violated(exc) != "accounts_tenantuser_account_kit":
            raise
        # Deleted meanwhile.
        raise NotFound(f"AccountKit {kit.id} was not found.") from exc


def _ids_by_kit(rows: QuerySet[TenantUser]) -> dict[str, list[UUID]]:
    found: dict[str, list[UUID]] = {}
    for kit_id, user_id in rows.order_by("id").values_list("account_kit_id", "id"):
        found.setdefault(str(kit_id), []).append(user_id)
    return found


def _counts_by_kit(rows: QuerySet[TenantUser]) -> dict[str, int]:
    counts = rows.order_by().values_list("account_kit_id").annotate(Count("id"))
    return {str(kit_id): count for kit_id, count in counts}


def _save(user: TenantUser, columns: Iterable[str] | None = None) -> TenantUser:
    try:
        with transaction.atomic():
            user.save(update_fields=columns)
    except IntegrityError as exc:
        match database.violated(exc):
            case "accounts_tenantuser_external_id":
                raise _duplicate(user) from exc
            case "accounts_tenantuser_account_kit":
                raise NotFound(f"AccountKit {user.account_kit_id} was not found.") from exc
        raise
    return user


def _duplicate(user: TenantUser) -> DuplicateRecord:
    there = TenantUser.objects.filter(company_id=user.company_id, external_id=user.external_id)
    return DuplicateRecord(
        f'A tenant user with external_id "{user.external_id}" is there already.',
        hint="Change that one, or choose another external_id.",
        details={"field": "external_id", "existing_id": there.values_list("id", flat=True).first()},
    )


def _default_kit_id(company_id: UUID) -> UUID:
    kits = AccountKit.objects.filter(company_id=company_id, is_default=True)
    found: UUID | None = kits.values_list("id", flat=True).first()
    if found is None:
        # Every company has a default kit, from its beginning.
        raise NotFound(f"Company {company_id} was not found.")
    return found


def _external_id(value: object) -> str | None:
    if value is None:
        return None
    return fields.text("external_id", value, length_max=EXTERNAL_ID_LENGTH_MAX)


def _email(value: object) -> str:
    email = fields.text("email", value, length_max=254, may_be_empty=True)
    try:
        if email:
            validate_email(email)
    except ValidationError as exc:
        raise fields.refuse("email", "must be an e-mail address.") from exc
    return email


def _label(value: object) -> str:
    return fields.text("label", value, length_max=NAME_LENGTH_MAX, may_be_empty=True)


def _merged_metadata(before: Mapping[str, Any], change: object) -> dict[str, Any]:
    patch = fields.json_object("metadata", change, bytes_max=METADATA_BYTES_MAX)
    merged = {key: value for key, value in {**before, **patch}.items() if value is not None}
    return fields.json_object("metadata", merged, bytes_max=METADATA_BYTES_MAX)
