"""For whom a call is: the tenant user and the kit that gates it, found from key, path and header."""

import functools
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import LiteralString, Protocol
from uuid import UUID

from accounts import activity, changes, database, ids, kits
from accounts.auth import CACHE_TTL_S, Principal
from accounts.errors import Forbidden, NotFound
from accounts.ids import AccountKitId, CompanyId, TenantUserId
from accounts.kits import Kit
from accounts.models import EXTERNAL_ID_LENGTH_MAX, CompanyStatus, TenantUserStatus

DEFAULT = "default"
ME = "me"
EXTERNAL = "ext:"
SUBJECTS_MAX = 50_000

_ROW: LiteralString = """
    SELECT u.id, u.external_id, u.email, u.status, k.id, k.name, k.primitives_config::text, k.prompt_retention_days
    FROM accounts_tenantuser u
    JOIN accounts_accountkit k ON k.company_id = u.company_id AND k.id = u.account_kit_id
    WHERE u.company_id = %s AND u.status <> 'deleted' AND
"""
_BY_ID: LiteralString = _ROW + "u.id = %s"
_BY_EXTERNAL_ID: LiteralString = _ROW + "u.external_id = %s"


class Scope(Protocol):
    """Of whoever asks: the company, and what its credential is sealed to or scoped by."""

    @property
    def company_id(self) -> CompanyId: ...
    @property
    def default_user_id(self) -> TenantUserId: ...
    @property
    def sealed_user_id(self) -> TenantUserId | None: ...
    @property
    def kit_scope_id(self) -> AccountKitId | None: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """The tenant user whom a call is for, and the kit that gates it."""

    user_id: TenantUserId
    external_id: str | None
    email: str
    status: str
    kit: Kit


# By company and then an id, or an external id as it was asked for.
_subjects: changes.Cache[tuple[CompanyId, UUID | str], Subject] = changes.Cache(
    entries_max=SUBJECTS_MAX, ttl_s=CACHE_TTL_S
)


async def resolve(principal: Scope, *, path_user: str | None, header_user: str | None) -> Subject:
    """The subject of a call: the key's seal, else the path, else the header, else the company's default user.

    Shape: an id is a UUID, `default`, `me` or `ext:<external_id>`; under a seal, each id given must name the
    sealed user. Absent before forbidden: every id is looked up in the company first.
    Errors: NotFound; Forbidden with reason `key_subject_mismatch` or `key_kit_mismatch`; Unavailable.
    Source: docs/product.md 3, "Subject of a call".
    """
    seal = principal.sealed_user_id
    given = [name for name in (path_user, header_user) if name is not None]
    if seal is None:
        subject = await _named(principal, given[0] if given else DEFAULT)
    else:
        named = [await _named(principal, name) for name in given]
        subject = await _named(principal, ME)
        if any(other.user_id != seal for other in named):
            raise Forbidden(
                "This API key is sealed to another tenant user.",
                hint="Leave the user out, or use `me`.",
                details={"reason": "key_subject_mismatch"},
            )
    if principal.kit_scope_id is not None and subject.kit.id != principal.kit_scope_id:
        raise Forbidden(
            f'This API key is for another AccountKit than "{subject.kit.name}".',
            hint="Use a key without a kit, or one of the user's kit.",
            details={"reason": "key_kit_mismatch"},
        )
    return subject


def require_active(principal: Principal, subject: Subject) -> None:
    """Refuse calls of a company or a tenant user that is not active; otherwise note the activity.

    Errors: Forbidden with reason `company_suspended` or `user_suspended`.
    """
    if principal.company_status != CompanyStatus.ACTIVE.value:
        raise Forbidden(
            f'Company "{principal.company_name}" is {principal.company_status}.',
            hint="Ask the operator of this platform.",
            details={"reason": "company_suspended"},
        )
    if subject.status != TenantUserStatus.ACTIVE.value:
        raise Forbidden(
            f"Tenant user {subject.user_id} is suspended.",
            hint="Reactivate the user, or act for another one.",
            details={"reason": "user_suspended", "user_id": str(subject.user_id)},
        )
    activity.users.note(subject.user_id)


async def _named(principal: Scope, name: str) -> Subject:
    meant = wanted(principal, name)
    key = (principal.company_id, meant)
    read = functools.partial(_load, principal.company_id, meant)
    subject = _subjects.recall(key, read)
    if subject is None:
        subject = await _subjects.read_once(key, read)
    return subject


def wanted(principal: Scope, name: str) -> UUID | str:
    """What a name in an address or a body stands for: an id, or an external id (`ext:`). Errors: NotFound."""
    if name == DEFAULT:
        return principal.default_user_id
    if name == ME:
        return principal.sealed_user_id or principal.default_user_id
    if name.startswith(EXTERNAL):
        external_id = name.removeprefix(EXTERNAL)
        if external_id and len(external_id) <= EXTERNAL_ID_LENGTH_MAX and _is_storable(external_id):
            return external_id
    user_id = ids.parse(name)
    if user_id is None:
        raise _not_found()
    return user_id


async def _load(company_id: CompanyId, wanted: UUID | str) -> Subject:
    as_of = changes.mark()
    query = _BY_ID if isinstance(wanted, UUID) else _BY_EXTERNAL_ID
    row = await database.fetch_row(query, (company_id, wanted))
    if row is None:
        _subjects.forget((company_id, wanted))
        raise _not_found()
    user_id, external_id, email, status, kit_id, kit_name, written, days = row
    # Parsed from its text, so that limits and upstream's own prices never pass through a float.
    config = json.loads(written, parse_float=Decimal)
    subject = Subject(
        user_id=TenantUserId(user_id),
        external_id=external_id,
        email=email,
        status=status,
        kit=kits.read(kit_id=AccountKitId(kit_id), name=kit_name, config=config, prompt_retention_days=days),
    )
    _subjects.put((company_id, wanted), subject, as_of=as_of, company_id=company_id)
    return subject


def _is_storable(text: str) -> bool:
    # PostgreSQL has no U+0000, and UTF-8 no lone surrogate.
    try:
        return "\x00" not in text and bool(text.encode())
    except UnicodeEncodeError:
        return False


def _not_found() -> NotFound:
    return NotFound(
        "Tenant user was not found.", hint="Name a user of this company by id, or by `ext:` and external_id."
    )
