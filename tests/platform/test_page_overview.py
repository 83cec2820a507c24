"""Overview: what a company has, spends and calls; exact, of its own alone, and with what to do next."""

import contextlib
import html
import json
import re
import shlex
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import companies, ids, keys, kits, people, tenants
from accounts.models import Company
from billing import breakdowns, ledger, usage
from naive_platform.dashboard import ranges
from tests import factories
from tests.billing import books
from tests.factories import Cast
from tests.platform.calls import call, client_of, figure, give_back, page_of

QUERIES_MAX = 12


@contextlib.contextmanager
def settled_ago(member: Cast, ago: timedelta) -> Iterator[None]:
    """The rollups of all that a company has so far stand so long ago; afterwards they agree with the books again."""
    move = (
        "UPDATE billing_usage SET hour = hour - %s WHERE company_id = %s AND model = 'acme/past' RETURNING 1"
    )
    assert books.rows(move, ago, member.company_id)
    yield
    books.rows(move, -ago, member.company_id)


def summed(member: Cast) -> int:
    """What /v1/usage reads of the last week."""
    now = timezone.now()
    found = usage.summary(
        company_id=member.company_id, since=now - timedelta(days=7), until=now + timedelta(hours=1)
    )
    return found[0].charged_nanocredits


def chart(page: str, name: str) -> dict[str, Any]:
    found = re.search(rf'id="{name}-data">(.*?)</script>', page)
    assert found
    return dict(json.loads(found.group(1)))


# Figures


def test_page_shows_balance_and_held_as_two_numbers() -> None:
    acme = factories.acme(credits=Decimal("20"))
    call(acme, model="openai/gpt-4o-mini", cost_usd="0.00012104999999999999")
    call(acme, model="openai/gpt-4o-mini", cost_usd=None, held="2.5")

    page = page_of(acme.owner)

    assert figure(page, "Balance") == "19.999697375"
    assert figure(page, "Held") == "2.5"
    assert figure(page, "Available") == "17.499697375"


def test_page_shows_what_a_call_cost_to_the_last_digit() -> None:
    acme = factories.acme()
    call(acme, model="openai/gpt-4o-mini", cost_usd="0.00012104999999999999")

    page = page_of(acme.owner)

    assert "$0.00012104999999999999" in page
    assert "1,234 → 42" in page
    assert companies.DEFAULT_USER_LABEL in page
    assert figure(page, "Spend") == "0.000302625"
    assert figure(page, "Requests") == "1"
    assert figure(page, "Tokens") == "1,276"


def test_spend_is_of_the_range_and_agrees_with_the_api() -> None:
    acme = factories.acme()
    call(acme, model="acme/past", cost_usd="0.002")
    call(acme, cost_usd="0.001")

    with settled_ago(acme, timedelta(days=3)):
        day, week = page_of(acme.owner, "/dashboard/?range=24h"), page_of(acme.owner, "/dashboard/?range=7d")
        told = summed(acme)

    assert figure(day, "Spend") == "0.0025"
    assert figure(week, "Spend") == "0.0075"
    assert told == 7_500_000


def test_each_figure_says_what_it_was_before() -> None:
    acme = factories.acme()
    call(acme, model="acme/past", cost_usd="0.004")
    call(acme, cost_usd="0.001")

    with settled_ago(acme, timedelta(days=10)):
        page = page_of(acme.owner, "/dashboard/?range=7d")

    assert figure(page, "Spend") == "0.0025"
    assert re.search(r'<data class="amount" value="0.01">[^/]*</span></data> before', page)


def test_calls_given_back_are_the_errors() -> None:
    acme = factories.acme()
    for _ in range(3):
        call(acme, cost_usd="0.001")
    give_back(acme, call(acme, cost_usd=None))

    page = page_of(acme.owner)

    assert figure(page, "Error rate") == "25.00 %"
    assert figure(page, "Requests") == "4"


def test_first_token_is_of_the_newest_streams_and_says_of_how_many() -> None:
    acme = factories.acme()
    for latency_ms in (100, 200, 900):
        call(acme, latency_ms=latency_ms)

    page = page_of(acme.owner)

    assert figure(page, "First token, p50") == "200 ms"
    assert figure(page, "First token, p95") == "900 ms"
    assert "of 3 streams" in page
    assert "the streams among the newest 2,000 calls" in page


def test_breakdown_adds_up_to_its_total_in_every_split() -> None:
    acme = factories.acme()
    for model, cost_usd in (("a/one", "0.004"), ("a/two", "0.001"), ("a/one", "0.002")):
        call(acme, model=model, cost_usd=cost_usd)
    now = timezone.now()

    found = breakdowns.read(
        company_id=acme.company_id,
        since=now - timedelta(days=1),
        until=now + timedelta(hours=1),
        is_hourly=True,
    )

    assert [model for model, _ in found.models] == ["a/one", "a/two"]
    assert (
        sum(one.sum.charged_nanocredits for one in found.slices)
        == found.total.charged_nanocredits
        == 17_500_000
    )
    assert sum(total.charged_nanocredits for _, total in found.models) == 17_500_000
    assert [total.charged_nanocredits for _, total in found.users] == [17_500_000]


def test_chart_stacks_the_dearest_models_and_adds_up_the_rest() -> None:
    acme = factories.acme()
    for number in range(7):
        call(acme, model=f"acme/model-{number}", cost_usd=f"0.00{number + 1}")

    told = chart(page_of(acme.owner, "/dashboard/?range=24h"), "spend")

    assert told["titles"] == [*(f"acme/model-{number}" for number in (6, 5, 4, 3, 2)), "Others"]
    assert told["data"][-1][-1] == pytest.approx(0.0075)
    assert len(told["data"][0]) == 25


def test_days_of_a_range_are_all_there() -> None:
    now = timezone.now().replace(hour=12)
    assert len(ranges.read({"range": "7d"}, now=now).instants) == 8
    assert len(ranges.read({"from": "2026-11-01", "to": "2026-11-03"}, now=now).instants) == 3


def test_days_beyond_all_reckoning_are_no_range() -> None:
    acme = factories.acme()
    for day in ("0001-01-01", "1999-12-31", "3000-01-01", "9999-12-31"):
        found = ranges.read({"from": day, "to": day}, now=timezone.now())
        assert found.name == ranges.DEFAULT
        assert "Last 30 days" in page_of(acme.owner, f"/dashboard/?from={day}&to={day}")


# Calls


def test_cost_above_the_hold_is_shown_as_overrun() -> None:
    acme = factories.acme(credits=Decimal("0.1"))
    call(acme, model="openai/gpt-4o", cost_usd="0.1", held="0.1")

    page = page_of(acme.owner)

    assert '<span class="note">overrun</span>' in page
    assert figure(page, "Balance") == "-0.15"
    assert "No credits are available." in page


def test_call_that_costs_all_it_held_is_no_overrun() -> None:
    acme = factories.acme()
    call(acme, cost_usd="0.1", held="0.25")

    assert "overrun" not in page_of(acme.owner)


def test_charge_by_estimate_is_shown_as_one() -> None:
    acme = factories.acme()
    call(acme, cost_usd="0.001", source="estimate")

    assert '<span class="note">estimate</span>' in page_of(acme.owner)


def test_last_calls_are_shown_newest_first() -> None:
    acme = factories.acme()
    for number in range(12):
        call(acme, model=f"acme/model-{number:02}", cost_usd="0")

    table = page_of(acme.owner).partition('id="calls"')[2]

    shown = re.findall(r">acme/model-(\d\d)<", table)
    assert shown == [f"{number:02}" for number in range(11, 1, -1)]


def test_globex_never_appears_for_acme() -> None:
    acme, globex = factories.acme(), factories.globex()
    now = timezone.now()
    theirs = tenants.create(company_id=globex.company_id, external_id="alice", label="Globex Alice", now=now)
    ours = tenants.create(company_id=acme.company_id, external_id="alice", label="Acme Alice", now=now)
    call(globex, model="globex/secret-model", cost_usd="0.25", user=theirs)
    call(acme, model="acme/model", cost_usd="0.01", user=ours)

    page = page_of(acme.owner)

    assert "acme/model" in page
    assert "Acme Alice" in page
    assert "globex" not in page.lower()
    assert f"…{globex.key.last_4}<" not in page
    assert figure(page, "Spend") == "0.025"


def test_user_of_another_company_stays_unnamed_even_on_an_own_call() -> None:
    acme, globex = factories.acme(), factories.globex()
    theirs = tenants.create(company_id=globex.company_id, label="Globex Alice", now=timezone.now())
    call(acme, model="acme/model", cost_usd="0.1", user=theirs)

    page = page_of(acme.owner)

    assert "acme/model" in page
    assert "Globex Alice" not in page


def test_queries_do_not_grow_with_what_is_shown() -> None:
    acme = factories.acme()
    call(acme)
    with CaptureQueriesContext(connection) as few:
        page_of(acme.owner)
    for number in range(5):
        user = tenants.create(company_id=acme.company_id, label=f"User {number}", now=timezone.now())
        kits.create(company_id=acme.company_id, name=f"Kit {number}", now=timezone.now())
        call(acme, user=user, model=f"acme/{number}")

    with CaptureQueriesContext(connection) as many:
        page_of(acme.owner)

    assert len(many) == len(few)


def test_page_takes_few_queries() -> None:
    acme = factories.acme()
    call(acme)
    client = client_of(acme.owner)
    with CaptureQueriesContext(connection) as taken:
        client.get("/dashboard/")

    assert len(taken) <= QUERIES_MAX, [one["sql"][:120] for one in taken.captured_queries]


def test_names_are_never_markup() -> None:
    acme = factories.acme()
    call(acme, model="<script>model</script>", cost_usd="0")

    page = page_of(acme.owner)

    assert "<script>model" not in page
    assert "&lt;script&gt;model" in page
    assert chart(page, "spend")["titles"] == ["<script>model</script>"]


# The beginning


def test_first_run_has_a_line_to_paste(settings: Any) -> None:
    settings.PUBLIC_URL = "https://naive.example/"
    acme = factories.acme()

    page = page_of(acme.owner)

    line = re.search(r"curl -N.*?(?=</code>)", page, re.DOTALL)
    assert line
    words = shlex.split(html.unescape(line.group()))
    assert words[2] == "https://naive.example/v1/llm/chat/completions"
    assert "Authorization: Bearer $NAIVE_API_KEY" in words
    assert json.loads(words[-1])["messages"]
    assert f"…{acme.key.last_4}<" in page
    assert acme.secret not in page


def test_line_to_paste_leads_to_where_the_page_was_asked_for() -> None:
    assert "curl -N http://testserver/v1/llm/" in page_of(factories.acme().owner)


def test_empty_states_say_what_to_do_next() -> None:
    initech = factories.initech()

    page = page_of(initech.owner)

    assert "Make your first call" in page
    assert "No calls yet. Run the line above" in page


def test_steps_are_ticked_as_they_are_done_and_go_when_all_are() -> None:
    acme = factories.acme()
    assert done(page_of(acme.owner)) == ["Make an API key"]

    call(acme)
    factories.set_llm(acme, {"defaults": {"max_tokens": 100}})
    page = page_of(acme.owner)
    assert done(page) == ["Make an API key", "Make a call", "Set an Account Kit"]
    assert "curl -N" not in page

    ledger.post(company_id=acme.company_id, amount_nanocredits=10**9, action="credit_topup", reference="t")
    assert "steps-title" not in page_of(acme.owner)


def done(page: str) -> list[str]:
    return re.findall(r'class="check is-done">.*?<strong>(.*?)</strong>', page, re.DOTALL)


def test_company_without_a_wallet_has_a_page() -> None:
    owner = people.create(
        email=f"{ids.uuid7().hex}@nowhere.example", password=factories.PASSWORD, name="P", now=timezone.now()
    )
    companies.create(name="Made by hand", owner_id=owner.id, now=timezone.now())

    page = page_of(owner)

    assert figure(page, "Balance") == "0"
    assert "This company has no live key" in page


# Notices


@pytest.mark.parametrize(
    ("is_simulator", "key", "words"),
    [(True, "", "simulator"), (False, "", "No upstream."), (False, "sk-or-v1-test", "")],
)
def test_page_says_once_what_answers_the_calls(
    settings: Any, is_simulator: bool, key: str, words: str
) -> None:
    settings.UPSTREAM_IS_SIMULATOR, settings.OPENROUTER_API_KEY = is_simulator, key

    page = page_of(factories.acme().owner)

    found = [word for word in ("simulator", "No upstream.") if word in page]
    assert found == ([words] if words else [])
    assert not words or page.count(words) == 1


def test_page_says_why_calls_are_refused() -> None:
    acme = factories.acme()
    ledger.freeze(company_id=acme.company_id)
    companies.suspend(company_id=acme.company_id)

    page = page_of(acme.owner)

    assert "The wallet is frozen." in page
    assert f"{acme.company.name} is suspended" in page


@pytest.mark.parametrize(("credits", "is_low"), [("4.999999999", True), ("5", False)])
def test_low_credits_are_said_below_the_companys_own_threshold(credits: str, is_low: bool) -> None:
    acme = factories.acme(credits=Decimal(credits))
    Company.objects.filter(id=acme.company_id).update(low_credits=Decimal(5))

    assert ("Credits run low." in page_of(acme.owner)) is is_low


@pytest.mark.parametrize(
    "query", ["range=forever", "from=x&to=y", "from=2026-11-03&to=2026-11-01", "range=%00"]
)
def test_range_that_cannot_be_is_the_usual_one(query: str) -> None:
    page = page_of(factories.acme().owner, f"/dashboard/?{query}")

    assert "Last 30 days" in page


def test_revoked_keys_are_not_offered() -> None:
    acme = factories.acme()
    keys.revoke(company_id=acme.company_id, key_id=acme.key.id, now=timezone.now())

    assert "This company has no live key" in page_of(acme.owner)
