"""A company's generations as a list: exact, in order, of its own alone, and never looked through without a bound."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from django.utils import timezone

from accounts.errors import NotFound
from accounts.ids import uuid7
from billing import batches, ledger, settlement
from llm import history
from llm.history import Filters
from tests.billing import books
from tests.billing.books import Wallet
from tests.conftest import Run
from tests.platform.calls import begun


def made(run: Run, count: int = 1, *, cost_usd: str | None = "0", **details: Any) -> tuple[Wallet, list[Any]]:
    """A wallet with calls, the oldest first, an hour between them; the last one has just begun."""
    wallet = books.wallet()
    holds = run(_held(wallet, [begun(timedelta(hours=count - 1 - place)) for place in range(count)], details))
    for one in holds if cost_usd is not None else []:
        evidence = settlement.Evidence(
            source="stream",
            cost_usd=Decimal(cost_usd or 0),
            generation_id=f"gen-{one.hold_id}",
            details=orjson.dumps(details),
        )
        settlement.settle_now(hold=books.key(one), evidence=evidence)
    return wallet, [one.hold_id for one in holds]


async def _held(wallet: Wallet, hold_ids: list[Any], details: dict[str, Any]) -> list[Any]:
    await batches.start()
    text = orjson.dumps({"model": "a/one", "streamed": True} | details)
    found = [await books.held(wallet, hold_id=hold_id, details=text) for hold_id in hold_ids]
    await batches.stop()
    return found


def last(hours: int = 48, **wanted: Any) -> Filters:
    now = timezone.now() + timedelta(seconds=1)
    return Filters(since=now - timedelta(hours=hours), until=now, **wanted)


def ids_of(page: history.Page) -> list[Any]:
    return [one.hold_id for one in page.generations]


def test_calls_come_newest_first_or_oldest_and_without_a_gap(run: Run) -> None:
    wallet, calls = made(run, 5)
    company_id = wallet.company_id

    first = history.page(company_id=company_id, filters=last(), limit=3)
    second = history.page(company_id=company_id, filters=last(), limit=3, after_id=first.after_id)
    oldest = history.page(company_id=company_id, filters=last(), limit=2, is_oldest_first=True)
    following = history.page(
        company_id=company_id, filters=last(), limit=9, after_id=oldest.after_id, is_oldest_first=True
    )

    assert ids_of(first) + ids_of(second) == calls[::-1]
    assert second.after_id is None
    assert ids_of(oldest) + ids_of(following) == calls


def test_time_is_from_its_first_moment_to_before_its_last(run: Run) -> None:
    wallet, calls = made(run, 3)
    at = history.moment(calls[1])

    def within(since: Any, until: Any) -> list[Any]:
        filters = Filters(since=since, until=until)
        return ids_of(history.page(company_id=wallet.company_id, filters=filters, limit=9))

    assert within(at, at + timedelta(milliseconds=1)) == [calls[1]]
    assert within(at - timedelta(days=1), at) == [calls[0]]


def test_page_of_a_filter_ends_at_its_bound_and_goes_on(run: Run) -> None:
    wallet, calls = made(run, 5)
    filters = last(key_id=uuid7())

    first = history.page(company_id=wallet.company_id, filters=filters, limit=10, looked_at_max=2)

    assert (first.generations, first.after_id, first.looked_at) == ([], calls[3], 2)
    assert first.looked_to == history.moment(calls[3])
    second = history.page(
        company_id=wallet.company_id, filters=filters, limit=10, looked_at_max=3, after_id=first.after_id
    )
    assert (second.after_id, second.looked_at) == (None, None)


def test_page_that_is_full_before_its_bound_says_nothing_of_it(run: Run) -> None:
    wallet, calls = made(run, 4)

    found = history.page(company_id=wallet.company_id, filters=last(model="a/one"), limit=2, looked_at_max=3)

    assert (ids_of(found), found.after_id, found.looked_at) == ([calls[3], calls[2]], calls[2], None)


@pytest.mark.parametrize("is_oldest_first", [False, True])
def test_bound_of_each_order_goes_its_own_way(run: Run, is_oldest_first: bool) -> None:
    wallet, calls = made(run, 3)
    order = calls if is_oldest_first else calls[::-1]

    found = history.page(
        company_id=wallet.company_id,
        filters=last(state="voided"),
        limit=1,
        looked_at_max=2,
        is_oldest_first=is_oldest_first,
    )

    assert found.after_id == order[1]


def test_open_calls_are_found_however_long_ago_they_began(run: Run) -> None:
    wallet, calls = made(run, 3, cost_usd=None)
    for hold_id in calls[1:]:
        key = settlement.HoldKey(
            company_id=wallet.company_id,
            hold_id=hold_id,
            markup=books.MARKUP,
            credit_value_usd=books.CREDIT_VALUE_USD,
        )
        settlement.void_now(hold=key, evidence=settlement.Evidence(source="inline"))

    found = history.page(company_id=wallet.company_id, filters=last(state="held"), limit=9, looked_at_max=1)

    assert (ids_of(found), found.after_id) == ([calls[0]], None)
    books.tidy_up(wallet.company_id)


def test_corrected_charge_is_what_is_filtered_by(run: Run) -> None:
    wallet, calls = made(run, 1, cost_usd="0.002")
    ledger.correct(
        company_id=wallet.company_id,
        hold_id=calls[0],
        cost_usd=Decimal("0.004"),
        source="operator",
        reference="r",
    )

    found = history.page(
        company_id=wallet.company_id,
        filters=last(least_nanocredits=10_000_000, most_nanocredits=10_000_000),
        limit=9,
    )

    assert ids_of(found) == calls


def test_story_has_all_that_happened(run: Run) -> None:
    wallet, calls = made(run, 1, cost_usd="0.002")
    ledger.correct(
        company_id=wallet.company_id,
        hold_id=calls[0],
        cost_usd=Decimal("0.001"),
        source="operator",
        reference="r",
    )

    story = history.read(company_id=wallet.company_id, hold_id=calls[0])

    assert story.settlement is not None
    assert story.settlement.charged_nanocredits == 5_000_000
    assert [one.charged_nanocredits for one in story.corrections] == [2_500_000]
    assert story.generation.charged_nanocredits == 2_500_000
    with pytest.raises(NotFound):
        history.read(company_id=books.wallet().company_id, hold_id=calls[0])


def test_call_is_found_by_each_id_and_by_its_company_alone(run: Run) -> None:
    wallet, calls = made(run)
    stranger = books.wallet().company_id

    for wanted in (f"gen_{calls[0]}", str(calls[0]), f"gen-{calls[0]}"):
        assert history.find(company_id=wallet.company_id, wanted=wanted) == calls[0]
        with pytest.raises(NotFound):
            history.find(company_id=stranger, wanted=wanted)


def test_first_answers_are_of_streams_that_were_timed(run: Run) -> None:
    wallet, _ = made(run, 3, latency_ms=120)
    span = last()

    found = history.first_answers(company_id=wallet.company_id, since=span.since, until=span.until)

    assert found == history.FirstAnswers(calls=3, p50_ms=120, p95_ms=120)


@pytest.mark.parametrize("details", [{"latency_ms": "soon"}, {"streamed": False, "latency_ms": 5}, {}])
def test_calls_that_say_no_time_are_left_out(run: Run, details: dict[str, Any]) -> None:
    wallet, _ = made(run, 1, **details)
    span = last()

    found = history.first_answers(company_id=wallet.company_id, since=span.since, until=span.until)

    assert found == history.FirstAnswers(calls=0, p50_ms=None, p95_ms=None)


def test_many_calls_are_told_from_few(run: Run) -> None:
    wallet, _ = made(run, 3)
    span: dict[str, Any] = {"company_id": wallet.company_id, "since": last().since, "until": last().until}

    assert history.is_more_than(2, **span)
    assert not history.is_more_than(3, **span)
