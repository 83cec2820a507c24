"""What every test stands on: a real database that is never flushed, and an event loop on request.

Tests look into the database as its owner (tests/logins.py). They really commit, because money tables refuse UPDATE,
DELETE and TRUNCATE; they stay apart by making companies of their own (tests/factories.py). No mark is needed to use
the database. Asynchronous code runs through `run`.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, Protocol, cast

import hypothesis
import pytest
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.db import connection, connections
from django.test.utils import override_settings, setup_databases, teardown_databases
from pytest_django import DjangoDbBlocker

from accounts import auth, database
from llm import rates, replays
from naive_platform import gateway
from tests import logins

# A busy machine is no bug.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

# Secrets that `make test` gives and a run by hand may lack.
if not settings.KEY_PEPPER:
    settings.SECRET_KEY = settings.KEY_PEPPER = "naive-tests-only"

TEST_SETTINGS = {
    # A company per test has no time for a slow hash.
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
    # Everybody here comes from one address.
    "SIGN_INS_PER_ADDRESS": 0,
    "REGISTRATIONS_PER_ADDRESS": 0,
    # Static files straight from their folders: nobody has collected them.
    "WHITENOISE_AUTOREFRESH": True,
}


class Run(Protocol):
    """Runs a coroutine to its end on the test's own event loop, as often as the test likes."""

    def __call__[T](self, work: Coroutine[Any, Any, T]) -> T: ...


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: DjangoDbBlocker,
    django_db_modify_db_settings: None,
    django_db_keepdb: bool,
) -> Iterator[None]:
    """One database per run and xdist worker, open to every test: pytest-django's own waits for marks."""
    with override_settings(**TEST_SETTINGS), django_db_blocker.unblock(), logins.both():
        made = setup_databases(
            verbosity=0,
            interactive=False,
            aliases={"default": None},
            serialized_aliases=set(),
            keepdb=django_db_keepdb,
        )
        yield
        _hang_up()
        teardown_databases(made, verbosity=0, keepdb=django_db_keepdb)


@pytest.fixture(scope="session", autouse=True)
def _database(django_db_setup: None) -> None:
    """Every test has the database."""


@pytest.fixture(scope="session")
def _gateways_loop(django_db_setup: None) -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that keeps its pool, as a gateway's does: views ask there whose key it is."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    asyncio.run_coroutine_threadsafe(_close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(autouse=True)
def _views_run_in_a_gateway(_gateways_loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """A view under test finds a loop around it, as in a gateway; else each request made one, and a pool with it."""
    found = SyncToAsync.threadlocal
    found.main_event_loop, found.main_event_loop_pid = _gateways_loop, os.getpid()
    # It waits for its first visitor to connect; that it is there tells them not to take it down.
    _gateways_loop.call_soon_threadsafe(database.pool)
    yield
    found.main_event_loop = None


@pytest.fixture
def run() -> Iterator[Run]:
    """An event loop for one test: `run(auth.authenticate(header))`; what it left open is closed after the test."""
    with asyncio.Runner() as runner:
        yield cast(Run, runner.run)
        runner.run(_close())


async def _close() -> None:
    await rates.close()
    await replays.close()
    await gateway.broker.close()
    await auth.stop()
    await database.close()


def _hang_up() -> None:
    # Processes that a test killed may still hold their connections, and a database in use cannot be dropped.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    connections.close_all()
