"""Figures an operator watches, read from the sums and the queues."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from billing import metrics, settlement
from billing.metrics import Fit
from billing.models import Day
from tests import logins
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run

# Sums of these hours are this file's own.
HOUR = datetime(2003, 5, 17, 8, tzinfo=UTC)


def fit() -> Fit:
    return metrics.fit(since=HOUR, until=HOUR + timedelta(hours=1))


@pytest.fixture(autouse=True)
def _no_sums() -> Iterator[None]:
    """Sums of calls that never were would be a violation to whoever comes after."""
    yield
    books.rows("DELETE FROM billing_usage WHERE hour = %s", HOUR)


def summed(*, calls: int, held: int, charged: int, overrun: int = 0) -> None:
    made = books.Wallet()
    books.rows(
        "INSERT INTO billing_usage (company_id, hour, tenant_user_id, key_id, kit_id, model, calls, held_nanocredits,"
        " charged_nanocredits, overrun_nanocredits) VALUES (%s, %s, %s, %s, %s, 'm', %s, %s, %s, %s)",
        made.company_id, HOUR, made.tenant_user_id, made.key_id, made.key_id, calls, held, charged, overrun,
    )  # fmt: skip


def test_fit_of_no_calls_has_no_ratio() -> None:
    assert (fit(), fit().ratio) == (Fit(0, 0, 0, 0, None, None), None)


def test_ratios_are_weighted_by_their_calls() -> None:
    summed(calls=60, held=120, charged=60)
    summed(calls=36, held=400, charged=40, overrun=7)
    summed(calls=4, held=900, charged=1)
    summed(calls=5, held=50, charged=0)
    found = fit()
    assert (found.calls, found.held_nanocredits, found.charged_nanocredits) == (105, 1470, 101)
    assert (found.overrun_nanocredits, found.median_ratio, found.p95_ratio) == (7, Decimal(2), Decimal(10))
    assert found.ratio == Decimal(1470) / 101


def test_calls_of_other_hours_do_not_count() -> None:
    summed(calls=60, held=120, charged=60)
    assert metrics.fit(since=HOUR + timedelta(hours=1), until=HOUR + timedelta(hours=2)).calls == 0


def test_settled_calls_are_in_the_fit(run: Run) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the books have a clock of their own.
    since, until = now - timedelta(hours=1), now + timedelta(hours=1)
    before = metrics.fit(since=since, until=until)
    run(books.settled(books.wallet(), "0.8", wanted=CREDIT))
    after = metrics.fit(since=since, until=until)
    assert after.calls - before.calls == 1
    assert after.overrun_nanocredits - before.overrun_nanocredits == CREDIT
    assert after.held_nanocredits - before.held_nanocredits == CREDIT


def test_debt_is_counted_by_age_each_call_once(run: Run) -> None:
    acme = books.wallet(100 * CREDIT)
    before = metrics.debt()
    for age_s in (0, 30, 61, 700, 4000, 90_000, 900_000):
        request = run(books.held(acme))
        books.rows(
            "UPDATE billing_open_hold SET created_at = created_at - make_interval(secs => %s) WHERE hold_id = %s",
            age_s, request.hold_id,
        )  # fmt: skip
    books.rows(
        "UPDATE billing_open_hold SET stage = 'parked', next_at = NULL WHERE hold_id = %s", request.hold_id
    )
    more = [
        (
            new.from_s,
            new.calls - old.calls,
            new.parked - old.parked,
            new.held_nanocredits - old.held_nanocredits,
        )
        for old, new in zip(before, metrics.debt(), strict=True)
    ]
    assert more == [
        (0, 2, 0, 2 * CREDIT), (60, 1, 0, CREDIT), (600, 1, 0, CREDIT), (3600, 1, 0, CREDIT), (86_400, 2, 1, 2 * CREDIT)
    ]  # fmt: skip


def test_calls_nobody_heard_of_are_counted_by_the_day_until_evidence_comes(run: Run) -> None:
    today = datetime.now(UTC).date()  # noqa: TID251 - the books have a clock of their own.
    before = metrics.unattributed(first=today, last=today)
    acme = books.wallet()
    requests = [run(books.held(acme)) for _ in "12"]
    for request in requests:
        settlement.void_now(hold=books.key(request), evidence=books.cost(None, source="no_evidence"))
    (after,) = metrics.unattributed(first=today, last=today)
    assert after.calls - sum(one.calls for one in before) == 2
    assert after.bound_usd - sum(one.bound_usd for one in before) == Decimal("0.8")
    settlement.settle_now(hold=books.key(requests[0]), evidence=books.cost("0.4", source="broadcast"))
    (corrected,) = metrics.unattributed(first=today, last=today)
    assert after.calls - corrected.calls == 1
    assert metrics.unattributed(first=today + timedelta(days=1), last=today + timedelta(days=9)) == []


def test_what_waits_is_counted(run: Run) -> None:
    acme = books.wallet()
    before = metrics.waiting()
    request = run(books.held(acme))
    books.make_first_due(request)
    run(books.settled(acme, source="estimate"))
    run(settlement.settle(hold=books.key(run(books.held(acme))), evidence=books.cost("-1")))
    after = metrics.waiting()
    assert (after.due - before.due, after.parked - before.parked) == (1, 1)
    assert (after.second_looks - before.second_looks, after.anomalies - before.anomalies) == (1, 1)
    assert after.late_s > 10**7


def test_as_many_anomalies_wait_as_are_listed() -> None:
    day = date(2002, 2, 2)
    books.rows("SELECT billing_quarantine('day_mismatch', %s, NULL, NULL, '{}')", str(day))
    before = metrics.waiting().anomalies
    now = datetime.now(UTC)  # noqa: TID251 - any instant.
    found = Day.objects.create(day=day, read_at=now, closed_at=now)
    assert before - metrics.waiting().anomalies == 1
    found.delete()


def test_application_login_reads_all_of_it() -> None:
    with logins.as_application():
        assert fit().calls == 0
        assert len(metrics.debt()) == len(metrics.DEBT_AGES_S)
        assert metrics.waiting().due >= 0
        assert metrics.unattributed(first=HOUR.date(), last=HOUR.date()) == []
