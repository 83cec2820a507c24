"""Group commit when one company's lock is kept, the server takes no writes, or nobody answers."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection, connections
from psycopg import sql

from accounts import database
from billing import batches, holds, notes, reconciliation, settlement, spool
from billing.errors import BooksUnavailable
from billing.holds import HoldRequest, Placed
from billing.notes import Note
from billing.settlement import Settlement
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run


@contextlib.contextmanager
def no_writes() -> Iterator[None]:
    """New connections find a database that takes no writes, as on a server that was just demoted."""
    switch = sql.SQL("ALTER DATABASE {} {}")
    name = sql.Identifier(connection.settings_dict["NAME"])
    turn_on = switch.format(name, sql.SQL("SET default_transaction_read_only = on"))
    turn_off = switch.format(name, sql.SQL("RESET default_transaction_read_only"))
    with psycopg.connect(database.conninfo(), autocommit=True) as outside:
        outside.execute("SET default_transaction_read_only = off")
        outside.execute(turn_on)
        outside.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'naive-%'"
        )
        try:
            yield
        finally:
            outside.execute(turn_off)


@contextlib.contextmanager
def elsewhere() -> Iterator[list[socket.socket]]:
    """The database's address leads to somebody who takes connections and never says a word."""
    place = connections.settings["default"]
    before = place["HOST"], place["PORT"]
    callers: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    callers.append(listener.accept()[0])
                    callers[-1].close()

        threading.Thread(target=accept, daemon=True).start()
        place["HOST"], place["PORT"] = "127.0.0.1", str(listener.getsockname()[1])
        yield callers
        place["HOST"], place["PORT"] = before
        listener.shutdown(socket.SHUT_RDWR)


async def place_together(*requests: HoldRequest) -> list[Placed | BaseException]:
    return await asyncio.gather(*map(holds.place, requests), return_exceptions=True)


def connections_of(name: str) -> int:
    ((count,),) = books.rows(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s",
        f"naive-{name}",
    )
    return int(count)


def test_kept_wallet_refuses_its_own_company_only(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()

    async def call() -> list[Placed | BaseException]:
        await books.held(globex)
        return await place_together(acme.request(), globex.request(), acme.request(), globex.request())

    with books.wallet_kept(acme):
        kinds = [type(answer) for answer in run(call())]
    assert kinds == [BooksUnavailable, Placed, BooksUnavailable, Placed]
    assert acme.state() == (10 * CREDIT, 0)
    assert globex.state() == (10 * CREDIT, 3 * CREDIT)


def test_kept_wallet_is_known_and_keeps_nobody_waiting(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()

    async def call() -> float:
        await place_together(acme.request(), globex.request())
        crowd = [asyncio.create_task(holds.place(acme.request(1))) for _ in range(5)]
        started_at = time.monotonic()
        for _ in range(10):
            await books.held(globex, 1)
        waited_s = time.monotonic() - started_at
        await asyncio.gather(*crowd, return_exceptions=True)
        return waited_s

    with books.wallet_kept(acme):
        assert run(call()) < batches.LOCK_TIMEOUT_MS / 1000
    run(books.held(acme))
    run(books.held(acme))
    assert acme.state() == (10 * CREDIT, 2 * CREDIT)


def test_wallet_that_is_free_again_goes_with_the_others(run: Run) -> None:
    acme = books.wallet()
    with books.wallet_kept(acme), pytest.raises(BooksUnavailable):
        run(holds.place(acme.request()))
    run(books.held(acme))

    async def held_up() -> set[object]:
        return set(holds._placing.lane()._held_up)

    assert run(held_up()) == set()


def test_settlements_behind_a_kept_wallet_are_spooled_and_those_of_others_posted(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()

    async def call() -> list[Settlement]:
        requests = [await books.held(who) for who in (acme, globex)]
        with books.wallet_kept(acme):
            return await asyncio.gather(
                *(settlement.settle(hold=books.key(one), evidence=books.cost("0.4")) for one in requests)
            )

    assert [ended.outcome for ended in run(call())] == ["spooled", "posted"]
    spool.close()
    spool.replay()
    assert [acme.state(), globex.state()] == [(9 * CREDIT, 0)] * 2


def test_estimates_behind_a_kept_wallet_leave_the_pool_to_authentication(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()

    async def call() -> float:
        estimates = [asyncio.create_task(holds.try_out(acme.request())) for _ in range(6)]
        await asyncio.sleep(0.1)
        started_at = time.monotonic()
        assert await database.fetch_row("SELECT 1", []) == (1,)
        waited_s = time.monotonic() - started_at
        assert (await holds.try_out(globex.request())).granted_nanocredits == CREDIT
        assert {type(one) for one in await asyncio.gather(*estimates, return_exceptions=True)} == {
            BooksUnavailable
        }
        return waited_s

    with books.wallet_kept(acme):
        assert run(call()) < 0.3
    assert [acme.state(), globex.state()] == [(10 * CREDIT, 0)] * 2


def test_estimates_at_once_take_nothing_from_each_other(run: Run) -> None:
    acme = books.wallet(CREDIT)

    async def call() -> list[Placed]:
        return await asyncio.gather(*(holds.try_out(acme.request()) for _ in range(3)))

    assert [one.granted_nanocredits for one in run(call())] == [CREDIT] * 3


def test_evidence_is_spooled_while_the_database_takes_no_writes(run: Run) -> None:
    acme = books.wallet()

    async def call() -> Settlement:
        request = await books.held(acme)
        with no_writes():
            holds.dispatched(hold_id=request.hold_id, company_id=acme.company_id, generation_id="gen-1")
            with pytest.raises(BooksUnavailable):
                await holds.place(acme.request())
            return await settlement.settle(hold=books.key(request), evidence=books.cost("0.4"))

    assert run(call()).outcome == "spooled"
    run(asyncio.sleep(0.1))
    run(books.held(acme))
    spool.close()
    assert spool.replay() == 1
    assert acme.state() == (9 * CREDIT, CREDIT)


def test_generation_id_is_noted_once_the_database_takes_writes_again(run: Run) -> None:
    acme = books.wallet()

    async def call() -> HoldRequest:
        request = await books.held(acme)
        with no_writes():
            holds.dispatched(hold_id=request.hold_id, company_id=acme.company_id, generation_id="gen-kept")
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.8)
        return request

    assert (books.open_hold(run(call())) or {})["generation_id"] == "gen-kept"


def test_workers_are_told_of_a_database_that_takes_no_writes(run: Run) -> None:
    request = run(books.held(books.wallet()))
    books.rows("SET default_transaction_read_only = on")
    try:
        with pytest.raises(BooksUnavailable):
            settlement.settle_now(hold=books.key(request), evidence=books.cost("0.4"))
        with pytest.raises(BooksUnavailable):
            reconciliation.claim_due(limit=1)
    finally:
        books.rows("RESET default_transaction_read_only")


def test_settlement_that_fails_unexpectedly_is_kept_in_the_spool(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    bad = books.cost("0.4", source="hearsay")
    with pytest.raises(psycopg.IntegrityError):
        run(settlement.settle(hold=books.key(request), evidence=bad))
    spool.close()
    spool.replay()
    (kept,) = django_settings.SPOOL_DIR.glob("*.damaged")
    assert str(request.hold_id) in kept.read_text()


def test_cancelled_settlement_is_settled_all_the_same(run: Run) -> None:
    acme = books.wallet()

    request = run(books.held(acme))

    async def call() -> None:
        ending = asyncio.create_task(settlement.settle(hold=books.key(request), evidence=books.cost("0.4")))
        await asyncio.sleep(0.1)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        await asyncio.sleep(batches.LOCK_TIMEOUT_MS / 1000)

    with books.wallet_kept(acme):
        run(call())
    assert acme.state() == (10 * CREDIT, CREDIT)
    spool.close()
    assert spool.replay() == 1
    assert acme.state() == (9 * CREDIT, 0)
    assert books.violations(acme) == []


def test_news_of_busy_calls_wait_for_nobody(run: Run) -> None:
    acme = books.wallet()
    busy, free = run(books.held(acme)), run(books.held(acme))
    with psycopg.connect(database.conninfo()) as settling:
        settling.execute("SELECT 1 FROM billing_open_hold WHERE hold_id = %s FOR UPDATE", [busy.hold_id])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '1s'")
            offered = [
                Note(company_id=acme.company_id, hold_id=one.hold_id, generation_id=one.hold_id.hex)
                for one in (busy, free)
            ]
            assert notes._note_now(offered) == offered[:1]
            cursor.execute("RESET lock_timeout")
        settling.rollback()
    assert (books.open_hold(free) or {})["generation_id"] == free.hold_id.hex


def test_database_that_is_away_is_not_called_again_at_once(run: Run) -> None:
    acme = books.wallet()

    async def try_to_hold() -> None:
        with pytest.raises(BooksUnavailable):
            await holds.place(acme.request())

    with elsewhere() as callers:
        run(try_to_hold())
        seen = len(callers)
        for _ in range(3):
            run(try_to_hold())
        assert len(callers) == seen > 0
        run(asyncio.sleep(batches.RECONNECT_S[0]))
        run(try_to_hold())
        assert len(callers) > seen


def test_silent_server_is_given_up_when_its_time_is_over(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock on the wallet stands in for the silence; the way through which a statement is cancelled is shut."""
    acme = books.wallet()
    run(books.held(acme))
    monkeypatch.setattr(batches, "ANSWER_TIMEOUT_S", 0.2)

    async def call() -> float:
        started_at = time.monotonic()
        with elsewhere(), pytest.raises(BooksUnavailable):
            await holds.place(acme.request())
        return time.monotonic() - started_at

    with books.wallet_kept(acme):
        assert run(call()) < 0.4
    run(asyncio.sleep(0.5))
    run(books.held(acme))


def test_nothing_is_left_open_by_a_stop_that_waits_no_longer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = books.wallet()
    monkeypatch.setattr(batches, "DRAIN_TIMEOUT_S", 0.1)

    run(books.held(acme))

    async def call() -> set[type]:
        crowd = []
        for _ in range(2):
            crowd += [asyncio.create_task(holds.place(acme.request(1))) for _ in range(3)]
            await asyncio.sleep(0.05)
        await batches.stop()
        crowd.append(asyncio.create_task(holds.place(acme.request(1))))
        return {type(one) for one in await asyncio.gather(*crowd, return_exceptions=True)}

    with books.wallet_kept(acme):
        assert run(call()) == {BooksUnavailable}
    time.sleep(0.1)
    assert connections_of("holds") == 0
    run(batches.start())
    run(books.held(acme))
