"""The books' clock: the database's own, or the past of a demo company, told by the owner of the books alone."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime

from django.db import transaction

from billing import statements


@contextlib.contextmanager
def told() -> Iterator[Callable[[datetime], None]]:
    """Let the books write, on Django's connection, at the instants that this block tells them.

    Shape: one transaction; what it yields says from which instant on. A company's entries never go back in time, so
    that instants are to be told in their order.
    Errors: the first write at such an instant raises BooksUnavailable unless the login is that of the books' owner.
    Source: docs/demo.md, "The past".
    """
    with transaction.atomic():
        yield _tell
        _say("")


def _tell(instant: datetime) -> None:
    _say(instant.isoformat())


def _say(text: str) -> None:
    # Forgotten with the transaction, and with the savepoint where it is rolled back.
    statements.row("SELECT set_config('naive.now', %s, true)", text)
