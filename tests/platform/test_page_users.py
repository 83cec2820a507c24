"""Tenant users: found, made, changed, suspended; the page of one, with what it spends and what speaks for it."""

import json
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import keys, kit_names, kits, sessions, tenants
from accounts.models import Role, TenantUser
from tests import factories
from tests.platform.calls import call
from tests.platform.pages_of_kits import audited, client_of, fields, page, post, save
from tests.platform.test_page_kits import words

LIST = "/dashboard/users/"


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


def user(member: factories.Cast, name: str, **given: Any) -> TenantUser:
    return tenants.create(company_id=member.company_id, external_id=name, now=timezone.now(), **given)


def url(one: TenantUser, name: str = "") -> str:
    return f"{LIST}{one.id}/{name}/" if name else f"{LIST}{one.id}/"


def names(text: str) -> list[str]:
    return [row[2] for row in words(text)]


def figure(text: str, name: str) -> str:
    found = re.search(rf'<dt>{name}</dt><dd><data class="amount" value="([^"]+)"', text)
    assert found, f"no figure {name}"
    return found.group(1)


# The list


def test_rows_say_who_has_which_kit_and_spends_what(run: Any, acme: factories.Cast) -> None:
    alice = user(acme, "alice", label="<b>Alice</b>", email="alice@customers.example")
    call(acme, user=alice, cost_usd="0.1")

    text = page(client_of(acme), LIST)

    row = words(text)[0]
    assert row[1:6] == [
        "&lt;b&gt;Alice&lt;/b&gt; alice@customers.example",
        "alice",
        "Default",
        "active",
        "0.25",
    ]
    assert "<b>Alice" not in text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("search=AL", ["alice"]),
        ("search=b%40", ["bob"]),
        ("status=suspended", ["bob"]),
        ("kit=Free", ["carol"]),
        ("kit=Free&status=suspended", []),
        ("search=%25", []),
        ("status=deleted", ["carol", "bob", "alice", "—"]),
    ],
)
def test_filters_narrow_the_list(acme: factories.Cast, query: str, found: list[str]) -> None:
    free = kits.create(company_id=acme.company_id, name="Free", now=timezone.now())
    user(acme, "alice")
    bob = user(acme, "bob", email="b@customers.example")
    user(acme, "carol", account_kit_id=free.id)
    tenants.suspend(company_id=acme.company_id, user_id=bob.id)

    assert names(page(client_of(acme), f"{LIST}?{query}")) == found


def test_user_is_found_by_id_and_another_companys_is_not(acme: factories.Cast) -> None:
    client, alice, globex = client_of(acme), user(acme, "alice"), factories.globex()

    assert names(page(client, f"{LIST}?search={alice.id}")) == ["alice"]
    assert "No user is like this." in page(client, f"{LIST}?search={globex.tenant_user.id}")
    assert "No AccountKit is named" in page(client, f"{LIST}?kit=Nothing")


def test_list_takes_as_many_queries_whatever_it_shows(acme: factories.Cast) -> None:
    client = client_of(acme)
    with CaptureQueriesContext(connection) as few:
        page(client, LIST)
    for number in range(5):
        kit = kits.create(company_id=acme.company_id, name=f"Kit {number}", now=timezone.now())
        user(acme, f"user-{number}", account_kit_id=kit.id)

    with CaptureQueriesContext(connection) as many:
        page(client, LIST)

    assert len(many) == len(few) <= 12


def test_many_kits_are_named_instead_of_listed(acme: factories.Cast) -> None:
    for number in range(101):
        kits.create(company_id=acme.company_id, name=f"Kit {number}", now=timezone.now())
    free = kit_names.get_named(company_id=acme.company_id, name="Kit 100")
    user(acme, "alice", account_kit_id=free.id)

    text = page(client_of(acme), f"{LIST}?kit=Kit+100")

    assert names(text) == ["alice"]
    assert '<datalist id="kit-names">' in text
    assert "<option" not in text.partition('name="kit"')[2].partition("</form>")[0]


def test_user_is_made(acme: factories.Cast) -> None:
    free = kits.create(company_id=acme.company_id, name="Free", now=timezone.now())
    given = {
        "label": "Alice",
        "external_id": "a-1",
        "email": "a@b.example",
        "kit": "Free",
        "metadata": '{"x": [1]}',
    }
    client = client_of(acme)

    save(client, f"{LIST}new/", 302, **given)

    made = TenantUser.objects.get(company_id=acme.company_id, external_id="a-1")
    assert (made.label, made.account_kit_id, made.metadata) == ("Alice", free.id, {"x": [1]})
    assert audited(made.id)[0].action == "tenant_user.created"
    assert 'id="id_external_id_error">' in save(client, f"{LIST}new/", 400, external_id="a-1")
    assert "Must be an e-mail address." in save(client, f"{LIST}new/", 400, email="nonsense")
    assert "Is no JSON" in save(client, f"{LIST}new/", 400, metadata="{")


def test_member_makes_users_and_chooses_no_kit_for_them(acme: factories.Cast) -> None:
    client = client_of(acme, Role.MEMBER)

    assert 'name="kit"' not in page(client, f"{LIST}new/").partition("<main")[2]
    save(client, f"{LIST}new/", 302, external_id="a-1")
    page(client_of(acme, Role.VIEWER), f"{LIST}new/", 403)


def test_sheet_has_every_user_that_is_shown(acme: factories.Cast, run: Any) -> None:
    user(acme, "=alice()", label="Alice")

    answer: Any = client_of(acme).get("/dashboard/users.csv?search=%3D")

    async def taken() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])

    lines = run(taken()).decode().splitlines()
    assert len(lines) == 2
    assert ",'=alice(),,Alice,Default,active," in lines[1]


# Many at once


def test_chosen_users_are_suspended_after_they_are_shown(acme: factories.Cast) -> None:
    alice, bob, carol = user(acme, "alice"), user(acme, "bob"), user(acme, "carol")
    tenants.suspend(company_id=acme.company_id, user_id=carol.id)
    client = client_of(acme, Role.MEMBER)

    shown = post(client, f"{LIST}suspend/", {"user": [alice.id, bob.id, carol.id]}, 200)

    assert "Suspend 2 users?" in shown
    assert "1 of those chosen is suspended already" in shown
    post(client, f"{LIST}suspend/", {"user": [alice.id, bob.id], "confirmed": "on"}, 302)
    assert TenantUser.objects.filter(company_id=acme.company_id, status="suspended").count() == 3
    assert audited(alice.id)[0].action == "tenant_user.suspended"


def test_one_stranger_among_the_chosen_stops_all(acme: factories.Cast) -> None:
    alice, globex, client = user(acme, "alice"), factories.globex(), client_of(acme)
    form: dict[str, Any] = {"user": [alice.id, globex.tenant_user.id], "confirmed": "on", "kit": "Default"}

    post(client, f"{LIST}suspend/", form, 404)
    post(client, f"{LIST}assign/", form, 404)

    assert not TenantUser.objects.filter(id__in=form["user"], status="suspended").exists()


def test_nobody_chosen_is_said(acme: factories.Cast) -> None:
    client = client_of(acme)

    assert "No user is chosen." in post(client, f"{LIST}suspend/", {}, 400)
    assert "Name at least one user." in post(client, f"{LIST}assign/", {"kit": "Default"}, 400)
    assert "Choose the kit" in post(client, f"{LIST}assign/", {}, 400)


# One of them


def test_page_shows_spend_to_the_last_digit_and_what_is_left(run: Any, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"monthly_credits_per_user": 2}})
    call(acme, cost_usd="0.1")
    call(acme, cost_usd="0.00012104999999999999")

    text = page(client_of(acme), url(acme.tenant_user))

    assert figure(text, "This month") == figure(text, "Last 30 days") == "0.250302625"
    # Without a cap on the calls themselves nothing counts against the kit's, which is what the gate asks.
    assert figure(text, "Left this month") == "2"
    series = re.search(r'id="spend-data">(.*?)</script>', text)
    assert series
    assert Decimal(str(sum(json.loads(series.group(1))["data"][1]))) == Decimal("0.250302625")


def test_page_says_what_is_empty(acme: factories.Cast) -> None:
    text = page(client_of(acme), f"{url(acme.tenant_user)}?range=24h")

    assert "No call of this user was settled in this time." in text
    assert "No live key speaks for this user alone." in text
    assert "No session token of this user is live." in text
    assert f'/dashboard/generations/?user={acme.tenant_user.id}"' in text


def test_page_lists_sealed_keys_and_ends_sessions(acme: factories.Cast) -> None:
    alice, now = user(acme, "alice"), timezone.now()
    sealed = factories.with_key(acme, name="Of Alice", active_tenant_user_id=alice.id)
    issued = sessions.issue(company_id=acme.company_id, user_id=alice.id, api_key_id=acme.key.id, now=now)
    client = client_of(acme)

    text = page(client, url(alice))
    assert f"/dashboard/keys/{sealed.key.id}/revoke/" in text
    assert (sealed.secret in text, issued.token in text) == (False, False)
    post(client, f"{url(alice)}sessions/{issued.session.id}/end/", {}, 302)

    issued.session.refresh_from_db()
    assert issued.session.revoked_at is not None
    assert audited(issued.session.id)[0].action == "user_session.revoked"


def test_only_what_was_touched_is_changed(acme: factories.Cast) -> None:
    alice, client = user(acme, "alice", metadata={"a": 1, "b": 2}), client_of(acme)
    form = fields(page(client, url(alice, "edit"))) | {"label": "Alice", "metadata": '{"a": 1, "c": 3}'}
    tenants.update(
        company_id=acme.company_id, user_id=alice.id, changes={"email": "new@b.example", "metadata": {"d": 4}}
    )

    post(client, url(alice, "edit"), form, 302)

    alice.refresh_from_db()
    assert (alice.label, alice.email) == ("Alice", "new@b.example")
    assert alice.metadata == {"a": 1, "c": 3, "d": 4}


def test_user_is_suspended_reactivated_and_deleted(acme: factories.Cast) -> None:
    alice, client = user(acme, "alice"), client_of(acme, Role.MEMBER)

    save(client, url(alice, "suspend"), 302)
    assert "is-suspended" in page(client, url(alice))
    post(client, url(alice, "reactivate"), {}, 302)
    save(client, url(alice, "delete"), 302)

    alice.refresh_from_db()
    assert alice.status == "suspended"
    assert [entry.action for entry in audited(alice.id)][:2] == [
        "tenant_user.suspended",
        "tenant_user.reactivated",
    ]


def test_default_user_is_not_deleted(acme: factories.Cast) -> None:
    text = post(client_of(acme), url(acme.tenant_user, "delete"), {}, 409)

    assert "The default user cannot be deleted." in text


@pytest.mark.parametrize("name", ["", "edit", "suspend", "delete"])
def test_user_of_another_company_is_not_found(acme: factories.Cast, name: str) -> None:
    globex = factories.globex()

    page(client_of(acme), url(globex.tenant_user, name), 404)
    if name:
        post(client_of(acme), url(globex.tenant_user, name), {"label": "x"}, 404)


def test_viewer_reads_and_changes_nothing(acme: factories.Cast) -> None:
    alice, client = user(acme, "alice"), client_of(acme, Role.VIEWER)
    text = page(client, url(alice)).partition("<main")[2]

    assert '<form method="post"' not in text
    for name in ("edit", "suspend", "reactivate", "delete"):
        post(client, url(alice, name), {}, 403)
    post(client, f"{LIST}suspend/", {"user": [alice.id], "confirmed": "on"}, 403)


def test_page_takes_few_queries(acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"monthly_credits_per_user": 2}})
    keys.create(
        company_id=acme.company_id,
        name="Sealed",
        role="member",
        created_by_id=acme.owner.id,
        active_tenant_user_id=acme.tenant_user.id,
        expires_at=timezone.now() + timedelta(days=1),
        now=timezone.now(),
    )
    client = client_of(acme)
    with CaptureQueriesContext(connection) as queries:
        page(client, url(acme.tenant_user))

    assert len(queries) <= 12
