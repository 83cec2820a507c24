"""Generations: the request log, its filters and its bounds; each call with how its charge was reckoned."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import kits, tenants
from billing import ledger
from naive_platform.dashboard import generations
from tests import factories
from tests.platform.calls import begun, call, client_of, give_back, page_of

PAGE = "/dashboard/generations/"
QUERIES_MAX = 12


def shown(page: str) -> list[str]:
    """The models of the table, in its order."""
    return re.findall(r'<a class="row-link"[^>]*>([^<]+)</a>', page)


def address(hold_id: object) -> str:
    return f"{PAGE}gen_{hold_id}/"


# The list


def test_calls_are_listed_newest_first_or_oldest() -> None:
    acme = factories.acme()
    for hours in (3, 2, 1):
        call(acme, model=f"a/{hours}", hold_id=begun(timedelta(hours=hours)))

    assert shown(page_of(acme.owner, PAGE)) == ["a/1", "a/2", "a/3"]
    assert shown(page_of(acme.owner, f"{PAGE}?sort=time")) == ["a/3", "a/2", "a/1"]


def test_range_leaves_out_what_began_before_it() -> None:
    acme = factories.acme()
    call(acme, model="a/old", hold_id=begun(timedelta(days=8)))
    call(acme, model="a/new")

    assert shown(page_of(acme.owner, f"{PAGE}?range=7d")) == ["a/new"]
    assert shown(page_of(acme.owner, f"{PAGE}?range=30d")) == ["a/new", "a/old"]


def test_each_filter_leaves_what_it_says() -> None:
    acme = factories.acme()
    now = timezone.now()
    alice = tenants.create(company_id=acme.company_id, external_id="alice", label="Alice", now=now)
    call(acme, model="a/one", cost_usd="0.002", user=alice)
    call(acme, model="a/two", cost_usd="0.0004")
    call(acme, model="a/open", cost_usd=None)
    give_back(acme, call(acme, model="a/void", cost_usd=None))
    wanted = {
        "model=a/one": ["a/one"],
        "user=alice": ["a/one"],
        "user=ext:alice": ["a/one"],
        f"user={alice.id}": ["a/one"],
        f"user={acme.tenant_user.id}&state=settled": ["a/two"],
        f"key={acme.key.id}&kit={acme.kit.id}&state=held": ["a/open"],
        "state=voided": ["a/void"],
        "least=0.001": ["a/one"],
        "least=0.001&most=0.001": ["a/two"],
        "model=nothing": [],
    }
    wanted["least=0.001"] = ["a/two", "a/one"]

    found = {query: shown(page_of(acme.owner, f"{PAGE}?{query}")) for query in wanted}

    assert found == wanted


def test_rows_say_tokens_cost_credits_and_remarks() -> None:
    acme = factories.acme()
    call(acme, model="a/over", cost_usd="0.5", held="0.1", latency_ms=321)
    call(acme, model="a/guess", cost_usd="0.00012104999999999999", source="estimate")
    call(acme, model="a/open", cost_usd=None, held="0.25")

    page = page_of(acme.owner, PAGE)

    assert '<span class="note">overrun</span>' in page
    assert '<span class="note">estimate</span>' in page
    assert '<span class="note">held 0.25</span>' in page
    assert "$0.00012104999999999999" in page
    assert "1,234 → 42" in page
    assert '321 <span class="note">ms</span>' in page


def test_pages_follow_each_other_without_a_gap() -> None:
    acme = factories.acme()
    for number in range(53):
        call(acme, model=f"a/{number:02}", cost_usd="0", hold_id=begun(timedelta(minutes=60 - number)))

    first = page_of(acme.owner, f"{PAGE}?model=&state=settled")
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    second = page_of(acme.owner, PAGE + following.group(1).replace("&amp;", "&"))

    assert len(shown(first)) == 50
    assert shown(first) + shown(second) == [f"a/{number:02}" for number in range(52, -1, -1)]
    assert "state=settled" in following.group(1)
    assert 'rel="next"' not in second


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("key=nonsense", "This company has no such one."),
        ("user=nobody", "No user of this company has this id."),
        ("state=broken", "Select a valid choice"),
        ("least=abc", "Enter a number."),
        ("least=NaN", "Enter a number."),
        ("least=1e400", "digits"),
        ("least=5&most=1", "This is less than the least."),
    ],
)
def test_filter_that_means_nothing_is_said_at_its_field(query: str, words: str) -> None:
    acme = factories.acme()
    call(acme, model="a/one")

    page = page_of(acme.owner, f"{PAGE}?{query}")

    assert words in page
    assert shown(page) == []
    assert "Correct it, or clear them all." in page


@pytest.mark.parametrize("cursor", ["x", "AAAA", "bm90LWFuLWlk"])
def test_cursor_that_is_none_is_refused(cursor: str) -> None:
    answer = client_of(factories.acme().owner).get(f"{PAGE}?cursor={cursor}")

    assert answer.status_code == 400
    assert "Begin with the first page." in answer.content.decode()


def test_globex_is_nowhere_in_the_list_and_its_ids_mean_nothing() -> None:
    acme, globex = factories.acme(), factories.globex()
    theirs = tenants.create(company_id=globex.company_id, external_id="bob", label="Bob", now=timezone.now())
    call(globex, model="globex/secret", user=theirs)
    call(acme, model="a/one")

    page = page_of(acme.owner, PAGE)
    assert shown(page) == ["a/one"]
    assert "globex/secret" not in page
    for query in (f"user={theirs.id}", f"key={globex.key.id}", f"kit={globex.kit.id}"):
        assert shown(page_of(acme.owner, f"{PAGE}?{query}")) == []


def test_names_are_never_markup() -> None:
    acme = factories.acme()
    evil = "<img src=x onerror=alert(1)>"
    user = tenants.create(company_id=acme.company_id, label=evil, now=timezone.now())
    kits.create(company_id=acme.company_id, name=evil, now=timezone.now())
    hold_id = call(acme, model=evil, user=user)

    for page in (page_of(acme.owner, PAGE), page_of(acme.owner, address(hold_id))):
        assert "<img" not in page
        assert "&lt;img" in page


def test_empty_list_says_what_to_do_next() -> None:
    acme = factories.acme()
    assert "No calls in this time." in page_of(acme.owner, PAGE)

    call(acme)
    assert "No call of this time matches the filters." in page_of(acme.owner, f"{PAGE}?model=x")


def test_page_takes_few_queries_however_much_it_shows() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    counts = []
    for _ in range(2):
        for number in range(3):
            user = tenants.create(company_id=acme.company_id, label=f"U{number}", now=timezone.now())
            call(acme, user=user)
        with CaptureQueriesContext(connection) as taken:
            client.get(f"{PAGE}?model=acme/model&user={user.id}")
        counts.append(len(taken))

    assert counts[0] == counts[1] <= QUERIES_MAX


# Search


def test_call_is_found_by_each_of_its_ids() -> None:
    acme = factories.acme()
    hold_id = call(acme)
    client = client_of(acme.owner)

    for wanted in (f"gen_{hold_id}", str(hold_id), f"gen-{hold_id}", f"  gen_{hold_id} "):
        answer = client.get(PAGE, {"q": wanted})
        assert answer["Location"] == address(hold_id), wanted


UNKNOWN = "gen_0197a000-0000-7000-8000-000000000000"


@pytest.mark.parametrize("wanted", ["gen-nothing", "gen_", "<b>", UNKNOWN, "x" * 5000])
def test_id_that_is_none_is_said_so(wanted: str) -> None:
    page = client_of(factories.acme().owner).get(PAGE, {"q": wanted}).content.decode()

    assert "There is no generation" in page
    assert "<b>" not in page


def test_globex_does_not_find_it() -> None:
    acme, globex = factories.acme(), factories.globex()
    hold_id = call(acme)
    client = client_of(globex.owner)

    assert client.get(PAGE, {"q": f"gen-{hold_id}"}).status_code == 200
    for wanted in (f"gen_{hold_id}", f"gen-{hold_id}", "nonsense"):
        assert client.get(f"{PAGE}{wanted}/").status_code == 404


# One call


def test_charge_is_reckoned_step_by_step() -> None:
    found = generations.reckon(
        cost_usd=Decimal("0.00012104999999999999"),
        markup=Decimal("1.2500"),
        credit_value_usd=Decimal("0.50"),
        charged_nanocredits=302_625,
    )

    assert found.price_usd == Decimal("0.0001513124999999999875")
    assert found.credits == "0.000302624999999999975"
    assert (found.is_endless, found.is_rounded) == (False, True)


def test_quotient_that_does_not_end_says_so() -> None:
    found = generations.reckon(
        cost_usd=Decimal(1),
        markup=Decimal(1),
        credit_value_usd=Decimal("0.3"),
        charged_nanocredits=3_333_333_334,
    )

    assert found.is_endless
    assert found.credits.startswith("3.33333333333")


def test_page_of_a_call_shows_its_arithmetic() -> None:
    acme = factories.acme()
    hold_id = call(acme, model="a/one", cost_usd="0.002", held="0.25")

    page = page_of(acme.owner, address(hold_id))

    for words in ("$0.002", "markup 1.25", "$0.0025", "÷ ", "Acme Cloud", "after 250 ms", "900 ms", "stop"):
        assert words in page, words
    assert re.search(r'<dt>Charged</dt><dd><data class="amount" value="0.005">', page)
    assert re.search(r'<dt>Given back</dt><dd><data class="amount" value="0.245">', page)
    assert f"gen_{hold_id}" in page
    assert f"gen-{hold_id}" in page
    assert acme.key.last_4 in page


def test_drawer_is_the_same_without_the_frame() -> None:
    acme = factories.acme()
    hold_id = call(acme, cost_usd="0.002")
    client = client_of(acme.owner)

    part = client.get(address(hold_id), headers={"HX-Request": "true"}).content.decode()

    assert "<html" not in part
    assert "data-closes" in part
    facts = re.search(r'<div class="sections">.*</section>\s*</div>', part, re.DOTALL)
    assert facts
    assert facts.group() in client.get(address(hold_id)).content.decode()


def test_overrun_is_said_with_how_far() -> None:
    acme = factories.acme()
    hold_id = call(acme, cost_usd="0.1", held="0.1")

    assert re.search(
        r'<dt>Charged beyond it</dt><dd><data class="amount" value="0.15">',
        page_of(acme.owner, address(hold_id)),
    )


def test_correction_is_told_with_its_difference() -> None:
    acme = factories.acme()
    hold_id = call(acme, cost_usd="0.002", source="estimate")
    corrected: Any = ledger.correct(
        company_id=acme.company_id,
        hold_id=hold_id,
        cost_usd=Decimal("0.001"),
        source="generation",
        reference="r-1",
    )
    assert corrected.outcome == "corrected"

    page = page_of(acme.owner, address(hold_id))

    assert "Correction 1" in page
    assert 'value="0.0025"' in page
    assert re.search(r'gave back <data class="amount" value="0.0025">', page)


@pytest.mark.parametrize(
    ("is_void", "words"), [(False, "Not known yet."), (True, "Nothing: the hold was given back.")]
)
def test_call_without_a_charge_says_why(is_void: bool, words: str) -> None:
    acme = factories.acme()
    hold_id = call(acme, cost_usd=None)
    if is_void:
        give_back(acme, hold_id)

    assert words in page_of(acme.owner, address(hold_id))


def test_page_of_a_call_takes_few_queries() -> None:
    acme = factories.acme()
    hold_id = call(acme, cost_usd="0.002", source="estimate")
    client = client_of(acme.owner)
    with CaptureQueriesContext(connection) as taken:
        client.get(address(hold_id))

    assert len(taken) <= QUERIES_MAX


def test_whose_the_call_was_is_another_companys_secret() -> None:
    acme, globex = factories.acme(), factories.globex()
    theirs = tenants.create(company_id=globex.company_id, label="Globex Alice", now=timezone.now())
    hold_id = call(acme, user=theirs)

    assert "Globex Alice" not in page_of(acme.owner, address(hold_id))
