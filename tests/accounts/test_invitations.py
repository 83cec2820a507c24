"""Invitations: a place offered to an address, for seven days, once; and who may change a team."""

import functools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import audit, companies, ids, invitations, people, teams, tokens
from accounts.errors import Conflict, DomainError, DuplicateRecord, Forbidden, InvalidInput, NotFound
from accounts.invitation_models import Invitation
from accounts.invitations import IssuedInvitation
from accounts.models import AuditEntry, Membership, Role, User
from tests import factories
from tests.factories import Cast
from tests.races import at_once, behind

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def person(email: str = "") -> User:
    address = email or f"{ids.uuid7().hex}@guest.example"
    return people.create(email=address, password=factories.PASSWORD, name="A guest", now=NOW)


def member(cast: Cast, role: str) -> User:
    found = person()
    companies.add_member(company_id=cast.company_id, user_id=found.id, role=role, now=NOW)
    return found


def invite(cast: Cast, email: str, *, role: str = "member", by: User | None = None) -> IssuedInvitation:
    return invitations.invite(
        company_id=cast.company_id, email=email, role=role, invited_by_id=(by or cast.owner).id, now=NOW
    )


def accept(issued: IssuedInvitation, user: User, *, now: datetime = NOW) -> Membership:
    return invitations.accept(token=issued.token, user=user, now=now)


def actions(cast: Cast) -> list[str]:
    rows = AuditEntry.objects.filter(company_id=cast.company_id, target_kind__in=["invitation", "member"])
    return list(rows.order_by("id").values_list("action", flat=True))


def test_whoever_is_invited_joins_with_the_role_they_were_offered() -> None:
    acme, guest = factories.acme(), person()

    joined = accept(invite(acme, guest.email.upper(), role="admin"), guest)

    assert (joined.company_id, joined.user_id, joined.role) == (acme.company_id, guest.id, "admin")
    assert actions(acme)[-3:] == ["invitation.created", "member.added", "invitation.accepted"]


def test_token_is_long_and_kept_as_a_digest_alone() -> None:
    issued = invite(factories.acme(), "long@guest.example")

    assert tokens.is_invitation(issued.token)
    assert 62**tokens.RANDOM_LENGTH >= 2**190
    kept = Invitation.objects.values().get(id=issued.invitation.id)
    assert bytes(kept["digest"]) == tokens.digest(issued.token)
    assert issued.token not in f"{kept}{issued!r}"


def test_token_is_never_written_into_the_audit_log() -> None:
    acme = factories.acme()
    issued = invite(acme, "quiet@guest.example")

    entry = AuditEntry.objects.filter(company_id=acme.company_id, action="invitation.created").get()

    assert issued.token not in f"{entry.after}"
    assert audit._masked(f"see /invitations/{issued.token}/") == f"see /invitations/{audit.MASKED}"


def test_invitation_is_taken_once() -> None:
    acme, guest = factories.acme(), person()
    issued = invite(acme, guest.email)
    accept(issued, guest)
    companies.remove_member(company_id=acme.company_id, user_id=guest.id, now=NOW)

    with pytest.raises(Conflict, match="accepted already"):
        accept(issued, guest)


def test_of_two_who_accept_at_once_one_joins() -> None:
    acme, guest = factories.acme(), person()
    issued = invite(acme, guest.email)

    outcomes = at_once(*[functools.partial(accept, issued, guest)] * 3)

    assert sorted(type(one).__name__ for one in outcomes) == ["Conflict", "Conflict", "Membership"]
    assert Membership.objects.filter(company=acme.company, user=guest).count() == 1


def test_withdrawn_meanwhile_is_refused() -> None:
    acme, guest = factories.acme(), person()
    issued = invite(acme, guest.email)

    outcome = behind(
        lambda: invitations.withdraw(company_id=acme.company_id, invitation_id=issued.invitation.id, now=NOW),
        functools.partial(accept, issued, guest),
    )

    assert isinstance(outcome, Conflict)
    assert "withdrawn" in outcome.message
    assert not Membership.objects.filter(company=acme.company, user=guest).exists()


def test_accepted_meanwhile_is_not_withdrawn() -> None:
    acme, guest = factories.acme(), person()
    issued = invite(acme, guest.email)

    outcome = behind(
        functools.partial(accept, issued, guest),
        lambda: invitations.withdraw(company_id=acme.company_id, invitation_id=issued.invitation.id, now=NOW),
    )

    assert isinstance(outcome, Conflict)
    assert Membership.objects.filter(company=acme.company, user=guest).exists()


@pytest.mark.parametrize(
    ("after", "is_open"), [(timedelta(days=7) - timedelta(seconds=1), True), (timedelta(days=7), False)]
)
def test_invitation_ends_after_seven_days(after: timedelta, is_open: bool) -> None:
    guest = person()
    issued = invite(factories.acme(), guest.email)

    if is_open:
        accept(issued, guest, now=NOW + after)
    else:
        with pytest.raises(Conflict, match="expired on 30 November 2026"):
            accept(issued, guest, now=NOW + after)


def test_somebody_else_is_told_whose_it_is() -> None:
    acme, guest, other = factories.acme(), person(), person()
    issued = invite(acme, guest.email)

    with pytest.raises(Forbidden, match=guest.email):
        accept(issued, other)
    assert not Membership.objects.filter(company=acme.company, user=other).exists()
    accept(issued, guest)


@pytest.mark.parametrize(
    "token", ["", "x", "nv_inv_", "nv_inv_" + "a" * 38, "nv_sk_live_" + "0" * 38, "\x00"]
)
def test_noise_opens_nothing(token: str) -> None:
    with pytest.raises(NotFound):
        invitations.find(token=token, now=NOW)
    with pytest.raises(NotFound):
        invitations.accept(token=token, user=person(), now=NOW)


def test_another_token_of_the_right_look_opens_nothing() -> None:
    with pytest.raises(NotFound):
        invitations.find(token=tokens.generate(tokens.INVITATION_PREFIX), now=NOW)


def test_sent_again_it_has_another_link_and_seven_more_days() -> None:
    acme, guest = factories.acme(), person()
    first = invite(acme, guest.email)
    later = NOW + timedelta(days=8)

    again = invitations.resend(
        company_id=acme.company_id,
        invitation_id=first.invitation.id,
        invited_by_id=acme.owner.id,
        now=later,
    )

    assert again.invitation.expires_at == later + timedelta(days=7)
    with pytest.raises(NotFound):
        accept(first, guest, now=later)
    assert accept(again, guest, now=later).role == "member"
    assert "invitation.resent" in actions(acme)


def test_what_has_ended_is_not_sent_again() -> None:
    acme, guest = factories.acme(), person()
    issued = invite(acme, guest.email)
    accept(issued, guest)

    with pytest.raises(Conflict, match="accepted already"):
        invitations.resend(
            company_id=acme.company_id,
            invitation_id=issued.invitation.id,
            invited_by_id=acme.owner.id,
            now=NOW,
        )


def test_withdrawing_twice_leaves_one_entry_and_room_for_another() -> None:
    acme = factories.acme()
    issued = invite(acme, "twice@guest.example")
    for _ in range(2):
        invitations.withdraw(company_id=acme.company_id, invitation_id=issued.invitation.id, now=NOW)

    assert actions(acme).count("invitation.withdrawn") == 1
    assert invite(acme, "Twice@guest.example").invitation.id != issued.invitation.id


def test_address_is_invited_once_at_a_time_and_no_member_at_all() -> None:
    acme = factories.acme()
    invite(acme, "once@guest.example")

    with pytest.raises(DuplicateRecord, match="invited already"):
        invite(acme, "Once@Guest.example")
    with pytest.raises(DuplicateRecord, match="member already"):
        invite(acme, acme.owner.email.upper())
    # Another company's is its own business.
    invite(factories.globex(), "once@guest.example")


def test_of_two_who_invite_one_address_at_once_one_does() -> None:
    acme = factories.acme()

    outcomes = at_once(*[functools.partial(invite, acme, "race@guest.example")] * 3)

    assert [type(one) for one in outcomes].count(IssuedInvitation) == 1
    assert all(isinstance(one, IssuedInvitation | DuplicateRecord) for one in outcomes)


@pytest.mark.parametrize(
    ("mine", "offered", "is_allowed"),
    [
        ("owner", "owner", True), ("admin", "admin", True), ("admin", "owner", False),
        ("member", "viewer", False), ("viewer", "viewer", False),
    ],
)  # fmt: skip
def test_role_offered_is_at_most_the_inviters(mine: str, offered: str, is_allowed: bool) -> None:
    acme = factories.acme()
    inviter = member(acme, mine)

    if is_allowed:
        assert invite(acme, "role@guest.example", role=offered, by=inviter).invitation.role == offered
    else:
        with pytest.raises(Forbidden, match="Your role here is"):
            invite(acme, "role@guest.example", role=offered, by=inviter)


@pytest.mark.parametrize("what", ["left", "stepped down", "suspended", "closed"])
def test_invitation_is_worth_what_stands_behind_it(what: str) -> None:
    acme, guest = factories.acme(), person()
    inviter = member(acme, "admin")
    issued = invite(acme, guest.email, role="admin", by=inviter)
    match what:
        case "left":
            companies.remove_member(company_id=acme.company_id, user_id=inviter.id, now=NOW)
        case "stepped down":
            companies.change_role(company_id=acme.company_id, user_id=inviter.id, role="member")
        case "suspended":
            companies.suspend(company_id=acme.company_id)
        case "closed":
            companies.close(company_id=acme.company_id, now=NOW)

    with pytest.raises(Conflict):
        accept(issued, guest)
    with pytest.raises(Conflict):
        invitations.find(token=issued.token, now=NOW)


@pytest.mark.parametrize(
    "email", ["", "nobody", "a@b", "a@b.example\nBcc: x@y.example", "x" * 250 + "@b.example"]
)
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        invite(factories.acme(), email)
    assert refused.value.details == {"field": "email"}


def test_globex_finds_nothing_of_acmes() -> None:
    acme, globex = factories.acme(), factories.globex()
    issued = invite(acme, "ours@guest.example")
    words: dict[str, Any] = {"company_id": globex.company_id, "invitation_id": issued.invitation.id}

    for call in (
        lambda: invitations.get(**words),
        lambda: invitations.withdraw(**words, now=NOW),
        lambda: invitations.resend(**words, invited_by_id=globex.owner.id, now=NOW),
    ):
        with pytest.raises(NotFound):
            call()
    assert invitations.page(company_id=globex.company_id, limit=10).invitations == []
    assert [one.email for one in invitations.page(company_id=acme.company_id, limit=10).invitations] == [
        "ours@guest.example"
    ]


def test_company_has_so_many_open_invitations() -> None:
    acme = factories.acme()
    invitation = invite(acme, "first@guest.example").invitation
    Invitation.objects.bulk_create(
        Invitation(
            company=acme.company,
            email=f"guest-{number}@guest.example",
            role="viewer",
            digest=tokens.digest(f"{acme.company_id} {number}"),
            invited_by=acme.owner,
            created_at=NOW,
            sent_at=NOW,
            expires_at=NOW,
        )
        for number in range(invitations.OPEN_MAX - 1)
    )

    with pytest.raises(Conflict, match="may have 200 invitations"):
        invite(acme, "second@guest.example")
    invitations.withdraw(company_id=acme.company_id, invitation_id=invitation.id, now=NOW)
    invite(acme, "second@guest.example")


# Who may change a team.


def outcome_of(acme: Cast, asker: User, user: User, role: str) -> str:
    try:
        return teams.change_role(
            company_id=acme.company_id, asker_id=asker.id, user_id=user.id, role=role
        ).role
    except DomainError as exc:
        return type(exc).__name__


@pytest.mark.parametrize(
    ("mine", "theirs", "wanted", "outcome"),
    [
        ("owner", "admin", "owner", "owner"), ("owner", "owner", "viewer", "viewer"),
        ("admin", "member", "admin", "admin"), ("admin", "member", "owner", "Forbidden"),
        ("admin", "owner", "member", "Forbidden"), ("member", "viewer", "member", "Forbidden"),
        ("viewer", "viewer", "viewer", "Forbidden"), ("owner", "member", "boss", "InvalidInput"),
    ],
)  # fmt: skip
def test_nobody_gives_or_takes_more_than_they_have(mine: str, theirs: str, wanted: str, outcome: str) -> None:
    acme = factories.acme()
    asker, user = member(acme, mine), member(acme, theirs)

    assert outcome_of(acme, asker, user, wanted) == outcome


def test_last_owner_stays_one() -> None:
    acme = factories.acme()

    assert outcome_of(acme, acme.owner, acme.owner, "admin") == "Conflict"
    with pytest.raises(Conflict, match="at least one owner"):
        teams.remove(company_id=acme.company_id, asker_id=acme.owner.id, user_id=acme.owner.id, now=NOW)


def test_everybody_may_leave_and_only_an_admin_removes() -> None:
    acme = factories.acme()
    viewer, other = member(acme, "viewer"), member(acme, "member")
    words: dict[str, Any] = {"company_id": acme.company_id, "now": timezone.now()}

    with pytest.raises(Forbidden):
        teams.remove(asker_id=viewer.id, user_id=other.id, **words)
    with pytest.raises(Forbidden):
        teams.remove(asker_id=member(acme, "admin").id, user_id=acme.owner.id, **words)
    teams.remove(asker_id=viewer.id, user_id=viewer.id, **words)
    teams.remove(asker_id=acme.owner.id, user_id=other.id, **words)

    left = set(Membership.objects.filter(company=acme.company).values_list("user_id", flat=True))
    assert not left & {viewer.id, other.id}


def test_two_who_take_each_other_out_do_not_stand_still() -> None:
    acme = factories.acme()
    one, two = member(acme, "owner"), member(acme, "owner")
    words: dict[str, Any] = {"company_id": acme.company_id, "now": NOW}

    outcomes = at_once(
        lambda: teams.remove(asker_id=one.id, user_id=two.id, **words),
        lambda: teams.remove(asker_id=two.id, user_id=one.id, **words),
    )

    assert sorted(type(each).__name__ for each in outcomes) == ["NoneType", "NotFound"]
    assert Membership.objects.filter(company=acme.company, role=Role.OWNER.value).count() == 2
