"""More credits for a running call: all or nothing, once per number, within wallet and caps."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from accounts.errors import InvalidInput
from billing import batches, holds, ledger, settlement
from billing.errors import HoldNotFound, InsufficientCredits, WalletFrozen
from billing.holds import Extended, HoldRequest
from tests import races
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run


async def extend(request: HoldRequest, number: int = 1, amount: int = CREDIT) -> Extended:
    return await holds.extend(
        company_id=request.company_id, hold_id=request.hold_id, number=number, amount_nanocredits=amount
    )


async def together(*extensions: tuple[HoldRequest, int, int]) -> list[Any]:
    """All in one batch."""
    return await asyncio.gather(*(extend(*one) for one in extensions), return_exceptions=True)


def kept(request: HoldRequest) -> list[tuple[Any, ...]]:
    return books.rows(
        "SELECT number, amount_nanocredits FROM billing_hold_extension WHERE hold_id = %s ORDER BY number",
        request.hold_id,
    )


def test_extension_is_held_with_its_call_and_given_back_with_it(run: Run) -> None:
    acme = books.wallet(10 * CREDIT)
    request = run(books.held(acme, 2 * CREDIT))
    assert run(extend(request, 1, 3 * CREDIT)) == Extended(3 * CREDIT, 10 * CREDIT, 5 * CREDIT)
    assert run(extend(request, 2, CREDIT)).held_nanocredits == 6 * CREDIT
    assert kept(request) == [(1, 3 * CREDIT), (2, CREDIT)]
    assert books.violations(acme) == []
    run(settlement.settle(hold=books.key(request), evidence=books.cost("0.4")))
    assert acme.state() == (9 * CREDIT, 0)
    assert books.violations(acme) == []


def test_same_number_twice_is_the_first_extension(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    run(extend(request, 1, CREDIT))
    assert run(extend(request, 1, 2 * CREDIT)) == Extended(CREDIT, 10 * CREDIT, 2 * CREDIT)
    assert (
        run(together((request, 2, CREDIT), (request, 2, CREDIT), (request, 2, CREDIT)))
        == [Extended(CREDIT, 10 * CREDIT, 3 * CREDIT)] * 3
    )
    assert kept(request) == [(1, CREDIT), (2, CREDIT)]
    assert books.violations(acme) == []


def test_short_wallet_refuses_the_whole_extension(run: Run) -> None:
    acme = books.wallet(3 * CREDIT)
    request = run(books.held(acme))
    with pytest.raises(InsufficientCredits) as caught:
        run(extend(request, 1, 2 * CREDIT + 1))
    error = caught.value
    assert (error.limit, error.required_nanocredits, error.available_nanocredits) == (
        "wallet", 2 * CREDIT + 1, 2 * CREDIT
    )  # fmt: skip
    assert kept(request) == []
    assert run(extend(request, 1, 2 * CREDIT)).held_nanocredits == 3 * CREDIT


def test_refused_extension_takes_nothing_from_its_neighbours(run: Run) -> None:
    acme, globex = books.wallet(4 * CREDIT), books.wallet(2 * CREDIT)
    ours, theirs = run(books.held(acme)), run(books.held(globex))
    found = run(
        together((ours, 1, 4 * CREDIT), (theirs, 1, CREDIT), (ours, 1, 2 * CREDIT), (ours, 2, CREDIT))
    )
    assert [type(one) for one in found] == [InsufficientCredits, Extended, Extended, Extended]
    assert (acme.state(), globex.state()) == ((4 * CREDIT, 4 * CREDIT), (2 * CREDIT, 2 * CREDIT))
    assert books.violations(acme) == books.violations(globex) == []


def test_number_that_was_refused_can_be_had_for_less(run: Run) -> None:
    acme = books.wallet(4 * CREDIT)
    request = run(books.held(acme))
    found = run(together((request, 1, 9 * CREDIT), (request, 1, CREDIT), (request, 1, CREDIT)))
    assert [type(one) for one in found] == [InsufficientCredits, Extended, Extended]
    assert kept(request) == [(1, CREDIT)]
    assert books.violations(acme) == []


@pytest.mark.parametrize("limit", ["key_cap", "user_cap"])
def test_caps_of_the_hold_bound_its_extensions(run: Run, limit: str) -> None:
    acme = books.wallet()
    caps = (
        acme.key_cap((3 if limit == "key_cap" else 9) * CREDIT),
        acme.user_cap((3 if limit == "user_cap" else 9) * CREDIT),
    )
    request = run(books.held(acme, caps=caps))
    other = run(books.held(acme, caps=caps))
    run(extend(request, 1, CREDIT))
    found = run(together((other, 1, CREDIT), (request, 2, CREDIT)))
    assert [one.limit for one in found] == [limit, limit]
    assert books.violations(acme) == []
    run(settlement.void(hold=books.key(request), evidence=books.cost(None)))
    assert run(extend(other, 1, CREDIT)).held_nanocredits == 2 * CREDIT
    assert books.violations(acme) == []


def test_frozen_wallet_extends_no_call(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    run(extend(request, 1))
    ledger.freeze(company_id=acme.company_id)
    with pytest.raises(WalletFrozen):
        run(extend(request, 2))
    assert run(extend(request, 1)).amount_nanocredits == CREDIT


@pytest.mark.parametrize("end", [settlement.settle, settlement.void])
def test_closed_hold_is_not_extended(run: Run, end: Any) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    run(extend(request, 1))
    run(end(hold=books.key(request), evidence=books.cost("0.4")))
    for number in (1, 2):
        with pytest.raises(HoldNotFound, match="is not open"):
            run(extend(request, number))
    assert acme.state()[1] == 0


def test_hold_of_another_company_is_not_extended(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    request = run(books.held(acme))
    with pytest.raises(HoldNotFound):
        run(extend(globex.request(hold_id=request.hold_id)))
    assert globex.state()[1] == 0


@pytest.mark.parametrize(("number", "amount"), [(0, 1), (1, 0), (1, -1), (1, 10**15 + 1)])
def test_extension_that_is_none_is_refused(run: Run, number: int, amount: int) -> None:
    request = run(books.held(books.wallet()))
    with pytest.raises(InvalidInput):
        run(extend(request, number, amount))


def test_cost_is_implausible_for_the_hold_with_its_extensions(run: Run) -> None:
    acme = books.wallet(100 * CREDIT)
    request = run(books.held(acme))
    run(extend(request))
    # Twenty times two credits.
    ended = run(settlement.settle(hold=books.key(request), evidence=books.cost("16.0000000001")))
    assert ended.outcome == "quarantined"
    ended = run(settlement.settle(hold=books.key(request), evidence=books.cost("16")))
    assert ended.outcome == "posted"
    with_more = books.cost("16.0000000001", source="operator")
    assert (
        settlement.settle_now(hold=books.key(request), evidence=with_more).charged_nanocredits > 40 * CREDIT
    )
    assert books.violations(acme) == []


def test_correction_is_measured_by_the_hold_with_its_extensions(run: Run) -> None:
    acme = books.wallet(100 * CREDIT)
    request = run(books.held(acme))
    run(extend(request))
    run(settlement.settle(hold=books.key(request), evidence=books.cost("0.4", source="estimate")))
    for usd, source in (("16", "generation"), ("16.0000000001", "stream")):
        ended = settlement.settle_now(hold=books.key(request), evidence=books.cost(usd, source=source))
        assert ended.charged_nanocredits == 40 * CREDIT
    assert books.anomalies(acme) == ["implausible_cost"]
    assert books.violations(acme) == []


def on_a_loop(work: Callable[[], Any]) -> Callable[[], Any]:
    async def whole() -> Any:
        try:
            return await work()
        finally:
            await batches.stop()

    return lambda: asyncio.run(whole())


def test_one_extension_sent_by_many_is_one(run: Run) -> None:
    acme = books.wallet(100 * CREDIT)
    request = run(books.held(acme))
    found = races.at_once(*[on_a_loop(lambda: together(*[(request, n, CREDIT) for n in (1, 2, 3)]))] * 8)
    assert all(isinstance(one, Extended) for answers in found for one in answers)  # type: ignore[union-attr]
    assert acme.state() == (100 * CREDIT, 4 * CREDIT)
    assert books.violations(acme) == []


def test_extension_that_races_the_settlement_is_held_or_refused_never_left(run: Run) -> None:
    acme = books.wallet(1000 * CREDIT)
    requests = [run(books.held(acme)) for _ in range(40)]

    async def settle() -> list[Any]:
        return await asyncio.gather(
            *(settlement.settle(hold=books.key(one), evidence=books.cost("0.4")) for one in requests)
        )

    async def grow() -> list[Any]:
        return await together(*((one, 1, CREDIT) for one in reversed(requests)))

    ended, grown = races.at_once(on_a_loop(settle), on_a_loop(grow))
    assert {one.outcome for one in ended} == {"posted"}  # type: ignore[union-attr]
    assert {type(one) for one in grown} <= {Extended, HoldNotFound}  # type: ignore[union-attr]
    assert acme.state() == (960 * CREDIT, 0)
    assert books.violations(acme) == []
