"""The application's login moves money through the doors of the books and in no other way; a stranger in none."""

import re
from collections.abc import Iterator

import hypothesis
import psycopg
import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from hypothesis.stateful import run_state_machine_as_test

from accounts import database
from billing import reconciliation, rights, verification
from naive_platform import logins as platform_logins
from tests import logins
from tests.billing import books
from tests.billing.test_machine import Books
from tests.conftest import Run
from tests.house.test_size import sources

FUNCTIONS = r"SELECT proname::text, pronargs FROM pg_proc WHERE proname LIKE 'billing\_%%' ORDER BY 1"
TABLES = r"SELECT relname::text FROM pg_class WHERE relname LIKE 'billing\_%%' AND relkind IN ('r', 'p') ORDER BY 1"
WRITES = (
    "INSERT INTO {} DEFAULT VALUES",
    "UPDATE {0} SET {1} = {1}",
    "DELETE FROM {}",
    "TRUNCATE {}",
)
SCHEMA_CHANGES = (
    "CREATE TABLE naive_tests_own ()",
    "ALTER TABLE billing_entry DISABLE TRIGGER ALL",
    "DROP TRIGGER no_rewrite ON billing_entry",
    "ALTER TABLE billing_wallet ADD COLUMN more bigint",
    "DROP VIEW billing_violations",
    "CREATE OR REPLACE FUNCTION billing_deny() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "SET session_replication_role = replica",
    "INSERT INTO django_migrations (app, name, applied) VALUES ('billing', 'x', now())",
)
REFUSED = "permission denied|must be owner|must be able to SET ROLE"


@pytest.fixture
def application() -> Iterator[None]:
    """This test's connections are the application's."""
    with logins.as_application():
        yield


@pytest.fixture
def stranger() -> Iterator[str]:
    """Somebody who may log in and has no grant at all; gone with the transaction."""
    with transaction.atomic():
        books.rows("CREATE ROLE naive_tests_stranger LOGIN")
        yield "naive_tests_stranger"
        transaction.set_rollback(True)


def refusal(statement: str) -> str:
    """What PostgreSQL says of a statement; empty when it ran, and it is as if it had not."""
    try:
        with transaction.atomic():
            books.rows(statement)
            transaction.set_rollback(True)
    except Exception as exc:
        return str(exc)
    return ""


def call(name: str, arguments: int) -> str:
    return f"SELECT {name}({', '.join(['NULL'] * arguments)})"


def functions() -> list[tuple[str, int]]:
    """(name, number of arguments) of every function of the books."""
    found = books.rows(FUNCTIONS)
    assert len(found) > 15
    # A trigger's: PostgreSQL lets nobody call it.
    return [(name, count) for name, count in found if name != "billing_deny"]


def money_tables() -> list[str]:
    return [name for (name,) in books.rows(TABLES) if name in rights.MONEY_TABLES]


def test_every_function_of_the_books_is_a_door_or_an_internal() -> None:
    assert {name for (name, _) in books.rows(FUNCTIONS)} == rights.DOORS | rights.INTERNALS
    assert not rights.DOORS & rights.INTERNALS


def test_every_table_of_the_books_is_a_money_table_or_one_that_django_writes() -> None:
    ordinary = {model._meta.db_table for model in apps.get_models() if model._meta.managed}
    assert {name for (name,) in books.rows(TABLES)} - ordinary == rights.MONEY_TABLES


def test_no_code_beside_the_functions_writes_a_money_table() -> None:
    write = re.compile(r"(?:insert\s+into|update|delete\s+from|truncate)\s+(billing_\w+)", re.IGNORECASE)
    for path in sources("accounts", "billing", "llm", "naive_platform"):
        # The crowd is written as the books' owner, into a database that nobody needs (docs/demo.md).
        if path.parts[-2:] == ("demo_data", "crowd.py"):
            continue
        assert not rights.MONEY_TABLES & set(write.findall(path.read_text())), path


@pytest.mark.usefixtures("application")
def test_application_is_refused_every_write_to_every_money_table() -> None:
    for table in money_tables():
        column = "kind" if table == "billing_decision" else "company_id"
        for write in WRITES:
            assert f"permission denied for table {table}" in refusal(write.format(table, column))


@pytest.mark.usefixtures("application")
@pytest.mark.parametrize("statement", SCHEMA_CHANGES)
def test_application_is_refused_every_change_of_the_schema(statement: str) -> None:
    assert any(word in refusal(statement) for word in REFUSED.split("|")), refusal(statement)


@pytest.mark.usefixtures("application")
def test_application_reads_every_table_and_view() -> None:
    for (name,) in books.rows("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                              " AND relkind IN ('r', 'p', 'v')"):  # fmt: skip
        assert refusal(f"TABLE {name} LIMIT 0") == ""


@pytest.mark.usefixtures("application")
def test_application_writes_what_django_keeps() -> None:
    for table in set(connection.introspection.django_table_names(only_existing=True)):
        for privilege in ("INSERT", "UPDATE", "DELETE"):
            may = privilege == "INSERT" or table not in rights.APPEND_ONLY
            assert books.rows("SELECT has_table_privilege(%s, %s)", table, privilege) == [(may,)], table


@pytest.mark.usefixtures("application")
def test_application_may_call_every_door_and_no_internal() -> None:
    for name, count in functions():
        is_refused = f"permission denied for function {name}" in refusal(call(name, count))
        assert is_refused == (name in rights.INTERNALS), name


def test_stranger_may_call_nothing_and_read_nothing(stranger: str) -> None:
    found, tables = functions(), money_tables()
    books.rows(f"SET LOCAL ROLE {stranger}")
    for name, count in found:
        assert f"permission denied for function {name}" in refusal(call(name, count))
    for table in [*tables, "billing_violations"]:
        assert "permission denied" in refusal(f"TABLE {table}")


def test_owner_too_is_refused_to_rewrite_what_never_changes() -> None:
    changing = {
        f"billing_{name}" for name in ("wallet", "open_hold", "budget", "idempotency", "second_look", "usage")
    }
    for table in set(money_tables()) - changing:
        triggers = books.rows("SELECT tgname, tgtype FROM pg_trigger WHERE tgrelid = %s::regclass", table)
        # Before, each row or statement, by PostgreSQL's bits: 2 before, 8 delete, 16 update, 32 truncate.
        refused = {bit for _, kind in triggers for bit in (8, 16, 32) if kind & 2 and kind & bit}
        assert refused == {8, 16, 32}, table
        assert f"append-only table {table}: TRUNCATE refused" in refusal(f"TRUNCATE {table}")


@pytest.mark.usefixtures("application")
@pytest.mark.parametrize("examples", [10], ids=["ten lives"])
def test_every_movement_goes_under_the_applications_login(examples: int) -> None:
    """Holds, settlements, corrections and entries in any order, against the model of test_machine.py."""
    assert books.rows("SELECT current_user::text") == [(platform_logins.application_role(),)]
    run_state_machine_as_test(Books, settings=hypothesis.settings(max_examples=examples, deadline=None))


@pytest.mark.usefixtures("application")
def test_connections_of_the_batchers_are_the_applications(run: Run) -> None:
    acme = books.wallet()

    def there() -> dict[int, str]:
        with psycopg.connect(database.conninfo()) as outside:
            found = outside.execute(
                "SELECT pid, usename::text FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'naive-%'"
            )
            return dict(found.fetchall())

    async def seen() -> set[str]:
        # Those of tests before this one may linger, under the owner's login.
        before = there()
        await books.held(acme)
        return {name for pid, name in there().items() if pid not in before}

    assert run(seen()) == {platform_logins.application_role()}


@pytest.mark.usefixtures("application")
def test_sweep_and_audit_go_under_the_applications_login(run: Run) -> None:
    acme = books.wallet()
    lost, found, later, foreign = (run(books.held(acme, ttl_s=1)) for _ in range(4))
    with platform_logins.as_owner():
        for request in (lost, found, later, foreign):
            books.expire(request)
            books.make_first_due(request)
    due = {hold.hold_id: hold for hold in reconciliation.claim_due(limit=50)}
    cost_usd = books.CREDIT_COST_USD
    assert reconciliation.settle_from_generation(due[found.hold_id], cost_usd=cost_usd).outcome == "posted"
    assert reconciliation.void_unsent(due[lost.hold_id]) == "waiting"
    assert reconciliation.not_found(due[later.hold_id])
    assert reconciliation.quarantine_mismatch(due[foreign.hold_id], record={})
    assert books.violations(acme) == []
    verification.verify()


def test_rights_that_somebody_gave_the_application_are_taken_back(application_role: str) -> None:
    for given in (
        f"GRANT ALL ON billing_wallet TO {application_role}",
        f"GRANT UPDATE (posted_nanocredits) ON billing_wallet TO {application_role}",
        "GRANT INSERT ON billing_entry TO PUBLIC",
        f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {application_role}, PUBLIC",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
    ):
        with transaction.atomic():
            before = acls()
            books.rows(given)
            assert acls() != before, given
            rights.grant(role=application_role)
            assert acls() == before, given
            transaction.set_rollback(True)


def test_granting_twice_changes_nothing(application_role: str) -> None:
    before = books.rows("SELECT max(xmin::text::bigint) FROM pg_class")
    rights.grant(role=application_role)
    assert books.rows("SELECT max(xmin::text::bigint) FROM pg_class") == before


def test_table_of_a_later_migration_can_be_read_at_once_and_not_written(application_role: str) -> None:
    with transaction.atomic():
        books.rows("CREATE TABLE naive_tests_later ()")
        for privilege, is_given in (
            ("SELECT", True),
            ("INSERT", False),
            ("UPDATE", False),
            ("DELETE", False),
        ):
            found = books.rows(
                "SELECT has_table_privilege(%s, 'naive_tests_later', %s)", application_role, privilege
            )
            assert found == [(is_given,)]
        transaction.set_rollback(True)


def test_one_login_for_both_needs_no_grant() -> None:
    rights.grant(role=platform_logins.owner_role())
    assert not rights.is_bound()


def test_login_that_is_not_there_is_named() -> None:
    with pytest.raises(
        ImproperlyConfigured, match="'naive_tests_nobody' of DATABASE_URL is not there: CREATE ROLE"
    ):
        rights.grant(role="naive_tests_nobody")


@pytest.mark.parametrize(
    "power",
    [
        "ALTER ROLE {role} SUPERUSER",
        "ALTER TABLE billing_budget OWNER TO {role}",
        "GRANT {owner} TO {role}",
        "GRANT pg_write_all_data TO {role}",
        "ALTER SCHEMA public OWNER TO {role}",
        "ALTER DATABASE {database} OWNER TO {role}",
        "ALTER ROLE {role} CREATEROLE",
        "GRANT pg_write_server_files TO {role}",
        "GRANT pg_execute_server_program TO {role}",
        # By way of another role, whose own grants nobody has seen.
        "CREATE ROLE naive_tests_group; GRANT naive_tests_group TO {role};"
        " GRANT TRIGGER ON billing_wallet TO naive_tests_group",
        "CREATE ROLE naive_tests_group; GRANT naive_tests_group TO {role};"
        " GRANT UPDATE (posted_nanocredits) ON billing_wallet TO naive_tests_group",
        "CREATE ROLE naive_tests_group; GRANT naive_tests_group TO {role};"
        " GRANT EXECUTE ON FUNCTION billing_append_entry TO naive_tests_group",
    ],
)
def test_login_that_no_grant_can_bind_is_refused(stranger: str, power: str) -> None:
    rights.grant(role=stranger)
    named = {"owner": platform_logins.owner_role(), "database": connection.settings_dict["NAME"]}
    books.rows(power.format(role=stranger, **named))
    with pytest.raises(ImproperlyConfigured, match="could still write the books"), transaction.atomic():
        rights.grant(role=stranger)


@pytest.mark.usefixtures("application")
def test_application_is_bound() -> None:
    assert rights.is_bound()


@pytest.fixture
def application_role() -> str:
    return platform_logins.application_role()


def acls() -> list[tuple[object, ...]]:
    """Every right on everything of the schema, in an order of its own."""
    return books.rows("""
        SELECT kind, name, right_.* FROM (
            SELECT 'relation', oid::regclass::text, relacl FROM pg_class WHERE relnamespace = 'public'::regnamespace
            UNION ALL SELECT 'function', oid::regprocedure::text, proacl FROM pg_proc
                       WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'billing%%'
            UNION ALL SELECT 'schema', nspname, nspacl FROM pg_namespace WHERE nspname = 'public'
            UNION ALL SELECT 'column', attrelid::regclass || '.' || attname, attacl FROM pg_attribute
                       WHERE attacl IS NOT NULL
        ) AS held (kind, name, acl), aclexplode(acl) AS right_
        ORDER BY kind, name, right_.grantee, right_.privilege_type
    """)
