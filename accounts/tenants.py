"""Tenant users, a company's own end users: created, changed, suspended; whom a call is for: subjects.py."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from accounts import database, fields
from accounts.errors import Conflict, DuplicateRecord, NotFound
from accounts.models import (
    EXTERNAL_ID_LENGTH_MAX,
    NAME_LENGTH_MAX,
    AccountKit,
    TenantUser,
    TenantUserStatus,
)

METADATA_BYTES_MAX = 16 * 1024
CHANGEABLE = ("external_id", "email", "label", "status", "account_kit_id", "metadata")


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
    return _save(user)


def get(*, company_id: UUID, user_id: UUID) -> TenantUser:
    """The company's tenant user, suspended ones included. Errors: NotFound."""
    return _find(company_id, user_id)


@transaction.atomic
def update(*, company_id: UUID, user_id: UUID, changes: Mapping[str, Any]) -> TenantUser:
    """Change a tenant user; `metadata` is merged, null removes a key; `status` is active or suspended.

    Errors: InvalidInput, NotFound (the user or the kit), DuplicateRecord (external_id).
    """
    fields.known_keys("user", changes, CHANGEABLE)
    user = _find(company_id, user_id, for_update=True)
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
    return _save(user, changes)


def assign_kit(*, company_id: UUID, user_id: UUID, account_kit_id: UUID) -> TenantUser:
    """Put a tenant user under another of the company's kits. Errors: NotFound."""
    return update(company_id=company_id, user_id=user_id, changes={"account_kit_id": account_kit_id})


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
    rows = TenantUser.objects.select_for_update() if for_update else TenantUser.objects
    rows = rows.exclude(status=TenantUserStatus.DELETED)
    user = rows.filter(company_id=company_id, id=user_id).first()
    if user is None:
        raise NotFound(f"Tenant user {user_id} was not found.")
    return user


def _save(user: TenantUser, columns: Iterable[str] | None = None) -> TenantUser:
    try:
        with transaction.atomic():
            user.save(update_fields=columns)
    except IntegrityError as exc:
        match database.violated(exc):
            case "accounts_tenantuser_external_id":
                raise DuplicateRecord(
                    f'A tenant user with external_id "{user.external_id}" is there already.',
                    details={"field": "external_id"},
                ) from exc
            case "accounts_tenantuser_account_kit":
                raise NotFound(f"AccountKit {user.account_kit_id} was not found.") from exc
        raise
    return user


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
