"""Session tokens: short-lived, sealed to one tenant user, issued by an API key; whom they speak for is in auth.py."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts import audit, fields, keys, locks, pages, tokens
from accounts.errors import Forbidden, NotFound
from accounts.models import APIKey, Role, TenantUser, TenantUserStatus
from accounts.session_models import UserSession

TTL_S = 900
TTL_S_MAX = 86_400
# What a person's key is called whose secret nobody has: it issues the tokens of the playground.
PLAYGROUND = "Playground"
# Deleted in one statement.
FORGOTTEN_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class IssuedSession:
    """A new session and its token, which exists only here: hand it to the user it is for."""

    session: UserSession
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Some sessions, the latest first; the next ones are before `before_id`, and there are none where that is None."""

    sessions: list[UserSession]
    before_id: UUID | None


@transaction.atomic
def issue(
    *, company_id: UUID, user_id: UUID, api_key_id: UUID, now: datetime, ttl_s: int = TTL_S
) -> IssuedSession:
    """Give a tenant user a token of their own, which never outlives the key that issues it.

    Errors: InvalidInput (ttl_seconds), NotFound (the user), Forbidden (reason `user_suspended`), Conflict (the key has
    ended).
    Source: docs/product.md 3, "Narrow credentials".
    """
    lasts = fields.whole_number("ttl_seconds", ttl_s, least=1, most=TTL_S_MAX)
    user = _user(company_id, user_id)
    if user.status != TenantUserStatus.ACTIVE:
        raise Forbidden(
            f"Tenant user {user_id} is {user.status}.",
            hint="Reactivate the user first.",
            details={"reason": "user_suspended", "user_id": str(user_id)},
        )
    # Revoked at this very moment, it takes the token along: a token opens nothing without its key (auth.py).
    key = keys.get_live(company_id=company_id, key_id=api_key_id, now=now)
    token = tokens.generate(tokens.SESSION_PREFIX)
    ends_at = now + timedelta(seconds=lasts)
    session = UserSession.objects.create(
        company_id=company_id,
        tenant_user_id=user_id,
        api_key_id=key.id,
        digest=tokens.digest(token),
        expires_at=ends_at if key.expires_at is None else min(ends_at, key.expires_at),
        created_at=now,
    )
    _note("user_session.created", session, now=now, after=told(session))
    return IssuedSession(session=session, token=token)


@transaction.atomic
def issue_to_person(*, company_id: UUID, user_id: UUID, person_id: UUID, now: datetime) -> IssuedSession:
    """Give a person of the company a token for one of its tenant users, to try out what that user may.

    Shape: as `issue`. Its calls count as those of the person's key PLAYGROUND, which is made the first time, found
    again from then on, and has no secret that anybody knows; a cap put on that key holds, and revoking it ends its
    tokens.
    Errors: NotFound (the user, or the person is not of the company), Forbidden (reason `user_suspended`, or a viewer).
    """
    locks.hold("playground key of", str(company_id), str(person_id))
    # Nothing is made for a user who is not there.
    _user(company_id, user_id)
    own = APIKey.objects.live(now).filter(
        company_id=company_id, created_by_id=person_id, name=PLAYGROUND, role=Role.MEMBER.value
    )
    key = own.filter(is_personal=False, account_kit=None, active_tenant_user=None).order_by("-id").first()
    if key is None:
        key = keys.create(
            company_id=company_id, name=PLAYGROUND, role=Role.MEMBER.value, created_by_id=person_id, now=now
        ).key
    return issue(company_id=company_id, user_id=user_id, api_key_id=key.id, now=now)


def page(
    *, company_id: UUID, user_id: UUID, now: datetime, limit: int, before_id: UUID | None = None
) -> Page:
    """A tenant user's sessions that have not ended. Errors: NotFound (the user)."""
    return page_of(_user(company_id, user_id), now=now, limit=limit, before_id=before_id)


def page_of(user: TenantUser, *, now: datetime, limit: int, before_id: UUID | None = None) -> Page:
    """The same of a user who was found already."""
    rows = UserSession.objects.filter(
        company_id=user.company_id, tenant_user_id=user.id, revoked_at=None, expires_at__gt=now
    )
    return Page(*pages.latest(rows, limit=limit, before_id=before_id))


@transaction.atomic
def revoke(*, company_id: UUID, user_id: UUID, session_id: UUID, now: datetime) -> UserSession:
    """End a session now, on every gateway process within a second; ending it again changes nothing.

    Errors: NotFound (not this user's, or past its end and forgotten).
    """
    rows = UserSession.objects.select_for_update()
    session = rows.filter(company_id=company_id, tenant_user_id=user_id, id=session_id).first()
    if session is None:
        raise NotFound(f"Session {session_id} was not found.")
    if session.revoked_at is None:
        before = told(session)
        session.revoked_at = now
        session.save(update_fields=["revoked_at"])
        _note("user_session.revoked", session, now=now, before=before, after=told(session))
    return session


def told(session: UserSession) -> dict[str, Any]:
    """What may be said of a session, and never its digest."""
    return {
        "user_id": session.tenant_user_id,
        "key_id": session.api_key_id,
        "expires_at": session.expires_at,
        "revoked_at": session.revoked_at,
        "created_at": session.created_at,
    }


def forget(*, now: datetime) -> int:
    """Delete sessions that have ended, some at a time; how many there were."""
    over = UserSession.objects.filter(expires_at__lte=now).order_by("expires_at").values_list("id", flat=True)
    count = 0
    while found := list(over[:FORGOTTEN_AT_ONCE]):
        count += UserSession.objects.filter(id__in=found).delete()[0]
    return count


def _user(company_id: UUID, user_id: UUID) -> TenantUser:
    users = TenantUser.objects.exclude(status=TenantUserStatus.DELETED)
    user = users.filter(company_id=company_id, id=user_id).first()
    if user is None:
        raise NotFound(f"Tenant user {user_id} was not found.")
    return user


def _note(action: str, session: UserSession, *, now: datetime, **states: Any) -> None:
    audit.record(
        company_id=session.company_id,
        action=action,
        target_kind="user_session",
        target_id=session.id,
        now=now,
        **states,
    )
