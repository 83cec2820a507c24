"""Alerts: one row and one line in the log, however often something is found."""

import logging
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.db import connection

from billing import alerts
from tests import logins, races
from tests.billing import books
from tests.billing.conftest import Away


@pytest.fixture
def reference() -> str:
    return f"test {uuid4()}"


def raise_one(reference: str, **changes: Any) -> bool:
    return alerts.raise_alert(
        "ledger_broken", **{"reference": reference, "message": "It is broken.", **changes}
    )


def lines(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [orjson.loads(record.message) for record in caplog.records if record.name == "naive.alert"]


def test_alert_is_one_structured_error_and_one_row(reference: str, caplog: pytest.LogCaptureFixture) -> None:
    company_id = uuid4()
    assert raise_one(reference, company_id=company_id, details={"entry": "entry 7"})
    (line,) = lines(caplog)
    assert (line["alert"], line["reference"], line["message"]) == (
        "ledger_broken",
        reference,
        "It is broken.",
    )
    assert (line["company_id"], line["details"]) == (str(company_id), {"entry": "entry 7"})
    assert caplog.records[-1].levelno == logging.ERROR
    found = alerts.list_open(limit=1)[0]
    assert (found.kind, found.reference, found.company_id, found.count) == (
        "ledger_broken",
        reference,
        company_id,
        1,
    )
    assert found.details == {"entry": "entry 7"}


def test_same_again_only_counts(reference: str, caplog: pytest.LogCaptureFixture) -> None:
    assert [raise_one(reference) for _ in "123"] == [True, False, False]
    assert len(lines(caplog)) == 1
    assert alerts.list_open(limit=1)[0].count == 3


def test_alert_that_stands_for_a_day_is_told_again(reference: str) -> None:
    raise_one(reference)
    books.rows(
        "UPDATE billing_alert SET told_at = told_at - interval '25 hours' WHERE reference = %s", reference
    )
    assert [raise_one(reference) for _ in "12"] == [True, False]


def test_resolved_alert_is_listed_no_more_and_news_when_it_comes_back(reference: str) -> None:
    raise_one(reference)
    assert alerts.resolve("ledger_broken", reference=reference) == 1
    assert reference not in {one.reference for one in alerts.list_open(limit=200)}
    assert alerts.resolve("ledger_broken", reference=reference) == 0
    assert raise_one(reference)
    assert reference in {one.reference for one in alerts.list_open(limit=200)}


def test_kind_is_resolved_but_for_what_is_still_wrong(reference: str) -> None:
    raise_one(reference)
    raise_one(f"{reference} too")
    alerts.resolve("ledger_broken", but=[reference])
    open_ones = {one.reference for one in alerts.list_open(limit=200)}
    assert reference in open_ones
    assert f"{reference} too" not in open_ones


def test_many_at_once_are_one_row_and_one_of_them_is_news(reference: str) -> None:
    told = races.at_once(*[lambda: raise_one(reference)] * 8)
    assert told.count(True) == 1
    assert [one.count for one in alerts.list_open(limit=200) if one.reference == reference] == [8]


def test_list_goes_on_before_the_last_id(reference: str) -> None:
    for number in range(3):
        raise_one(f"{reference} {number}")
    first, second = alerts.list_open(limit=2)
    (third,) = alerts.list_open(limit=1, before_id=second.id)
    assert [one.reference[-1] for one in (first, second, third)] == ["2", "1", "0"]


def test_alert_is_told_though_the_database_is_away(
    reference: str, away: Away, caplog: pytest.LogCaptureFixture
) -> None:
    connection.close()
    with away():
        assert raise_one(reference)
    assert [line["reference"] for line in lines(caplog)] == [reference]


def test_application_login_raises_and_resolves(reference: str) -> None:
    with logins.as_application():
        assert raise_one(reference)
        assert alerts.resolve("ledger_broken", reference=reference) == 1
