"""A connection of the test's own, beside those of Django and of the code under test."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from accounts import database

type Own = Connection[TupleRow]


@pytest.fixture
def own() -> Iterator[Own]:
    """Somebody else's connection: another process as far as the code under test can tell."""
    with psycopg.connect(database.conninfo(), autocommit=True) as connection:
        yield connection
