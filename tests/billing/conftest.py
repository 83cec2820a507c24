"""The books' event loop, their spool, and a database that can go away for new connections."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from psycopg import sql
from pytest_django import Settings

from accounts import database
from billing import batches, spool
from tests.conftest import Run

type Away = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def run(run: Run) -> Iterator[Run]:
    """An event loop for one test, its batchers stopped afterwards."""
    yield run
    run(batches.stop())


@pytest.fixture(autouse=True)
def spool_dir(tmp_path: Path, settings: Settings) -> Iterator[Path]:
    """A spool of the test's own."""
    settings.SPOOL_DIR = tmp_path / "spool"
    yield settings.SPOOL_DIR
    spool.close()


@pytest.fixture
def away(settings: Settings) -> Away:
    """The database refuses every new connection and drops the batchers' while `with away():` lasts."""
    settings.SETTLE_RETRY_S = 0.3
    return _away


@contextlib.contextmanager
def _away() -> Iterator[None]:
    name = connection.settings_dict["NAME"]
    info = psycopg.conninfo.make_conninfo(database.conninfo(), dbname="postgres")
    switch = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(info, autocommit=True) as outside:
        outside.execute(switch.format(sql.Identifier(name), sql.SQL("false")))
        try:
            outside.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND application_name LIKE 'naive-%%'",
                [name],
            )
            yield
        finally:
            outside.execute(switch.format(sql.Identifier(name), sql.SQL("true")))
