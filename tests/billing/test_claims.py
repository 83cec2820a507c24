"""A client's key stands for one call: who comes second is told so, and holds nothing."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from accounts import errors as accounts
from billing import batches, holds, ledger, settlement
from billing.errors import AlreadyCompleted, IdempotencyInProgress, IdempotencyMismatch, InsufficientCredits
from billing.holds import Claim, HoldRequest, Placed
from tests import races
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run


def claim(name: str, body: str = "body") -> Claim:
    return Claim(
        key_sha256=hashlib.sha256(name.encode()).digest(), fingerprint=hashlib.sha256(body.encode()).digest()
    )


ONE = claim("one")


def claims(made: books.Wallet) -> list[tuple[Any, ...]]:
    return books.rows(
        "SELECT key_sha256, hold_id FROM billing_idempotency WHERE company_id = %s", made.company_id
    )


def age(made: books.Wallet) -> None:
    books.rows(
        "UPDATE billing_idempotency SET created_at = created_at - interval '25 hours' WHERE company_id = %s",
        made.company_id,
    )


def refused(run: Run, kind: type[Exception], request: HoldRequest) -> Any:
    before = ledger.balance(company_id=request.company_id)
    with pytest.raises(kind) as caught:
        run(holds.place(request))
    assert ledger.balance(company_id=request.company_id) == before
    return caught.value


def test_second_request_with_a_key_is_told_that_the_first_is_running(run: Run) -> None:
    acme = books.wallet()
    first = run(books.held(acme, claim=ONE))
    error = refused(run, IdempotencyInProgress, acme.request(claim=ONE))
    # What the door turns into 409, whoever raised it.
    assert issubclass(IdempotencyInProgress, accounts.IdempotencyInProgress)
    assert (error.hold_id, error.details) == (first.hold_id, {"generation_id": f"gen_{first.hold_id}"})
    assert books.violations(acme) == []


@pytest.mark.parametrize("ended", [False, True])
def test_key_with_another_body_is_refused_running_or_completed(run: Run, ended: bool) -> None:
    acme = books.wallet()
    first = run((books.settled if ended else books.held)(acme, claim=ONE))
    assert (
        refused(run, IdempotencyMismatch, acme.request(claim=claim("one", "other"))).hold_id == first.hold_id
    )


@pytest.mark.parametrize("usd", ["0", "0.4"])
def test_completed_call_is_not_made_again(run: Run, usd: str) -> None:
    acme = books.wallet()
    first = run(books.settled(acme, usd, claim=ONE))
    assert refused(run, AlreadyCompleted, acme.request(claim=ONE)).hold_id == first.hold_id


def test_key_of_a_call_that_was_given_back_is_free_for_any_body(run: Run) -> None:
    acme = books.wallet()
    first = run(books.held(acme, claim=ONE))
    run(settlement.void(hold=books.key(first), evidence=books.cost(None)))
    again = run(books.held(acme, claim=claim("one", "other")))
    assert claims(acme) == [(ONE.key_sha256, again.hold_id)]
    assert refused(run, IdempotencyMismatch, acme.request(claim=ONE)).hold_id == again.hold_id


def test_key_of_a_call_that_was_given_back_and_then_cost_something_is_taken(run: Run) -> None:
    acme = books.wallet()
    first = run(books.held(acme, claim=ONE))
    run(settlement.void(hold=books.key(first), evidence=books.cost(None, source="no_evidence")))
    settlement.settle_now(hold=books.key(first), evidence=books.cost("0.4", source="broadcast"))
    refused(run, AlreadyCompleted, acme.request(claim=ONE))


def test_key_of_a_closed_call_is_free_after_a_day_and_that_of_a_running_one_is_not(run: Run) -> None:
    closed, running = books.wallet(), books.wallet()
    run(books.settled(closed, claim=ONE))
    run(books.held(running, claim=ONE))
    age(closed)
    age(running)
    again = run(books.held(closed, claim=ONE))
    assert refused(run, IdempotencyInProgress, closed.request(claim=ONE)).hold_id == again.hold_id
    refused(run, IdempotencyInProgress, running.request(claim=ONE))


def test_refused_hold_claims_nothing(run: Run) -> None:
    acme = books.wallet(CREDIT)
    refused(run, InsufficientCredits, acme.request(2 * CREDIT, claim=ONE))
    assert claims(acme) == []
    run(books.held(acme, claim=claim("one", "other")))


def test_who_repeats_a_key_is_told_so_though_the_wallet_is_empty_or_frozen(run: Run) -> None:
    acme = books.wallet(CREDIT)
    run(books.held(acme, CREDIT, claim=ONE))
    refused(run, IdempotencyInProgress, acme.request(CREDIT, claim=ONE))
    ledger.freeze(company_id=acme.company_id)
    refused(run, IdempotencyInProgress, acme.request(CREDIT, claim=ONE))


def test_key_of_another_company_is_another_key(run: Run) -> None:
    run(books.held(books.wallet(), claim=ONE))
    run(books.held(books.wallet(), claim=ONE))


def test_trying_out_claims_nothing(run: Run) -> None:
    acme = books.wallet()
    run(holds.try_out(acme.request(claim=ONE)))
    assert claims(acme) == []
    run(books.held(acme, claim=ONE))
    with pytest.raises(IdempotencyInProgress):
        run(holds.try_out(acme.request(claim=ONE)))


def test_first_of_one_batch_that_is_granted_has_the_key(run: Run) -> None:
    acme = books.wallet(3 * CREDIT)
    requests = [
        acme.request(4 * CREDIT, claim=ONE), acme.request(CREDIT), acme.request(CREDIT, claim=ONE),
        acme.request(CREDIT, claim=claim("two")), acme.request(claim=ONE), acme.request(claim=claim("one", "other")),
    ]  # fmt: skip

    async def together() -> list[Placed | BaseException]:
        return await asyncio.gather(*map(holds.place, requests), return_exceptions=True)

    answers = run(together())
    assert [type(answer) for answer in answers] == [
        InsufficientCredits, Placed, Placed, Placed, IdempotencyInProgress, IdempotencyMismatch
    ]  # fmt: skip
    assert {answer.hold_id for answer in answers if hasattr(answer, "hold_id")} == {requests[2].hold_id}
    assert sorted(hold_id for _, hold_id in claims(acme)) == sorted(
        request.hold_id for request in requests[2:4]
    )
    assert acme.state() == (3 * CREDIT, 3 * CREDIT)


def test_of_many_gateways_with_one_key_exactly_one_holds() -> None:
    acme = books.wallet(100 * CREDIT)

    def gateway() -> Callable[[], str]:
        async def work() -> str:
            try:
                await holds.place(acme.request(claim=ONE))
            except IdempotencyInProgress:
                return "told"
            finally:
                await batches.stop()
            return "held"

        return lambda: asyncio.run(work())

    answers = races.at_once(*[gateway() for _ in range(12)])
    assert sorted(map(str, answers)) == ["held"] + ["told"] * 11
    assert acme.state() == (100 * CREDIT, CREDIT)


def test_claims_nobody_can_meet_are_forgotten(run: Run) -> None:
    closed, running, fresh = books.wallet(), books.wallet(), books.wallet()
    run(books.settled(closed, claim=ONE))
    run(books.held(running, claim=ONE))
    run(books.settled(fresh, claim=ONE))
    age(closed)
    age(running)
    assert holds.forget_claims(limit=1000) >= 1
    assert [len(claims(who)) for who in (closed, running, fresh)] == [0, 1, 1]


def test_company_without_a_wallet_claims_nothing(run: Run) -> None:
    nobody = books.Wallet(company_id=uuid4())
    for _ in range(2):
        with pytest.raises(accounts.NotFound):
            run(holds.place(nobody.request(claim=ONE)))
    assert claims(nobody) == []
