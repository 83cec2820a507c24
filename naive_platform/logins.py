"""The two logins of the database: the application's, and the owner's for what changes the schema.

What each may do is said in billing/rights.py. With one URL only, one login is both.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from psycopg import conninfo, pq

_NAMES = {"user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}


def application_role() -> str:
    """The role that DATABASE_URL logs in as; libpq's own default where the URL names none."""
    return _user(settings.DATABASE_URL)


def owner_role() -> str:
    """The role that migrations run as."""
    return _user(settings.DATABASE_OWNER_URL or settings.DATABASE_URL)


@contextlib.contextmanager
def as_owner() -> Iterator[None]:
    """Let Django's connection be the owner's for this while; the database stays the one it was (a test's, too).

    Errors: ImproperlyConfigured when the two URLs name two databases.
    """
    if not settings.DATABASE_OWNER_URL:
        yield
        return
    named, owned = _database(settings.DATABASE_URL), _database(settings.DATABASE_OWNER_URL)
    if named != owned:
        raise ImproperlyConfigured(
            f"DATABASE_URL names the database {named!r}, DATABASE_OWNER_URL {owned!r}: make them one database."
        )
    with using(settings.DATABASE_OWNER_URL):
        yield


@contextlib.contextmanager
def using(url: str) -> Iterator[None]:
    """Let Django's connection be made with this URL's login and address for this while."""
    kept, given = connection.settings_dict, _settings(url)
    before = {name: kept[name] for name in given}
    connection.close()
    kept.update(given)
    try:
        yield
    finally:
        connection.close()
        kept.update(before)


def _settings(url: str) -> dict[str, Any]:
    """A URL in Django's words, without the database's name."""
    found = conninfo.conninfo_to_dict(url)
    found.pop("dbname", None)
    named = {name: str(found.pop(word, None) or "") for word, name in _NAMES.items()}
    return {**named, "OPTIONS": found}


def _user(url: str) -> str:
    return str(conninfo.conninfo_to_dict(url).get("user") or _default("user"))


def _database(url: str) -> str:
    return str(conninfo.conninfo_to_dict(url).get("dbname") or _default("dbname") or _user(url))


def _default(keyword: str) -> str:
    found = (option.val for option in pq.Conninfo.get_defaults() if option.keyword == keyword.encode())
    return (next(found, None) or b"").decode()
