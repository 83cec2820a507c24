"""Invitations: a place in a company, offered to an e-mail address for seven days and taken once.

Letters are sent above (naive_platform/invitation_letters.py); what joining does is in companies.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Manager, QuerySet

from accounts import audit, companies, database, fields, locks, pages, people, teams, tokens
from accounts.errors import Conflict, DuplicateRecord, Forbidden, NotFound
from accounts.invitation_models import Invitation
from accounts.models import CompanyStatus, Membership, Role, User

VALID_FOR = timedelta(days=7)
# Neither accepted nor withdrawn, of one company.
OPEN_MAX = 200
State = Invitation.State


@dataclass(frozen=True, slots=True)
class IssuedInvitation:
    """An invitation and its token, which exists only here: send it, and show it to its inviter once."""

    invitation: Invitation
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Some invitations, the latest first; `before_id` leads to the next page."""

    invitations: list[Invitation]
    before_id: UUID | None


@transaction.atomic
def invite(
    *, company_id: UUID, email: str, role: str, invited_by_id: UUID, now: datetime
) -> IssuedInvitation:
    """Offer an address a place in the company, with a role at most the inviter's.

    Shape: whether the address has an account is not told; one open invitation for each address.
    Errors: InvalidInput (address, role), Forbidden (reason `role`), DuplicateRecord (invited, or a member already),
    Conflict (OPEN_MAX of them are open).
    Source: docs/dashboard.md, "Team".
    """
    wanted = Role(fields.choice("role", role, Role.values))
    address = people.address(email)
    teams.require_rank(teams.hold(company_id=company_id, user_id=invited_by_id), wanted, "invite somebody as")
    locks.hold("invitations", str(company_id))
    _require_room(company_id)
    if Membership.objects.filter(company_id=company_id, user__in=User.objects.with_email(address)).exists():
        raise DuplicateRecord(f"{address} is a member already.", details={"field": "email"})
    token = tokens.generate(tokens.INVITATION_PREFIX)
    invitation = Invitation(
        company_id=company_id,
        email=address,
        role=wanted.value,
        digest=tokens.digest(token),
        invited_by_id=invited_by_id,
        created_at=now,
        sent_at=now,
        expires_at=now + VALID_FOR,
    )
    _insert(invitation)
    _note("invitation.created", invitation, after=_told(invitation), now=now)
    return IssuedInvitation(invitation=invitation, token=token)


@transaction.atomic
def resend(*, company_id: UUID, invitation_id: UUID, invited_by_id: UUID, now: datetime) -> IssuedInvitation:
    """Give an open or expired invitation another token and seven more days; the token before opens nothing.

    Errors: NotFound, Forbidden (reason `role`: its role is above the asker's), Conflict (accepted or withdrawn).
    """
    asker = teams.hold(company_id=company_id, user_id=invited_by_id)
    invitation = _find(company_id, invitation_id)
    teams.require_rank(asker, Role(invitation.role), "invite somebody as")
    _require_unended(invitation)
    before = _told(invitation)
    token = tokens.generate(tokens.INVITATION_PREFIX)
    invitation.digest, invitation.invited_by_id = tokens.digest(token), invited_by_id
    invitation.sent_at, invitation.expires_at = now, now + VALID_FOR
    invitation.save(update_fields=["digest", "invited_by_id", "sent_at", "expires_at"])
    _note("invitation.resent", invitation, before=before, after=_told(invitation), now=now)
    return IssuedInvitation(invitation=invitation, token=token)


@transaction.atomic
def withdraw(*, company_id: UUID, invitation_id: UUID, now: datetime) -> Invitation:
    """End an invitation, whatever its role; ending it again changes nothing. Errors: NotFound, Conflict (accepted)."""
    invitation = _find(company_id, invitation_id)
    if invitation.withdrawn_at is None:
        _require_unended(invitation)
        before = _told(invitation)
        invitation.withdrawn_at = now
        invitation.save(update_fields=["withdrawn_at"])
        _note("invitation.withdrawn", invitation, before=before, now=now)
    return invitation


def page(*, company_id: UUID, limit: int, before_id: UUID | None = None) -> Page:
    """The company's invitations with who sent them."""
    rows = Invitation.objects.filter(company_id=company_id).select_related("invited_by")
    return Page(*pages.latest(rows, limit=limit, before_id=before_id))


def get(*, company_id: UUID, invitation_id: UUID) -> Invitation:
    """Errors: NotFound."""
    return _found(Invitation.objects, company_id, invitation_id)


def find(*, token: str, now: datetime) -> Invitation:
    """The invitation that a token opens, with its company and inviter.

    Errors: NotFound, Conflict (accepted, withdrawn or expired, or no longer backed).
    """
    rows = Invitation.objects.select_related("company", "invited_by")
    invitation = rows.filter(digest=_digest(token)).first()
    if invitation is None:
        raise _unknown()
    inviter = Membership.objects.filter(company_id=invitation.company_id, user_id=invitation.invited_by_id)
    _require_good(invitation, inviter.first(), now)
    return invitation


@transaction.atomic
def accept(*, token: str, user: User, now: datetime) -> Membership:
    """Let the person whom an invitation is for into its company, with the role it says.

    Shape: once; of two who accept at a time the second is refused. An unconfirmed address will do: the token came from
    the company. The invitation is worth what its inviter may still give.
    Errors: NotFound, Forbidden (reason `other_address`), Conflict (ended, or the company is not active),
    DuplicateRecord (a member already).
    Source: docs/dashboard.md, "Team".
    """
    rows = Invitation.objects.select_for_update(of=("self",)).select_related("company", "invited_by")
    # The inviter first, as everybody who changes the team holds a member before anything else.
    named = (
        Invitation.objects.filter(digest=_digest(token)).values_list("company_id", "invited_by_id").first()
    )
    if named is None:
        raise _unknown()
    inviter = Membership.objects.select_for_update().filter(company_id=named[0], user_id=named[1]).first()
    invitation = rows.filter(digest=_digest(token), invited_by_id=named[1]).first()
    if invitation is None:
        raise _unknown()
    _require_good(invitation, inviter, now)
    if not is_for(invitation, user):
        raise Forbidden(
            f"This invitation is for {invitation.email}, and you are signed in as {user.email}.",
            hint="Sign in with that address, or ask for an invitation to yours.",
            details={"reason": "other_address"},
        )
    member = companies.add_member(
        company_id=invitation.company_id, user_id=user.id, role=invitation.role, now=now
    )
    invitation.accepted_at = now
    invitation.save(update_fields=["accepted_at"])
    _note("invitation.accepted", invitation, after={"user_id": user.id, "role": invitation.role}, now=now)
    return member


def is_for(invitation: Invitation, user: User) -> bool:
    """Whether it was sent to this person's address, whatever its case."""
    return user.is_active and user.email.lower() == invitation.email.lower()


def _insert(invitation: Invitation) -> None:
    try:
        with transaction.atomic():
            invitation.save(force_insert=True)
    except IntegrityError as exc:
        if database.violated(exc) != "accounts_invitation_once":
            raise
        raise DuplicateRecord(
            f"{invitation.email} is invited already.",
            hint="Send that invitation again, or withdraw it first.",
            details={"field": "email"},
        ) from exc


def _require_room(company_id: UUID) -> None:
    open_ones = Invitation.objects.filter(company_id=company_id, accepted_at=None, withdrawn_at=None)
    if open_ones.count() >= OPEN_MAX:
        raise Conflict(
            f"A company may have {OPEN_MAX} invitations that nobody has accepted.",
            hint="Withdraw those that are no longer needed.",
        )


def _require_good(invitation: Invitation, inviter: Membership | None, now: datetime) -> None:
    """Errors: Conflict."""
    state = invitation.state_at(now)
    if state != State.OPEN:
        said = {
            State.ACCEPTED: "was accepted already",
            State.WITHDRAWN: "was withdrawn",
            State.EXPIRED: f"expired on {invitation.expires_at:%-d %B %Y}",
        }[state]
        raise Conflict(f"This invitation {said}.", hint="Ask whoever invited you for another one.")
    if inviter is None or not _may_invite(inviter, Role(invitation.role)):
        raise Conflict(
            "Whoever sent this invitation may no longer invite.",
            hint=f"Ask an owner or admin of {invitation.company.name} for another one.",
        )
    if invitation.company.status != CompanyStatus.ACTIVE:
        raise Conflict(f"{invitation.company.name} is {invitation.company.status}: nobody can join it now.")


def _may_invite(inviter: Membership, role: Role) -> bool:
    mine = Role(inviter.role)
    return role.is_at_most(mine) and Role.ADMIN.is_at_most(mine)


def _require_unended(invitation: Invitation) -> None:
    if invitation.accepted_at is not None or invitation.withdrawn_at is not None:
        said = "accepted" if invitation.accepted_at is not None else "withdrawn"
        raise Conflict(f"The invitation of {invitation.email} was {said} already.")


def _find(company_id: UUID, invitation_id: UUID) -> Invitation:
    return _found(Invitation.objects.select_for_update(), company_id, invitation_id)


def _found(
    rows: QuerySet[Invitation] | Manager[Invitation], company_id: UUID, invitation_id: UUID
) -> Invitation:
    invitation = rows.filter(company_id=company_id, id=invitation_id).first()
    if invitation is None:
        raise NotFound(f"Invitation {invitation_id} was not found.")
    return invitation


def _digest(token: str) -> bytes:
    if not tokens.is_invitation(token):
        raise _unknown()
    return tokens.digest(token)


def _unknown() -> NotFound:
    return NotFound(
        "There is no such invitation.",
        hint="Open the link exactly as it was sent to you; one that was sent again replaces the one before.",
    )


def _told(invitation: Invitation) -> dict[str, Any]:
    return {
        "email": invitation.email,
        "role": invitation.role,
        "invited_by": invitation.invited_by_id,
        "expires_at": invitation.expires_at,
    }


def _note(
    action: str,
    invitation: Invitation,
    *,
    now: datetime,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    audit.record(
        company_id=invitation.company_id,
        action=action,
        target_kind="invitation",
        target_id=invitation.id,
        target_label=invitation.email,
        before=before,
        after=after,
        now=now,
    )
