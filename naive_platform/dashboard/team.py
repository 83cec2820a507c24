"""The company's people: roles, removal, leaving, and invitations; whoever is invited comes in by invitations.py."""

from datetime import datetime
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import invitations, teams
from accounts.errors import Conflict, DomainError, InvalidInput, NotFound
from accounts.invitation_models import Invitation
from accounts.invitations import IssuedInvitation
from accounts.models import Membership, Role
from naive_platform import invitation_letters, throttles
from naive_platform.dashboard import doors, submissions, tables
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.submissions import OnceForm
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table

ROLES = {
    Role.OWNER: "owner: everything, owners and admins too",
    Role.ADMIN: "admin: kits, billing, webhooks, the team and the audit log",
    Role.MEMBER: "member: keys of their own, users, the playground",
    Role.VIEWER: "viewer: reads",
}
MEMBER_COLUMNS = (
    Column(title="Member", is_title=True),
    Column(title="E-mail"),
    Column(title="Role", kind="word"),
    Column(title="Joined", kind="time"),
)
INVITATION_COLUMNS = (
    Column(title="E-mail", is_title=True),
    Column(title="State", kind="state"),
    Column(title="Role", kind="word"),
    Column(title="Sent by"),
    Column(title="Sent", kind="time"),
    Column(title="Until", kind="time"),
)


class RoleForm(forms.Form):
    """Another role for a member."""

    role = forms.ChoiceField(help_text="Keys that they made keep no role above it.")

    def __init__(self, *args: object, mine: Role, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["role"].choices = choices(mine)  # type: ignore[attr-defined]


class InviteForm(OnceForm):
    """Whom to invite, as what."""

    email = forms.EmailField(
        label="E-mail address",
        max_length=254,
        help_text="They accept signed in with this address.",
        error_messages={"required": "Enter an e-mail address.", "invalid": "Enter an e-mail address."},
    )
    role = forms.ChoiceField(initial=Role.MEMBER.value)

    def __init__(self, *args: object, mine: Role, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = choices(mine)  # type: ignore[attr-defined]


def choices(mine: Role) -> list[tuple[str, str]]:
    """The roles that somebody with this one may give."""
    return [(role.value, ROLES[role]) for role in Role if role.is_at_most(mine)]


@doors.page("team")
def members(request: HttpRequest, place: Place) -> HttpResponse:
    found = teams.page(
        company_id=place.company_id, limit=tables.LIMIT, before_id=tables.read_id_cursor(request.GET)
    )
    table = Table(
        name="members",
        caption="Members",
        columns=MEMBER_COLUMNS,
        rows=[_member_row(member, place) for member in found.members],
        empty=Empty("Nobody here. Begin with the first page."),
        next_cursor=tables.cursor(found.before_id) if found.before_id else None,
        is_first="cursor" not in request.GET,
    )
    context = {"table": table, "tab": "members", "may_invite": place.may("team", "post")}
    return doors.render(request, place, "dashboard/team.html", context)


@doors.page("team", post="patch")
def member(request: HttpRequest, place: Place, user_id: str) -> HttpResponse:
    found = _member(place, user_id)
    form = RoleForm(request.POST or None, initial={"role": found.role}, mine=place.caller.role)
    if request.method == "POST" and form.is_valid():
        try:
            changed = teams.change_role(
                company_id=place.company_id,
                asker_id=place.person.id,
                user_id=found.user_id,
                role=form.cleaned_data["role"],
            )
            said = f"{name_of(found)} is {changed.role} of {place.company.name} now."
            return doors.done(request, said, reverse("dashboard-team"))
        except (Conflict, InvalidInput) as exc:
            submissions.refuse(form, exc)
    is_self = found.user_id == place.person.id
    may_touch = place.may("team", "patch") and Role(found.role).is_at_most(place.caller.role)
    context = {
        "member": found,
        "name": name_of(found),
        "form": form,
        "is_self": is_self,
        "may_change": may_touch,
        "may_remove": may_touch and not is_self,
        "may_leave": is_self and place.may("team-leave", "post"),
    }
    status = 400 if form.is_bound and form.errors else 200
    return doors.render(request, place, "dashboard/team_member.html", context, status=status)


@doors.page("team", post="delete")
def remove(request: HttpRequest, place: Place, user_id: str) -> HttpResponse:
    place.require("team", "delete")
    found = _member(place, user_id)
    if request.method == "POST":
        teams.remove(
            company_id=place.company_id,
            asker_id=place.person.id,
            user_id=found.user_id,
            now=timezone.now(),
        )
        said = f"{name_of(found)} is out of {place.company.name}, and every key they made is revoked."
        return doors.done(request, said, reverse("dashboard-team"))
    context = {"member": found, "name": name_of(found)}
    return doors.render(request, place, "dashboard/team_remove.html", context)


@doors.page("team", post="post", post_route="team-leave")
def leave(request: HttpRequest, place: Place) -> HttpResponse:
    if request.method == "POST":
        me = place.person.id
        teams.remove(company_id=place.company_id, asker_id=me, user_id=me, now=timezone.now())
        return doors.done(request, f"You have left {place.company.name}.", reverse("dashboard-overview"))
    context = {"member": _member(place, str(place.person.id)), "name": "", "is_self": True}
    return doors.render(request, place, "dashboard/team_remove.html", context)


@doors.page("team")
def invited(request: HttpRequest, place: Place) -> HttpResponse:
    place.require("team", "post")
    now = timezone.now()
    found = invitations.page(
        company_id=place.company_id, limit=tables.LIMIT, before_id=tables.read_id_cursor(request.GET)
    )
    table = Table(
        name="invitations",
        caption="Invitations",
        columns=INVITATION_COLUMNS,
        rows=[_invitation_row(invitation, now) for invitation in found.invitations],
        empty=Empty("Nobody was invited yet.", "Invite somebody", reverse("dashboard-team-invite")),
        next_cursor=tables.cursor(found.before_id) if found.before_id else None,
        is_first="cursor" not in request.GET,
    )
    context = {"table": table, "tab": "invitations", "may_invite": True}
    return doors.render(request, place, "dashboard/team.html", context)


@doors.page("team", post="post")
def invite(request: HttpRequest, place: Place) -> HttpResponse:
    place.require("team", "post")
    form = InviteForm(request.POST or None, mine=place.caller.role)
    if request.method == "POST" and form.is_valid():
        email, role, now = form.cleaned_data["email"], form.cleaned_data["role"], timezone.now()
        try:
            throttles.count_invitation(company_id=place.company_id, email=email, now=now)
            issued = submissions.once(
                request,
                place,
                lambda: invitations.invite(
                    company_id=place.company_id,
                    email=email,
                    role=role,
                    invited_by_id=place.person.id,
                    now=now,
                ),
            )
            return _sent(request, place, issued)
        except DomainError as exc:
            submissions.refuse(form, exc)
    status = 400 if form.is_bound and form.errors else 200
    return doors.render(request, place, "dashboard/team_invite.html", {"form": form}, status=status)


@doors.page("team", post="post")
def resend(request: HttpRequest, place: Place, invitation_id: str) -> HttpResponse:
    place.require("team", "post")
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    found, now = _invitation_id(invitation_id), timezone.now()
    email = invitations.get(company_id=place.company_id, invitation_id=found).email
    throttles.count_invitation(company_id=place.company_id, email=email, now=now)
    issued = invitations.resend(
        company_id=place.company_id, invitation_id=found, invited_by_id=place.person.id, now=now
    )
    return _sent(request, place, issued)


@doors.page("team", post="delete")
def withdraw(request: HttpRequest, place: Place, invitation_id: str) -> HttpResponse:
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    withdrawn = invitations.withdraw(
        company_id=place.company_id, invitation_id=_invitation_id(invitation_id), now=timezone.now()
    )
    said = f"The invitation of {withdrawn.email} is withdrawn: its link opens nothing."
    return doors.done(request, said, reverse("dashboard-team-invitations"))


def name_of(found: Membership) -> str:
    return found.user.name or found.user.email


def _sent(request: HttpRequest, place: Place, issued: IssuedInvitation | None) -> HttpResponse:
    """The one answer that has the link; a letter has it too, where e-mail is set up."""
    if issued is None:
        return submissions.sent_before(request, reverse("dashboard-team-invitations"))
    link = doors.base_url(request) + reverse("invitation", args=[issued.token])
    is_mailed = invitation_letters.send(
        invitation=issued.invitation, company=place.company, inviter=place.person, link=link
    )
    context = {"invitation": issued.invitation, "link": link, "is_mailed": is_mailed}
    return doors.render(request, place, "dashboard/team_invited.html", context)


def _member_row(found: Membership, place: Place) -> Row:
    joined = Cell(found.created_at)
    note = "you" if found.user_id == place.person.id else "" if found.user.is_active else "closed"
    cells = (Cell(name_of(found), note=note), Cell(found.user.email), Cell(found.role), joined)
    return Row(cells, href=reverse("dashboard-team-member", args=[found.user_id]), id=str(found.user_id))


def _invitation_row(found: Invitation, now: datetime) -> Row:
    state = found.state_at(now)
    is_waiting = state in (Invitation.State.OPEN, Invitation.State.EXPIRED)
    return Row(
        (
            Cell(found.email),
            Cell(state.value),
            Cell(found.role),
            Cell(found.invited_by.name or found.invited_by.email),
            Cell(found.sent_at),
            Cell(found.expires_at),
        ),
        id=str(found.id),
        actions="dashboard/_team_invitation_actions.html" if is_waiting else "",
    )


def _member(place: Place, user_id: str) -> Membership:
    absent = NotFound(
        "Nobody with this id is in your company.", hint="They may have left; open the page Team."
    )
    return teams.get(company_id=place.company_id, user_id=submissions.id_of(user_id, absent))


def _invitation_id(text: str) -> UUID:
    return submissions.id_of(text, NotFound("This invitation was not found.", hint="Open the page Team."))
