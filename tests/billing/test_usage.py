"""Sums of the calls, kept with each settlement: always what the calls come to, by hour, model, user, key and kit."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.errors import InvalidInput
from billing import batches, holds, ledger, settlement, usage
from billing.holds import HoldRequest
from billing.usage import Usage
from tests import races
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run

MODEL = b'{"model": "acme/large", "tokens_prompt": 100, "tokens_completion": 20}'


def read(made: books.Wallet, group_by: Any = None, **more: Any) -> list[Usage]:
    now = timezone.now()
    window = {"since": now - timedelta(hours=1), "until": now + timedelta(hours=1)}
    return usage.summary(company_id=made.company_id, group_by=group_by, **(window | more))


def one(made: books.Wallet) -> Usage:
    (found,) = read(made)
    return found


async def call(made: books.Wallet, usd: str = "0.4", details: bytes = MODEL, **changes: Any) -> HoldRequest:
    request = await books.held(made, **changes)
    await settlement.settle(hold=books.key(request), evidence=books.cost(usd, details=details))
    return request


def correct(request: HoldRequest, usd: str, reference: str = "better") -> None:
    ledger.correct(
        company_id=request.company_id,
        hold_id=request.hold_id,
        cost_usd=Decimal(usd),
        source="operator",
        reference=reference,
    )


def test_calls_are_summed_up_with_their_settlement(run: Run) -> None:
    acme = books.wallet(100 * CREDIT)
    run(call(acme, "0.4"))
    run(call(acme, "0.00012104999999999999"))
    run(call(acme, "0", b"{}"))
    run(call(acme, "1.2"))
    assert one(acme) == Usage(
        group="",
        calls=4,
        voided_calls=0,
        tokens_prompt=300,
        tokens_completion=60,
        cost_usd=Decimal("1.60012104999999999999"),
        charged_nanocredits=4 * CREDIT + 302_625,
        held_nanocredits=4 * CREDIT,
        overrun_nanocredits=2 * CREDIT,
    )
    assert books.violations(acme) == []


def test_call_that_was_given_back_counts_apart(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    run(settlement.void(hold=books.key(request), evidence=books.cost(None)))
    found = one(acme)
    assert (found.calls, found.voided_calls, found.held_nanocredits) == (0, 1, 0)
    assert books.violations(acme) == []


def test_tokens_of_a_call_that_was_given_back_count_once_it_is_charged(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    run(settlement.void(hold=books.key(request), evidence=books.cost(None, details=MODEL)))
    found = one(acme)
    assert (found.voided_calls, found.tokens_prompt, found.tokens_completion) == (1, 0, 0)
    for reference in ("better", "best"):
        correct(request, "0.4", reference)
        found = one(acme)
        assert (found.calls, found.tokens_prompt, found.tokens_completion) == (1, 100, 20)
    assert books.violations(acme) == []


def test_correction_changes_the_hour_of_its_call(run: Run) -> None:
    acme = books.wallet(100 * CREDIT)
    request = run(call(acme, "0.4"))
    for usd, reference in (("1.2", "up"), ("0.1", "down"), ("0.1000000000000001", "a hair"), ("0", "free")):
        correct(request, usd, reference)
        assert one(acme).cost_usd == Decimal(usd)
        assert books.violations(acme) == []
    found = one(acme)
    assert (found.calls, found.charged_nanocredits, found.overrun_nanocredits) == (1, 0, 0)
    assert found.held_nanocredits == CREDIT


def test_call_given_back_and_charged_after_all_is_a_call(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    run(settlement.void(hold=books.key(request), evidence=books.cost(None, source="no_evidence")))
    correct(request, "1.2")
    correct(request, "0.8", "less")
    found = one(acme)
    assert (found.calls, found.voided_calls) == (1, 0)
    assert (found.held_nanocredits, found.overrun_nanocredits) == (CREDIT, CREDIT)
    assert books.violations(acme) == []


def test_extensions_count_as_held(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    run(
        holds.extend(company_id=acme.company_id, hold_id=request.hold_id, number=1, amount_nanocredits=CREDIT)
    )
    run(settlement.settle(hold=books.key(request), evidence=books.cost("1.2")))
    found = one(acme)
    assert (found.held_nanocredits, found.overrun_nanocredits) == (2 * CREDIT, CREDIT)
    correct(request, "0.9")
    assert one(acme).overrun_nanocredits == CREDIT // 4
    assert books.violations(acme) == []


@pytest.mark.parametrize(
    ("details", "model", "tokens"),
    [
        (b"{}", "asked/for", 0),
        (b'{"model": null, "tokens_prompt": "7"}', "asked/for", 0),
        (b'{"model": "x", "tokens_prompt": -5}', "x", 0),
        (b'{"model": "x", "tokens_prompt": 1e300}', "x", 2**31 - 1),
        (b'{"model": "x", "tokens_prompt": 7.4}', "x", 7),
        (b'{"model": "x", "tokens_prompt": true}', "x", 0),
        (b'{"model": {"a": 1}, "tokens_prompt": [3]}', '{"a": 1}', 0),
        (b'{"model": "' + b"m" * 9000 + b'"}', "m" * 200, 0),
    ],
    ids=range(8),
)
def test_details_that_are_odd_stop_no_charge(run: Run, details: bytes, model: str, tokens: int) -> None:
    acme = books.wallet()
    request = run(books.held(acme, details=b'{"model": "asked/for"}'))
    run(settlement.settle(hold=books.key(request), evidence=books.cost("0.4", details=details)))
    (found,) = read(acme, "model")
    assert (found.group, found.tokens_prompt, found.calls) == (model, tokens, 1)
    assert books.violations(acme) == []


def test_summary_groups_by_what_it_is_asked_for(run: Run) -> None:
    acme = books.wallet(100 * CREDIT)
    bob, kit = uuid4(), uuid4()
    run(call(acme, "0.4", kit_id=kit))
    run(call(acme, "0.8", kit_id=kit))
    run(call(acme, "0.4", b'{"model": "acme/small"}', kit_id=kit, tenant_user_id=bob))
    by_model = [(found.group, found.calls) for found in read(acme, "model")]
    assert by_model == [("acme/large", 2), ("acme/small", 1)]
    assert {found.group: found.calls for found in read(acme, "user")} == {acme.tenant_user_id: 2, bob: 1}
    assert [found.group for found in read(acme, "key")] == [acme.key_id]
    assert [(found.group, found.calls) for found in read(acme, "kit")] == [(kit, 3)]
    assert sum(found.calls for found in read(acme, "hour")) == 3
    assert {found.group for found in read(acme, "day")} <= {
        timezone.now().date(),
        (timezone.now() - timedelta(hours=1)).date(),
    }
    (bobs,) = read(acme, tenant_user_id=bob)
    assert (bobs.calls, bobs.charged_nanocredits) == (1, CREDIT)


def test_summary_reads_whole_hours_of_one_company(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    run(call(acme))
    hour = timezone.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    assert read(globex) == []
    assert read(acme, since=hour - timedelta(days=1), until=hour - timedelta(hours=1)) == []
    assert read(acme, "hour", since=hour + timedelta(minutes=59, seconds=59), until=hour + timedelta(days=1)) in (
        [], [replace(one(acme), group=hour)]
    )  # fmt: skip
    (found,) = read(acme, "hour")
    assert isinstance(found.group, datetime)
    with pytest.raises(InvalidInput, match="cannot be grouped by 'moon'"):
        read(acme, "moon")


def test_sums_survive_many_settlements_and_corrections_at_once(run: Run) -> None:
    acme, globex = books.wallet(1000 * CREDIT), books.wallet(1000 * CREDIT)
    requests = [run(books.held(who)) for _ in range(30) for who in (acme, globex)]

    def settle(order: list[HoldRequest]) -> Callable[[], list[str]]:
        async def work() -> list[str]:
            ways: list[Coroutine[Any, Any, Any]] = [
                settlement.settle(hold=books.key(request), evidence=books.cost("0.4", details=MODEL))
                for request in order
            ]
            try:
                return [ended.outcome for ended in await asyncio.gather(*ways)]
            finally:
                await batches.stop()

        return lambda: asyncio.run(work())

    def better() -> int:
        for number, request in enumerate(requests):
            settlement.settle_now(hold=books.key(request), evidence=books.cost("0.8", source="operator"))
            ledger.post(
                company_id=acme.company_id, amount_nanocredits=1, action="grant", reference=f"g{number}"
            )
        return 0

    for found in races.at_once(settle(requests), settle(requests[::-1]), settle(requests), better):
        assert not isinstance(found, Exception)
    for who in (acme, globex):
        assert (one(who).calls, one(who).charged_nanocredits) == (30, 60 * CREDIT)
        assert books.violations(who) == []
