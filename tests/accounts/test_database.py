"""PostgreSQL as the data plane reaches it: which database, which bounds, and what happens when it is gone."""

import asyncio
import contextlib
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection, connections, transaction
from psycopg.conninfo import conninfo_to_dict

from accounts import database
from accounts.errors import Unavailable
from accounts.models import Company
from tests import factories
from tests.accounts.conftest import Own
from tests.accounts.outages import hang_up, unreachable
from tests.conftest import Run


async def value(query: Any, *parameters: object) -> Any:
    row = await database.fetch_row(query, parameters)
    assert row is not None
    return row[0]


def test_data_plane_uses_djangos_database(run: Run) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert run(value("SELECT current_database()")) == cursor.fetchone()[0]


def test_unix_sockets_and_libpq_options_are_carried(settings: Any) -> None:
    before = dict(connections.settings["default"])
    given = {
        "NAME": "naive", "USER": "", "PASSWORD": "it's", "HOST": "/run/postgresql", "PORT": 5433,
        "OPTIONS": {"sslmode": "disable", "options": "-c jit=off", "pool": True, "isolation_level": 2},
    }  # fmt: skip
    connections.settings["default"].update(given)
    try:
        found = conninfo_to_dict(database.conninfo())
    finally:
        connections.settings["default"].clear()
        connections.settings["default"].update(before)
    assert found == {
        "dbname": "naive",
        "password": "it's",
        "host": "/run/postgresql",
        "port": "5433",
        "sslmode": "disable",
        "options": "-c jit=off",
    }


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("statement_timeout", "5s"),
        ("lock_timeout", "2s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("application_name", "naive-pool"),
    ],
)
def test_every_session_is_bounded(run: Run, name: str, bound: str) -> None:
    assert run(value("SELECT current_setting(%s)", name)) == bound


def test_connection_of_ones_own_commits_each_statement_and_prepares_it(run: Run) -> None:
    async def look() -> tuple[bool, int]:
        async with await database.connect(application_name="naive-test") as own:
            await own.execute("SELECT %s::int", (1,))
            await own.execute("SELECT %s::int", (2,))
            cursor = await own.execute(
                "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%::int'"
            )
            row = await cursor.fetchone()
            assert row is not None
            return own.autocommit, row[0]

    autocommit, _ = run(look())
    assert autocommit


def test_each_event_loop_has_its_own_pool(run: Run) -> None:
    async def own() -> database.LazyPool:
        assert database.pool() is database.pool()
        return database.pool()

    first = run(own())
    with asyncio.Runner() as other:
        second = other.run(own())
        other.run(database.close())
    assert second is not first
    assert second.closed


def test_closed_pool_is_replaced(run: Run) -> None:
    assert run(value("SELECT 1")) == 1
    run(database.close())
    assert run(value("SELECT 2")) == 2


def test_connections_that_died_are_replaced_without_the_caller_noticing(run: Run, own: Own) -> None:
    """As after a restart of PostgreSQL, when every pooled connection is dead."""

    async def at_once() -> set[int]:
        return set(
            await asyncio.gather(*(value("SELECT pg_backend_pid() FROM pg_sleep(0.05)") for _ in range(3)))
        )

    before = run(at_once())
    assert len(before) > 1
    hang_up(own, "naive-pool")
    assert run(value("SELECT pg_backend_pid()")) not in before
    assert not run(at_once()) & before


def test_unreachable_database_is_unavailable(run: Run) -> None:
    with unreachable(), pytest.raises(Unavailable, match="cannot be reached"):
        run(value("SELECT 1"))


def test_pool_recovers_with_the_database(run: Run) -> None:
    with unreachable(), pytest.raises(Unavailable):
        run(value("SELECT 1"))
    run(database.close())
    assert run(value("SELECT 1")) == 1


def test_cancelled_statement_is_unavailable_and_not_asked_twice(run: Run) -> None:
    """As a statement ends that takes longer than it may."""
    with pytest.raises(Unavailable) as caught:
        run(value("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(2)"))
    assert isinstance(caught.value.__cause__, psycopg.errors.QueryCanceled)


def test_mistake_in_a_query_is_a_bug_and_not_unavailable(run: Run) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        run(value("SELECT * FROM nothing_of_this_name"))


def test_violated_constraint_is_named() -> None:
    slug = factories.acme().company.slug
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        Company.objects.create(name="Twice", slug=slug)
    assert "slug" in database.violated(caught.value)
    assert database.violated(IntegrityError("no cause")) == ""


def test_strangers_never_take_the_whole_pool(run: Run, own: Own) -> None:
    async def ask() -> object:
        async with database.for_strangers():
            return await database.fetch_row("SELECT id FROM accounts_apikey LIMIT 1", ())

    async def scenario() -> None:
        with own.transaction():
            own.execute("LOCK TABLE accounts_apikey IN ACCESS EXCLUSIVE MODE")
            strangers = [asyncio.ensure_future(ask()) for _ in range(database.POOL_MAX_SIZE * 2)]
            await asyncio.sleep(0.1)
            assert await database.fetch_row("SELECT 1", ()) == (1,)
            assert not any(one.done() for one in strangers)
        await asyncio.gather(*strangers)

    run(scenario())


def test_stranger_whose_turn_does_not_come_is_sent_away_after_a_second(run: Run) -> None:
    async def scenario() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(database.STRANGERS_MAX):
                await stack.enter_async_context(database.for_strangers())
            with pytest.raises(Unavailable, match="Too many callers"):
                await asyncio.wait_for(database.for_strangers().__aenter__(), database.POOL_TIMEOUT_S + 1)
        async with database.for_strangers():
            assert database.pool().strangers_waiting == 0

    run(scenario())


def test_stranger_at_the_end_of_a_long_queue_is_sent_away_at_once(run: Run) -> None:
    async def wait() -> None:
        async with database.for_strangers():
            pass

    async def scenario() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(database.STRANGERS_MAX):
                await stack.enter_async_context(database.for_strangers())
            queue = [asyncio.ensure_future(wait()) for _ in range(database.STRANGERS_WAITING_MAX)]
            await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="Too many callers"):
                await wait()
            queue.pop().cancel()
            await asyncio.sleep(0)
            queue.append(asyncio.ensure_future(wait()))
        await asyncio.gather(*queue)

    run(scenario())


def test_visitors_of_a_loop_that_has_no_pool_leave_none_behind(run: Run) -> None:
    async def visit(pause_s: float) -> None:
        async with database.visit():
            await asyncio.sleep(pause_s)
            assert await database.fetch_row("SELECT 1", ()) == (1,)

    async def scenario() -> None:
        # The first to leave does not take the pool away from those who stay.
        await asyncio.gather(visit(0), visit(0.05), visit(0.1))
        assert asyncio.get_running_loop() not in database._pools

    run(scenario())


def test_visitor_of_a_gateways_loop_leaves_its_pool_open(run: Run) -> None:
    async def scenario() -> None:
        kept = database.pool()
        async with database.visit():
            await database.fetch_row("SELECT 1", ())
        assert database.pool() is kept
        assert not kept.closed

    run(scenario())
