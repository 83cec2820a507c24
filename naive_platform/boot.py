"""What must hold before a process of the platform serves or works."""

import logging
import sys

import psycopg
from django.conf import settings
from django.core import checks
from django.db import connections
from psycopg_pool import ConnectionPool

from billing import rights

log = logging.getLogger(__name__)

# What Django's own connections of such a process wait for, at most; a migration or a check of the whole ledger, which
# run as commands, take as long as they take. PostgreSQL's words; what DATABASE_URL says itself comes later and wins.
CONNECTION_BOUNDS = "-c lock_timeout=5s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
CONNECT_TIMEOUT_S = 5
# What pages and the management API of one gateway process use at once, and how long a request waits for its turn.
SHARED_CONNECTIONS = 8
SHARED_CONNECTION_TIMEOUT_S = 5
ONE_LOGIN = (
    "The login of DATABASE_URL may write the books and change the schema itself: give the application a login of its "
    "own, and the owner's to `manage.py migrate` as DATABASE_OWNER_URL (docs/configuration.md)."
)
NO_MAIL = "EMAIL_URL is unset: nobody is written to when credits run low or a webhook is disabled."
MAIL_TO_CONSOLE = "EMAIL_URL=console: is for development: letters are written to the log, and reach nobody."


def require_secrets() -> None:
    """End the process with one line where a secret is missing: an empty pepper would make every key guessable."""
    if settings.MISSING_SECRETS:
        sys.exit(f"naive: set {' and '.join(settings.MISSING_SECRETS)}, or DEBUG=1 on a development machine.")


def bound_waiting() -> None:
    """Let no query of this process wait without end for a lock, or for a server that is gone."""
    options = connections.settings["default"].setdefault("OPTIONS", {})
    options["options"] = f"{CONNECTION_BOUNDS} {options.get('options', '')}".strip()
    options.setdefault("connect_timeout", CONNECT_TIMEOUT_S)


def share_connections() -> None:
    """Let the requests of this process share a few of Django's connections.

    Each request of the control plane has a thread of its own; with a connection each, kept for a while as elsewhere, a
    few clients would take all that PostgreSQL has.
    """
    default = connections.settings["default"]
    default["CONN_MAX_AGE"] = 0  # The pool keeps them.
    default["CONN_HEALTH_CHECKS"] = False
    default.setdefault("OPTIONS", {})["pool"] = {
        "min_size": 0,
        "max_size": SHARED_CONNECTIONS,
        "timeout": SHARED_CONNECTION_TIMEOUT_S,
        "check": ConnectionPool.check_connection,
    }


def warn_of_one_login() -> None:
    """Say it in one line where this process could write the books past their functions."""
    if _has_one_login():
        log.warning(ONE_LOGIN)


def check_login(**_: object) -> list[checks.CheckMessage]:
    """`manage.py check --deploy`: the same."""
    return [checks.Warning(ONE_LOGIN, id="naive.W001")] if _has_one_login() else []


def check_mail(**_: object) -> list[checks.CheckMessage]:
    """`manage.py check --deploy`: where nobody is written to."""
    if settings.EMAIL_URL.startswith("console:"):
        return [checks.Error(MAIL_TO_CONSOLE, id="naive.E001")]
    return [] if settings.EMAIL_URL else [checks.Warning(NO_MAIL, id="naive.W002")]


def _has_one_login() -> bool:
    """Whether there is something to warn of; a database that cannot be asked is for others to tell of."""
    try:
        return not rights.is_bound()
    except psycopg.OperationalError:
        return False
