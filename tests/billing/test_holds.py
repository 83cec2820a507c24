"""Admission: what is granted, what is refused, and that nobody pays for a neighbour."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from functools import partial
from uuid import uuid4

import pytest

from accounts.errors import Forbidden
from billing import batches, holds, ledger, settlement
from billing.errors import InsufficientCredits, WalletFrozen, WalletNotFound
from billing.holds import HoldRequest, Placed
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run


async def place_together(*requests: HoldRequest) -> list[Placed | BaseException]:
    """Place all in one batch: none is awaited before the last is queued."""
    return await asyncio.gather(*map(holds.place, requests), return_exceptions=True)


def refusal(run: Run, request: HoldRequest) -> InsufficientCredits:
    with pytest.raises(InsufficientCredits) as caught:
        run(holds.place(request))
    return caught.value


def test_hold_is_set_aside_and_stays_part_of_the_balance(run: Run) -> None:
    acme = books.wallet(10 * CREDIT)
    placed = run(holds.place(acme.request(3 * CREDIT)))
    assert placed == Placed(3 * CREDIT, balance_nanocredits=10 * CREDIT, held_nanocredits=3 * CREDIT)
    assert acme.state() == (10 * CREDIT, 3 * CREDIT)
    assert books.violations(acme) == []


def test_hold_keeps_prices_ids_and_details(run: Run) -> None:
    acme = books.wallet()
    request = acme.request(details=b'{"model": "openai/gpt-4o-mini"}')
    run(holds.place(request))
    found = books.rows(
        "SELECT key_id, kit_id, tenant_user_id, amount_nanocredits, markup, credit_value_usd, ttl_s, caps,"
        " details->>'model' FROM billing_hold WHERE hold_id = %s",
        request.hold_id,
    )
    prices = (request.markup, request.credit_value_usd)
    ids = (request.key_id, request.kit_id, request.tenant_user_id)
    assert found == [(*ids, CREDIT, *prices, 900, None, "openai/gpt-4o-mini")]


def test_short_wallet_grants_what_is_left_when_that_is_enough(run: Run) -> None:
    acme = books.wallet(2 * CREDIT)
    placed = run(holds.place(acme.request(3 * CREDIT, least_nanocredits=2 * CREDIT)))
    assert placed.granted_nanocredits == 2 * CREDIT
    assert acme.state() == (2 * CREDIT, 2 * CREDIT)


def test_short_wallet_refuses_what_is_less_than_the_least(run: Run) -> None:
    acme = books.wallet(2 * CREDIT)
    error = refusal(run, acme.request(3 * CREDIT, least_nanocredits=2 * CREDIT + 1))
    assert error.details == {"limit": "wallet"}
    assert (error.required_nanocredits, error.available_nanocredits) == (2 * CREDIT + 1, 2 * CREDIT)
    assert (error.balance_nanocredits, error.held_nanocredits) == (2 * CREDIT, 0)
    assert "needs 2.000000001 credits, 2 available" in error.message
    assert acme.state() == (2 * CREDIT, 0)


def test_refused_rows_take_nothing_from_their_neighbours(run: Run) -> None:
    acme, poor = books.wallet(10 * CREDIT), books.wallet(0)
    answers = run(
        place_together(
            acme.request(6 * CREDIT), poor.request(CREDIT), acme.request(5 * CREDIT), acme.request(4 * CREDIT)
        )
    )
    kinds = [type(answer) for answer in answers]
    assert kinds == [Placed, InsufficientCredits, InsufficientCredits, Placed]
    assert acme.state() == (10 * CREDIT, 10 * CREDIT)
    assert books.violations(acme) == []


def test_rows_of_one_batch_are_granted_in_the_order_they_came(run: Run) -> None:
    acme = books.wallet(5 * CREDIT)
    requests = [acme.request(2 * CREDIT, least_nanocredits=CREDIT) for _ in range(4)]
    answers = run(place_together(*requests))
    granted = [answer.granted_nanocredits for answer in answers if isinstance(answer, Placed)]
    assert granted == [2 * CREDIT, 2 * CREDIT, CREDIT]
    assert isinstance(answers[3], InsufficientCredits)


def test_frozen_wallet_takes_no_hold_until_it_is_thawed(run: Run) -> None:
    acme = books.wallet()
    ledger.freeze(company_id=acme.company_id)
    with pytest.raises(WalletFrozen) as caught:
        run(holds.place(acme.request()))
    assert isinstance(caught.value, Forbidden)
    assert caught.value.details == {"reason": "wallet_frozen"}
    ledger.unfreeze(company_id=acme.company_id)
    assert run(holds.place(acme.request())).granted_nanocredits == CREDIT


def test_credit_line_lets_holds_pass_below_zero_and_no_further(run: Run) -> None:
    acme = books.wallet(CREDIT)
    ledger.set_credit_line(company_id=acme.company_id, nanocredits=2 * CREDIT)
    run(holds.place(acme.request(3 * CREDIT)))
    assert refusal(run, acme.request(1)).available_nanocredits == 0


def test_company_without_a_wallet_is_told_so(run: Run) -> None:
    with pytest.raises(WalletNotFound):
        run(holds.place(books.Wallet().request()))


def test_free_call_is_held_at_zero_on_an_empty_wallet(run: Run) -> None:
    empty = books.wallet(0)
    assert run(holds.place(empty.request(0))).granted_nanocredits == 0


def test_free_call_is_placed_on_an_overdrawn_wallet_unless_it_is_frozen(run: Run) -> None:
    acme = books.wallet(CREDIT)
    run(books.settled(acme, "0.8", CREDIT))
    assert run(holds.place(acme.request(0))).granted_nanocredits == 0
    assert refusal(run, acme.request(1, least_nanocredits=0)).available_nanocredits == -CREDIT
    ledger.freeze(company_id=acme.company_id)
    with pytest.raises(WalletFrozen):
        run(holds.place(acme.request(0)))


def test_hold_is_never_above_a_million_credits(run: Run) -> None:
    acme = books.wallet(10**17)
    placed = run(holds.place(acme.request(10**15 + 1, least_nanocredits=1)))
    assert placed.granted_nanocredits == 10**15
    ledger.set_credit_line(company_id=acme.company_id, nanocredits=10**18)
    assert refusal(run, acme.request(10**16)).required_nanocredits == 10**16


def test_hold_is_never_negative(run: Run) -> None:
    acme = books.wallet(CREDIT)
    run(books.settled(acme, "0.8", CREDIT))
    assert refusal(run, acme.request(1, least_nanocredits=-CREDIT)).available_nanocredits == -CREDIT


def test_key_cap_refuses_what_the_wallet_would_cover(run: Run) -> None:
    acme = books.wallet()
    cap = acme.key_cap(2 * CREDIT)
    run(books.held(acme, CREDIT, caps=(cap,)))
    error = refusal(run, acme.request(CREDIT + 1, caps=(cap,)))
    assert (error.limit, error.available_nanocredits) == ("key_cap", CREDIT)
    assert books.violations(acme) == []


@pytest.mark.parametrize(
    ("wallet", "key", "user", "limit"),
    [(2, 3, 4, "wallet"), (4, 2, 3, "key_cap"), (4, 3, 2, "user_cap"), (2, 2, 2, "wallet")],
)
def test_the_tightest_limit_is_the_one_named(run: Run, wallet: int, key: int, user: int, limit: str) -> None:
    acme = books.wallet(wallet * CREDIT)
    caps = (acme.key_cap(key * CREDIT), acme.user_cap(user * CREDIT))
    error = refusal(run, acme.request(5 * CREDIT, caps=caps))
    assert (error.limit, error.available_nanocredits) == (limit, 2 * CREDIT)


def test_cap_grants_what_is_left_of_it(run: Run) -> None:
    acme = books.wallet()
    request = acme.request(3 * CREDIT, least_nanocredits=1, caps=(acme.user_cap(2 * CREDIT),))
    assert run(holds.place(request)).granted_nanocredits == 2 * CREDIT


def test_calls_of_one_batch_share_their_caps(run: Run) -> None:
    acme = books.wallet()
    key, user = acme.key_cap(3 * CREDIT), acme.user_cap(2 * CREDIT)
    capped = [(key,), (), (key, user), (user,), (user,), (key,), (key,), ()]
    answers = run(place_together(*(acme.request(CREDIT, caps=caps) for caps in capped)))
    limits = [answer.limit if isinstance(answer, InsufficientCredits) else "" for answer in answers]
    assert limits == ["", "", "", "", "user_cap", "", "key_cap", ""]
    assert acme.state() == (10 * CREDIT, 6 * CREDIT)
    assert books.violations(acme) == []


def test_same_scope_of_two_companies_are_two_budgets(run: Run) -> None:
    acme = books.wallet()
    globex = replace(books.wallet(), key_id=acme.key_id)
    answers = run(
        place_together(*(who.request(CREDIT, caps=(who.key_cap(CREDIT),)) for who in (acme, globex)))
    )
    assert all(isinstance(answer, Placed) for answer in answers)


def test_spent_cap_stays_spent_and_a_voided_hold_gives_it_back(run: Run) -> None:
    acme = books.wallet()
    cap = acme.key_cap(2 * CREDIT)
    run(books.settled(acme, "0.4", CREDIT, caps=(cap,)))
    voided = run(books.held(acme, CREDIT, caps=(cap,)))
    run(settlement.void(hold=books.key(voided), evidence=books.cost(None)))
    error = refusal(run, acme.request(2 * CREDIT, caps=(cap,)))
    assert error.available_nanocredits == CREDIT
    assert books.violations(acme) == []


def test_new_period_is_a_new_budget(run: Run) -> None:
    acme = books.wallet()
    cap = acme.key_cap(CREDIT)
    run(books.held(acme, CREDIT, caps=(cap,)))
    later = replace(cap, period_start=cap.period_start.replace(month=12))
    assert run(holds.place(acme.request(CREDIT, caps=(later,)))).granted_nanocredits == CREDIT
    assert books.violations(acme) == []


def test_periods_that_begin_on_one_day_are_budgets_of_their_own(run: Run) -> None:
    acme = books.wallet()
    month = acme.key_cap(3 * CREDIT)
    day = replace(month, period="day", limit_nanocredits=2 * CREDIT)
    run(books.held(acme, caps=(month, day)))
    error = refusal(run, acme.request(CREDIT + 1, caps=(month, day)))
    assert (error.limit, error.available_nanocredits) == ("key_cap", CREDIT)
    run(books.settled(acme, "0.4", caps=(month,)))
    found = books.rows(
        "SELECT period, period_start, held_nanocredits, spent_nanocredits FROM billing_budget"
        " WHERE company_id = %s ORDER BY period",
        acme.company_id,
    )
    assert found == [("day", books.MONTH, CREDIT, 0), ("month", books.MONTH, CREDIT, CREDIT)]
    # One credit is left of the month, and one of the day.
    run(books.held(acme, CREDIT, caps=(month, day)))
    assert books.violations(acme) == []


def test_hold_id_used_twice_is_refused_and_holds_once(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    answers = run(place_together(request, acme.request(2 * CREDIT)))
    assert [isinstance(answer, Placed) for answer in answers] == [False, True]
    assert acme.state() == (10 * CREDIT, 3 * CREDIT)


def test_trying_out_answers_like_placing_and_holds_nothing(run: Run) -> None:
    acme = books.wallet(2 * CREDIT)
    request = acme.request(3 * CREDIT, least_nanocredits=CREDIT, caps=(acme.key_cap(CREDIT),))
    assert run(holds.try_out(request)).granted_nanocredits == CREDIT
    assert acme.state() == (2 * CREDIT, 0)
    with pytest.raises(InsufficientCredits):
        run(holds.try_out(acme.request(3 * CREDIT)))
    assert run(holds.place(request)).granted_nanocredits == CREDIT


def test_generation_id_is_noted_on_the_open_hold(run: Run) -> None:
    acme = books.wallet()

    async def call() -> HoldRequest:
        request = await books.held(acme)
        holds.dispatched(hold_id=request.hold_id, company_id=acme.company_id, generation_id="gen-1\x00\ud800")
        await batches.stop()
        return request

    found = books.open_hold(run(call()))
    assert found is not None
    assert (found["stage"], found["generation_id"]) == ("dispatched", "gen-1??")
    assert found["due_in_s"] > 800


def test_first_generation_id_stays(run: Run) -> None:
    acme = books.wallet()

    async def call() -> HoldRequest:
        request = await books.held(acme)
        for generation_id in ("gen-first", "gen-second"):
            holds.dispatched(hold_id=request.hold_id, company_id=acme.company_id, generation_id=generation_id)
            await holds.look_up_soon(hold_id=request.hold_id, company_id=acme.company_id)
        return request

    found = books.open_hold(run(call()))
    assert found is not None
    assert found["generation_id"] == "gen-first"


def test_look_up_soon_makes_the_hold_due_after_the_first_back_off(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    run(holds.look_up_soon(hold_id=request.hold_id, company_id=acme.company_id))
    found = books.open_hold(request)
    assert found is not None
    assert 0 < found["due_in_s"] <= 2
    assert found["stage"] == "held"


def test_highest_estimate_is_the_one_that_stays(run: Run) -> None:
    """What was seen only grows: a note that was busy and comes again, or from a spool, knows less."""
    acme = books.wallet()
    request = run(books.held(acme))
    dispatched = partial(
        holds.dispatched, hold_id=request.hold_id, company_id=acme.company_id, generation_id="gen-1"
    )
    look_up_soon = partial(holds.look_up_soon, hold_id=request.hold_id, company_id=acme.company_id)

    async def call() -> None:
        for usd in ("0.0001", "0.00012104999999999999", None, "NaN", "-1", "1001"):
            dispatched(estimate_usd=Decimal(usd) if usd else None)
        await look_up_soon(estimate_usd=Decimal("0.0001"))
        await look_up_soon()

    run(call())
    ((estimate,),) = books.rows(
        "SELECT estimate_usd FROM billing_open_hold WHERE hold_id = %s", request.hold_id
    )
    assert estimate == Decimal("0.00012104999999999999")


def test_news_of_a_settled_or_unknown_hold_change_nothing(run: Run) -> None:
    acme = books.wallet()
    request = run(books.settled(acme))
    run(holds.look_up_soon(hold_id=request.hold_id, company_id=acme.company_id))
    run(holds.look_up_soon(hold_id=uuid4(), company_id=acme.company_id))
    assert books.open_hold(request) is None
