"""What every test stands on: a real database that is never flushed, and an event loop on request.

Tests look into the database as its owner (tests/logins.py). They really commit, because money tables refuse UPDATE,
DELETE and TRUNCATE; they stay apart by making companies of their own (tests/factories.py). No mark is needed to use
the database. Asynchronous code runs through `run`.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, Protocol, cast

import hypothesis
import pytest
from django.conf import settings
from django.db import connection, connections
from django.test.utils import override_settings, setup_databases, teardown_databases
from pytest_django import DjangoDbBlocker

from accounts import auth, database
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


@pytest.fixture
def run() -> Iterator[Run]:
    """An event loop for one test: `run(auth.authenticate(header))`; what it left open is closed after the test."""
    with asyncio.Runner() as runner:
        yield cast(Run, runner.run)
        runner.run(_close())


async def _close() -> None:
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
