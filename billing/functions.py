"""The books' SQL functions and the view of their violations: code, kept current in the database as one piece."""

import hashlib
from pathlib import Path

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

SQL = Path(__file__).resolve().parent / "sql" / "functions"
# Two migrations at once: the second waits, and finds the work done.
_LOCK = 0x626F6F6B73

# The view goes with its comment, so that what was dropped by hand is made anew.
_REMEMBERED = "SELECT obj_description(to_regclass('billing_violations'), 'pg_class')"
# billing_deny belongs to the tables: their triggers stand on it.
_DROP = r"""
DROP VIEW IF EXISTS billing_violations;
DO $$
DECLARE old regprocedure;
BEGIN
    FOR old IN SELECT oid FROM pg_proc WHERE pronamespace = current_schema::regnamespace
                  AND proname LIKE 'billing\_%' AND proname <> 'billing_deny' LOOP
        EXECUTE format('DROP FUNCTION %s', old);
    END LOOP;
END $$;
"""
# What runs as the owner of the books is for the owner alone, whoever else may log in.
_REVOKE = r"""
DO $$
DECLARE called regprocedure;
BEGIN
    FOR called IN SELECT oid FROM pg_proc WHERE pronamespace = current_schema::regnamespace
                     AND proname LIKE 'billing\_%' LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', called);
    END LOOP;
END $$;
"""


def apply(connection: BaseDatabaseWrapper) -> bool:
    """Make the functions and the view of this code the database's; False, and nothing done, where they are already.

    Shape: one transaction; the tables must be those of the last migration. Rights that were granted on the old ones
    are gone with them.
    """
    # By name: what stands on others (a view, a body that is bound at once) comes after them in the alphabet.
    texts = [path.read_text() for path in sorted(SQL.glob("*.sql"))]
    mark = f"functions {hashlib.sha256(chr(0).join([_DROP, *texts, _REVOKE]).encode()).hexdigest()}"
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute(_REMEMBERED)
        if cursor.fetchone() == (mark,):
            return False
        for text in (_DROP, *texts, _REVOKE, f"COMMENT ON VIEW billing_violations IS '{mark}'"):
            cursor.execute(text)
    return True
