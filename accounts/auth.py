"""Whose key or session token it is: from the Authorization header to a principal, by one query at most."""

import functools
import hmac
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import LiteralString
from uuid import UUID

from django.conf import settings
from psycopg.rows import TupleRow

from accounts import activity, changes, database, tokens
from accounts.errors import Forbidden, Unauthorized
from accounts.ids import AccountKitId, APIKeyId, CompanyId, TenantUserId
from accounts.models import Role

# The net under the notifications: no answer is believed longer than this and one read.
CACHE_TTL_S = 5.0
PRINCIPALS_MAX = 20_000
UNKNOWN_MAX = 10_000

_SCHEME = "Bearer "
_HEADER_LENGTHS = {len(_SCHEME) + tokens.KEY_LENGTH, len(_SCHEME) + tokens.SESSION_LENGTH}
HINT = "Send the header `Authorization: Bearer nv_sk_live_…` with a key from the dashboard, API keys."
_KEY: LiteralString = """
           k.id, k.name, k.role, k.family_id, k.account_kit_id, k.cap_credits, k.cap_period, k.requests_per_minute,
           k.is_personal, k.created_by_id, c.id, c.name, c.status, c.markup, u.id
    FROM accounts_apikey k
    JOIN accounts_company c ON c.id = k.company_id
    JOIN accounts_tenantuser u ON u.company_id = k.company_id AND u.is_default
    LEFT JOIN accounts_user p ON p.id = k.created_by_id
"""
_KEY_OPENS: LiteralString = """
    AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND p.is_active IS NOT FALSE
"""
_OF_KEY: LiteralString = """
    SELECT k.digest, NULL::uuid, k.active_tenant_user_id,
           k.expires_at, extract(epoch FROM k.expires_at - now())::float8,
"""
_OF_SESSION: LiteralString = """
    SELECT s.digest, s.id, s.tenant_user_id, least(s.expires_at, k.expires_at),
           extract(epoch FROM least(s.expires_at, k.expires_at) - now())::float8,
"""
_WITH_SESSION: LiteralString = """
    JOIN accounts_user_session s ON s.company_id = k.company_id AND s.api_key_id = k.id
    JOIN accounts_tenantuser t ON t.company_id = s.company_id AND t.id = s.tenant_user_id AND t.status <> 'deleted'
    WHERE s.digest = %s AND s.revoked_at IS NULL AND s.expires_at > now()
"""
_BY_KEY: LiteralString = _OF_KEY + _KEY + " WHERE k.digest = %s " + _KEY_OPENS
# A session opens as long as its key does, and no longer.
_BY_SESSION: LiteralString = _OF_SESSION + _KEY + _WITH_SESSION + _KEY_OPENS


@dataclass(frozen=True, slots=True)
class Principal:
    """The company and the key behind a request; of a session token, the key that issued it.

    Shape: `session_id` names the token, where one was sent; books and caps know its key alone.
    Units: cap_credits in credits per cap_period (`day`, `week`, `month`, `total`), both None without a cap;
    cap_scope_id is what the cap counts against, one id for a key and its successors.
    """

    company_id: CompanyId
    company_name: str
    company_status: str
    markup: Decimal
    key_id: APIKeyId
    key_name: str
    key_role: str
    # Kit-scoped: the only kit whose users this key may act for.
    kit_scope_id: AccountKitId | None
    # Sealed: the only tenant user this key may act for.
    sealed_user_id: TenantUserId | None
    default_user_id: TenantUserId
    cap_scope_id: UUID
    cap_credits: Decimal | None
    cap_period: str | None
    expires_at: datetime | None
    # Of the key and its successors together; None leaves the operator's default.
    requests_per_minute: int | None = None
    # Who made the key; None for the operator.
    created_by_id: UUID | None = None
    # Given at signing in (accounts/personal_keys.py).
    is_personal: bool = False
    session_id: UUID | None = None

    @property
    def is_narrow(self) -> bool:
        """Sealed or kit-scoped: opens the typed llm routes and reads of itself, nothing else."""
        return self.sealed_user_id is not None or self.kit_scope_id is not None


# Where a row says in how many seconds it ends.
_ENDS_IN_S = 4

# By SHA-256 of the token: no secret stays in memory, and a hit needs neither the pepper nor the database.
_principals: changes.Cache[bytes, Principal] = changes.Cache(entries_max=PRINCIPALS_MAX, ttl_s=CACHE_TTL_S)
_unknown: changes.Cache[bytes, bool] = changes.Cache(entries_max=UNKNOWN_MAX, ttl_s=CACHE_TTL_S)
# What opened when it was last asked for, the newest last: kept when the caches are emptied, and no proof of anything.
_acquainted: dict[bytes, None] = {}


async def start() -> None:
    """Listen for revocations and write last uses; without it nothing is cached. Once per process."""
    await changes.start()
    activity.start()


async def stop() -> None:
    """Stop listening and write what is left."""
    await activity.stop()
    await changes.stop()


async def authenticate(authorization: str | None) -> Principal:
    """The principal whose key the header carries.

    Shape: exactly `Bearer `, then the key; a key that is unknown, revoked, past its end, or made by a person who
    is deactivated looks the same.
    Errors: Unauthorized with a hint; Unavailable when the database cannot be asked, or too many unknown keys wait.
    Source: docs/product.md 3, "API key".
    """
    token = _token(authorization)
    fingerprint = sha256(token.encode()).digest()
    read = functools.partial(_read, token, fingerprint)
    principal = _principals.recall(fingerprint, read)
    if principal is None:
        if not tokens.is_well_formed(token) or _unknown.get(fingerprint):
            raise _refused()
        principal = await _principals.read_once(fingerprint, read)
    activity.keys.note(principal.key_id)
    return principal


def require_write(principal: Principal) -> None:
    """Refuse a read-only (viewer's) key. Errors: Forbidden, reason `key_scope`."""
    if principal.key_role == Role.VIEWER.value:
        raise Forbidden(
            "This API key is read-only (role viewer).",
            hint="Use a key with the role member or above.",
            details={"reason": "key_scope"},
        )


async def _read(token: str, fingerprint: bytes) -> Principal:
    if fingerprint in _acquainted:
        return await _load(token, fingerprint)
    # The check in a key is public: whoever can count to CRC32 can send as many new ones as they like.
    async with database.for_strangers():
        return await _load(token, fingerprint)


async def _load(token: str, fingerprint: bytes) -> Principal:
    as_of = changes.mark()
    digest = tokens.digest(token)
    query = _BY_SESSION if token.startswith(tokens.SESSION_PREFIX) else _BY_KEY
    row = await database.fetch_row(query, (digest,))
    if row is None or not hmac.compare_digest(row[0], digest):
        _acquainted.pop(fingerprint, None)
        _principals.forget(fingerprint)
        _unknown.put(fingerprint, value=True, as_of=as_of)
        raise _refused()
    principal = _principal(row)
    # The key's end is the entry's end too: expiry costs a hit nothing and follows the database's clock.
    _principals.put(
        fingerprint, principal, as_of=as_of, company_id=principal.company_id, ends_in_s=row[_ENDS_IN_S]
    )
    _acquaint(fingerprint)
    return principal


def _principal(row: TupleRow) -> Principal:
    (
        _,
        session_id,
        sealed_user_id,
        expires_at,
        _,
        *of_key,
        company_id,
        name,
        status,
        markup,
        default_user_id,
    ) = row
    key_id, key_name, role, family_id, kit_id, cap_credits, cap_period, per_minute, is_personal, maker = (
        of_key
    )
    return Principal(
        company_id=CompanyId(company_id),
        company_name=name,
        company_status=status,
        markup=settings.MARKUP if markup is None else markup,
        key_id=APIKeyId(key_id),
        key_name=key_name,
        key_role=role if session_id is None else _at_most_member(role),
        kit_scope_id=kit_id,
        sealed_user_id=sealed_user_id,
        default_user_id=TenantUserId(default_user_id),
        cap_scope_id=family_id,
        cap_credits=cap_credits,
        cap_period=cap_period or None,
        expires_at=expires_at,
        requests_per_minute=per_minute,
        created_by_id=maker,
        is_personal=is_personal and session_id is None,
        session_id=session_id,
    )


def _at_most_member(role: str) -> str:
    return Role.MEMBER.value if Role.MEMBER.is_at_most(Role(role)) else role


def _acquaint(fingerprint: bytes) -> None:
    _acquainted.pop(fingerprint, None)
    _acquainted[fingerprint] = None
    if len(_acquainted) > PRINCIPALS_MAX:
        del _acquainted[next(iter(_acquainted))]


def _token(authorization: str | None) -> str:
    if not authorization:
        raise Unauthorized("An API key is required.", hint=HINT)
    if not authorization.startswith(_SCHEME):
        raise Unauthorized("The Authorization header must begin with `Bearer ` and one space.", hint=HINT)
    if len(authorization) not in _HEADER_LENGTHS or not authorization.isascii():
        raise Unauthorized(
            f"This is not an API key: one has {tokens.KEY_LENGTH} characters, no spaces around it.",
            hint=HINT,
        )
    return authorization[len(_SCHEME) :]


def _refused() -> Unauthorized:
    return Unauthorized(
        "This API key opens nothing.",
        hint="It is mistyped, revoked or expired; make one in the dashboard, API keys.",
    )
