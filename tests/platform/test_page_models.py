"""Models: the catalogue the database has, its prices exactly, and what a user of each kit may call of it."""

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

from accounts import companies, kits
from llm import catalog
from naive_platform.dashboard import models
from tests import factories
from tests.platform.calls import client_of, page_of
from tests.platform.people import colleague

MODELS = "/dashboard/models/"
QUERIES_MAX = 12


def entry(model: str, **more: Any) -> dict[str, Any]:
    given = {
        "id": model,
        "name": f"Name of {model}",
        "context_length": 128_000,
        "pricing": {"prompt": "0.00000015", "completion": "0.0000006"},
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
    }
    return given | more


OTHERS = [entry(f"many/m{number:03}", context_length=1000 + number) for number in range(60)]
ENTRIES = [
    entry(
        "acme/one",
        description="Writes <script>alert(1)</script> well.",
        supported_parameters=["tools", "temperature"],
        top_provider={"max_completion_tokens": 16_384},
        created=1_700_000_000,
        pricing={
            "prompt": "0.00000015",
            "completion": "0.0000006",
            "request": "0.001",
            "image": "0.0072",
            "web_search": "0.01",
            "input_cache_read": "0.000000075",
            "internal_reasoning": "0",
            "overrides": [{"min_prompt_tokens": 200_000, "prompt": "0.0000003"}],
        },
    ),
    entry("acme/big", context_length=1_000_000, pricing={"prompt": "0.00001", "completion": "0.00003"}),
    entry("paint/only", architecture={"input_modalities": ["text"], "output_modalities": ["image"]}),
    entry("openrouter/auto", name="Auto", pricing={"prompt": "-1", "completion": "-1"}, context_length=None),
    *OTHERS,
]


@pytest.fixture(autouse=True)
def _catalogue() -> Iterator[None]:
    with connection.cursor() as cursor:
        catalog.save(orjson.dumps({"data": ENTRIES}), cursor.execute)
        yield
        cursor.execute("DELETE FROM llm_catalog_snapshot")


def listed(page: str) -> list[str]:
    """The models of a page, in its order."""
    return [one.rstrip("/") for one in re.findall(r'class="row-link" href="/dashboard/models/([^"]+)"', page)]


def test_prices_are_per_million_tokens_to_the_last_digit() -> None:
    page = page_of(factories.acme().owner, f"{MODELS}?search=acme/one")

    assert listed(page) == ["acme/one"]
    assert ">$0.15<" in page
    assert ">$0.60<" in page
    assert "128,000" in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("search=name big", ["acme/big"]),
        ("provider=acme", ["acme/big", "acme/one"]),
        ("provider=acme&max_price=1", ["acme/one"]),
        ("provider=acme&context=200000", ["acme/big"]),
        ("modality=image", ["paint/only"]),
        ("provider=paint", []),
        ("provider=acme&sort=-prompt", ["acme/big", "acme/one"]),
        ("provider=acme&sort=completion", ["acme/one", "acme/big"]),
        ("provider=acme&sort=context", ["acme/one", "acme/big"]),
        ("provider=acme&sort=-name", ["acme/one", "acme/big"]),
    ],
)
def test_catalogue_is_searched_filtered_and_put_in_order(query: str, found: list[str]) -> None:
    assert listed(page_of(factories.acme().owner, f"{MODELS}?{query}")) == found


@pytest.mark.parametrize("sort", ["prompt", "-prompt", "context", "-context"])
def test_model_without_a_number_comes_last_whichever_way_round(sort: str) -> None:
    page = page_of(factories.acme().owner, f"{MODELS}?sort={sort}&search=a")
    while following := re.search(r'rel="next" href="([^"]+)"', page):
        page = page_of(factories.acme().owner, MODELS + following.group(1).replace("&amp;", "&"))

    assert listed(page)[-1] == "openrouter/auto"


def test_fifty_stand_on_a_page_and_the_next_one_goes_on() -> None:
    owner = factories.acme().owner
    first = page_of(owner, f"{MODELS}?provider=many")
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    second = page_of(owner, MODELS + following.group(1).replace("&amp;", "&"))

    assert len(listed(first)) == 50
    assert listed(first) + listed(second) == [one["id"] for one in OTHERS]


def test_chosen_kit_tells_what_its_users_may_call() -> None:
    acme = factories.acme()
    kit = factories.set_llm(acme, {"defaults": {"denied_models": ["acme/b*"]}})
    address = f"{MODELS}?provider=acme&kit={kit.id}"

    page = page_of(acme.owner, address)

    assert re.findall(r'pill is-(allowed|denied)"', page) == ["denied", "allowed"]
    assert f"Kit “{kit.name}” allows 1 of them." in page
    assert listed(page_of(acme.owner, f"{address}&allowed=yes")) == ["acme/one"]
    assert listed(page_of(acme.owner, f"{address}&allowed=no")) == ["acme/big"]


def test_kit_that_closes_llm_allows_nothing() -> None:
    acme = factories.acme()
    kit = factories.set_llm(acme, {"enabled": False})

    assert "allows 0 of them" in page_of(acme.owner, f"{MODELS}?kit={kit.id}")


def test_globexs_kit_is_not_found_and_never_offered() -> None:
    acme, globex = factories.acme(), factories.globex()
    client = client_of(acme.owner)

    for kit in (globex.kit.id, uuid4(), "<b>"):
        assert client.get(MODELS, {"kit": str(kit)}).status_code == 404
    assert str(globex.kit.id) not in client.get(MODELS).content.decode()


@pytest.mark.parametrize("query", ["max_price=x", "max_price=-1", "max_price=NaN", "cursor=x", "cursor=LTE"])
def test_address_of_no_list_is_refused_in_words(query: str) -> None:
    answer = client_of(factories.acme().owner).get(f"{MODELS}?{query}")

    assert answer.status_code == 400
    assert "is not a price" in answer.content.decode() or "page of the list" in answer.content.decode()


def test_one_model_shows_every_price_and_who_may_call_it() -> None:
    acme = factories.acme()
    kits.create(
        company_id=acme.company_id,
        name="Closed <b>",
        primitives_config={"llm": {"enabled": False}},
        now=timezone.now(),
    )

    page = page_of(acme.owner, f"{MODELS}acme/one/")

    for title, price in (
        ("Request", "$0.001"),
        ("Image in", "$0.0072"),
        ("Web search", "$0.01"),
        ("Prompt read from cache", "$0.075"),
        ("Prompt above 200,000 prompt tokens", "$0.30"),
    ):
        assert re.search(
            rf'<dt>{title}</dt><dd><data class="amount" value="[^"]+">{re.escape(price)}<', page
        ), title
    assert "Reasoning" not in page
    assert '<dt>Default</dt><dd><span class="pill is-on">allowed' in page
    assert '<dt>Closed &lt;b&gt;</dt><dd><span class="pill is-off">denied' in page
    assert "16,384 tokens" in page
    assert "14 Nov 2023" in page
    assert '"model": "acme/one"' in page.replace("&quot;", '"')


def test_what_upstream_writes_is_no_markup() -> None:
    page = page_of(factories.acme().owner, f"{MODELS}acme/one/")

    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_dynamic_price_is_not_called_free() -> None:
    found = models.prices(
        catalog.parse(orjson.dumps({"data": [entry("a/b", pricing={"prompt": "-1"})]})).models[0]
    )

    assert [(price.title, price.amount) for price in found] == [("Prompt", None)]


def test_company_with_its_own_markup_reads_its_own() -> None:
    acme = factories.acme()
    companies.set_markup(company_id=acme.company_id, markup=Decimal("1.5"))

    assert "USD \N{MULTIPLICATION SIGN} 1.5" in page_of(acme.owner, f"{MODELS}acme/one/")


def test_with_htmx_only_the_drawer_comes() -> None:
    client = client_of(factories.acme().owner)
    part = client.get(f"{MODELS}acme/one/", headers={"HX-Request": "true"}).content.decode()

    assert "<html" not in part
    assert "Name of acme/one" in part


def test_model_that_is_not_there_is_not_found() -> None:
    client = client_of(factories.acme().owner)

    for model in ("acme/none", "<script>", "acme/one:free"):
        answer = client.get(f"{MODELS}{model}/")
        assert answer.status_code == 404
        assert "<script>" not in answer.content.decode().split("<main")[1]


def test_search_that_finds_nothing_leads_back_to_all() -> None:
    page = page_of(factories.acme().owner, f"{MODELS}?search=zzz")

    assert "No model is like that" in page
    assert f'href="{MODELS}">Show all' in page


def test_viewer_may_look() -> None:
    assert listed(page_of(colleague(factories.acme(), "viewer"), f"{MODELS}?provider=acme"))


def test_pages_take_a_fixed_number_of_queries() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    for address in (f"{MODELS}?kit={acme.kit.id}", f"{MODELS}acme/one/"):
        client.get(address)
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
        assert len(queries) <= QUERIES_MAX, address
