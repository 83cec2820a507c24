"""Statements of workers, pages and commands on Django's connection: one way to send them, one error when they fail."""

from typing import Any

from django.db import DataError, Error, IntegrityError, connection

from accounts import database
from billing.errors import BooksUnavailable, LedgerInvariantBroken


def rows(statement: str, *parameters: Any, **named: Any) -> list[tuple[Any, ...]]:
    """Every row that PostgreSQL answers with.

    Errors: BooksUnavailable when the database cannot be reached or written to. DataError and IntegrityError when it
    refused these very parameters, for being too large or too deep, too: they would be refused again.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, named or parameters)
            found: list[tuple[Any, ...]] = cursor.fetchall()
    except (DataError, IntegrityError):
        raise
    except Error as exc:
        if isinstance(exc.__cause__, database.TOO_MUCH):
            raise DataError(*exc.args) from exc.__cause__
        raise BooksUnavailable("The database cannot be written to.", hint="Try again in a moment.") from exc
    return found


def row(statement: str, *parameters: Any, **named: Any) -> tuple[Any, ...]:
    """The one row of a statement that answers with exactly one.

    Errors: as `rows`.
    """
    found = rows(statement, *parameters, **named)
    if len(found) != 1:
        raise LedgerInvariantBroken(f"{statement}: {len(found)} rows where one was to come.")
    return found[0]
