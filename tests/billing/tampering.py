"""What the tables' owner can do to the books: the refusals switched off, rows changed, and all put back."""

import contextlib
from collections.abc import Iterator

from django.db import connection, transaction

from tests.billing import books

KEEP = "CREATE TABLE kept_{n} AS SELECT * FROM {table} WHERE company_id = {company}"
PUT_BACK = (
    "DELETE FROM {table} WHERE company_id = {company}",
    "INSERT INTO {table} SELECT * FROM kept_{n}",
    "DROP TABLE kept_{n}",
)


@contextlib.contextmanager
def triggers_off(*tables: str) -> Iterator[None]:
    """The owner's way past the refusal to rewrite; the triggers are back, and the changes there, at the end."""
    with transaction.atomic(), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE billing_{table} DISABLE TRIGGER USER")
        yield
        for table in tables:
            cursor.execute(f"ALTER TABLE billing_{table} ENABLE TRIGGER USER")


@contextlib.contextmanager
def tampered(table: str | tuple[str, ...], who: books.Wallet, *statements: str) -> Iterator[None]:
    """The company's rows of these tables, changed by `statements` on the first; put back afterwards."""
    tables = (table,) if isinstance(table, str) else table
    company = f"'{who.company_id}'"

    def send(*lines: str) -> None:
        for n, name in enumerate(tables):
            for line in lines:
                books.rows(line.format(table=f"billing_{name}", company=company, n=n))

    with triggers_off(*tables):
        send(KEEP)
        for statement in statements:
            books.rows(statement.format(table=f"billing_{tables[0]}", company=company))
    try:
        yield
    finally:
        with triggers_off(*tables):
            send(*PUT_BACK)
