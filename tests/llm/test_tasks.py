"""What a worker does with open holds: settled from upstream's record, put off, or left to a person."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from billing import batches, holds, reconciliation
from billing.holds import HoldRequest
from billing.reconciliation import OpenHold
from llm import tasks
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run

USER = "nv_0123456789"


@pytest.fixture(autouse=True)
def _nothing_else_is_due() -> None:
    books.rows(
        "UPDATE billing_open_hold SET next_at = clock_timestamp() + interval '1 day' WHERE next_at IS NOT NULL"
    )


@pytest.fixture
def run(run: Run) -> Iterator[Run]:
    """An event loop for one test, its batchers stopped afterwards."""
    yield run
    run(batches.stop())


def sent(run: Run, made: books.Wallet, count: int = 1) -> list[HoldRequest]:
    """Calls that upstream has named, all of them due."""

    async def send() -> list[HoldRequest]:
        requests = [await books.held(made, details=b'{"user": "%s"}' % USER.encode()) for _ in range(count)]
        for one in requests:
            holds.dispatched(hold_id=one.hold_id, company_id=one.company_id, generation_id=generation_id(one))
        await asyncio.sleep(0.1)
        return requests

    requests = run(send())
    for one in requests:
        books.make_first_due(one)
    return requests


def generation_id(request: HoldRequest | OpenHold) -> str:
    return f"gen-{request.hold_id.hex}"


def record(hold: OpenHold, **changes: Any) -> dict[str, Any]:
    return {
        "id": generation_id(hold), "external_user": USER, "total_cost": Decimal("0.4"), "model": "m",
        "native_tokens_prompt": 3, **changes,
    }  # fmt: skip


def test_record_of_the_call_settles_it(run: Run) -> None:
    acme = books.wallet()
    sent(run, acme)
    tasks.sweep_due(look_up=record)
    assert acme.state() == (9 * CREDIT, 0)


@pytest.mark.parametrize(
    "changes", [{"id": "gen-another"}, {"id": None}, {"id": 7}, {"external_user": "nv_another"}]
)
def test_record_of_another_call_is_parked_for_a_person(run: Run, changes: dict[str, Any]) -> None:
    acme = books.wallet()
    (request,) = sent(run, acme)
    tasks.sweep_due(look_up=lambda hold: record(hold, **changes))
    assert acme.state() == (10 * CREDIT, CREDIT)
    assert books.anomalies(acme) == ["generation_mismatch"]
    assert (books.open_hold(request) or {})["stage"] == "parked"
    assert books.violations(acme) == []


@pytest.mark.parametrize("user", [None, "", USER])
def test_user_counts_only_where_upstream_names_one(run: Run, user: str | None) -> None:
    acme = books.wallet()
    sent(run, acme)
    tasks.sweep_due(look_up=lambda hold: record(hold, external_user=user))
    assert acme.state() == (9 * CREDIT, 0)


def test_mismatch_of_a_claim_that_was_counted_is_no_news(run: Run) -> None:
    acme = books.wallet()
    sent(run, acme)
    (hold,) = reconciliation.claim_due(limit=1)
    assert reconciliation.not_found(hold)
    assert not reconciliation.quarantine_mismatch(hold, record={})
    assert books.anomalies(acme) == []


def test_look_up_that_fails_stops_no_other_and_is_put_off(run: Run) -> None:
    acme = books.wallet()
    requests = sent(run, acme, 4)

    def look_up(hold: OpenHold) -> dict[str, Any]:
        if hold.hold_id == requests[0].hold_id:
            raise ValueError("nobody expected this")
        return record(hold)

    tasks.sweep_due(look_up=look_up)
    assert acme.state() == (7 * CREDIT, CREDIT)
    assert (books.open_hold(requests[0]) or {})["attempts"] == 1


@pytest.mark.parametrize(
    "changes",
    [{"native_tokens_prompt": 10**30}, {"model": "\ud800"}, {"model": "a\0b"}, {"provider_name": "x" * 10**6},
     {"native_tokens_prompt": [1]}, {"finish_reason": {"a": 1}}],
)  # fmt: skip
def test_facts_that_cannot_be_kept_are_left_out_and_the_call_is_charged(
    run: Run, changes: dict[str, Any]
) -> None:
    acme = books.wallet()
    (request,) = sent(run, acme)
    tasks.sweep_due(look_up=lambda hold: record(hold, **changes))
    assert acme.state() == (9 * CREDIT, 0)
    ((size,),) = books.rows(
        "SELECT length(details::text) FROM billing_settlement WHERE hold_id = %s", request.hold_id
    )
    assert size < 200


def test_more_than_one_round_of_holds_is_settled_in_one_sweep(run: Run) -> None:
    acme = books.wallet(100 * CREDIT)
    count = tasks.CLAIM_HOLDS_MAX + 2
    sent(run, acme, count)
    tasks.sweep_due(look_up=record)
    assert acme.state() == ((100 - count) * CREDIT, 0)


def test_locked_wallet_leaves_the_look_up_uncounted(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    (kept,), _ = sent(run, acme), sent(run, globex)
    books.rows("SET lock_timeout = '100ms'")
    with books.wallet_kept(acme):
        tasks.sweep_due(look_up=record)
    books.rows("RESET lock_timeout")
    assert globex.state() == (9 * CREDIT, 0)
    assert (books.open_hold(kept) or {})["attempts"] == 0
