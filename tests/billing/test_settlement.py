"""The end of a hold: charged once, to the last digit, or left to a person."""

import asyncio
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import batches, holds, ledger, money, settlement
from billing.errors import HoldNotFound
from billing.holds import HoldRequest
from billing.settlement import Settlement
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run


def settlement_row(request: HoldRequest) -> tuple[Any, ...] | None:
    found = books.rows(
        "SELECT kind, cost_usd, charged_nanocredits, source, generation_id, details FROM billing_settlement"
        " WHERE hold_id = %s",
        request.hold_id,
    )
    return found[0] if found else None


def test_call_is_charged_cost_times_markup_by_credit_value(run: Run) -> None:
    acme = books.wallet(10 * CREDIT)
    request = run(books.held(acme))
    evidence = books.cost("0.00012104999999999999", details=b'{"model": "m"}')
    ended = run(settlement.settle(hold=books.key(request), evidence=evidence))
    assert ended == Settlement("posted", 302_625, 10 * CREDIT - 302_625, 0)
    assert ended.is_charged
    assert settlement_row(request) == (
        "post", Decimal("0.00012104999999999999"), 302_625, "inline", evidence.generation_id, '{"model": "m"}'
    )  # fmt: skip
    assert books.entries(acme)[1:] == [(2, "llm_call", -302_625, 10 * CREDIT - 302_625)]
    assert books.open_hold(request) is None
    assert books.violations(acme) == []


def test_zero_cost_is_a_settlement_without_an_entry(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    ended = run(settlement.settle(hold=books.key(request), evidence=books.cost(0)))
    assert (ended.outcome, ended.charged_nanocredits) == ("posted", 0)
    assert acme.state() == (10 * CREDIT, 0)
    assert len(books.entries(acme)) == 1
    assert books.violations(acme) == []


def test_void_gives_the_hold_back_whole(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    ended = run(settlement.void(hold=books.key(request), evidence=books.cost(None)))
    assert (ended.outcome, ended.charged_nanocredits) == ("posted", 0)
    assert acme.state() == (10 * CREDIT, 0)
    assert (settlement_row(request) or ())[:3] == ("void", None, 0)


def test_cost_above_the_hold_is_charged_in_full(run: Run) -> None:
    acme = books.wallet(CREDIT)
    request = run(books.held(acme))
    ended = run(settlement.settle(hold=books.key(request), evidence=books.cost("8")))
    assert ended.balance_nanocredits == CREDIT - 20 * CREDIT
    assert books.violations(acme) == []


def test_frozen_wallet_still_settles(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    ledger.freeze(company_id=acme.company_id)
    assert run(settlement.settle(hold=books.key(request), evidence=books.cost("0.4"))).outcome == "posted"


def test_second_settlement_returns_the_first(run: Run) -> None:
    acme = books.wallet()
    request = run(books.settled(acme, "0.4"))
    again = run(settlement.settle(hold=books.key(request), evidence=books.cost("0.4")))
    assert (again.outcome, again.charged_nanocredits) == ("already", CREDIT)
    assert books.anomalies(acme) == []
    assert acme.state() == (9 * CREDIT, 0)


def test_second_settlement_of_another_amount_is_an_anomaly(run: Run) -> None:
    acme = books.wallet()
    request = run(books.settled(acme, "0.4"))
    again = run(settlement.settle(hold=books.key(request), evidence=books.cost("0.8")))
    assert (again.outcome, again.charged_nanocredits) == ("already", CREDIT)
    assert books.anomalies(acme) == ["settled_differently"]
    assert acme.state() == (9 * CREDIT, 0)


def test_same_hold_twice_in_one_batch_is_settled_once(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))

    async def both() -> tuple[Settlement, ...]:
        hold = books.key(request)
        return await asyncio.gather(
            settlement.settle(hold=hold, evidence=books.cost("0.4")),
            settlement.settle(hold=hold, evidence=books.cost("0.8")),
            settlement.void(hold=hold, evidence=books.cost(None)),
        )

    assert [ended.outcome for ended in run(both())] == ["posted", "already", "already"]
    assert acme.state() == (9 * CREDIT, 0)
    assert books.violations(acme) == []


def test_same_hold_twice_does_not_poison_its_batch(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    found = books.rows(
        "SELECT outcome, balance_nanocredits, held_nanocredits FROM billing_settle("
        "  array_fill(%s::uuid, ARRAY[2]), array_fill(%s::uuid, ARRAY[2]), ARRAY['post', 'post'], ARRAY[0.4, 0.4],"
        "  ARRAY[%s, %s]::bigint[], ARRAY['inline', 'inline'], ARRAY['', ''], array_fill('{}'::jsonb, ARRAY[2]))",
        acme.company_id, request.hold_id, CREDIT, CREDIT,
    )  # fmt: skip
    assert found == [("posted", 9 * CREDIT, 0), ("already", 9 * CREDIT, 0)]


def test_calls_of_one_batch_get_entries_without_a_gap(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()

    async def crowd() -> list[Settlement]:
        requests = [await books.held(who, 1000) for who in (acme, globex, acme, acme, globex)]
        costs = ["0.0000004", "0", "0.0000008", "0.0000012", "0.0000016"]
        return await asyncio.gather(
            *(
                settlement.settle(hold=books.key(request), evidence=books.cost(usd))
                for request, usd in zip(requests, costs, strict=True)
            )
        )

    ended = run(crowd())
    assert [one.charged_nanocredits for one in ended] == [1000, 0, 2000, 3000, 4000]
    start = 10 * CREDIT
    assert [(seq, after) for seq, _, _, after in books.entries(acme)[1:]] == [
        (2, start - 1000), (3, start - 3000), (4, start - 6000)
    ]  # fmt: skip
    assert ended[2].balance_nanocredits == start - 3000
    assert ended[2].held_nanocredits == 1000
    assert books.violations(acme) == books.violations(globex) == []


@pytest.mark.parametrize(
    "usd",
    [Decimal("-0.01"), Decimal("NaN"), Decimal("Infinity"), Decimal("1e400"), Decimal("1000.01"), None, 0.25],
    ids=str,
)
def test_implausible_cost_is_quarantined_and_the_hold_kept(run: Run, usd: Any) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    ended = run(settlement.settle(hold=books.key(request), evidence=books.cost(usd)))
    assert (ended.outcome, ended.is_charged) == ("quarantined", False)
    assert books.anomalies(acme) == ["implausible_cost"]
    assert acme.state() == (10 * CREDIT, CREDIT)
    assert (books.open_hold(request) or {})["stage"] == "parked"
    assert settlement_row(request) is None
    assert books.violations(acme) == []


def test_cost_of_more_than_twenty_holds_is_quarantined_unless_an_operator_says_so(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    ended = run(settlement.settle(hold=books.key(request), evidence=books.cost("8.0000000001")))
    assert ended.outcome == "quarantined"
    by_operator = books.cost("8.0000000001", source="operator")
    assert run(settlement.settle(hold=books.key(request), evidence=by_operator)).outcome == "posted"
    assert books.violations(acme) == []


@pytest.mark.parametrize("usd", ["15", "1000"])
def test_cost_of_a_call_whose_price_is_not_known_is_charged_in_full(run: Run, usd: str) -> None:
    """Twenty calls at 15 USD on a wallet of 20 credits went free while their default holds passed for a bound."""
    acme = books.wallet(20 * CREDIT)
    request = run(books.held(acme, is_price_known=False))
    ended = run(settlement.settle(hold=books.key(request), evidence=books.cost(usd)))
    assert (ended.outcome, ended.charged_nanocredits) == (
        "posted",
        int(Decimal(usd) / Decimal("0.4") * CREDIT),
    )
    assert books.violations(acme) == []


def test_cost_of_a_call_held_at_nothing_is_charged(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme, 0))
    ended = run(settlement.settle(hold=books.key(request), evidence=books.cost("0.4")))
    assert (ended.outcome, ended.charged_nanocredits) == ("posted", CREDIT)


def test_quarantined_evidence_is_kept_word_for_word(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    evidence = books.cost(Decimal("-0.0100"), details=b'{"provider": "x"}')
    run(settlement.settle(hold=books.key(request), evidence=evidence))
    ((text,),) = books.rows("SELECT details FROM billing_anomaly WHERE hold_id = %s", request.hold_id)
    details = orjson.loads(text)
    assert details["generation_id"] == evidence.generation_id
    assert details["details"]["cost_usd"] == "-0.0100"
    assert details["details"]["details"] == {"provider": "x"}


def test_generation_id_of_another_call_is_an_anomaly_and_charges_neither_twice(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    first, second = run(books.held(acme)), run(books.held(globex))
    evidence = books.cost("0.4")
    run(settlement.settle(hold=books.key(first), evidence=evidence))
    ended = run(settlement.settle(hold=books.key(second), evidence=evidence))
    assert ended.outcome == "quarantined"
    assert books.anomalies(globex) == ["generation_conflict"]
    assert globex.state() == (10 * CREDIT, CREDIT)


def test_generation_id_twice_in_one_batch_settles_one_of_the_two(run: Run) -> None:
    acme = books.wallet()
    evidence = books.cost("0.4")

    async def both() -> list[Settlement]:
        requests = [await books.held(acme), await books.held(acme)]
        return await asyncio.gather(
            *(settlement.settle(hold=books.key(request), evidence=evidence) for request in requests)
        )

    assert sorted(ended.outcome for ended in run(both())) == ["posted", "quarantined"]
    assert acme.state() == (9 * CREDIT, CREDIT)
    assert books.violations(acme) == []


def test_hold_that_was_never_placed_is_reported(run: Run) -> None:
    acme = books.wallet()
    with pytest.raises(HoldNotFound):
        run(settlement.settle(hold=books.key(acme.request()), evidence=books.cost("0.4")))
    assert books.anomalies(acme) == ["unknown_hold"]
    assert acme.state() == (10 * CREDIT, 0)


def test_hold_of_another_company_is_not_found(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    request = run(books.held(acme))
    theirs = books.key(globex.request(hold_id=request.hold_id))
    with pytest.raises(HoldNotFound):
        run(settlement.settle(hold=theirs, evidence=books.cost("0.4")))
    assert acme.state() == (10 * CREDIT, CREDIT)


@pytest.mark.parametrize("markup", ["1.24999999", "1.25000001"])
def test_charge_that_does_not_follow_from_the_holds_prices_is_quarantined(run: Run, markup: str) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    wrong = books.key(acme.request(hold_id=request.hold_id, markup=Decimal(markup)))
    assert run(settlement.settle(hold=wrong, evidence=books.cost("0.4"))).outcome == "quarantined"
    assert books.anomalies(acme) == ["charge_mismatch"]


POISON = {
    "a character it has not": rb'{"model": "\u0000"}',
    "half of one": rb'{"model": "\ud800"}',
    "bytes that are none": b'{"model": "\xff"}',
    "no JSON": b'{"model": ',
    "a number too large": b'{"tokens_prompt": 1e200000}',
    "too deep": b'{"model": ' + b"[" * 90_000 + b"]" * 90_000 + b"}",
}
every_poison = pytest.mark.parametrize("poison", POISON.values(), ids=POISON)


@every_poison
def test_details_that_postgresql_cannot_keep_do_not_stop_the_charge(run: Run, poison: bytes) -> None:
    acme = books.wallet()
    requests = [run(books.held(acme)) for _ in range(2)]
    evidence = books.cost("0.4", details=poison)
    assert run(settlement.settle(hold=books.key(requests[0]), evidence=evidence)).outcome == "posted"
    evidence = books.cost("0.4", details=poison)
    assert settlement.settle_now(hold=books.key(requests[1]), evidence=evidence).outcome == "posted"
    assert acme.state() == (8 * CREDIT, 0)
    assert books.violations(acme) == []


@every_poison
def test_poisoned_row_does_not_stop_the_rest_of_its_batch(run: Run, poison: bytes) -> None:
    acme = books.wallet()

    async def crowd() -> list[Settlement]:
        requests = [await books.held(acme) for _ in range(3)]
        details = [b"{}", poison, b"{}"]
        return await asyncio.gather(
            *(
                settlement.settle(hold=books.key(request), evidence=books.cost("0.4", details=text))
                for request, text in zip(requests, details, strict=True)
            )
        )

    assert [ended.outcome for ended in run(crowd())] == ["posted"] * 3
    assert acme.state() == (7 * CREDIT, 0)


def test_workers_settle_and_void_by_the_same_rules(run: Run) -> None:
    acme = books.wallet()
    first, second = run(books.held(acme)), run(books.held(acme))
    evidence = books.cost("0.4", source="generation")
    assert settlement.settle_now(hold=books.key(first), evidence=evidence).outcome == "posted"
    assert settlement.void_now(hold=books.key(first), evidence=evidence).outcome == "already"
    assert settlement.void_now(hold=books.key(second), evidence=books.cost(None)).outcome == "posted"
    with pytest.raises(HoldNotFound):
        settlement.settle_now(hold=books.key(acme.request()), evidence=evidence)
    assert acme.state() == (9 * CREDIT, 0)


@settings(max_examples=40, deadline=None)
@given(cost=st.decimals(min_value=0, max_value="0.01", places=20), markup=st.decimals("0.5", "3", places=3))
def test_postgresql_and_python_agree_on_every_charge(cost: Decimal, markup: Decimal) -> None:
    """PostgreSQL checks each charge by its own arithmetic, and would quarantine what it disagrees with."""
    acme = books.wallet()
    value = Decimal("0.3")
    request = acme.request(markup=markup, credit_value_usd=value)
    with asyncio.Runner() as runner:
        runner.run(holds.place(request))
        runner.run(batches.stop())
    ended = settlement.settle_now(hold=books.key(request), evidence=books.cost(cost))
    due = money.charge_nanocredits(cost_usd=cost, markup=markup, credit_value_usd=value)
    assert (ended.outcome, ended.charged_nanocredits) == ("posted", due)
