"""Accounts of people: signing up, the address and its confirmation, a lost password; with e-mail and without."""

import re
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.mail.backends import locmem
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts import companies, invitations, people
from accounts.models import APIKey, AuditEntry, Company, Membership, User
from billing.models import Entry
from naive_platform import onboarding, throttles
from tests import factories, races

PAGE = "/dashboard/"
SIGN_IN = "/accounts/login/"
SIGN_UP = "/accounts/signup/"
RESET = "/accounts/password/reset/"
EMAIL = "/accounts/email/"
NEW = "another battery staple"


@pytest.fixture
def mailed(settings: Settings) -> None:
    settings.EMAIL_URL = "console:"
    settings.PUBLIC_URL = "https://naive.example"


def newcomer(**given: Any) -> dict[str, Any]:
    who = {"name": "Ada <b>", "email": f"{uuid4().hex}@example.org", "password": factories.PASSWORD}
    return {**who, "company_name": "Ada's machines", **given}


def person_of(form: dict[str, Any]) -> User:
    return User.objects.get(email=form["email"])


def company_of(person: User) -> Company:
    return Company.objects.get(memberships__user=person)


def grants(company: Company) -> list[int]:
    rows = Entry.objects.filter(company_id=company.id, action="grant")
    return list(rows.values_list("amount_nanocredits", flat=True))


def link(position: int = -1) -> str:
    """The path of the link in a letter."""
    found = re.search(r"https://naive\.example(/accounts/\S+)", str(mail.outbox[position].body))
    assert found, mail.outbox[position].body
    return found.group(1)


def sign_in(client: Client, person: User, *, password: str = factories.PASSWORD) -> Any:
    return client.post(SIGN_IN, {"login": person.email, "password": password})


def prove_again(client: Client) -> None:
    client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})


def actions(person: User) -> list[str]:
    rows = AuditEntry.objects.filter(target_kind="person", target_id=str(person.id))
    return list(rows.order_by("id").values_list("action", flat=True))


# Signing up.


def test_sign_up_founds_a_company_and_shows_its_key_once(client: Client, settings: Settings) -> None:
    settings.DEBUG = True
    form = newcomer()
    page = client.post(SIGN_UP, form).content.decode()
    person = person_of(form)
    (secret,) = set(re.findall(r"nv_sk_live_\w+", page))
    key = APIKey.objects.get(company=company_of(person))
    assert (secret[-4:], key.role) == (key.last_4, "owner")
    assert "curl" in page
    assert "Ada&#x27;s machines" in page
    # In the session stands nothing of it; the page, asked for again, is gone.
    assert secret not in repr(dict(client.session.items()))
    assert client.post(SIGN_UP, form)["Location"] == PAGE
    assert client.get("/v1/auth/me").json()["person"]["email"] == form["email"]
    assert grants(company_of(person)) == [20 * 10**9]
    assert {"person.created", "person.signed_in"} <= set(actions(person))


def test_sign_up_makes_what_a_registration_makes(client: Client) -> None:
    form, body = newcomer(), newcomer()
    client.post(SIGN_UP, form)
    Client().post("/v1/auth/register", body, content_type="application/json")
    seen = []
    for one in (form, body):
        company = company_of(person_of(one))
        entries = AuditEntry.objects.filter(company_id=company.id).exclude(action="person.signed_in")
        rows = EmailAddress.objects.filter(user__email=one["email"]).values_list("verified", "primary")
        seen.append(
            (
                company.name,
                list(company.account_kits.values_list("name", flat=True)),
                sorted(entries.values_list("action", flat=True)),
                list(rows),
                grants(company),
            )
        )
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"email": "nobody"}, "Enter an e-mail address"),
        ({"name": " "}, "Enter your name"),
        ({"password": "short"}, "too short"),
        ({"password": "password"}, "too common"),
        ({"password": "x" * 2000}, "at most 1024"),
        ({"company_name": "x" * 201}, "at most 200"),
    ],
    ids=str,
)
def test_bad_sign_up_says_what_to_change_and_makes_nobody(client: Client, given: Any, words: str) -> None:
    form = newcomer(**given)
    page = client.post(SIGN_UP, form).content.decode()
    assert words in page
    assert "<b>" not in page
    assert not User.objects.filter(email=form["email"]).exists()


def test_address_that_is_taken_founds_nothing(client: Client) -> None:
    form = newcomer(email=factories.acme().owner.email.upper(), company_name=uuid4().hex)
    assert "has an account already" in client.post(SIGN_UP, form).content.decode()
    assert not Company.objects.filter(name=form["company_name"]).exists()


def test_what_a_form_does_not_have_is_not_taken(client: Client) -> None:
    form = newcomer(is_staff="on", email_verified_at="2026-01-01", is_superuser="1", credits="9")
    client.post(SIGN_UP, form)
    person = person_of(form)
    assert (person.is_staff, person.is_superuser, person.email_verified_at) == (False, False, None)


def test_sign_ups_are_counted_with_registrations(client: Client, settings: Settings) -> None:
    settings.REGISTRATIONS_PER_ADDRESS = 2
    for _ in range(2):
        body = newcomer(password="password")
        Client().post("/v1/auth/register", body, "application/json", REMOTE_ADDR="2001:db8:77::1")
    page = client.post(SIGN_UP, newcomer(), REMOTE_ADDR="2001:db8:77::2").content.decode()
    assert "Too many registrations" in page


def test_invited_person_joins_and_founds_nothing(client: Client) -> None:
    acme = factories.acme()
    email = f"{uuid4().hex}@example.org"
    issued = invitations.invite(
        company_id=acme.company_id,
        email=email,
        role="member",
        invited_by_id=acme.owner.id,
        now=timezone.now(),
    )
    path = f"/invitations/{issued.token}/"
    page = client.get(SIGN_UP, {"next": path}).content.decode()
    assert f"Join {acme.company.name}" in page
    assert "company_name" not in page
    form = newcomer(next=path, email="somebody@else.example")
    assert client.post(SIGN_UP, form)["Location"] == path
    person = User.objects.get(email=email)
    assert not Membership.objects.filter(user=person).exists()
    client.post(path)
    assert Membership.objects.get(user=person).company_id == acme.company_id


@pytest.mark.parametrize(
    "path", ["/invitations/nv_inv_nothing/", "/dashboard/keys/", "/nothing/", "//evil.example"]
)
def test_next_that_is_no_good_invitation_founds_a_company(client: Client, path: str) -> None:
    form = newcomer(next=path)
    page = client.post(SIGN_UP, form).content.decode()
    assert "nv_sk_live_" in page
    assert f'href="{PAGE if path.startswith("//") else path}"' in page
    assert company_of(person_of(form)).name == "Ada's machines"


# The address.


@pytest.mark.usefixtures("mailed")
def test_letter_confirms_the_address_and_brings_the_grant_once(client: Client) -> None:
    form = newcomer()
    assert "follow the link in the letter" in client.post(SIGN_UP, form).content.decode()
    person, path = person_of(form), link()
    company = company_of(person)
    assert grants(company) == []
    # Whoever only looks, such as a mail scanner, confirms nothing.
    assert form["email"] in client.get(path).content.decode()
    assert grants(company) == []
    for _ in range(2):
        Client().post(path)
    person.refresh_from_db()
    assert person.email_verified_at is not None
    assert grants(company) == [20 * 10**9]
    assert EmailAddress.objects.get(user=person).verified
    assert actions(person).count("person.email_verified") == 1
    assert "no longer works" in client.get(path).content.decode()


@pytest.mark.usefixtures("mailed")
def test_registration_over_the_api_is_asked_to_confirm_too() -> None:
    body = newcomer()
    answer = Client().post("/v1/auth/register", body, content_type="application/json")
    assert answer.status_code == 201
    assert mail.outbox[-1].to == [body["email"]]
    assert Client().post(link()).status_code == 302
    assert grants(company_of(person_of(body))) == [20 * 10**9]


def test_two_who_confirm_at_once_bring_one_grant() -> None:
    initech = factories.initech()
    work = lambda: onboarding.confirm_address(  # noqa: E731
        user_id=initech.owner.id, email=initech.owner.email, now=timezone.now()
    )
    assert all(isinstance(one, User) for one in races.at_once(*[work] * 4))
    assert grants(initech.company) == [20 * 10**9]


def test_grant_of_another_size_by_now_is_not_given_again(settings: Settings) -> None:
    acme = factories.acme()
    settings.SIGNUP_GRANT_CREDITS = Decimal(7)
    User.objects.filter(id=acme.owner.id).update(email_verified_at=None)
    onboarding.confirm_address(user_id=acme.owner.id, email=acme.owner.email, now=timezone.now())
    assert grants(acme.company) == [20 * 10**9]


def test_company_that_one_only_joined_gets_nothing_by_one() -> None:
    initech, other = factories.initech(), factories.initech()
    now = timezone.now()
    companies.add_member(company_id=initech.company_id, user_id=other.owner.id, role="owner", now=now)
    onboarding.confirm_address(user_id=other.owner.id, email=other.owner.email, now=now)
    assert (grants(initech.company), grants(other.company)) == ([], [20 * 10**9])


@pytest.mark.usefixtures("mailed")
def test_address_changes_when_the_letter_to_the_new_one_is_answered(client: Client) -> None:
    acme, wanted = factories.acme(), f"{uuid4().hex}@new.example"
    sign_in(client, acme.owner)
    before = acme.owner.email
    assert client.post(EMAIL, {"action_add": "1", "email": wanted})["Location"].startswith("/accounts/reauth")
    prove_again(client)
    client.post(EMAIL, {"action_add": "1", "email": wanted.upper()})
    assert mail.outbox[-1].to == [wanted]
    assert wanted in client.get(EMAIL).content.decode()
    assert User.objects.get(id=acme.owner.id).email == before
    client.post(link())
    person = User.objects.get(id=acme.owner.id)
    assert (person.email, person.email_verified_at is not None) == (wanted, True)
    assert list(EmailAddress.objects.filter(user=person).values_list("email", "verified", "primary")) == [
        (wanted, True, True)
    ]
    assert mail.outbox[-1].to == [before]
    entry = AuditEntry.objects.get(target_id=str(person.id), action="person.email_changed")
    assert (entry.before, entry.after) == ({"email": before}, {"email": wanted})
    assert sign_in(Client(), person).status_code == 302


@pytest.mark.usefixtures("mailed")
def test_address_of_somebody_else_is_not_taken_and_not_told(client: Client) -> None:
    acme, globex = factories.acme(), factories.globex()
    sign_in(client, acme.owner)
    prove_again(client)
    client.post(EMAIL, {"action_add": "1", "email": globex.owner.email})
    page = client.get(EMAIL).content.decode()
    assert "account already" not in page
    assert User.objects.get(id=acme.owner.id).email == acme.owner.email
    answer = Client().post(link(), follow=True).content.decode()
    assert "has an account already" in answer
    assert User.objects.get(id=acme.owner.id).email == acme.owner.email


@pytest.mark.usefixtures("mailed")
def test_change_is_taken_back_and_its_letter_opens_nothing(client: Client) -> None:
    acme = factories.acme()
    sign_in(client, acme.owner)
    prove_again(client)
    client.post(EMAIL, {"action_add": "1", "email": f"{uuid4().hex}@new.example"})
    client.post(EMAIL, {"action_remove": "1", "email": acme.owner.email})
    Client().post(link())
    assert User.objects.get(id=acme.owner.id).email == acme.owner.email


@pytest.mark.usefixtures("mailed")
def test_unconfirmed_address_is_not_made_ones_own_by_asking(client: Client) -> None:
    initech, wanted = factories.initech(), f"{uuid4().hex}@new.example"
    sign_in(client, initech.owner)
    prove_again(client)
    client.post(EMAIL, {"action_add": "1", "email": wanted})
    client.post(EMAIL, {"action_primary": "1", "email": wanted})
    assert User.objects.get(id=initech.owner.id).email == initech.owner.email


@pytest.mark.usefixtures("mailed")
def test_letter_is_sent_again_so_often(client: Client) -> None:
    initech = factories.initech()
    sign_in(client, initech.owner)
    for _ in range(throttles.LETTERS_PER_EMAIL + 1):
        page = client.post(EMAIL, {"action_send": "1"}, follow=True).content.decode()
    assert "Too many letters" in page
    assert [letter.to for letter in mail.outbox] == [[initech.owner.email]] * throttles.LETTERS_PER_EMAIL


@pytest.mark.parametrize("change", ["insert", "email", "verified", "bulk"])
def test_librarys_row_follows_the_persons_whoever_writes_it(change: str) -> None:
    person = factories.initech().owner
    if change == "bulk":
        (person,) = User.objects.bulk_create([User(email=f"{uuid4().hex}@Example.org")])
    if change == "email":
        User.objects.filter(id=person.id).update(email=f"{uuid4().hex}@Example.org")
    if change == "verified":
        with connection.cursor() as cursor:
            cursor.execute("UPDATE accounts_user SET email_verified_at = now() WHERE id = %s", [person.id])
    person.refresh_from_db()
    (row,) = EmailAddress.objects.filter(user=person)
    assert (row.email, row.primary) == (person.email.lower(), True)
    assert row.verified is (person.email_verified_at is not None) is (change == "verified")


def test_without_e_mail_pages_say_what_does_not_work(client: Client) -> None:
    form = newcomer()
    assert "sends no e-mail" in client.get(SIGN_UP).content.decode()
    assert "sends no e-mail" in client.post(SIGN_UP, form).content.decode()
    page = client.get(EMAIL).content.decode()
    assert "not confirmed" in page
    assert "action_add" not in page
    client.post(EMAIL, {"action_add": "1", "email": "other@example.org"})
    assert EmailAddress.objects.filter(user=person_of(form)).count() == 1
    assert "sends no e-mail" in client.get(RESET).content.decode()
    assert "sends no e-mail" in client.post(RESET, {"email": form["email"]}).content.decode()
    assert mail.outbox == []


def test_operator_confirms_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    initech = factories.initech()
    call_command("person", "confirm", initech.owner.email)
    assert "is confirmed" in capsys.readouterr().out
    assert grants(initech.company) == [20 * 10**9]
    entry = AuditEntry.objects.get(target_id=str(initech.owner.id), action="person.email_verified")
    assert entry.actor_kind == "operator"
    with pytest.raises(CommandError, match="Nobody signs in"):
        call_command("person", "confirm", "nobody@example.org")


# A lost password.


@pytest.mark.usefixtures("mailed")
def test_lost_password_is_replaced_by_a_letter_and_ends_every_session() -> None:
    acme, there, client = factories.acme(), Client(), Client()
    sign_in(there, acme.owner)
    assert client.post(RESET, {"email": acme.owner.email.upper()})["Location"] == f"{RESET}done/"
    path = link()
    form_path = client.get(path)["Location"]
    assert "too short" in client.post(form_path, {"password1": "short"}).content.decode()
    assert client.post(form_path, {"password1": NEW}).status_code == 302
    assert there.get(EMAIL).status_code == 302
    assert client.get(EMAIL).status_code == 302
    assert sign_in(Client(), acme.owner, password=NEW).status_code == 302
    assert sign_in(Client(), acme.owner).status_code == 200
    entry = AuditEntry.objects.get(company_id=acme.company_id, action="person.password_set")
    assert entry.person_id == acme.owner.id
    # Once.
    assert "no longer works" in Client().get(path).content.decode()


def test_new_password_ends_the_keys_that_the_one_before_gave() -> None:
    acme, client = factories.acme(), Client()
    given = {"email": acme.owner.email, "password": factories.PASSWORD}
    thief = client.post("/v1/auth/login", given, content_type="application/json").json()["api_key"]
    bearer = {"Authorization": f"Bearer {thief}"}
    assert Client(headers=bearer).get("/v1/auth/me").status_code == 200

    sign_in(client, acme.owner)
    changed = {"oldpassword": factories.PASSWORD, "password1": NEW}
    assert client.post("/accounts/password/change/", changed).status_code == 302

    personal = APIKey.objects.filter(created_by=acme.owner, is_personal=True)
    assert [key.revoked_at is not None for key in personal] == [True]
    acme.key.refresh_from_db()
    assert acme.key.revoked_at is None


@pytest.mark.usefixtures("mailed")
def test_who_has_an_account_is_not_told_by_the_reset() -> None:
    acme, closed = factories.acme(), factories.globex()
    User.objects.filter(id=closed.owner.id).update(is_active=False)
    seen = set()
    for email in (acme.owner.email, closed.owner.email, f"{uuid4().hex}@example.org"):
        answer = Client().post(RESET, {"email": email}, follow=True)
        seen.add((answer.status_code, answer.content))
        assert mail.outbox[-1].to == [email]
    assert len(seen) == 1
    assert ["password" in letter.subject for letter in mail.outbox] == [True, False, False]


@pytest.mark.usefixtures("mailed")
@pytest.mark.parametrize("path", ["1-x", "zz-yy", "0197f3a00000700080000000000000aa-c1abcd-0123456789abcdef"])
def test_link_that_nobody_sent_opens_nothing(client: Client, path: str) -> None:
    answer = client.get(f"{RESET}key/{path}/", follow=True)
    assert "no longer works" in answer.content.decode()


@pytest.mark.usefixtures("mailed")
def test_letters_are_sent_so_often_to_one_address(client: Client) -> None:
    email = f"{uuid4().hex}@example.org"
    for _ in range(throttles.LETTERS_PER_EMAIL):
        client.post(RESET, {"email": email})
    assert "Too many letters" in client.post(RESET, {"email": email.upper()}).content.decode()
    assert len(mail.outbox) == throttles.LETTERS_PER_EMAIL


class Refusing(locmem.EmailBackend):
    def send_messages(self, messages: Any) -> int:
        raise OSError("no server there")


@pytest.mark.usefixtures("mailed")
def test_server_that_takes_no_letter_undoes_nothing_and_is_told_of(
    client: Client, settings: Settings
) -> None:
    settings.MAILERS = {"default": {"BACKEND": f"{__name__}.Refusing"}}
    form = newcomer()
    page = client.post(SIGN_UP, form).content.decode()
    assert "nv_sk_live_" in page
    assert "could not be sent just now" in page
    told = {
        Client().post(RESET, {"email": email}, follow=True).content
        for email in (form["email"], f"{uuid4().hex}@example.org")
    }
    assert len(told) == 1
    assert b"could not be sent just now" in told.pop()


@pytest.mark.usefixtures("mailed")
def test_links_lead_to_the_public_address_whatever_the_host_header_says(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    acme = factories.acme()
    Client().post(RESET, {"email": acme.owner.email}, headers={"host": "evil.example"})
    assert "evil.example" not in mail.outbox[-1].body
    assert link().startswith(RESET)


def test_person_made_with_the_address_of_a_pending_change_keeps_it() -> None:
    acme, wanted = factories.acme(), f"{uuid4().hex}@example.org"
    EmailAddress.objects.create(user=acme.owner, email=wanted)
    people.create(
        email=wanted, password=factories.PASSWORD, name="First", now=timezone.now(), email_verified=True
    )
    assert EmailAddress.objects.filter(email=wanted, verified=True).count() == 1
