"""Nobody but their owner may call the functions that move money."""

from collections.abc import Iterator

import pytest
from django.db import ProgrammingError, connection, transaction

from tests.billing import books


@pytest.fixture
def _stranger() -> Iterator[None]:
    """Somebody who may log in and has no grant at all; gone with the transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE ROLE naive_tests_stranger LOGIN")
        cursor.execute("SET LOCAL ROLE naive_tests_stranger")
        yield
        transaction.set_rollback(True)


def functions() -> list[tuple[str, int]]:
    """(name, number of arguments) of every function of the books."""
    return books.rows(r"SELECT proname, pronargs FROM pg_proc WHERE proname LIKE 'billing\_%%'")


@pytest.mark.usefixtures("_stranger")
def test_role_without_grants_is_refused_every_function() -> None:
    found = functions()
    assert len(found) > 15
    for name, count in found:
        if name == "billing_deny":  # A trigger's: PostgreSQL lets nobody call it.
            continue
        with (
            pytest.raises(ProgrammingError, match=f"permission denied for function {name}"),
            transaction.atomic(),
        ):
            books.rows(f"SELECT {name}({', '.join(['NULL'] * count)})")


@pytest.mark.usefixtures("_stranger")
def test_role_without_grants_reads_no_table() -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        books.rows("SELECT * FROM billing_wallet")
