"""What must hold before a process of the platform serves or works."""

import sys

from django.conf import settings
from django.db import connections

# What Django's own connections of such a process wait for, at most; a migration or a check of the whole ledger, which
# run as commands, take as long as they take. PostgreSQL's words; what DATABASE_URL says itself comes later and wins.
CONNECTION_BOUNDS = "-c lock_timeout=5s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
CONNECT_TIMEOUT_S = 5


def require_secrets() -> None:
    """End the process with one line where a secret is missing: an empty pepper would make every key guessable."""
    if settings.MISSING_SECRETS:
        sys.exit(f"naive: set {' and '.join(settings.MISSING_SECRETS)}, or DEBUG=1 on a development machine.")


def bound_waiting() -> None:
    """Let no query of this process wait without end for a lock, or for a server that is gone."""
    options = connections.settings["default"].setdefault("OPTIONS", {})
    options["options"] = f"{CONNECTION_BOUNDS} {options.get('options', '')}".strip()
    options.setdefault("connect_timeout", CONNECT_TIMEOUT_S)
