"""What the application's login may do in the database: read all of it, write what Django keeps, call the books' doors.

The books' tables are written by their functions alone, which run as the owner (billing/sql/functions).
"""

from collections.abc import Iterable
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from psycopg import sql

from accounts import database

# Whoever writes these could move money past the rules; the database refuses everybody but their functions.
MONEY_TABLES = frozenset(
    f"billing_{name}"
    for name in (
        *("wallet", "hold", "hold_extension", "open_hold", "settlement", "correction", "entry", "budget"),
        *("anomaly", "decision", "idempotency", "second_look", "usage", "anchor"),
    )
)
# What moves money under its own rules, and what only reads or reckons.
DOORS = frozenset(
    f"billing_{name}"
    for name in (
        *("open_wallet", "set_wallet", "place_holds", "note_open_holds", "settle", "post_entry", "correct"),
        *("extend_holds", "forget_claims"),
        *("claim_due", "look_up_later", "look_up_again", "void_unsent", "quarantine_claimed"),
        *("claim_second_looks", "second_look_done", "second_look_again"),
        *("quarantine", "carry_out", "anchor_heads", "anchor_digest"),
        *("standing", "rank", "is_in_range", "evidence_reference"),
        # The view of violations calls these for whoever reads it.
        *("entry_hash", "usage_model", "usage_tokens", "cap_period"),
    )
)
# What trusts its caller to have checked: for other functions of the books, and for triggers.
INTERNALS = frozenset(
    f"billing_{name}"
    for name in (
        *("append_entry", "correct_call", "refuse_settlement", "evidence_details", "decide", "deny"),
        *("has_entry", "held_in_all", "lock_generations", "now"),
    )
)

# What is added and never changed; the database's own triggers refuse that to the owner too.
APPEND_ONLY = frozenset({"accounts_audit_entry"})

READ = frozenset({"SELECT"})
APPEND = READ | {"INSERT"}
WRITE = READ | {"INSERT", "UPDATE", "DELETE"}
NUMBER = frozenset({"USAGE", "SELECT"})
# Two migrations at once wait for each other here.
_LOCK = 0x6E616976

_RELATIONS = """
SELECT c.relname, c.relkind = 'S',
       coalesce(array_agg(DISTINCT a.privilege_type) FILTER (WHERE a.grantee = r.oid), '{}'),
       coalesce(bool_or(a.grantee = 0 OR a.is_grantable AND a.grantee = r.oid), false)
       OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attacl IS NOT NULL)
  FROM pg_class c JOIN pg_roles r ON r.rolname = %s
  LEFT JOIN LATERAL aclexplode(c.relacl) a ON a.grantee IN (0, r.oid)
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
   AND pg_has_role(c.relowner, 'USAGE')
 GROUP BY c.oid, r.oid ORDER BY c.relname
"""
_FUNCTIONS = r"""
SELECT p.oid::regprocedure::text, p.proname,
       coalesce(bool_or(a.grantee = r.oid), false), coalesce(bool_or(a.grantee = 0), false)
  FROM pg_proc p JOIN pg_roles r ON r.rolname = %s
  LEFT JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a ON a.grantee IN (0, r.oid)
 WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'billing\_%%'
 GROUP BY p.oid, r.oid ORDER BY 1
"""
# Also what a superuser, an owner of something above, or somebody who may become one of them could do; and what comes by
# way of another role, whose grants `grant` leaves alone. A trigger runs as whoever writes the table, which the owner's
# functions do.
_UNBOUND = """
SELECT coalesce(bool_or(pg_has_role(r.oid, d.datdba, 'MEMBER') OR pg_has_role(r.oid, n.nspowner, 'MEMBER')
                        OR pg_has_role(r.oid, c.relowner, 'MEMBER') OR has_schema_privilege(r.oid, n.oid, 'CREATE')
                        OR has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
                        OR has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE')
                        OR r.rolcreaterole OR pg_has_role(r.oid, 'pg_write_server_files', 'MEMBER')
                        OR pg_has_role(r.oid, 'pg_execute_server_program', 'MEMBER')), false)
       OR EXISTS (SELECT FROM pg_proc p, pg_roles r
                   WHERE p.pronamespace = 'public'::regnamespace AND p.proname = ANY (%s)
                     AND r.rolname = coalesce(%s, current_user) AND has_function_privilege(r.oid, p.oid, 'EXECUTE'))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_database d, pg_roles r
 WHERE n.nspname = 'public' AND c.relname = ANY (%s) AND d.datname = current_database()
   AND r.rolname = coalesce(%s, current_user)
"""


@transaction.atomic
def grant(*, role: str) -> None:
    """Bind the application's login to what it may do; asked by the owner, after every migration.

    Shape: only what differs is changed; a second time nothing is; nothing to do where `role` itself is who asks.
    Errors: ImproperlyConfigured when the role is not there, or is one that no grant can bind.
    """
    if _ask("SELECT current_user = %s", role):
        return
    if not _ask("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", role):
        raise ImproperlyConfigured(
            f"The login {role!r} of DATABASE_URL is not there: CREATE ROLE {role} LOGIN PASSWORD '…'."
        )
    _ask("SELECT pg_advisory_xact_lock(%s)", _LOCK)
    _grant_schema(role)
    _grant_relations(role)
    _grant_functions(role)
    if _ask(_UNBOUND, *_unbound(role)):
        raise ImproperlyConfigured(
            f"The login {role!r} of DATABASE_URL could still write the books or change the schema: it is a superuser, "
            "owns the database or tables in it, or is a member of a role that does. Take that from it "
            f"(ALTER DATABASE … OWNER TO, REASSIGN OWNED BY {role} TO …, REVOKE … FROM {role})."
        )


def is_bound() -> bool:
    """Whether the login of this process is kept from writing the books; asks over a connection of its own.

    Errors: psycopg.OperationalError when the database cannot be asked.
    """
    with psycopg.connect(database.conninfo(), connect_timeout=database.CONNECT_TIMEOUT_S) as asking:
        row = asking.execute(_UNBOUND, _unbound(None)).fetchone()
    return row == (False,)


def _grant_schema(role: str) -> None:
    named = sql.Identifier(role)
    # A database from before PostgreSQL 15 lets everybody create in it.
    if _ask("SELECT has_schema_privilege(%s, 'public', 'CREATE')", role):
        _run("REVOKE CREATE ON SCHEMA public FROM PUBLIC, {}", named)
    if not _ask("SELECT has_schema_privilege(%s, 'public', 'USAGE')", role):
        _run("GRANT USAGE ON SCHEMA public TO {}", named)
    # What a later migration makes can be read at once, and written when `grant` has seen that it is no money table.
    _run("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {}", named)
    _run("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {}", named)


def _grant_relations(role: str) -> None:
    ordinary = set(connection.introspection.django_table_names()) - MONEY_TABLES - APPEND_ONLY
    for name, is_sequence, given, is_odd in _rows(_RELATIONS, role):
        written = WRITE if name in ordinary else APPEND if name in APPEND_ONLY else READ
        wanted = NUMBER if is_sequence else written
        if set(given) == wanted and not is_odd:
            continue
        kind, table = sql.SQL("SEQUENCE" if is_sequence else "TABLE"), sql.Identifier("public", name)
        _run("REVOKE ALL ON {} {} FROM PUBLIC, {}", kind, table, sql.Identifier(role))
        _run("GRANT {} ON {} {} TO {}", _words(wanted), kind, table, sql.Identifier(role))


def _grant_functions(role: str) -> None:
    for signature, name, is_given, is_public in _rows(_FUNCTIONS, role):
        # As PostgreSQL wrote it, quotes included.
        function = sql.SQL(signature)
        if is_public:
            _run("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC", function)
        if is_given and name not in DOORS:
            _run("REVOKE EXECUTE ON FUNCTION {} FROM {}", function, sql.Identifier(role))
        elif not is_given and name in DOORS:
            _run("GRANT EXECUTE ON FUNCTION {} TO {}", function, sql.Identifier(role))


def _unbound(role: str | None) -> list[object]:
    """The parameters of _UNBOUND; None is who asks."""
    return [sorted(INTERNALS), role, sorted(MONEY_TABLES), role]


def _words(privileges: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL(word) for word in sorted(privileges))


def _ask(query: str, *parameters: Any) -> object:
    return _rows(query, *parameters)[0][0]


def _rows(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _run(statement: str, *parts: sql.Composable) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(*parts))
