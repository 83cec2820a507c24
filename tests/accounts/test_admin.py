"""The operator's rows: they open, they hide digests, and what has rules is read-only."""

from decimal import Decimal
from uuid import uuid4

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import APIKey, Company, User
from accounts.raw_rows import RawRows
from tests import factories
from tests import webhooks as hooks
from tests.platform import desks

TABLES = ["user", "company", "membership", "accountkit", "tenantuser", "apikey", "webhookendpoint"]


@pytest.fixture
def operator() -> Client:
    return desks.operator()


def row_of(member: factories.Cast, table: str) -> object:
    rows = {
        "user": member.owner.id,
        "company": member.company.id,
        "membership": member.owner.memberships.get().id,
        "accountkit": member.kit.id,
        "tenantuser": member.tenant_user.id,
        "apikey": member.key.id,
    }
    if table == "webhookendpoint":
        return hooks.issued(member, url=f"{hooks.URL}?token=of-theirs").endpoint.id
    return rows[table]


@pytest.mark.parametrize("table", TABLES)
def test_lists_searches_and_rows_open(operator: Client, table: str) -> None:
    acme = factories.acme()
    for path in ("", "?q=acme", f"{row_of(acme, table)}/change/"):
        answer = operator.get(f"/admin/accounts/{table}/{path}")
        assert answer.status_code == 200, path


@pytest.mark.parametrize("table", TABLES)
def test_no_page_shows_a_digest_or_a_secret(operator: Client, table: str) -> None:
    acme = factories.acme()
    digest = bytes(APIKey.objects.get(id=acme.key.id).digest)
    secrets = (
        digest.hex().encode(),
        digest,
        repr(digest).encode(),
        acme.secret.encode(),
        b"digest",
        b"of-theirs",
    )
    for path in ("", f"{row_of(acme, table)}/change/"):
        page = operator.get(f"/admin/accounts/{table}/{path}").content
        for shown in secrets:
            assert shown not in page


@pytest.mark.parametrize("table", ["membership", "accountkit", "tenantuser", "apikey", "webhookendpoint"])
def test_what_has_rules_is_read_only(operator: Client, table: str) -> None:
    acme = factories.acme()
    assert operator.get(f"/admin/accounts/{table}/add/").status_code == 403
    assert (
        operator.post(f"/admin/accounts/{table}/{row_of(acme, table)}/change/", {"role": "owner"}).status_code
        == 403
    )


@pytest.mark.parametrize("table", TABLES)
def test_nothing_is_deleted(operator: Client, table: str) -> None:
    acme = factories.acme()
    assert (
        operator.post(f"/admin/accounts/{table}/{row_of(acme, table)}/delete/", {"post": "yes"}).status_code
        == 403
    )


def test_keys_are_revoked_and_companies_suspended_by_action(operator: Client) -> None:
    acme = factories.acme()
    for table, action in (("apikey", "revoke"), ("company", "suspend")):
        chosen = {"action": action, "_selected_action": [str(row_of(acme, table))]}
        assert operator.post(f"/admin/accounts/{table}/", chosen).status_code == 302
    assert APIKey.objects.get(id=acme.key.id).revoked_at is not None
    assert Company.objects.get(id=acme.company_id).status == "suspended"
    operator.post(
        "/admin/accounts/company/", {"action": "reactivate", "_selected_action": [str(acme.company_id)]}
    )
    assert Company.objects.get(id=acme.company_id).status == "active"


def test_person_is_added_by_address(operator: Client) -> None:
    email = f"{uuid4().hex}@example.org"
    form = {"email": email, "name": "New", "password1": factories.PASSWORD, "password2": factories.PASSWORD}
    assert operator.post("/admin/accounts/user/add/", form | {"usable_password": "true"}).status_code == 302
    assert User.objects.get_by_natural_key(email).check_password(factories.PASSWORD)


def test_strangers_and_owners_do_not_get_in() -> None:
    client = Client()
    assert client.get("/admin/accounts/apikey/").status_code == 302
    client.force_login(factories.acme().owner)
    assert client.get("/admin/accounts/apikey/").status_code == 404


def test_operator_changes_their_own_password_where_everybody_does(operator: Client) -> None:
    assert operator.get("/admin/password_change/")["Location"] == reverse("account_change_password")


def test_operators_rights_are_their_own_and_no_groups() -> None:
    # Whatever is changed here leaves an entry; Django's page of groups left none.
    changed = {
        model.__name__.lower()
        for model, rows in admin.site._registry.items()
        if not isinstance(rows, RawRows)
    }
    assert changed == {*TABLES}


def test_company_is_changed_in_its_form_and_nowhere_else(operator: Client) -> None:
    acme = factories.acme()
    page = f"/admin/accounts/company/{acme.company_id}/change/"
    form = {"name": "Renamed", "markup": "1.5", "low_credits": "7"}
    wrong = [{"markup": markup} for markup in ("0", "-1", "101", "NaN")]
    for change in [*wrong, {"low_credits": "-1"}, {"low_credits": "NaN"}]:
        answer = operator.post(page, form | change)
        assert answer.status_code == 200
        assert answer.context["errors"]
    assert "above 0" in operator.post(page, form | {"markup": "0"}).content.decode()
    with CaptureQueriesContext(connection) as queries:
        assert operator.post(page, form).status_code == 302
    [update] = [query["sql"] for query in queries if query["sql"].startswith('UPDATE "accounts_company"')]
    assert '"status"' not in update
    company = Company.objects.get(id=acme.company_id)
    assert (company.name, company.markup, company.low_credits) == ("Renamed", Decimal("1.5"), Decimal(7))
