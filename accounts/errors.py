"""Errors of the whole platform's base, and those of accounts; statuses live in naive_platform/errors.py.

DomainError
├── InvalidInput
├── Unauthorized
├── Forbidden
├── NotFound
├── DuplicateRecord
├── Conflict
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


class Unavailable(DomainError):
    """Something we stand on cannot be reached; nothing was decided and the caller may try again."""
