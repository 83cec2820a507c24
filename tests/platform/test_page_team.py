"""The team's pages: roles, removal, leaving; invitations sent, shown once, and accepted by whom they are for."""

import html
import re
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts import companies, ids, people
from accounts.invitation_models import Invitation
from accounts.models import AuditEntry, Membership, User
from naive_platform import throttles
from naive_platform.api.authentication import SESSION_COMPANY
from tests import factories
from tests.factories import Cast

PAGE = "/dashboard/team/"
LINK = re.compile(r"http://testserver(/invitations/nv_inv_[0-9A-Za-z]{38}/)")


def client_of(user: User, *, is_htmx: bool = False) -> Client:
    client = Client(headers={"HX-Request": "true"}) if is_htmx else Client()
    client.force_login(user)
    return client


def person(email: str = "") -> User:
    address = email or f"{ids.uuid7().hex}@guest.example"
    return people.create(email=address, password=factories.PASSWORD, name="A guest", now=timezone.now())


def member(acme: Cast, role: str) -> User:
    user = person()
    companies.add_member(company_id=acme.company_id, user_id=user.id, role=role, now=timezone.now())
    return user


def friend() -> str:
    """An address of its own for each test: letters to one are counted for an hour."""
    return f"Friend-{ids.uuid7().hex}@guest.example"


def invite(acme: Cast, email: str, *, role: str = "member") -> str:
    """The link that the inviter is shown."""
    answer = client_of(acme.owner).post(f"{PAGE}invite/", {"email": email, "role": role})
    found = LINK.search(answer.content.decode())
    assert found, answer.content.decode()
    return found.group(1)


def text_of(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def role_of(acme: Cast, user: User) -> str | None:
    return Membership.objects.filter(company=acme.company, user=user).values_list("role", flat=True).first()


# Members.


def test_page_lists_members_and_who_one_is() -> None:
    acme = factories.acme()
    other = member(acme, "viewer")

    page = text_of(client_of(other).get(PAGE))

    assert acme.owner.email in page
    assert re.search(r'A guest</a> <span class="note">you<.*?viewer', page, re.DOTALL)
    assert "Invite somebody" not in page


def test_number_of_queries_does_not_grow() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    counts = []
    for page in (PAGE, f"{PAGE}invitations/"):
        invite(acme, f"{ids.uuid7().hex}@guest.example")
        member(acme, "viewer")
        with CaptureQueriesContext(connection) as few:
            client.get(page)
        for _ in range(3):
            invite(acme, f"{ids.uuid7().hex}@guest.example")
            member(acme, "viewer")
        with CaptureQueriesContext(connection) as many:
            client.get(page)
        counts.append((len(few), len(many)))

    assert all(few == many <= 12 for few, many in counts), counts


def test_role_is_changed() -> None:
    acme = factories.acme()
    other = member(acme, "viewer")

    answer = client_of(acme.owner).post(f"{PAGE}{other.id}/", {"role": "admin"}, follow=True)

    assert role_of(acme, other) == "admin"
    assert "is admin of Acme" in text_of(answer)
    entry = AuditEntry.objects.get(company_id=acme.company_id, action="member.role_changed")
    assert (entry.actor_label, entry.target_label) == (acme.owner.email, other.email)


def test_last_owner_is_told_why_they_stay() -> None:
    acme = factories.acme()

    answer = client_of(acme.owner).post(f"{PAGE}{acme.owner.id}/", {"role": "viewer"})

    assert answer.status_code == 400
    assert "A company keeps at least one owner. Make another member an owner first." in text_of(answer)
    left = client_of(acme.owner).post(f"{PAGE}leave/")
    assert left.status_code == 409
    assert role_of(acme, acme.owner) == "owner"


def test_admin_makes_no_owner_and_touches_none() -> None:
    acme = factories.acme()
    client, other = client_of(member(acme, "admin")), member(acme, "member")

    assert client.post(f"{PAGE}{other.id}/", {"role": "owner"}).status_code == 400
    assert client.post(f"{PAGE}{acme.owner.id}/", {"role": "member"}).status_code == 403
    assert client.post(f"{PAGE}{acme.owner.id}/remove/").status_code == 403
    assert (role_of(acme, other), role_of(acme, acme.owner)) == ("member", "owner")


def test_removal_revokes_what_they_made() -> None:
    acme = factories.acme()
    other = member(acme, "member")
    key = factories.with_key(acme, created_by_id=other.id).key
    client = client_of(acme.owner)

    assert "is revoked within a second" in text_of(client.get(f"{PAGE}{other.id}/remove/"))
    client.post(f"{PAGE}{other.id}/remove/")

    key.refresh_from_db()
    assert key.revoked_at is not None
    assert role_of(acme, other) is None


def test_everybody_may_leave() -> None:
    acme = factories.acme()
    viewer = member(acme, "viewer")
    client = client_of(viewer)

    assert f"Leave {acme.company.name}?" in text_of(client.get(f"{PAGE}leave/"))
    assert client.post(f"{PAGE}leave/")["Location"] == "/dashboard/"
    assert role_of(acme, viewer) is None
    assert client.get("/dashboard/").status_code == 403


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_below_an_admin_nothing_is_changed(role: str) -> None:
    acme = factories.acme()
    asker, other = member(acme, role), member(acme, "viewer")
    client = client_of(asker)
    link_id = Invitation.objects.get(email=_invited(acme)).id

    for path, form in (
        (f"{other.id}/", {"role": "member"}),
        (f"{other.id}/remove/", {}),
        ("invite/", {"email": friend(), "role": "viewer"}),
        (f"invitations/{link_id}/resend/", {}),
        (f"invitations/{link_id}/withdraw/", {}),
    ):
        answer = client.post(PAGE + path, form)
        assert answer.status_code == 403, path
        assert f"you are {role} of" in text_of(answer)
    assert client.get(f"{PAGE}invitations/").status_code == 403
    assert client.get(f"{PAGE}invite/").status_code == 403
    assert role_of(acme, other) == "viewer"


def _invited(acme: Cast) -> str:
    email = f"{ids.uuid7().hex}@guest.example"
    invite(acme, email)
    return email


def test_globexes_people_and_invitations_are_not_found() -> None:
    acme, globex = factories.acme(), factories.globex()
    theirs = Invitation.objects.get(email=_invited(globex))
    client = client_of(acme.owner)

    for path in (
        f"{globex.owner.id}/",
        f"{globex.owner.id}/remove/",
        "nonsense/",
        f"invitations/{theirs.id}/resend/",
        f"invitations/{theirs.id}/withdraw/",
        "invitations/nonsense/withdraw/",
    ):
        assert client.post(PAGE + path, {"role": "viewer"}).status_code == 404, path
    assert globex.owner.email not in text_of(client.get(PAGE))
    assert theirs.email not in text_of(client.get(f"{PAGE}invitations/"))
    theirs.refresh_from_db()
    assert theirs.withdrawn_at is None


# Inviting.


def test_link_is_shown_once_and_kept_nowhere() -> None:
    acme = factories.acme()
    client, email = client_of(acme.owner), friend()

    answer = client.post(f"{PAGE}invite/", {"email": email, "role": "admin"})

    found = LINK.search(answer.content.decode())
    assert found
    token = found.group(1).split("/")[2]
    assert "no-store" in answer["Cache-Control"]
    assert "give them this link yourself" in text_of(answer)
    listed = client.get(f"{PAGE}invitations/").content.decode()
    assert email in listed
    assert "nv_inv_" not in listed
    stored = Session.objects.get(session_key=client.session.session_key).get_decoded()
    assert token not in f"{stored}{client.cookies}{answer.headers}"
    entry = AuditEntry.objects.get(company_id=acme.company_id, action="invitation.created")
    assert token not in f"{entry.after}{entry.target_label}"


def test_letter_has_the_link_where_there_is_mail(settings: Settings) -> None:
    settings.EMAIL_URL, settings.PUBLIC_URL = "smtp://mail.test", "https://naive.test"
    acme, email = factories.acme(), friend()

    answer = client_of(acme.owner).post(f"{PAGE}invite/", {"email": email, "role": "viewer"})

    (letter,) = mail.outbox
    assert letter.to == [email]
    assert letter.subject == f"You are invited to {acme.company.name}"
    (link,) = re.findall(r"https://naive\.test/invitations/nv_inv_\w+/", str(letter.body))
    assert link in text_of(answer)
    assert "A letter is on its way" in text_of(answer)
    assert f'"{acme.company.name}" as viewer' in letter.body


def test_letter_that_cannot_be_sent_leaves_the_link(settings: Settings) -> None:
    settings.EMAIL_URL = "smtp://127.0.0.1:1"
    options = {"host": "127.0.0.1", "port": 1, "timeout": 1}
    settings.MAILERS = {
        "default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": options}
    }

    answer = client_of(factories.acme().owner).post(f"{PAGE}invite/", {"email": friend(), "role": "viewer"})

    assert "No letter was sent" in text_of(answer)
    assert LINK.search(answer.content.decode())


@pytest.mark.parametrize(
    ("email", "role", "says"),
    [
        ("", "member", "Enter an e-mail address."),
        ("nobody", "member", "Enter an e-mail address."),
        ("a@guest.example\nBcc: b@guest.example", "member", "Enter an e-mail address."),
        ("a@guest.example", "boss", "not one of the available choices"),
    ],
)
def test_what_is_wrong_stands_at_its_field(email: str, role: str, says: str) -> None:
    answer = client_of(factories.acme().owner).post(f"{PAGE}invite/", {"email": email, "role": role})

    assert answer.status_code == 400
    assert says in text_of(answer)


def test_who_is_in_or_invited_already_is_said() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    email = _invited(acme)

    again = client.post(f"{PAGE}invite/", {"email": email.upper(), "role": "member"})
    inside = client.post(f"{PAGE}invite/", {"email": acme.owner.email, "role": "member"})

    assert "is invited already. Send that invitation again" in text_of(again)
    assert "is a member already." in text_of(inside)


def test_so_many_letters_to_one_address_an_hour() -> None:
    email = f"{ids.uuid7().hex}@guest.example"
    for _ in range(throttles.INVITATIONS_PER_EMAIL):
        invite(factories.acme(), email)

    answer = client_of(factories.acme().owner).post(f"{PAGE}invite/", {"email": email, "role": "member"})

    assert answer.status_code == 400
    assert "Too many invitations for this e-mail address" in text_of(answer)


def test_form_sent_a_second_time_invites_nobody_again() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    form = {"email": friend(), "role": "member", "submission": ids.uuid7().hex}
    client.post(f"{PAGE}invite/", form)

    again = client.post(f"{PAGE}invite/", form, follow=True)

    assert "sent already" in text_of(again)
    assert Invitation.objects.filter(company=acme.company).count() == 1


def test_sent_again_the_first_link_opens_nothing() -> None:
    acme = factories.acme()
    guest = person()
    first = invite(acme, guest.email)
    invitation = Invitation.objects.get(email=guest.email)

    answer = client_of(acme.owner).post(f"{PAGE}invitations/{invitation.id}/resend/")

    second = LINK.search(answer.content.decode())
    assert second
    assert client_of(guest).get(first).status_code == 404
    assert client_of(guest).get(second.group(1)).status_code == 200


@pytest.mark.parametrize("is_htmx", [False, True])
def test_withdrawn_its_link_opens_nothing(is_htmx: bool) -> None:
    acme, guest = factories.acme(), person()
    link = invite(acme, guest.email)
    invitation = Invitation.objects.get(email=guest.email)

    answer = client_of(acme.owner, is_htmx=is_htmx).post(f"{PAGE}invitations/{invitation.id}/withdraw/")

    assert answer.status_code == (204 if is_htmx else 302)
    for ended in (client_of(guest).get(link), client_of(guest).post(link)):
        assert ended.status_code == 409
        assert "This invitation was withdrawn." in text_of(ended)
    page = client_of(acme.owner).get(f"{PAGE}invitations/").content.decode()
    assert 'is-withdrawn">withdrawn<' in page
    assert "resend/" not in page


# Accepting.


def test_whoever_is_invited_joins_and_the_dashboard_opens_there() -> None:
    acme, guest = factories.acme(), person()
    companies.create(name="Their own", owner_id=guest.id, now=timezone.now())
    link, client = invite(acme, guest.email, role="admin"), client_of(guest)

    offered = text_of(client.get(link))
    answer = client.post(link)

    assert f"Join {acme.company.name}" in offered
    assert "<strong>admin</strong>" in offered
    assert "Owner of Acme" in offered
    assert answer["Location"] == "/dashboard/"
    assert client.session[SESSION_COMPANY] == str(acme.company_id)
    assert "Welcome: you are admin of Acme" in text_of(client.get("/dashboard/"))
    entry = AuditEntry.objects.get(company_id=acme.company_id, action="invitation.accepted")
    assert (entry.actor_label, entry.request_id) == (guest.email, answer["X-Request-Id"])


def test_looking_accepts_nothing() -> None:
    acme, guest = factories.acme(), person()
    client_of(guest).get(invite(acme, guest.email))

    assert role_of(acme, guest) is None


def test_stranger_is_shown_the_offer_and_comes_back_from_signing_in() -> None:
    acme, guest = factories.acme(), person()
    link = invite(acme, guest.email)

    page = Client().get(link)
    posted = Client().post(link)

    assert page.status_code == 200
    assert f"Sign in as <strong>{guest.email}</strong>" in text_of(page)
    assert f"next={link.replace('/', '%2F')}" in page.content.decode()
    assert posted.status_code == 302
    assert posted["Location"].endswith(f"next={link.replace('/', '%2F')}")
    assert "no-store" in page["Cache-Control"]
    assert role_of(acme, guest) is None


def test_somebody_else_is_told_whose_it_is() -> None:
    acme, guest, other = factories.acme(), person(), person()
    link, client = invite(acme, guest.email), client_of(other)

    page = text_of(client.get(link))
    assert f"This invitation is for <strong>{guest.email}</strong>" in page
    assert "Accept the invitation" not in page
    assert client.post(link).status_code == 403
    assert role_of(acme, other) is None


def test_it_is_accepted_once() -> None:
    acme, guest = factories.acme(), person()
    link, client = invite(acme, guest.email), client_of(guest)
    client.post(link)

    assert client.post(link).status_code == 409
    assert "was accepted already" in text_of(client.get(link))


@pytest.mark.parametrize("token", ["x", "nv_inv_" + "0" * 38, "%00", "<script>"])
def test_noise_is_not_found(token: str) -> None:
    answer = client_of(person()).get(f"/invitations/{token}/")

    assert answer.status_code == 404
    assert "There is no such invitation." in text_of(answer)
    assert "<script>" not in answer.content.decode()


def test_looks_are_counted_by_address(settings: Settings) -> None:
    settings.SIGN_INS_PER_ADDRESS = 2
    client = Client(REMOTE_ADDR=f"2001:db8:{ids.uuid7().int % 65536:x}:{ids.uuid7().int % 65536:x}::1")

    answers = [client.get("/invitations/x/").status_code for _ in range(3)]

    assert answers == [404, 404, 429]


def test_names_are_never_markup() -> None:
    acme, guest = factories.acme(), person()
    companies.rename(company_id=acme.company_id, name="<script>alert(1)</script>")
    User.objects.filter(id=acme.owner.id).update(name="<script>alert(2)</script>")
    link = invite(acme, guest.email)

    for page in (Client().get(link), client_of(guest).get(link), client_of(acme.owner).get(PAGE)):
        assert "<script>alert" not in page.content.decode()
