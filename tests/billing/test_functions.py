"""The books' functions are code: any database arrives at the ones that stand in this tree, and at no other."""

import re
from collections.abc import Iterator

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction

from accounts import database
from billing import functions
from tests import races
from tests.billing import books
from tests.conftest import Run

WRITTEN = {
    name
    for path in functions.SQL.glob("*.sql")
    for name in re.findall(r"create function (\w+)", path.read_text())
}


def there() -> set[str]:
    found = books.rows(
        r"SELECT proname FROM pg_proc WHERE proname LIKE 'billing\_%%' AND proname <> 'billing_deny'"
    )
    return {name for (name,) in found}


def mark() -> str | None:
    ((found,),) = books.rows("SELECT obj_description(to_regclass('billing_violations'), 'pg_class')")
    return str(found) if found else None


@pytest.fixture
def _undone() -> Iterator[None]:
    """Whatever happens to the functions here is taken back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_migrating_leaves_the_functions_of_this_tree() -> None:
    assert there() == WRITTEN
    assert (mark() or "").startswith("functions ")


def test_second_time_nothing_is_done() -> None:
    before = books.rows(r"SELECT oid FROM pg_proc WHERE proname LIKE 'billing\_%%' ORDER BY 1")
    assert functions.apply(connection) is False
    call_command("migrate", verbosity=0)
    assert books.rows(r"SELECT oid FROM pg_proc WHERE proname LIKE 'billing\_%%' ORDER BY 1") == before


@pytest.mark.usefixtures("_undone")
def test_older_functions_go_whatever_they_were_called_and_took() -> None:
    books.rows(
        "CREATE OR REPLACE FUNCTION billing_rank(p text, q text) RETURNS integer LANGUAGE sql AS 'SELECT 1'"
    )
    books.rows(
        "CREATE FUNCTION billing_of_before(p uuid[]) RETURNS billing_entry LANGUAGE sql AS 'SELECT null::billing_entry'"
    )
    books.rows("DROP VIEW billing_violations")
    books.rows("CREATE VIEW billing_violations AS SELECT 'W1'::text AS rule, company_id FROM billing_wallet")
    assert functions.apply(connection) is True
    assert there() == WRITTEN
    assert books.rows("SELECT count(*) FROM pg_proc WHERE proname = 'billing_rank'") == [(1,)]
    assert books.rows("SELECT * FROM billing_violations WHERE difference = 0") == []


@pytest.mark.usefixtures("_undone")
def test_functions_of_other_code_are_made_anew() -> None:
    books.rows("COMMENT ON VIEW billing_violations IS 'functions of before'")
    books.rows("DROP FUNCTION billing_settle")
    assert functions.apply(connection) is True
    assert there() == WRITTEN
    assert functions.apply(connection) is False


@pytest.mark.usefixtures("_undone")
def test_nobody_but_the_owner_may_call_what_was_made_anew() -> None:
    books.rows("COMMENT ON VIEW billing_violations IS ''")
    functions.apply(connection)
    open_to_all = books.rows(
        r"SELECT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) a"
        r" WHERE proname LIKE 'billing\_%%' AND a.grantee = 0"
    )
    assert open_to_all == []


def test_two_migrations_at_once_make_the_functions_once() -> None:
    books.rows("COMMENT ON VIEW billing_violations IS 'functions of before'")
    found = races.at_once(*[lambda: functions.apply(connections["default"])] * 4)
    assert sorted(map(str, found)) == ["False", "False", "False", "True"]
    call_command("migrate", verbosity=0)
    assert there() == WRITTEN


def test_running_gateway_goes_on_with_the_new_functions(run: Run) -> None:
    """A prepared statement finds what has been made anew under its feet."""
    acme = books.wallet()
    run(books.held(acme))
    books.rows("COMMENT ON VIEW billing_violations IS 'functions of before'")
    call_command("migrate", verbosity=0)
    run(books.settled(acme))
    assert books.violations(acme) == []


def test_every_function_that_reads_a_table_runs_as_its_owner_on_a_path_of_its_own() -> None:
    found = books.rows(
        r"SELECT proname, prosecdef, coalesce(array_to_string(proconfig, ' '), ''), prosqlbody IS NOT NULL FROM pg_proc"
        r" WHERE proname LIKE 'billing\_%%' AND proname <> 'billing_deny'"
    )
    for name, is_definer, config, is_bound in found:
        assert is_bound or (is_definer and "search_path=public, pg_temp" in config), name
    assert {name for name, *_, is_bound in found if is_bound} == {
        "billing_entry_hash", "billing_usage_model", "billing_usage_tokens", "billing_cap_period"
    }  # fmt: skip


def test_functions_that_are_bound_at_once_cannot_be_led_elsewhere_by_a_search_path() -> None:
    call = (
        "SELECT billing_entry_hash('', gen_random_uuid(), 1, 'grant', 1, 'promo', 1, now(), 'r', '', '', '')"
    )
    with psycopg.connect(database.conninfo()) as other:
        other.execute(
            "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT ''x''::bytea'"
        )
        other.execute("SET LOCAL search_path = pg_temp, public, pg_catalog")
        ((found,),) = other.execute(call).fetchall()
        other.rollback()
    assert len(found) == 32
