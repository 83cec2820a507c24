"""The kit editor: each tab saves what was touched, to the version that was read, after showing what it closes."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import kits
from accounts.models import Company, CompanyStatus, Membership, Role
from llm import catalog
from tests import factories
from tests.platform.calls import call
from tests.platform.pages_of_kits import (
    HTMX,
    apply,
    audited,
    client_of,
    fields,
    is_closed,
    page,
    post,
    save,
    tab,
)

MODELS = ["anthropic/claude", "openai/gpt-4o", "openai/gpt-4o:free", "meta/llama"]
OFF = {"primitives_config": {"llm": {"enabled": False}}}


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


@pytest.fixture
def _catalogue() -> Iterator[None]:
    with connection.cursor() as cursor:
        catalog.save(orjson.dumps({"data": [{"id": model} for model in MODELS]}), cursor.execute)
        yield
        cursor.execute("DELETE FROM llm_catalog_snapshot")


def stored(member: factories.Cast) -> Any:
    member.kit.refresh_from_db()
    return member.kit.primitives_config


def changed_by_another(member: factories.Cast) -> None:
    kits.update(company_id=member.company_id, kit_id=member.kit.id, changes={"description": str(uuid4())})


# The switch


@pytest.mark.usefixtures("_catalogue")
def test_switch_shows_what_it_governs(run: Any, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"allowed_models": ["openai/*"]}})
    call(acme, cost_usd="0.1")

    text = page(client_of(acme), tab(acme.kit))

    found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text)
    assert found == [
        ("Models that match", "2"),
        ("Users it touches", "1"),
        ("Live keys", "0"),
        ("Calls, last day", "1"),
    ]
    assert 'value="0.25"' in text
    assert re.search(r'role="switch"[^>]* checked', text)


def test_switching_off_is_shown_then_confirmed(acme: factories.Cast) -> None:
    client = client_of(acme)
    form = fields(page(client, tab(acme.kit)))
    del form["enabled"]

    shown = post(client, tab(acme.kit), form, 200)

    assert not is_closed(acme.kit)
    assert "Switch llm off in Default?" in shown
    assert "Every llm call of 1 user is refused" in shown
    assert "primitives_config.llm.enabled" in shown
    apply(client, acme.kit, shown)
    assert is_closed(acme.kit)
    entry = audited(acme.kit.id)[0]
    assert (entry.action, entry.actor_label) == ("account_kit.updated", acme.owner.email)


def test_switching_on_closes_nothing_and_is_saved_at_once(acme: factories.Cast) -> None:
    factories.set_llm(acme, {"enabled": False})
    client = client_of(acme)

    save(client, tab(acme.kit), 302, enabled="on")

    assert not is_closed(acme.kit)


def test_switch_with_htmx_asks_in_the_dialog_and_answers_the_switch(acme: factories.Cast) -> None:
    client = client_of(acme)
    form = fields(page(client, tab(acme.kit)))
    del form["enabled"]

    asked = client.post(tab(acme.kit), form, headers=HTMX)
    assert (asked["HX-Retarget"], asked.status_code) == ("#kit-dialog", 200)
    done = apply(client, acme.kit, asked.content.decode(), 200, **HTMX)

    assert is_closed(acme.kit)
    assert "<html" not in done
    assert not re.search(r'role="switch"[^>]* checked', done)
    assert "llm is off in Default: from the next call on its users are refused." in done


def test_stale_switch_with_htmx_is_412_in_the_dialog(acme: factories.Cast) -> None:
    client = client_of(acme)
    form = fields(page(client, tab(acme.kit)))
    del form["enabled"]
    changed_by_another(acme)

    answer = client.post(tab(acme.kit), form, headers=HTMX)

    assert (answer.status_code, answer["HX-Retarget"]) == (412, "#kit-dialog")
    assert "Nothing was saved." in answer.content.decode()
    assert not is_closed(acme.kit)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER])
def test_switch_is_refused_below_admin_with_a_reason(acme: factories.Cast, role: Role) -> None:
    form = fields(page(client_of(acme), tab(acme.kit)))
    client = client_of(acme, role)
    del form["enabled"]

    assert re.search(r'role="switch"[^>]* disabled', page(client, tab(acme.kit)))
    answer = client.post(tab(acme.kit), form, headers=HTMX)

    assert (answer.status_code, answer["HX-Reswap"]) == (403, "none")
    assert f"This takes the role admin, and you are {role.value}" in answer.content.decode()
    assert not is_closed(acme.kit)


def test_switch_is_refused_while_the_company_is_suspended(acme: factories.Cast) -> None:
    client = client_of(acme)
    form = fields(page(client, tab(acme.kit)))
    del form["enabled"]
    Company.objects.filter(id=acme.company_id).update(status=CompanyStatus.SUSPENDED)

    assert "is suspended: nothing can be changed" in post(client, tab(acme.kit), form, 403)
    assert not is_closed(acme.kit)


def test_role_that_is_taken_away_counts_at_the_confirmation(acme: factories.Cast) -> None:
    client = client_of(acme, Role.ADMIN)
    form = fields(page(client, tab(acme.kit)))
    del form["enabled"]
    shown = post(client, tab(acme.kit), form, 200)
    Membership.objects.filter(company=acme.company, role=Role.ADMIN).update(role=Role.VIEWER)

    apply(client, acme.kit, shown, 403)

    assert not is_closed(acme.kit)


def test_unknown_primitives_and_approval_are_shown_and_kept(acme: factories.Cast) -> None:
    config = {
        "sms": {"enabled": False},
        "search": {"requiresApproval": True},
        "llm": {"requiresApproval": True},
    }
    kits.update(company_id=acme.company_id, kit_id=acme.kit.id, changes={"primitives_config": config})
    client = client_of(acme)

    text = page(client, tab(acme.kit))
    assert re.search(r"<code>sms</code>.*?is-off", text)
    assert re.search(r"<code>search</code> <span class=\"tag\">requires approval.*?is-on", text)
    assert "llm requires approval" in text
    form = fields(text)
    del form["enabled"]
    apply(client, acme.kit, post(client, tab(acme.kit), form, 200))

    assert stored(acme) == config | {"llm": {"requiresApproval": True, "enabled": False}}


def test_kit_that_cannot_be_read_has_no_switch_and_says_where_to_mend_it(acme: factories.Cast) -> None:
    acme.kit.primitives_config = {"llm": {"defaults": {"max_tokens": -1}}}
    acme.kit.save()

    text = page(client_of(acme), tab(acme.kit))

    assert "primitives_config.llm.defaults.max_tokens: must be a whole number" in text
    assert re.search(r'role="switch"[^>]* disabled', text)
    assert f'href="{tab(acme.kit, "json")}"' in text


# Two editors


def test_stale_form_shows_both_versions_and_can_be_made_again(acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"max_tokens": 100}})
    client = client_of(acme)
    form = fields(page(client, tab(acme.kit, "limits"))) | {"max_tokens": "500"}
    factories.set_llm(acme, {"defaults": {"max_tokens": 200, "requests_per_minute": 7}})

    shown = post(client, tab(acme.kit, "limits"), form, 412)

    assert re.search(r"<del><code>200</code></del></td><td><ins><code>500</code>", shown)
    # What the other one alone touched is not undone.
    assert "requests_per_minute" not in shown
    assert stored(acme)["llm"]["defaults"]["max_tokens"] == 200
    apply(client, acme.kit, shown)
    assert stored(acme)["llm"]["defaults"] == {"max_tokens": 500, "requests_per_minute": 7}


def test_change_between_showing_and_confirming_is_stale_too(acme: factories.Cast) -> None:
    client = client_of(acme)
    shown = save(client, tab(acme.kit, "limits"), 200, max_tokens="500")
    changed_by_another(acme)

    assert "has been changed meanwhile" in apply(client, acme.kit, shown, 412)
    assert stored(acme) == {}


# The other tabs


@pytest.mark.usefixtures("_catalogue")
def test_models_that_would_be_lost_are_named_before_they_are(acme: factories.Cast) -> None:
    client = client_of(acme)
    given = {"allows": "only", "allowed_models": "openai/*\r\n\r\n meta/llama ", "denied_models": "*:free"}

    shown = save(client, tab(acme.kit, "models"), 200, **given)

    assert "4 → 2 of 4" in shown
    assert re.search(
        r"<dt>Lost</dt><dd>2: <code>anthropic/claude</code>, <code>openai/gpt-4o:free</code>", shown
    )
    apply(client, acme.kit, shown)
    assert stored(acme) == {
        "llm": {"defaults": {"allowed_models": ["openai/*", "meta/llama"], "denied_models": ["*:free"]}}
    }


def test_lists_that_are_lifted_are_saved_at_once(acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"allowed_models": ["a/*"], "denied_models": ["a/b"]}})

    save(client_of(acme), tab(acme.kit, "models"), 302, allows="every", denied_models="")

    assert stored(acme) == {"llm": {"defaults": {}}}


def test_bad_glob_names_itself(acme: factories.Cast) -> None:
    text = save(client_of(acme), tab(acme.kit, "models"), 400, denied_models="a/*\nopenai/gpt-4?")

    assert "“openai/gpt-4?” must have no other wildcard than *." in text
    assert stored(acme) == {}


@pytest.mark.usefixtures("_catalogue")
def test_matches_are_counted_while_the_lists_are_written(acme: factories.Cast) -> None:
    client = client_of(acme, Role.VIEWER)
    form = fields(page(client_of(acme), tab(acme.kit, "models")), within="allowed_models")
    url = f"{tab(acme.kit)}matches/"

    found = post(client, url, form | {"denied_models": "openai/*"}, 200, **HTMX)
    assert "2 of 4 models" in found
    assert "openai/gpt-4o" not in found
    assert "“[x]” must have no other wildcard" in post(
        client, url, form | {"denied_models": "[x]"}, 200, **HTMX
    )
    assert "1 of 4" not in page(client, f"{tab(acme.kit, 'models')}?q=CLAUDE")
    assert stored(acme) == {}


def test_limits_are_saved_exactly(acme: factories.Cast) -> None:
    client = client_of(acme)
    given = {
        "max_tokens": "4,096",
        "max_cost_usd_per_call": "0.000001",
        "monthly_credits_per_user": "10",
        "provider": '{"sort": "price"}',
    }

    apply(client, acme.kit, save(client, tab(acme.kit, "limits"), 200, **given))

    rules = kits.gate(kits.get(company_id=acme.company_id, kit_id=acme.kit.id)).rules
    assert (rules.max_tokens, str(rules.max_cost_usd_per_call)) == (4096, "0.000001")
    assert (rules.monthly_credits_per_user, rules.provider) == (Decimal(10), {"sort": "price"})
    assert 'value="0.000001"' in page(client, tab(acme.kit, "limits"))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("max_tokens", "many", "Must be a whole number"),
        ("max_cost_usd_per_call", "1001", "Must be a number from 0 to 1000"),
        ("max_tokens", "0", "Must be a whole number from 1"),
        ("max_cost_usd_per_call", "NaN", "Must be a number such as 0.50"),
        ("monthly_credits_per_user", "1e99", "Must be a number from 0 to"),
        ("provider", "{", "Is no JSON"),
        ("provider_required", "[1]", "Must be an object"),
    ],
)
def test_limit_that_cannot_be_says_what_it_must_be(
    acme: factories.Cast, field: str, value: str, words: str
) -> None:
    text = save(client_of(acme), tab(acme.kit, "limits"), 400, **{field: value})

    assert re.search(rf'id="id_{field}_error">{words}', text)
    assert stored(acme) == {}


def test_connections_keep_what_stands_beside_the_mode(acme: factories.Cast) -> None:
    config = {"mode": "open", "names": ["crm"]}
    kits.update(company_id=acme.company_id, kit_id=acme.kit.id, changes={"connections_config": config})
    client = client_of(acme)

    apply(client, acme.kit, save(client, tab(acme.kit, "connections"), 200, mode="allowlist"))

    acme.kit.refresh_from_db()
    assert acme.kit.connections_config == {"mode": "allowlist", "names": ["crm"]}


def test_json_is_what_the_kit_becomes(acme: factories.Cast) -> None:
    kits.update(
        company_id=acme.company_id,
        kit_id=acme.kit.id,
        changes={
            "primitives_config": {"sms": {"x": 1}, "llm": {"defaults": {"max_tokens": 5}, "enabled": True}}
        },
    )
    client = client_of(acme)
    wanted = {"llm": {"defaults": {"requests_per_minute": 3}}, "mail": {"enabled": False}}

    shown = save(client, tab(acme.kit, "json"), 200, primitives_config=json.dumps(wanted))
    apply(client, acme.kit, shown)

    assert stored(acme) == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"llm": {"defaults": {"max_tokens": -1}}}', "primitives_config.llm.defaults.max_tokens: must be"),
        ('{"llm": {"allowed": []}}', "primitives_config.llm.allowed: is not known here"),
        ('{"llm":\n oops}', "is no JSON: Expecting value in line 2"),
        ("[]", "primitives_config: must be an object"),
        ('{"x": {"y": 1e400}}', "must be plain JSON"),
        ("[" * 100_000, "is no JSON that can be kept"),
    ],
)
def test_json_that_cannot_be_names_the_path(acme: factories.Cast, text: str, words: str) -> None:
    assert words in save(client_of(acme), tab(acme.kit, "json"), 400, primitives_config=text)
    assert stored(acme) == {}


def test_details_rename_and_make_default(acme: factories.Cast) -> None:
    other = kits.create(company_id=acme.company_id, name="Pro", now=timezone.now())
    client = client_of(acme)

    save(client, tab(other, "details"), 302, name="<b>Gold</b>", description="Paying", is_default="on")

    other.refresh_from_db()
    assert (other.name, other.description, other.is_default) == ("<b>Gold</b>", "Paying", True)
    text = page(client, tab(other))
    assert "<b>Gold" not in text
    assert "&lt;b&gt;Gold" in text
    assert "There is one" not in text


def test_name_that_is_taken_and_default_that_would_be_nobodys_are_said_at_their_fields(
    acme: factories.Cast,
) -> None:
    kits.create(company_id=acme.company_id, name="Pro", now=timezone.now())
    client, url = client_of(acme), tab(acme.kit, "details")

    assert re.search(r'id="id_name_error">An AccountKit named', save(client, url, 400, name="Pro"))
    form = fields(page(client, url))
    del form["is_default"]
    assert "Make another kit the default." in post(client, url, form, 400)


# Strangers and bad requests


@pytest.mark.parametrize(
    "name", ["", "models", "limits", "connections", "users", "json", "details", "delete"]
)
def test_kit_of_another_company_is_not_found(acme: factories.Cast, name: str) -> None:
    globex = factories.globex()

    assert globex.company.name not in page(client_of(acme), tab(globex.kit, name), 404)


def test_another_companys_kit_cannot_be_changed(acme: factories.Cast) -> None:
    globex = factories.globex()
    client = client_of(acme)
    form = {"changes": json.dumps(OFF), "version": "1", "confirmed": "on"}

    post(client, f"{tab(globex.kit)}apply/", form, 404)
    post(client, tab(globex.kit), {"version": "1"}, 404)
    assert not is_closed(globex.kit)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"changes": "[]", "version": "1"},
        {"changes": "{}", "version": "-1"},
        {"changes": '{"company_id": "x"}', "version": "1"},
        {"changes": "{", "version": "1"},
        {"changes": '{"primitives_config": 1}', "version": "1"},
        {"changes": "{}", "version": "9" * 40},
    ],
)
def test_form_that_is_not_ours_changes_nothing(acme: factories.Cast, form: dict[str, str]) -> None:
    answer = client_of(acme).post(f"{tab(acme.kit)}apply/", form | {"confirmed": "on"})

    assert answer.status_code in (302, 400)
    assert stored(acme) == {}
    assert not any(entry.action == "account_kit.updated" for entry in audited(acme.kit.id))


def test_tab_nobody_knows_is_not_found(acme: factories.Cast) -> None:
    page(client_of(acme), tab(acme.kit, "secrets"), 404)


@pytest.mark.parametrize("name", ["", "models", "limits", "users", "json"])
def test_tabs_take_few_queries(acme: factories.Cast, name: str) -> None:
    client = client_of(acme)
    page(client, tab(acme.kit, name))
    with CaptureQueriesContext(connection) as queries:
        page(client, tab(acme.kit, name))

    assert len(queries) <= 12
