"""The two logins of a test run: tests look into the books as their owner, platforms run as the application."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from urllib.parse import urlencode

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from psycopg import conninfo, sql

from accounts import database
from naive_platform import logins


@contextlib.contextmanager
def both() -> Iterator[None]:
    """Give this run two logins, whatever the environment has, and be the owner for its time.

    With DATABASE_OWNER_URL they are the environment's; else DATABASE_URL is the owner's, who makes the other.
    """
    given = settings.DATABASE_URL, settings.DATABASE_OWNER_URL
    if given[1]:
        with logins.as_owner():
            yield
        return
    role, password = _role(), secrets.token_urlsafe(24)
    with psycopg.connect(_server(), autocommit=True) as server:
        _make(server, role, password)
    settings.DATABASE_OWNER_URL = given[0]
    settings.DATABASE_URL = conninfo.make_conninfo(given[0], user=role, password=password)
    try:
        with logins.as_owner():
            yield
    finally:
        settings.DATABASE_URL, settings.DATABASE_OWNER_URL = given
        # A database that is kept for the next run keeps its rights, and so the role.
        with (
            psycopg.connect(_server(), autocommit=True) as server,
            contextlib.suppress(psycopg.errors.DependentObjectsStillExist),
        ):
            server.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@contextlib.contextmanager
def as_application() -> Iterator[None]:
    """Let Django's connection and every new one of `accounts.database` be the application's for this while."""
    with logins.using(settings.DATABASE_URL):
        yield


def application_url() -> str:
    """DATABASE_URL of a platform on this run's database; libpq finds host and port in the query."""
    return _url(settings.DATABASE_URL)


def owner_url() -> str:
    """DATABASE_OWNER_URL of a platform on this run's database."""
    return _url(settings.DATABASE_OWNER_URL)


def _url(given: str) -> str:
    found = conninfo.conninfo_to_dict(given) | {"dbname": connection.settings_dict["NAME"]}
    return f"postgresql:///{found.pop('dbname')}?{urlencode(found)}"


def _server() -> str:
    return conninfo.make_conninfo(database.conninfo(), dbname="postgres")


def _role() -> str:
    """One for each run at a time: roles belong to the server, not to a database."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return f"test_{connection.settings_dict['NAME']}_app{worker}"


def _make(server: psycopg.Connection, role: str, password: str) -> None:
    words = {"role": sql.Identifier(role), "password": sql.Literal(password)}
    try:
        # A run that was killed has left its own.
        if not server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
            server.execute(sql.SQL("CREATE ROLE {role}").format(**words))
        server.execute(sql.SQL("ALTER ROLE {role} LOGIN PASSWORD {password}").format(**words))
    except psycopg.errors.InsufficientPrivilege:
        pytest.exit("tests: DATABASE_URL may not make the application's login; set DATABASE_OWNER_URL too", 2)
