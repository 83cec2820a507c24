"""Names that one transaction at a time holds, beside any row: PostgreSQL's advisory locks on Django's connection."""

from hashlib import sha256

from django.db import connection


def hold(*name: str) -> None:
    """Wait for the name, and hold it until the transaction ends, however it ends."""
    _ask("SELECT pg_advisory_xact_lock(%s)", name)


def try_hold(*name: str) -> bool:
    """Hold the name until the transaction ends; False, at once, where another transaction holds it."""
    return bool(_ask("SELECT pg_try_advisory_xact_lock(%s)", name))


def _ask(query: str, name: tuple[str, ...]) -> object:
    # Of 2**64 numbers; two names that shared one would only wait for each other.
    number = int.from_bytes(sha256("\x00".join(name).encode()).digest()[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute(query, [number])
        return cursor.fetchone()[0]
