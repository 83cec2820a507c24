"""What the process ends with, and what an error of the SDK's means for that."""

from __future__ import annotations

from naive import errors

OK = 0
ERROR = 1
USAGE = 2
AUTH = 4
CREDITS = 5
# 128 + SIGINT, 128 + SIGPIPE: what a shell says of a command that a signal ended.
INTERRUPTED = 130
PIPE_CLOSED = 141

# Codes of errors that have no answer behind them.
NOT_SIGNED_IN = "not_signed_in"
# Reasons of a 403 that another key would not meet.
OF_THE_KEY = ("key_", "mfa_")


def code(error: errors.NaiveError) -> int:
    """Return the exit code: 4 where another key, or signing in, would help, 5 where credits would."""
    if isinstance(error, errors.InsufficientCreditsError):
        return CREDITS
    if isinstance(error, errors.AuthenticationError) or error.code == NOT_SIGNED_IN:
        return AUTH
    if isinstance(error, errors.PermissionDeniedError) and (error.reason or "").startswith(OF_THE_KEY):
        return AUTH
    return ERROR
