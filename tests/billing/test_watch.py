"""The nightly check: what is broken wakes the operator by company and entry, and says so when it is well again."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

import psycopg
import pytest

from accounts import database
from billing import alerts, tasks, watch
from billing.alerts import Alert
from tests import logins
from tests.billing import books
from tests.billing.tampering import tampered
from tests.conftest import Run


@pytest.fixture
def acme(run: Run) -> books.Wallet:
    made = books.wallet()
    for usd in ("0.4", "0.1"):
        run(books.settled(made, usd))
    return made


def rewritten(acme: books.Wallet) -> AbstractContextManager[None]:
    return tampered(
        "entry", acme, "UPDATE {table} SET note = 'mine' WHERE company_id = {company} AND seq = 2"
    )


def raised(acme: books.Wallet) -> list[Alert]:
    return [one for one in alerts.list_open(limit=200) if one.company_id == acme.company_id]


def test_right_books_wake_nobody(acme: books.Wallet) -> None:
    tasks.verify_ledger()
    assert raised(acme) == []


def test_rewritten_entry_wakes_the_operator_with_its_company_and_number(acme: books.Wallet) -> None:
    with rewritten(acme):
        tasks.verify_ledger()
        (found,) = raised(acme)
    assert (found.kind, found.details["entry"]) == ("ledger_broken", "entry 2")
    assert found.message.startswith(f"Company {acme.company_id}, entry 2: T3: ")


def test_same_breach_the_next_night_is_the_same_alert(acme: books.Wallet) -> None:
    with rewritten(acme):
        tasks.verify_ledger()
        tasks.verify_ledger()
        (found,) = raised(acme)
    assert found.count == 2


def test_books_that_are_well_again_resolve_the_alert(acme: books.Wallet) -> None:
    with rewritten(acme):
        tasks.verify_ledger()
    tasks.verify_ledger()
    assert raised(acme) == []


def test_second_check_beside_the_first_is_left_out(acme: books.Wallet) -> None:
    with psycopg.connect(database.conninfo(), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [watch._LOCK])
        assert watch.verify_ledger() is None
        other.execute("SELECT pg_advisory_unlock(%s)", [watch._LOCK])
        assert watch.verify_ledger() is not None


def test_check_that_failed_keeps_nobody_out(acme: books.Wallet) -> None:
    with _broken(), pytest.raises(Exception, match="lock timeout"):
        watch.verify_ledger()
    with psycopg.connect(database.conninfo(), autocommit=True) as other:
        assert other.execute("SELECT pg_try_advisory_lock(%s)", [watch._LOCK]).fetchone() == (True,)


def test_check_that_failed_wakes_the_operator_until_one_comes_to_its_end(acme: books.Wallet) -> None:
    with _broken(), pytest.raises(Exception, match="lock timeout"):
        watch.verify_ledger()
    assert "ledger_not_verified" in {one.kind for one in alerts.list_open(limit=200)}
    watch.verify_ledger()
    assert "ledger_not_verified" not in {one.kind for one in alerts.list_open(limit=200)}


def test_check_takes_longer_than_a_worker_s_other_statements_may(acme: books.Wallet) -> None:
    books.rows("SET statement_timeout = 1")
    try:
        assert watch.verify_ledger() is not None
    finally:
        books.rows("RESET statement_timeout")


@contextlib.contextmanager
def _broken() -> Iterator[None]:
    """Another transaction keeps a table that the check has to read."""
    books.rows("SET lock_timeout = '50ms'")
    with psycopg.connect(database.conninfo()) as other:
        other.execute("LOCK TABLE billing_correction")
        yield
        other.rollback()
    books.rows("RESET lock_timeout")


def test_application_login_verifies_everything(acme: books.Wallet) -> None:
    with rewritten(acme), logins.as_application():
        watch.verify_ledger()
        assert len(raised(acme)) == 1


def test_watch_of_missing_records_runs_as_a_task() -> None:
    tasks.watch_records()
