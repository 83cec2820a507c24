"""Errors of the whole platform's base, and those of accounts; statuses live in naive_platform/errors.py.

DomainError
├── InvalidInput
├── Unauthorized
├── Forbidden
├── NotFound
├── DuplicateRecord
├── Conflict
│   ├── IdempotencyInProgress   the first request under this key still runs
│   └── AlreadyCompleted        it is done, and its answer is not kept
├── IdempotencyMismatch         this key was used for another request
├── PreconditionFailed          somebody else changed it first
├── NotConfigured               the operator has not set what this needs
└── Unavailable
"""

from collections.abc import Mapping
from typing import Any


class DomainError(Exception):
    """An expected failure: `message` says what and which, `hint` what next, `details` what programs need."""

    def __init__(
        self, message: str, *, hint: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = dict(details or {})


class InvalidInput(DomainError):
    """The request is not one we understand; the message names the field."""


class Unauthorized(DomainError):
    """No key, or not a key that opens anything."""


class Forbidden(DomainError):
    """The key is good and the answer is no; `details["reason"]` says which rule."""


class NotFound(DomainError):
    """Absent, or not this company's: the two look the same."""


class DuplicateRecord(DomainError):
    """Something with this name or external id is there already."""


class Conflict(DomainError):
    """The record's state does not allow this."""


class IdempotencyInProgress(Conflict):
    """The first request under this Idempotency-Key is still running."""


class AlreadyCompleted(Conflict):
    """What this Idempotency-Key asked for was done, and its answer cannot be given again."""


class IdempotencyMismatch(DomainError):
    """This Idempotency-Key stands for another request."""


class PreconditionFailed(DomainError):
    """The record is no longer in the state that the caller read; `details["etag"]` names its state now."""


class NotConfigured(DomainError):
    """The operator has not set what this needs; `details["missing"]` names the settings."""


class Unavailable(DomainError):
    """Something we stand on cannot be reached; nothing was decided and the caller may try again."""
