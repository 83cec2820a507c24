"""Billing, Usage: what calls came to by day, model, user, key and kit, exactly what /v1/usage and the ledger say."""

import json
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import ids, kits, tenants
from accounts.errors import InvalidInput
from billing import ledger, money, usage
from tests import factories
from tests.conftest import Run
from tests.factories import Cast
from tests.platform.calls import call, client_of, figure, give_back, page_of
from tests.platform.files import sheet

USAGE = "/dashboard/billing/usage/"
QUERIES_MAX = 12


def exact(nanocredits: int) -> str:
    return f'value="{money.json_number(nanocredits)}"'


def chart(page: str) -> dict[str, Any]:
    found = re.search(r'id="usage-data">(.*?)</script>', page)
    assert found
    return dict(json.loads(found.group(1)))


def told(member: Cast, group_by: str) -> dict[str, Any]:
    """What the API says of the same days."""
    answer = client_of(member.owner).get(
        f"/v1/usage?days=30&group_by={group_by}", headers={"Authorization": member.authorization}
    )
    return dict(json.loads(answer.content, parse_float=Decimal))


@pytest.mark.parametrize("group_by", ["day", "model", "user", "key", "kit"])
def test_every_group_agrees_with_the_api_and_the_ledger(group_by: str) -> None:
    acme = factories.acme(credits=Decimal(20))
    ada = tenants.create(company_id=acme.company_id, label="Ada", now=timezone.now())
    call(acme, model="acme/one", cost_usd="0.00012104999999999999")
    call(acme, model="acme/two", cost_usd="0.2", user=ada)

    page = page_of(acme.owner, f"{USAGE}?by={group_by}")

    summary = told(acme, group_by)["summary"]
    assert Decimal(figure(page, "Credits")) == summary["credits_used"]
    assert summary["credits_used"] == Decimal(20) - factories.balance(acme)
    for group in summary["groups"]:
        assert f'value="{group["credits_used"]}"' in page
        assert str(group["cost_usd"]) in page


@pytest.mark.parametrize(
    ("group_by", "name"),
    [("user", "Ada &amp; Co"), ("key", "Default …"), ("kit", "Default"), ("model", "acme/model")],
)
def test_groups_are_called_by_their_names(group_by: str, name: str) -> None:
    acme = factories.acme(credits=Decimal(20))
    ada = tenants.create(company_id=acme.company_id, label="Ada & Co", now=timezone.now())
    call(acme, cost_usd="0.1", user=ada)

    page = page_of(acme.owner, f"{USAGE}?by={group_by}")

    assert f">{name}" in page
    # The way to the calls behind it.
    assert f"/dashboard/generations/?{group_by}=" in page


def test_correction_counts_with_its_call_and_a_free_call_apart() -> None:
    acme = factories.acme(credits=Decimal(20))
    hold_id = call(acme, cost_usd="0.4")
    give_back(acme, call(acme, cost_usd=None))
    ledger.correct(
        company_id=acme.company_id,
        hold_id=hold_id,
        cost_usd=Decimal("0.3"),
        source="operator",
        reference="r1",
    )

    page = page_of(acme.owner, f"{USAGE}?by=model")

    assert figure(page, "Credits") == "0.75"
    assert figure(page, "Calls") == "1"
    assert "and 1 free" in page


def test_chart_keeps_the_dearest_apart_and_adds_up_to_the_sum() -> None:
    acme = factories.acme(credits=Decimal(20))
    for number in range(7):
        call(acme, model=f"acme/m{number}", cost_usd=f"0.{number + 1}", held="2")

    found = chart(page_of(acme.owner, f"{USAGE}?by=model"))

    assert found["titles"] == ["acme/m6", "acme/m5", "acme/m4", "acme/m3", "acme/m2", "Others"]
    assert [sum(values) for values in found["data"][1:]] == [1.75, 1.5, 1.25, 1.0, 0.75, 0.75]


def test_chart_of_a_day_is_told_by_the_hour() -> None:
    acme = factories.acme(credits=Decimal(20))
    call(acme, cost_usd="0.4")

    found = chart(page_of(acme.owner, f"{USAGE}?range=24h"))

    assert found["hourly"] is True
    assert 24 <= len(found["data"][0]) <= 25
    assert sum(found["data"][1]) == 1.0


def test_sums_over_time_name_what_was_asked_for_and_put_the_rest_together() -> None:
    acme = factories.acme(credits=Decimal(20))
    call(acme, model="acme/one", cost_usd="0.1")
    call(acme, model="acme/two", cost_usd="0.2")
    now = timezone.now()

    found = usage.over_time(
        company_id=acme.company_id,
        since=now - timedelta(hours=1),
        until=now + timedelta(hours=1),
        group_by="model",
        groups=["acme/one"],
    )

    assert {one.group: one.charged_nanocredits for one in found} == {"acme/one": 250000000, None: 500000000}
    with pytest.raises(InvalidInput):
        usage.over_time(company_id=acme.company_id, since=now, until=now, group_by="nonsense")  # type: ignore[arg-type]


def test_file_has_ids_beside_names(run: Run) -> None:
    acme = factories.acme(credits=Decimal(20))
    kits.update(company_id=acme.company_id, kit_id=acme.kit.id, changes={"name": "=Kit"})
    call(acme, cost_usd="0.00012104999999999999")

    (row,) = sheet(run, acme.owner, "/dashboard/billing/usage.csv?by=kit")

    assert (row["group"], row["name"]) == (str(acme.kit.id), "'=Kit")
    assert (row["cost_usd"], row["credits_used"]) == ("0.00012104999999999999", "0.000302625")
    assert (row["tokens_prompt"], row["tokens_completion"]) == ("1234", "42")


def test_order_is_the_addresss() -> None:
    acme = factories.acme(credits=Decimal(20))
    call(acme, model="acme/a", cost_usd="0.2")
    call(acme, model="acme/b", cost_usd="0.1")

    def order(sort: str) -> list[str]:
        page = page_of(acme.owner, f"{USAGE}?by=model&sort={sort}")
        return re.findall(r'data-title="Model">.*?acme/(\w)<', page)

    assert (order("credits"), order("-credits"), order("nonsense")) == (["b", "a"], ["a", "b"], ["a", "b"])


def test_company_without_a_call_is_told_what_to_do() -> None:
    page = page_of(factories.acme().owner, USAGE)

    assert "No call was settled in this time" in page
    assert 'href="/dashboard/playground/"' in page
    assert figure(page, "Credits") == "0"


@pytest.mark.parametrize("query", ["by=nonsense", "by=", "cursor=x", "range=%00", "from=x&to=y", "sort=--"])
def test_address_of_no_usage_is_no_server_error(query: str) -> None:
    assert client_of(factories.acme().owner).get(f"{USAGE}?{query}").status_code in (200, 400)


def test_nothing_of_globex_is_added_up_for_acme() -> None:
    acme, globex = factories.acme(), factories.globex()
    call(globex, model="globex/secret", cost_usd="0.1", hold_id=ids.uuid7())

    page = page_of(acme.owner, f"{USAGE}?by=model")

    assert "globex" not in page.lower()
    assert figure(page, "Credits") == "0"


@pytest.mark.parametrize("group_by", ["day", "user"])
def test_page_takes_a_fixed_number_of_queries(group_by: str) -> None:
    acme = factories.acme(credits=Decimal(20))
    client = client_of(acme.owner)
    call(acme, cost_usd="0.01")
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            client.get(f"{USAGE}?by={group_by}")
    assert len(queries) <= QUERIES_MAX
