"""Group commit on real connections that break at the worst moment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence

import psycopg
import pytest
from django.db import connections

from accounts import database
from billing import batches, holds, settlement
from billing.errors import BooksUnavailable
from billing.holds import HoldRequest
from billing.settlement import Settlement
from tests.billing import books
from tests.billing.books import CREDIT
from tests.billing.conftest import Away
from tests.billing.wire import Wire
from tests.conftest import Run


@contextlib.asynccontextmanager
async def wallet_locked(acme: books.Wallet) -> AsyncIterator[None]:
    """Another transaction has the wallet, so that statements wait in the middle."""
    outside = await database.connect()
    async with outside:
        await outside.execute("BEGIN")
        await outside.execute(
            "SELECT 1 FROM billing_wallet WHERE company_id = %s FOR UPDATE", [acme.company_id]
        )
        yield
        await outside.execute("ROLLBACK")


async def hang_up(name: str) -> None:
    """Terminate a batcher's backend, once it waits for the wallet."""
    async with await database.connect() as outside:
        while True:
            cursor = await outside.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = %s AND wait_event_type = 'Lock'",
                [f"naive-{name}"],
            )
            if await cursor.fetchone():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A wire between the batchers and PostgreSQL that can be cut; nobody else's connections go through it."""
    settings = connections.settings["default"]
    before = settings["HOST"], settings["PORT"]
    with Wire(host=before[0] or "127.0.0.1", port=int(before[1] or 5432)) as made:
        settings["HOST"], settings["PORT"] = "127.0.0.1", str(made.port)
        yield made
        settings["HOST"], settings["PORT"] = before


def test_rows_that_wait_together_go_as_one_statement(run: Run) -> None:
    seen: list[int] = []

    def columns(rows: Sequence[int]) -> tuple[Sequence[int]]:
        seen.append(len(rows))
        return (rows,)

    async def crowd() -> list[int]:
        batcher: batches.Batcher[int] = batches.Batcher(
            "echo", "SELECT unnest(%s::int[])", columns, rows_max=4
        )
        first = batcher.submit(0)
        answers = await asyncio.gather(first, *map(batcher.submit, range(1, 10)))
        answers.append(await batcher.submit(10))
        return [answer[0] for answer in answers]

    assert run(crowd()) == list(range(11))
    assert seen == [4, 4, 2, 1]


def test_lost_connection_in_a_settlement_is_settled_once_after_all(run: Run) -> None:
    acme = books.wallet()

    async def lose() -> Settlement:
        request = await books.held(acme)
        async with wallet_locked(acme):
            ending = asyncio.create_task(
                settlement.settle(hold=books.key(request), evidence=books.cost("0.4"))
            )
            await hang_up("settlements")
        return await ending

    assert run(lose()).outcome == "posted"
    assert acme.state() == (9 * CREDIT, 0)
    assert books.violations(acme) == []


def test_lost_connection_in_a_hold_is_never_tried_again(run: Run) -> None:
    acme = books.wallet()

    async def lose() -> None:
        async with wallet_locked(acme):
            placing = asyncio.create_task(holds.place(acme.request()))
            await hang_up("holds")
        with pytest.raises(BooksUnavailable):
            await placing
        await books.held(acme, 2 * CREDIT)

    run(lose())
    assert acme.state() == (10 * CREDIT, 2 * CREDIT)


def test_lost_answer_to_a_settlement_that_was_carried_out_is_asked_for_again(run: Run, wire: Wire) -> None:
    acme = books.wallet()

    async def lose() -> Settlement:
        request = await books.held(acme)
        await books.settled(acme)
        wire.cut_at_next_answer()
        return await settlement.settle(hold=books.key(request), evidence=books.cost("0.4"))

    ended = run(lose())
    assert (ended.outcome, ended.charged_nanocredits) == ("already", CREDIT)
    assert acme.state() == (8 * CREDIT, 0)
    assert books.anomalies(acme) == []


def test_lost_answer_to_a_hold_leaves_the_hold_to_the_sweep(run: Run, wire: Wire) -> None:
    acme = books.wallet()
    request = acme.request()

    async def lose() -> None:
        await books.held(acme)
        wire.cut_at_next_answer()
        with pytest.raises(BooksUnavailable):
            await holds.place(request)

    run(lose())
    assert acme.state() == (10 * CREDIT, 2 * CREDIT)
    assert (books.open_hold(request) or {})["stage"] == "held"


def test_restarted_server_is_noticed_before_anything_is_sent(run: Run, away: Away) -> None:
    acme = books.wallet()

    async def call() -> None:
        await books.settled(acme)
        with away():
            pass
        await asyncio.sleep(0.05)
        await books.settled(acme)

    run(call())
    assert acme.state() == (8 * CREDIT, 0)


def test_database_that_is_away_refuses_holds_at_once(run: Run, away: Away) -> None:
    acme = books.wallet()

    async def call() -> None:
        await books.held(acme)
        with away():
            await asyncio.sleep(0.05)
            for _ in range(3):
                with pytest.raises(BooksUnavailable):
                    await holds.place(acme.request())
            with pytest.raises(BooksUnavailable):
                await holds.try_out(acme.request())
        await asyncio.sleep(batches.RECONNECT_S[-1])
        await books.held(acme)

    run(call())
    assert acme.state() == (10 * CREDIT, 2 * CREDIT)


def test_generation_id_is_noted_once_the_database_is_back(run: Run, away: Away) -> None:
    acme = books.wallet()

    async def call() -> HoldRequest:
        request = await books.held(acme)
        with away():
            holds.dispatched(
                hold_id=request.hold_id, company_id=acme.company_id, generation_id="gen-through-an-outage"
            )
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.8)
        return request

    found = books.open_hold(run(call()))
    assert found is not None
    assert found["generation_id"] == "gen-through-an-outage"


def test_note_waits_for_a_row_that_somebody_holds(run: Run) -> None:
    acme = books.wallet()

    async def call() -> HoldRequest:
        request = await books.held(acme)
        async with await database.connect() as outside:
            await outside.execute("BEGIN")
            await outside.execute(
                "SELECT 1 FROM billing_open_hold WHERE hold_id = %s FOR UPDATE", [request.hold_id]
            )
            holds.dispatched(hold_id=request.hold_id, company_id=acme.company_id, generation_id="gen-busy")
            await asyncio.sleep(0.1)
            await outside.execute("ROLLBACK")
        await asyncio.sleep(0.3)
        return request

    found = books.open_hold(run(call()))
    assert found is not None
    assert found["generation_id"] == "gen-busy"


def test_caller_that_leaves_takes_nobody_along(run: Run) -> None:
    acme = books.wallet()

    async def call() -> None:
        leaving = asyncio.create_task(holds.place(acme.request()))
        staying = asyncio.create_task(holds.place(acme.request()))
        await asyncio.sleep(0)
        leaving.cancel()
        await staying
        with pytest.raises(asyncio.CancelledError):
            await leaving

    run(call())
    assert acme.state() == (10 * CREDIT, 2 * CREDIT)


def test_each_event_loop_has_connections_of_its_own() -> None:
    acme = books.wallet()
    for _ in range(3):
        with asyncio.Runner() as runner:
            runner.run(batches.start())
            runner.run(books.settled(acme))
            runner.run(batches.stop())
    assert acme.state() == (7 * CREDIT, 0)


def test_start_survives_a_database_that_is_away(run: Run, away: Away) -> None:
    with away():
        run(batches.start())
    run(asyncio.sleep(batches.RECONNECT_S[0]))
    run(books.held(books.wallet()))


def test_stop_sends_what_is_queued(run: Run) -> None:
    acme = books.wallet()

    async def leave() -> None:
        pending = [asyncio.create_task(books.held(acme, 1)) for _ in range(20)]
        await asyncio.sleep(0)
        await batches.stop()
        await asyncio.gather(*pending)

    run(leave())
    assert acme.state() == (10 * CREDIT, 20)


def test_refused_row_keeps_postgresqls_own_words(run: Run) -> None:
    acme = books.wallet()
    with pytest.raises(psycopg.DataError, match="invalid input syntax for type json"):
        run(holds.place(acme.request(details=b"no json")))
    assert acme.state() == (10 * CREDIT, 0)
