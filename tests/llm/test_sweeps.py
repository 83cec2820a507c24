"""What a worker does with calls that are due: settled by upstream's record, corrected, put off, or left open."""

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import orjson
import pytest
from django.db import connection
from pytest_django import Settings

from billing import batches, holds, reconciliation
from billing.holds import HoldRequest
from llm import catalog, records, sweeps
from llm.lookups import NoAnswer, StillRunning
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run

USER = "nv_0123456789"


@pytest.fixture(autouse=True)
def _no_catalogue_is_left() -> Iterator[None]:
    """A platform that is started later in this run would take it for upstream's."""
    yield
    books.rows("DELETE FROM llm_catalog_snapshot")
    records.forget_catalog()


@pytest.fixture(autouse=True)
def _nothing_else_is_due() -> None:
    books.rows(
        "UPDATE billing_open_hold SET next_at = clock_timestamp() + interval '1 day' WHERE next_at IS NOT NULL"
    )
    books.rows("UPDATE billing_second_look SET next_at = clock_timestamp() + interval '1 day'")


@pytest.fixture
def run(run: Run) -> Iterator[Run]:
    """An event loop for one test, its batchers stopped afterwards."""
    yield run
    run(batches.stop())


def sent(
    run: Run, made: books.Wallet, count: int = 1, details: bytes = b'{"user": "%s"}' % USER.encode()
) -> list[HoldRequest]:
    """Calls that upstream has named, all of them due."""

    async def send() -> list[HoldRequest]:
        requests = [await books.held(made, details=details) for _ in range(count)]
        for one in requests:
            holds.dispatched(hold_id=one.hold_id, company_id=one.company_id, generation_id=generation_id(one))
        return requests

    requests = run(send())
    while any(not is_noted(one) for one in requests):
        run(asyncio.sleep(0.01))
    for one in requests:
        books.make_first_due(one)
    return requests


def is_noted(request: HoldRequest) -> bool:
    """Whether the books know what upstream calls it: that is written beside the call."""
    return (books.open_hold(request) or {})["generation_id"] is not None


def generation_id(request: HoldRequest) -> str:
    return f"gen-{request.hold_id.hex}"


def record(generation_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": generation_id, "external_user": USER, "total_cost": Decimal("0.4"), "model": "m",
        "native_tokens_prompt": 3, **changes,
    }  # fmt: skip


def test_record_of_the_call_settles_it(run: Run) -> None:
    acme = books.wallet()
    sent(run, acme)
    sweeps.sweep_due(look_up=record)
    assert acme.state() == (9 * CREDIT, 0)


@pytest.mark.parametrize(
    "changes", [{"id": "gen-another"}, {"id": None}, {"id": 7}, {"external_user": "nv_another"}]
)
def test_record_of_another_call_is_parked_for_a_person(run: Run, changes: dict[str, Any]) -> None:
    acme = books.wallet()
    (request,) = sent(run, acme)
    sweeps.sweep_due(look_up=lambda wanted: record(wanted, **changes))
    assert acme.state() == (10 * CREDIT, CREDIT)
    assert books.anomalies(acme) == ["generation_mismatch"]
    assert (books.open_hold(request) or {})["stage"] == "parked"
    assert books.violations(acme) == []


@pytest.mark.parametrize("user", [None, "", USER])
def test_user_counts_only_where_upstream_names_one(run: Run, user: str | None) -> None:
    acme = books.wallet()
    sent(run, acme)
    sweeps.sweep_due(look_up=lambda wanted: record(wanted, external_user=user))
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

    def look_up(wanted: str) -> dict[str, Any]:
        if wanted == generation_id(requests[0]):
            raise ValueError("nobody expected this")
        return record(wanted)

    sweeps.sweep_due(look_up=look_up)
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
    sweeps.sweep_due(look_up=lambda wanted: record(wanted, **changes))
    assert acme.state() == (9 * CREDIT, 0)
    ((size,),) = books.rows(
        "SELECT length(details::text) FROM billing_settlement WHERE hold_id = %s", request.hold_id
    )
    assert size < 200


def test_more_than_one_round_of_holds_is_settled_in_one_sweep(run: Run) -> None:
    acme = books.wallet(100 * CREDIT)
    count = sweeps.CLAIM_MAX + 2
    sent(run, acme, count)
    sweeps.sweep_due(look_up=record)
    assert acme.state() == ((100 - count) * CREDIT, 0)


def test_locked_wallet_leaves_the_look_up_uncounted(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    (kept,), _ = sent(run, acme), sent(run, globex)
    books.rows("SET lock_timeout = '100ms'")
    with books.wallet_kept(acme):
        sweeps.sweep_due(look_up=record)
    books.rows("RESET lock_timeout")
    assert globex.state() == (9 * CREDIT, 0)
    assert (books.open_hold(kept) or {})["attempts"] == 0


def test_company_whose_books_are_busy_is_waited_for_once(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    sent(run, acme, 8), sent(run, globex)
    books.rows("SET lock_timeout = '200ms'")
    began = time.monotonic()
    with books.wallet_kept(acme):
        sweeps.sweep_due(look_up=record)
    books.rows("RESET lock_timeout")
    assert time.monotonic() - began < 1
    assert globex.state() == (9 * CREDIT, 0)


def test_hold_that_cannot_even_be_put_off_stops_no_other(run: Run, settings: Settings) -> None:
    acme = books.wallet()
    requests = sent(run, acme, 3)
    settings.LOOKUP_BACKOFF_S = None
    sweeps.sweep_due(look_up=lambda wanted: {} if wanted == generation_id(requests[0]) else record(wanted))
    assert acme.state() == (8 * CREDIT, CREDIT)


def test_credits_are_not_held_for_as_long_as_upstream_is_silent(run: Run) -> None:
    acme = books.wallet()
    (request,) = sent(run, acme)
    books.rows("UPDATE billing_open_hold SET estimate_usd = 0.1 WHERE hold_id = %s", request.hold_id)
    books.expire(request)
    sweeps.sweep_due(look_up=no_answer)
    assert acme.state() == (10 * CREDIT - CREDIT // 4, 0)
    due_again(request)
    sweeps.look_again(look_up=record)
    assert acme.state() == (9 * CREDIT, 0)


def no_answer(_: str) -> dict[str, Any]:
    raise NoAnswer("Upstream answered the look-up with 503.")


def test_look_up_without_an_answer_is_no_evidence_and_counts_as_no_look_up(run: Run) -> None:
    acme = books.wallet()
    (request,) = sent(run, acme)
    for _ in range(12):
        books.make_first_due(request)
        sweeps.sweep_due(look_up=no_answer)
    found = books.open_hold(request) or {}
    assert (found["stage"], found["attempts"]) == ("dispatched", 0)
    assert found["due_in_s"] > 1
    assert acme.state() == (10 * CREDIT, CREDIT)


def test_pause_after_no_answer_grows_with_the_age_of_the_call(run: Run) -> None:
    (request,) = sent(run, books.wallet())
    books.rows(
        "UPDATE billing_open_hold SET created_at = created_at - interval '20 hours' WHERE hold_id = %s",
        request.hold_id,
    )
    sweeps.sweep_due(look_up=no_answer)
    assert 2800 < (books.open_hold(request) or {})["due_in_s"] < 4400


def test_record_of_another_model_is_parked_for_a_person(run: Run) -> None:
    acme = books.wallet()
    (request,) = sent(run, acme, details=b'{"model": "openai/gpt-4o-mini"}')
    catalogued("openai/gpt-4o-mini", "anthropic/claude-haiku-4.5")
    sweeps.sweep_due(look_up=lambda wanted: record(wanted, model="anthropic/claude-haiku-4.5"))
    assert acme.state() == (10 * CREDIT, CREDIT)
    assert books.anomalies(acme) == ["generation_mismatch"]
    ((why,),) = books.rows(
        "SELECT details -> 'record' ->> 'contradicts' FROM billing_anomaly WHERE hold_id = %s",
        request.hold_id,
    )
    assert why == "model"


@pytest.mark.parametrize(
    ("details", "ran"),
    [(b'{"model": "openai/gpt-4o-mini"}', "openai/gpt-4o-mini-2024-07-18"),
     (b'{"model": "openai/gpt-4o-mini:online"}', "openai/gpt-4o-mini"),
     (b'{"model": "openai/gpt-4o-mini"}', "nobody/knows-this-one"),
     (b'{"model": "openrouter/auto"}', "anthropic/claude-haiku-4.5"),
     (b'{"model": "@preset/mine"}', "anthropic/claude-haiku-4.5"),
     (b'{"model": "openai/gpt-4o-mini", "models": ["openai/gpt-4o-mini", "anthropic/claude-haiku-4.5"]}',
      "anthropic/claude-haiku-4.5")],
)  # fmt: skip
def test_record_of_a_model_that_upstream_may_have_run_settles_the_call(
    run: Run, details: bytes, ran: str
) -> None:
    acme = books.wallet()
    sent(run, acme, details=details)
    catalogued("openai/gpt-4o-mini", "anthropic/claude-haiku-4.5")
    sweeps.sweep_due(look_up=lambda wanted: record(wanted, model=ran))
    assert acme.state() == (9 * CREDIT, 0)


@pytest.mark.parametrize(
    ("created_at", "is_parked"),
    [("2020-01-01T00:00:00.000Z", True), ("2020-01-01T00:00:00", False), ("never", False), (7, False)],
)
def test_record_from_long_before_the_call_is_parked_for_a_person(
    run: Run, created_at: object, is_parked: bool
) -> None:
    acme = books.wallet()
    sent(run, acme)
    sweeps.sweep_due(look_up=lambda wanted: record(wanted, created_at=created_at))
    assert books.anomalies(acme) == (["generation_mismatch"] if is_parked else [])


def test_second_look_corrects_a_record_that_changed(run: Run) -> None:
    acme = books.wallet()
    (request,) = sent(run, acme)
    sweeps.sweep_due(look_up=record)
    due_again(request)
    sweeps.look_again(look_up=lambda wanted: record(wanted, total_cost=Decimal("0.8")))
    assert acme.state() == (8 * CREDIT, 0)
    assert books.violations(acme) == []


def test_second_look_that_upstream_does_not_answer_comes_again(run: Run) -> None:
    acme = books.wallet()
    (request,) = sent(run, acme)
    sweeps.sweep_due(look_up=record)
    due_again(request)
    sweeps.look_again(look_up=no_answer)
    ((number, due_in_s),) = second_look(request)
    assert (number, 200 < due_in_s <= sweeps.LOOK_AGAIN_S) == (1, True)


def test_second_look_at_another_calls_record_changes_nothing(run: Run) -> None:
    acme = books.wallet()
    (request,) = sent(run, acme)
    sweeps.sweep_due(look_up=record)
    due_again(request)
    sweeps.look_again(look_up=lambda _: record("gen-another", total_cost=Decimal("0.8")))
    assert acme.state() == (9 * CREDIT, 0)
    assert books.anomalies(acme) == ["generation_mismatch"]
    assert second_look(request)[0][0] == 2


def test_second_look_that_fails_stops_no_other(run: Run) -> None:
    acme = books.wallet()
    requests = sent(run, acme, 3)
    sweeps.sweep_due(look_up=record)
    for one in requests:
        due_again(one)

    def look_up(wanted: str) -> dict[str, Any]:
        if wanted == generation_id(requests[0]):
            raise ValueError("nobody expected this")
        return record(wanted, total_cost=Decimal(0))

    sweeps.look_again(look_up=look_up)
    assert acme.state() == (9 * CREDIT, 0)
    assert [second_look(one)[0][0] for one in requests] == [1, 2, 2]


def due_again(request: HoldRequest) -> None:
    books.rows("UPDATE billing_second_look SET next_at = '2020-01-01' WHERE hold_id = %s", request.hold_id)


def second_look(request: HoldRequest) -> list[tuple[Any, ...]]:
    """[(number, due in s)], or nothing."""
    return books.rows(
        "SELECT number, extract(epoch FROM next_at - clock_timestamp()) FROM billing_second_look"
        " WHERE hold_id = %s",
        request.hold_id,
    )


def catalogued(*models: str) -> None:
    """Let upstream offer these, and the worker know it."""
    listed = [
        {"id": model, "canonical_slug": f"{model}-2024-07-18", "pricing": {"prompt": "0", "completion": "0"}}
        for model in models
    ]
    with connection.cursor() as cursor:
        catalog.save(orjson.dumps({"data": listed}), cursor.execute)
    records.forget_catalog()


def still_running(_: str) -> dict[str, Any]:
    raise StillRunning("Upstream is at work on it.")


def test_job_that_goes_on_is_waited_for_as_long_as_a_job_may_take(run: Run, settings: Settings) -> None:
    acme = books.wallet()
    (request,) = sent(run, acme)
    books.rows(
        "UPDATE billing_open_hold SET estimate_usd = 0.1, created_at = created_at - interval '23 hours'"
        " WHERE hold_id = %s",
        request.hold_id,
    )
    sweeps.sweep_due(look_up=still_running)
    assert (books.open_hold(request) or {})["attempts"] == 0
    assert acme.state() == (10 * CREDIT, CREDIT)


def test_job_that_never_ends_is_estimated_and_put_before_a_person(run: Run, settings: Settings) -> None:
    acme = books.wallet()
    (request,) = sent(run, acme)
    books.rows("UPDATE billing_open_hold SET estimate_usd = 0.1 WHERE hold_id = %s", request.hold_id)
    books.expire(request)
    sweeps.sweep_due(look_up=still_running)
    assert acme.state() == (10 * CREDIT - CREDIT // 4, 0)
    for _ in settings.SECOND_LOOK_S:
        due_again(request)
        sweeps.look_again(look_up=still_running)
    assert second_look(request) == []
    assert books.anomalies(acme) == ["never_confirmed"]
