"""Signing in and out by password: where it leads, what is refused in which words, what is left behind."""

import re
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEntry, User
from tests import factories
from tests.factories import Cast

PAGE = "/dashboard/"
SIGN_IN = "/accounts/login/"
SIGN_OUT = "/accounts/logout/"
OWN_PAGES = ("/accounts/email/", "/accounts/password/change/", "/accounts/2fa/", "/accounts/sessions/")


def sign_in(client: Client, member: Cast, *, password: str = factories.PASSWORD, **query: str) -> Any:
    return client.post(SIGN_IN, {"login": member.owner.email, "password": password, **query})


def actions(person: User) -> list[str]:
    return list(
        AuditEntry.objects.filter(target_id=str(person.id)).order_by("id").values_list("action", flat=True)
    )


def is_in(client: Client) -> bool:
    return client.get("/accounts/password/change/").status_code == 200


def test_signing_in_leads_to_the_dashboard(client: Client) -> None:
    acme = factories.acme()
    answer = sign_in(client, acme)
    assert answer["Location"] == PAGE
    assert is_in(client)


def test_address_signs_in_whatever_its_case(client: Client) -> None:
    acme = factories.acme()
    form = {"login": f" {acme.owner.email.upper()} ", "password": factories.PASSWORD}
    assert client.post(SIGN_IN, form)["Location"] == PAGE


def test_wrong_password_is_refused_with_a_message(client: Client) -> None:
    acme = factories.acme()
    page = sign_in(client, acme, password="wrong horse").content.decode()
    assert 'role="alert"' in page
    assert "do not open an account" in page
    assert not is_in(client)
    assert "person.signed_in" not in actions(acme.owner)


def test_unknown_closed_and_wrong_read_alike(client: Client) -> None:
    acme, closed = factories.acme(), factories.globex()
    User.objects.filter(id=closed.owner.id).update(is_active=False)
    pages = [
        sign_in(client, acme, password="wrong"),
        sign_in(client, closed),
        client.post(SIGN_IN, {"login": "nobody@acme.example", "password": "wrong"}),
    ]
    alert = re.compile(r'role="alert">.*?</div>', re.DOTALL)
    assert len({alert.search(page.content.decode()).group() for page in pages}) == 1  # type: ignore[union-attr]


def test_empty_form_is_told_what_is_missing(client: Client) -> None:
    page = client.post(SIGN_IN, {}).content.decode()
    assert "Enter your e-mail address." in page
    assert "Enter your password." in page


@pytest.mark.parametrize("given", ["a\x00@acme.example", "x" * 300, "<script>alert(1)</script>"])
def test_odd_address_is_refused_and_comes_back_harmless(client: Client, given: str) -> None:
    page = client.post(SIGN_IN, {"login": given, "password": "x"}).content.decode()
    assert "Enter an e-mail address" in page or "at most" in page or "Null characters" in page
    assert "<script>alert" not in page


def test_password_longer_than_any_is_not_hashed(client: Client) -> None:
    page = sign_in(client, factories.acme(), password="x" * 2000).content.decode()
    assert "at most 1024" in page


def test_anonymous_person_is_sent_to_sign_in_and_back(client: Client) -> None:
    assert client.get("/dashboard/keys/")["Location"] == f"{SIGN_IN}?next=/dashboard/keys/"
    page = client.get(SIGN_IN, {"next": "/dashboard/keys/"}).content.decode()
    assert '<input type="hidden" name="next" value="/dashboard/keys/">' in page
    assert sign_in(client, factories.acme(), next="/dashboard/keys/")["Location"] == "/dashboard/keys/"


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example", "https://evil.example/", "https:evil.example", "/\\evil.example", "///evil.example",
     "javascript:alert(1)", "\\\\evil.example", "http://testserver/dashboard/keys/", SIGN_IN, SIGN_OUT],
)  # fmt: skip
def test_next_that_leads_elsewhere_is_not_followed(client: Client, elsewhere: str) -> None:
    assert sign_in(client, factories.acme(), next=elsewhere)["Location"] == PAGE
    # And for who is in already.
    assert client.get(SIGN_IN, {"next": elsewhere})["Location"] == PAGE


def test_session_is_another_one_after_the_sign_in(client: Client) -> None:
    client.get(SIGN_IN)
    session = client.session
    session["planted"] = "by somebody else"
    session.save()
    before = str(session.session_key)
    client.cookies["sessionid"] = before
    sign_in(client, factories.acme())
    assert client.cookies["sessionid"].value != before
    assert not is_in(Client(headers={"cookie": f"sessionid={before}"}))


def test_cookies_are_no_scripts_business_and_secure_outside_debug(client: Client) -> None:
    sign_in(client, factories.acme())
    for name in ("sessionid", "csrftoken"):
        client.get("/accounts/password/change/")
        cookie = client.cookies[name]
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax"), name


def test_signing_out_takes_a_post_and_says_so(client: Client) -> None:
    acme = factories.acme()
    sign_in(client, acme)
    assert "Sign out?" in client.get(SIGN_OUT).content.decode()
    assert is_in(client)
    assert client.post(SIGN_OUT)["Location"] == SIGN_IN
    assert not is_in(client)
    assert actions(acme.owner)[-2:] == ["person.signed_in", "person.signed_out"]


def test_signing_in_leaves_who_it_was_and_no_password(client: Client) -> None:
    acme = factories.acme()
    answer = sign_in(client, acme)
    entry = AuditEntry.objects.get(request_id=answer["X-Request-Id"])
    assert (entry.company_id, entry.action, entry.actor_kind) == (
        acme.company_id,
        "person.signed_in",
        "person",
    )
    assert (entry.person_id, entry.ip) == (acme.owner.id, "127.0.0.1")
    assert factories.PASSWORD not in repr(vars(entry))


def test_admin_signs_in_where_everybody_does(client: Client) -> None:
    answer = client.get("/admin/login/", {"next": "/admin/accounts/user/"})
    assert answer["Location"] == f"{SIGN_IN}?next=/admin/accounts/user/"
    acme = factories.acme()
    assert client.post("/admin/login/", {"username": acme.owner.email, "password": factories.PASSWORD})
    assert not is_in(client)


def test_deactivated_person_is_out_at_once(client: Client) -> None:
    acme = factories.acme()
    sign_in(client, acme)
    User.objects.filter(id=acme.owner.id).update(is_active=False)
    assert not is_in(client)


def test_without_valkey_signing_in_goes_on(client: Client, settings: Settings) -> None:
    gone = {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {**settings.CACHES, "default": gone}
    caches["process"].clear()
    assert sign_in(client, factories.acme())["Location"] == PAGE


@pytest.mark.parametrize("path", OWN_PAGES)
def test_own_pages_are_for_who_is_in_and_kept_by_nobody(client: Client, path: str) -> None:
    assert client.get(path)["Location"] == f"{SIGN_IN}?next={path}"
    sign_in(client, factories.acme())
    answer = client.get(path)
    page = answer.content.decode()
    assert (answer.status_code, page.count("<h1>")) == (200, 1)
    assert "no-store" in answer["Cache-Control"]
    assert not re.search(r"<script(?![^>]*(?: src=|application/json))|<style|\sstyle=|\son\w+=|data:", page)


def test_sessions_are_listed_and_all_others_ended() -> None:
    acme, here, there = (
        factories.acme(),
        Client(),
        Client(headers={"user-agent": "Mozilla/5.0 Firefox/140.0 <b>"}),
    )
    sign_in(here, acme)
    sign_in(there, acme)
    page = here.get("/accounts/sessions/").content.decode()
    assert page.count("<li>") == 2
    assert page.count("this one") == 1
    assert "Firefox" in page
    assert "<b>" not in page
    assert here.post("/accounts/sessions/").status_code == 302
    assert (is_in(here), is_in(there)) == (True, False)
    entry = AuditEntry.objects.get(target_id=str(acme.owner.id), action="person.sessions_ended")
    assert entry.after == {"sessions": 1}


def test_sessions_of_others_are_not_seen_and_not_ended() -> None:
    acme, globex, here, there = factories.acme(), factories.globex(), Client(), Client()
    sign_in(here, acme)
    sign_in(there, globex)
    here.post("/accounts/sessions/")
    assert is_in(there)
    assert here.get("/accounts/sessions/").content.decode().count("<li>") == 1


def test_new_password_ends_the_other_sessions_and_is_told() -> None:
    acme, here, there = factories.acme(), Client(), Client()
    sign_in(here, acme)
    sign_in(there, acme)
    before = here.cookies["sessionid"].value
    new = "another battery staple"
    form = {"oldpassword": "wrong", "password1": new}
    assert "not your current password" in here.post("/accounts/password/change/", form).content.decode()
    answer = here.post("/accounts/password/change/", form | {"oldpassword": factories.PASSWORD})
    assert answer.status_code == 302
    assert (is_in(here), is_in(there)) == (True, False)
    assert here.cookies["sessionid"].value != before
    assert actions(acme.owner)[-1] == "person.password_set"
    assert new not in repr(list(AuditEntry.objects.filter(target_id=str(acme.owner.id)).values()))
    assert sign_in(Client(), acme).status_code == 200
    assert sign_in(Client(), acme, password=new).status_code == 302


@pytest.mark.parametrize(
    ("new", "words"), [("short", "too short"), ("password", "too common"), ("x" * 2000, "at most")]
)
def test_password_that_will_not_do_is_refused(client: Client, new: str, words: str) -> None:
    sign_in(client, factories.acme())
    form = {"oldpassword": factories.PASSWORD, "password1": new}
    assert words in client.post("/accounts/password/change/", form).content.decode()
