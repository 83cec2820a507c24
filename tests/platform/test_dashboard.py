"""The way to the dashboard, and what every page of it is sent with."""

import re

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts import companies, ids, people
from accounts.models import User
from tests import factories
from tests.platform.calls import page_of

PAGE = "/dashboard/"


def person(*, is_staff: bool = False) -> User:
    email = f"{ids.uuid7().hex}@nowhere.example"
    user = people.create(email=email, password=factories.PASSWORD, name="A person", now=timezone.now())
    user.is_staff = is_staff
    user.save()
    return user


def test_root_leads_to_the_dashboard(client: Client) -> None:
    assert client.get("/")["Location"] == PAGE


def test_character_that_no_text_has_is_left_out() -> None:
    acme, client = factories.acme(), Client()
    client.force_login(acme.owner)
    for url in (
        "kits/",
        "kits/names/",
        f"kits/{acme.kit.id}/users/",
        "users/",
        "playground/",
        "generations/",
    ):
        assert client.get(f"{PAGE}{url}", {"q": "a\x00b", "search": "a\x00b"}).status_code == 200, url
    answer = client.post(f"{PAGE}users/new/", {"label": "a\x00b"})
    assert answer.status_code == 400
    assert "a character of no meaning" in answer.content.decode()


# Who may see it, and how it is sent


@pytest.mark.parametrize(
    ("is_staff", "words", "has_admin"),
    [(True, "You run this deployment", True), (False, "You are in no company yet", False)],
)
def test_person_without_a_company_is_told_where_to_go(is_staff: bool, words: str, has_admin: bool) -> None:
    client = Client()
    client.force_login(person(is_staff=is_staff))

    answer = client.get(PAGE)

    page = answer.content.decode()
    assert answer.status_code == 403
    assert words in page
    assert ('href="/admin/"' in page) is has_admin


def test_person_in_two_companies_sees_the_first() -> None:
    acme = factories.acme()
    companies.create(name="Second company", owner_id=acme.owner.id, now=timezone.now())

    assert acme.company.name in page_of(acme.owner)


@pytest.mark.parametrize("address", [PAGE, "/accounts/login/", "/nothing/"])
def test_pages_carry_their_security_headers(client: Client, address: str) -> None:
    if address != "/accounts/login/":
        client.force_login(factories.acme().owner)

    answer = client.get(address)

    policy = answer["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    inline = r"<script(?![^>]*(?: src=|application/json))|<style|\sstyle=|\son\w+="
    assert not re.search(inline, answer.content.decode())


def test_page_is_kept_by_no_cache() -> None:
    client = Client()
    client.force_login(factories.acme().owner)

    assert "no-store" in client.get(PAGE)["Cache-Control"]


def test_admin_is_there_for_staff_alone_with_a_second_factor(client: Client, settings: Settings) -> None:
    assert "/login/?next=/admin/" in client.get("/admin/")["Location"]
    client.force_login(factories.acme().owner)
    assert client.get("/admin/", follow=True).status_code == 404

    client.force_login(person(is_staff=True))
    assert client.get("/admin/").status_code == 403
    settings.DEBUG = True
    assert client.get("/admin/").status_code == 200
