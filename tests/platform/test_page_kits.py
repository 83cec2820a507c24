"""The list of account kits: what each row says, making, copying and deleting them, and giving them to users."""

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import kits, tenants
from accounts.models import AccountKit, Role, TenantUser
from llm import catalog
from tests import factories
from tests.platform.pages_of_kits import audited, client_of, fields, page, post, save, tab

LIST = "/dashboard/kits/"


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


@pytest.fixture
def _catalogue() -> Iterator[None]:
    with connection.cursor() as cursor:
        models = [{"id": "openai/gpt-4o"}, {"id": "meta/llama"}]
        catalog.save(orjson.dumps({"data": models}), cursor.execute)
        yield
        cursor.execute("DELETE FROM llm_catalog_snapshot")


def make(member: factories.Cast, name: str, **given: Any) -> AccountKit:
    return kits.create(company_id=member.company_id, name=name, now=timezone.now(), **given)


def user(member: factories.Cast, name: str, **given: Any) -> TenantUser:
    return tenants.create(company_id=member.company_id, external_id=name, now=timezone.now(), **given)


def words(text: str) -> list[list[str]]:
    """The rows of the table, cell by cell, without their tags."""
    rows = re.findall(r"<tr role=\"row\" id.*?</tr>", text, re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [[re.sub(r"<[^>]*>", "", cell).strip() for cell in row] for row in cells]


@pytest.mark.usefixtures("_catalogue")
def test_rows_say_what_each_kit_allows(acme: factories.Cast) -> None:
    rules = {"allowed_models": ["openai/*"], "max_tokens": 4096, "monthly_credits_per_user": 2.5}
    make(acme, "Free", primitives_config={"llm": {"defaults": rules}})
    make(acme, "Closed", primitives_config={"llm": {"enabled": False}})

    rows = words(page(client_of(acme), LIST))

    assert [row[:5] for row in rows] == [
        ["Closed", "off", "0", "0 of 2", "none"],
        ["Free", "on", "0", "1 of 2", "4,096 tokens a call · 2.50 credits a month and user"],
        ["Default default", "on", "1", "all 2", "none"],
    ]


def test_kit_that_cannot_be_read_says_so(acme: factories.Cast) -> None:
    AccountKit.objects.filter(id=acme.kit.id).update(primitives_config=[])

    assert words(page(client_of(acme), LIST))[0][1] == "unreadable"


def test_search_finds_by_the_beginning_of_a_name(acme: factories.Cast) -> None:
    make(acme, "<i>Gold</i>")
    client = client_of(acme)

    assert [row[0] for row in words(page(client, f"{LIST}?search=%3CI"))] == ["&lt;i&gt;Gold&lt;/i&gt;"]
    assert "No kit&#x27;s name begins with" in page(client, f"{LIST}?search=nothing")
    assert "This page of the list does not exist." in page(client, f"{LIST}?cursor=x", 400)


def test_pages_follow_each_other_and_take_few_queries(acme: factories.Cast) -> None:
    for number in range(51):
        make(acme, f"Kit {number:02}")
    client = client_of(acme)
    with CaptureQueriesContext(connection) as queries:
        first = page(client, LIST)

    cursor = re.search(r'href="\?cursor=([\w-]+)"', first)
    assert cursor
    second = page(client, f"{LIST}?cursor={cursor.group(1)}")
    assert [len(words(first)), len(words(second))] == [50, 2]
    assert len(queries) <= 12


def test_kit_is_made_and_copied(acme: factories.Cast) -> None:
    config = {"llm": {"defaults": {"max_tokens": 5}}, "sms": {"enabled": False}}
    free = make(acme, "Free", primitives_config=config, connections_config={"mode": "blocklist"})
    client = client_of(acme)

    save(client, f"{LIST}new/?from={free.id}", 302)
    save(client, f"{LIST}new/", 302, name="Plain")

    copy = AccountKit.objects.get(company_id=acme.company_id, name="Free copy")
    assert (copy.primitives_config, copy.connections_config) == (config, {"mode": "blocklist"})
    assert AccountKit.objects.get(company_id=acme.company_id, name="Plain").primitives_config == {}
    assert "An AccountKit named" in save(client, f"{LIST}new/", 400, name="Plain")


def test_kit_of_another_company_is_not_copied(acme: factories.Cast) -> None:
    page(client_of(acme), f"{LIST}new/?from={factories.globex().kit.id}", 404)


def test_member_sees_kits_and_makes_none(acme: factories.Cast) -> None:
    client = client_of(acme, Role.MEMBER)

    assert "Create a kit" not in page(client, LIST)
    page(client, f"{LIST}new/", 403)
    post(client, f"{LIST}new/", {"name": "Mine"}, 403)
    post(client, f"{tab(make(acme, 'Free'))}delete/", {}, 403)


def test_kit_that_nobody_has_is_deleted_after_a_question(acme: factories.Cast) -> None:
    free = make(acme, "Free")

    save(client_of(acme), f"{tab(free)}delete/", 302)

    assert not AccountKit.objects.filter(id=free.id).exists()
    assert audited(free.id)[0].action == "account_kit.deleted"


def test_kit_in_use_says_what_to_do_first(acme: factories.Cast) -> None:
    free = make(acme, "Free")
    user(acme, "alice", account_kit_id=free.id)
    client = client_of(acme)

    assert "1 user has it." in page(client, f"{tab(free)}delete/")
    refused = post(client, f"{tab(free)}delete/", {}, 409)
    assert "Assign its users another kit first." in refused
    assert f'href="{tab(free, "users")}"' in refused
    assert "is the default" in post(client, f"{tab(acme.kit)}delete/", {}, 409)


def test_names_are_offered_while_one_is_typed(acme: factories.Cast) -> None:
    make(factories.globex(), "Gold of Globex")
    make(acme, 'Gold "x"')

    text = page(client_of(acme), f"{LIST}names/?kit=gold")

    assert re.findall(r'value="([^"]*)"', text) == ["Gold &quot;x&quot;"]


# Giving a kit


@pytest.mark.usefixtures("_catalogue")
def test_giving_a_kit_shows_what_changes_before_it_does(acme: factories.Cast) -> None:
    free = make(acme, "Free", primitives_config={"llm": {"defaults": {"allowed_models": ["meta/*"]}}})
    alice, bob = user(acme, "alice"), user(acme, "bob", account_kit_id=free.id)
    client = client_of(acme)

    shown = save(client, tab(free, "users"), 200, who="named", names=f"ext:alice\r\n{bob.id}\r\n")

    assert "Give Free to 1 user?" in shown
    assert re.search(
        r'Default</th><td class="number">1</td><td>on → on</td><td class="number">2 → 1</td>', shown
    )
    assert "1 more has it already" in shown
    post(client, tab(free, "users"), fields(shown), 302)
    alice.refresh_from_db()
    assert alice.account_kit_id == free.id


def test_everybody_of_another_kit_gets_this_one(acme: factories.Cast) -> None:
    free, pro = make(acme, "Free"), make(acme, "Pro")
    for name in ("alice", "bob"):
        user(acme, name, account_kit_id=free.id)
    client = client_of(acme)

    shown = save(client, tab(pro, "users"), 200, who="kit", kit="Free")
    post(client, tab(pro, "users"), fields(shown), 302)

    assert TenantUser.objects.filter(company_id=acme.company_id, account_kit=pro).count() == 2
    assert audited(pro.id)[0].action == "account_kit.assigned"


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"who": "named", "names": " "}, 400, "Name at least one user."),
        ({"who": "named", "names": "nobody"}, 400, "Tenant user nobody was not found."),
        ({"who": "kit"}, 400, "Choose whose users are meant."),
        ({"who": "kit", "kit": "No such"}, 400, "No AccountKit is named"),
        ({"who": "everyone"}, 400, "Select a valid choice"),
        ({"who": "named", "names": "\n".join(map(str, range(1001)))}, 400, "1,000 at once are the most"),
    ],
)
def test_users_that_cannot_be_meant_are_refused_with_a_reason(
    acme: factories.Cast, form: dict[str, str], status: int, said: str
) -> None:
    assert said in post(client_of(acme), tab(acme.kit, "users"), form, status)


def test_users_of_another_company_are_given_nothing(acme: factories.Cast) -> None:
    globex = factories.globex()
    form = {"who": "named", "names": str(globex.tenant_user.id), "confirmed": "on"}

    assert "was not found" in post(client_of(acme), tab(acme.kit, "users"), form, 400)
    globex.tenant_user.refresh_from_db()
    assert globex.tenant_user.account_kit_id == globex.kit.id


def test_member_does_not_assign(acme: factories.Cast) -> None:
    client = client_of(acme, Role.MEMBER)

    assert "to more users" not in page(client, tab(acme.kit, "users"))
    post(client, tab(acme.kit, "users"), {"who": "all", "confirmed": "on"}, 403)
