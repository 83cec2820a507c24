"""Settings: what the company may change of itself, what is there to copy, and the person's own."""

import html
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts import companies, ids, people
from accounts.models import AuditEntry, User
from tests import factories
from tests.factories import Cast

PAGE = "/dashboard/settings/"


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def member(acme: Cast, role: str) -> User:
    user = people.create(
        email=f"{ids.uuid7().hex}@acme.example", password=factories.PASSWORD, name="M", now=timezone.now()
    )
    companies.add_member(company_id=acme.company_id, user_id=user.id, role=role, now=timezone.now())
    return user


def text_of(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def test_page_has_ids_addresses_and_state_to_copy(settings: Settings) -> None:
    settings.PUBLIC_URL = "https://naive.example/"
    acme = factories.acme()

    page = text_of(client_of(acme.owner).get(PAGE))

    for copied in (
        acme.company.id,
        acme.company.slug,
        "https://naive.example/v1/llm",
        "https://naive.example/v1/proxy/openrouter",
    ):
        assert f'data-copy="{copied}"' in page
    assert 'is-active">active<' in page
    assert acme.owner.email in page


def test_company_is_renamed_and_its_threshold_kept_exactly() -> None:
    acme = factories.acme()

    answer = client_of(acme.owner).post(PAGE, {"name": "New name", "low_credits": "2.000000001"}, follow=True)

    acme.company.refresh_from_db()
    assert (acme.company.name, acme.company.low_credits) == ("New name", Decimal("2.000000001"))
    assert 'value="2.000000001"' in text_of(answer)
    entry = AuditEntry.objects.get(company_id=acme.company_id, action="company.updated")
    assert entry.actor_label == acme.owner.email
    assert entry.after is not None
    assert entry.after["name"] == "New name"


def test_saving_what_is_there_changes_nothing() -> None:
    acme = factories.acme()

    client_of(acme.owner).post(PAGE, {"name": acme.company.name, "low_credits": "5"})

    assert not AuditEntry.objects.filter(company_id=acme.company_id, action="company.updated").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": ""}, "Give the company a name."),
        ({"name": "x" * 201}, "at most 200 characters"),
        ({"low_credits": ""}, "Enter a number of credits"),
        ({"low_credits": "-1"}, "greater than or equal to 0"),
        ({"low_credits": "NaN"}, "Enter a number."),
        ({"low_credits": "0.0000000001"}, "no more than 9 decimal places"),
        ({"low_credits": "12345678.123456789"}, "Must have at most 15 digits."),
    ],
)
def test_what_is_wrong_stands_at_its_field(given: dict[str, str], says: str) -> None:
    acme = factories.acme()

    answer = client_of(acme.owner).post(PAGE, {"name": acme.company.name, "low_credits": "5"} | given)

    assert answer.status_code == 400
    assert says in text_of(answer)
    acme.company.refresh_from_db()
    assert acme.company.low_credits == 5


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_below_an_admin_the_company_is_read_only_and_ones_name_ones_own(role: str) -> None:
    acme = factories.acme()
    user = member(acme, role)
    client = client_of(user)

    page = text_of(client.get(PAGE))
    refused = client.post(PAGE, {"name": "Taken", "low_credits": "0"})
    renamed = client.post(f"{PAGE}person/", {"person_name": "Ada <b>L.</b>"}, follow=True)

    assert 'name="low_credits"' not in page
    assert "told below 5 credits" in page
    assert refused.status_code == 403
    acme.company.refresh_from_db()
    assert acme.company.name != "Taken"
    user.refresh_from_db()
    assert user.name == "Ada <b>L.</b>"
    assert "<b>L." not in renamed.content.decode()
    entry = AuditEntry.objects.get(action="person.updated", target_id=str(user.id))
    assert (entry.before, entry.after) == ({"name": "M"}, {"name": "Ada <b>L.</b>"})


@pytest.mark.parametrize(("name", "says"), [("", "Enter your name."), ("a\x07b", "control characters")])
def test_name_that_cannot_be_says_why(name: str, says: str) -> None:
    acme = factories.acme()

    answer = client_of(acme.owner).post(f"{PAGE}person/", {"person_name": name})

    assert answer.status_code == 400
    assert says in text_of(answer)


def test_another_company_is_never_changed() -> None:
    acme, globex = factories.acme(), factories.globex()
    client = client_of(acme.owner)

    client.post(PAGE, {"name": "Ours", "low_credits": "5", "company_id": str(globex.company_id)})

    globex.company.refresh_from_db()
    assert globex.company.name.startswith("Globex")
    assert globex.company.name not in text_of(client.get(PAGE))


def test_suspended_company_is_shown_and_not_changed() -> None:
    acme = factories.acme()
    companies.suspend(company_id=acme.company_id)
    client = client_of(acme.owner)

    assert 'is-suspended">suspended<' in client.get(PAGE).content.decode()
    assert client.post(PAGE, {"name": "New", "low_credits": "5"}).status_code == 403


def test_queries_are_few() -> None:
    client = client_of(factories.acme().owner)

    with CaptureQueriesContext(connection) as asked:
        client.get(PAGE)

    assert len(asked) <= 12
