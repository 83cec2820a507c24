"""Many at once on real PostgreSQL: nothing overdrawn, nothing charged twice, nobody in anybody's way."""

import asyncio
import contextlib
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine
from decimal import Decimal
from queue import Queue
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from pytest_django import Settings

from billing import batches, holds, ledger, reconciliation, settlement
from billing.errors import InsufficientCredits
from billing.holds import HoldRequest
from billing.settlement import Settlement
from tests import races
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run

THREADS = 32
BALANCE = 1_000_000
HOLD = 37_000


@pytest.fixture(autouse=True)
def _patience(settings: Settings) -> None:
    """Many threads on a busy machine are slow, and slow is not away."""
    settings.SETTLE_RETRY_S = 30


def on_a_loop[T](work: Callable[[], Coroutine[Any, Any, T]]) -> Callable[[], T]:
    """`work` on an event loop and connections of its own, for a thread."""

    async def whole() -> T:
        try:
            return await work()
        finally:
            await batches.stop()

    return lambda: asyncio.run(whole())


def all_of[T](found: list[T | Exception]) -> list[T]:
    for one in found:
        if isinstance(one, Exception):
            raise one
    return [one for one in found if not isinstance(one, Exception)]


async def granted(request: HoldRequest) -> int:
    try:
        return (await holds.place(request)).granted_nanocredits
    except InsufficientCredits:
        return 0


def test_threads_on_one_wallet_never_overdraw_it() -> None:
    acme = books.wallet(BALANCE)

    async def hammer() -> int:
        one_by_one = sum([await granted(acme.request(HOLD)) for _ in range(3)])
        return one_by_one + sum(await asyncio.gather(*(granted(acme.request(HOLD)) for _ in range(5))))

    total = sum(all_of(races.at_once(*[on_a_loop(hammer)] * THREADS)))
    assert 0 <= BALANCE - total < HOLD
    assert acme.state() == (BALANCE, total)
    assert books.violations(acme) == []


def test_threads_on_one_cap_never_pass_it() -> None:
    acme = books.wallet()
    cap = acme.key_cap(BALANCE)

    async def hammer() -> int:
        requests = [acme.request(HOLD, least_nanocredits=1, caps=(cap,)) for _ in range(8)]
        return sum(await asyncio.gather(*map(granted, requests)))

    assert sum(all_of(races.at_once(*[on_a_loop(hammer)] * 8))) == BALANCE
    assert books.violations(acme) == []


def test_each_of_many_holds_is_settled_by_exactly_one_thread(run: Run) -> None:
    wallets = [books.wallet() for _ in range(5)]
    requests = [run(books.held(wallets[number % 5], 1000)) for number in range(100)]

    def settle_all(number: int) -> Callable[[], list[tuple[Any, str]]]:
        order = random.Random(number).sample(requests, len(requests))

        async def work() -> list[tuple[Any, str]]:
            costs = [books.cost(Decimal(number + 1) / 10**9) for _ in order]
            ended: list[Settlement] = await asyncio.gather(
                *(
                    settlement.settle(hold=books.key(request), evidence=cost)
                    for request, cost in zip(order, costs, strict=True)
                )
            )
            return [(request.hold_id, one.outcome) for request, one in zip(order, ended, strict=True)]

        return on_a_loop(work)

    answers = all_of(races.at_once(*map(settle_all, range(8))))
    posted = Counter(hold_id for answer in answers for hold_id, outcome in answer if outcome == "posted")
    assert posted == {request.hold_id: 1 for request in requests}
    assert {outcome for answer in answers for _, outcome in answer} == {"posted", "already"}
    for acme in wallets:
        assert len(books.entries(acme)) == 21
        assert acme.state()[1] == 0
        assert books.violations(acme) == []


def test_of_three_hundred_duplicate_settlements_exactly_one_wins(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme, 1000))

    async def settle_all() -> list[str]:
        ways = [
            settlement.settle(hold=books.key(request), evidence=books.cost("0.0000004"))
            for _ in range(300 // 8 + 1)
        ]
        return [ended.outcome for ended in await asyncio.gather(*ways)]

    outcomes = Counter(one for found in all_of(races.at_once(*[on_a_loop(settle_all)] * 8)) for one in found)
    assert outcomes == {"posted": 1, "already": outcomes.total() - 1}
    assert outcomes.total() >= 300
    assert acme.state() == (10 * CREDIT - 1000, 0)
    assert len(books.entries(acme)) == 2
    assert books.violations(acme) == []


def test_live_settlement_and_sweep_meet_in_one_charge(run: Run) -> None:
    acme = books.wallet()
    requests = [run(books.held(acme, 1000)) for _ in range(40)]
    for request in requests:
        books.make_first_due(request)

    async def live() -> int:
        ended = await asyncio.gather(
            *(settlement.settle(hold=books.key(one), evidence=books.cost("0.0000004")) for one in requests)
        )
        return sum(one.outcome == "posted" for one in ended)

    def sweep() -> int:
        claimed = [one for one in reconciliation.claim_due(limit=200) if one.company_id == acme.company_id]
        ended = [reconciliation.settle_from_generation(one, cost_usd=Decimal("0.0000004")) for one in claimed]
        return sum(one.outcome == "posted" for one in ended)

    assert sum(all_of(races.at_once(on_a_loop(live), sweep, sweep))) == len(requests)
    assert acme.state() == (10 * CREDIT - 1000 * len(requests), 0)
    assert books.violations(acme) == []


def waits_for_a_lock(pid: int) -> bool:
    return bool(books.rows("SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted", pid))


def test_sweep_that_gives_back_waits_for_a_live_settlement(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    books.expire(request)
    books.rows("UPDATE billing_open_hold SET attempts = 1 WHERE hold_id = %s", request.hold_id)
    books.make_first_due(request)
    (found,) = [one for one in reconciliation.claim_due(limit=1) if one.hold_id == request.hold_id]
    pids: Queue[int] = Queue()

    def sweep() -> str:
        ((pid,),) = books.rows("SELECT pg_backend_pid()")
        pids.put(pid)
        return reconciliation.void_unsent(found)

    def live() -> str:
        with transaction.atomic():
            books.rows("SELECT FROM billing_wallet WHERE company_id = %s FOR NO KEY UPDATE", acme.company_id)
            started.set()
            pid = pids.get(timeout=10)
            give_up_at = time.monotonic() + 10
            while not waits_for_a_lock(pid) and time.monotonic() < give_up_at:
                time.sleep(0.01)
            return settlement.settle_now(hold=books.key(request), evidence=books.cost("0.4")).outcome

    started = threading.Event()
    assert races.at_once(live, lambda: started.wait(10) and sweep()) == ["posted", "kept"]
    assert acme.state() == (9 * CREDIT, 0)
    assert books.violations(acme) == []


def test_batches_with_the_same_news_of_unknown_holds_do_not_deadlock() -> None:
    nobody = books.Wallet()
    hold_ids = [uuid.uuid4() for _ in range(300)]

    def settle_all(order: list[uuid.UUID]) -> Callable[[], int]:
        count = len(order)
        return lambda: len(
            books.rows(
                "SELECT * FROM billing_settle(%s::uuid[], %s::uuid[], %s::text[], %s::numeric[], %s::bigint[],"
                " %s::text[], %s::text[], %s::jsonb[])",
                [nobody.company_id] * count, order, ["void"] * count, [0] * count, [0] * count,
                ["inline"] * count, [""] * count, ["{}"] * count,
            )
        )  # fmt: skip

    orders = [hold_ids, hold_ids[::-1]] * 2
    assert races.at_once(*map(settle_all, orders)) == [len(hold_ids)] * len(orders)
    assert len(books.anomalies(nobody)) == len(hold_ids)


def test_batches_of_companies_that_bring_the_same_generations_do_not_deadlock(run: Run) -> None:
    """No lock covers a generation's id: each batch waits for the other's rows, which come in one order."""
    generations = [f"gen-{uuid.uuid4()}" for _ in range(200)]
    wallets = [books.wallet() for _ in range(6)]
    gate = threading.Barrier(len(wallets))

    async def opened(made: books.Wallet) -> list[HoldRequest]:
        return list(await asyncio.gather(*(books.held(made, 1000) for _ in generations)))

    def settle_all(made: books.Wallet, order: list[str]) -> Callable[[], int]:
        found = run(opened(made))
        columns = settlement._columns(
            [
                settlement._void_row(books.key(one), books.cost(None, generation_id=name))
                for one, name in zip(found, order, strict=True)
            ]
        )

        def work() -> int:
            with contextlib.suppress(IntegrityError), transaction.atomic():
                books.rows("SELECT FROM billing_wallet WHERE company_id = %s FOR UPDATE", made.company_id)
                gate.wait(timeout=10)
                return len(books.rows(settlement._SETTLE, *columns))
            return 0

        return work

    orders = [generations, generations[::-1]] * 3
    answers = all_of(races.at_once(*map(settle_all, wallets, orders)))
    assert set(answers) <= {0, 200}
    assert 200 in answers


def test_everything_at_once_neither_deadlocks_nor_breaks_the_books() -> None:
    wallets = [books.wallet() for _ in range(3)]

    def traffic(seed: int) -> Callable[[], int]:
        chance = random.Random(seed)

        async def call() -> None:
            acme = chance.choice(wallets)
            caps = chance.choice([(), (acme.key_cap(CREDIT),), (acme.key_cap(CREDIT), acme.user_cap(CREDIT))])
            request = acme.request(1000, caps=caps)
            await holds.place(request)
            holds.dispatched(hold_id=request.hold_id, company_id=acme.company_id, generation_id="gen-1")
            if chance.random() < 0.3:
                await holds.extend(
                    company_id=acme.company_id, hold_id=request.hold_id, number=1, amount_nanocredits=1000
                )
            if chance.random() < 0.2:
                await holds.look_up_soon(hold_id=request.hold_id, company_id=acme.company_id)
            await settlement.settle(hold=books.key(request), evidence=books.cost("0.0000002"))

        async def work() -> int:
            for _ in range(8):
                await asyncio.gather(*(call() for _ in range(12)))
            return 0

        return on_a_loop(work)

    def operator() -> int:
        for number in range(60):
            acme = wallets[number % 3]
            ledger.post(
                company_id=acme.company_id, amount_nanocredits=7, action="grant", reference=f"g{number}"
            )
            reconciliation.claim_due(limit=5)
        return 0

    all_of(races.at_once(*map(traffic, range(6)), operator, operator))
    for acme in wallets:
        assert acme.state()[1] == 0
        assert books.violations(acme) == []


@pytest.mark.parametrize("comes_first", ["correction", "settlement"])
def test_one_generation_of_two_companies_in_the_same_moment_is_charged_to_one(
    run: Run, comes_first: str
) -> None:
    acme, globex = books.wallet(), books.wallet()
    corrected, held = run(books.settled(acme, "0.4", source="estimate")), run(books.held(globex))
    evidence = books.cost("0.7", source="stream")

    def correct() -> str:
        return ledger.correct(
            company_id=acme.company_id,
            hold_id=corrected.hold_id,
            cost_usd=Decimal("0.7"),
            reference="a",
            source="stream",
            generation_id=evidence.generation_id,
        ).outcome

    def settle() -> str:
        # As billing/settlement.py sends it, in the transaction of this thread.
        ((outcome,),) = books.rows(
            "SELECT outcome FROM billing_settle(%s, %s, '{post}', '{0.7}', %s, '{stream}', %s, '{\"{}\"}', null)",
            [held.company_id], [held.hold_id], [7 * CREDIT // 4], [evidence.generation_id],
        )  # fmt: skip
        return str(outcome)

    if comes_first == "correction":
        assert races.behind(correct, settle) == "quarantined"
    else:
        assert races.behind(settle, correct) == "quarantined"
    assert books.anomalies(globex if comes_first == "correction" else acme) == ["generation_conflict"]
    assert books.violations(acme) == books.violations(globex) == []
