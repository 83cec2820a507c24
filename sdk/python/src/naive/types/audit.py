"""Answers about the audit log: one entry for each change."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, override

from naive.types.model import Model


class AuditActor(Model):
    """Who acted; `person_id` is the person behind a credential, where one is known."""

    kind: Literal["key", "session", "person", "operator", "platform"]
    id: str | None
    label: str
    person_id: str | None


class AuditTarget(Model):
    """What was changed."""

    kind: str
    id: str
    label: str


class AuditEntry(Model):
    """One change: what differs, before and after, secrets masked."""

    id: str
    action: str
    actor: AuditActor
    ip: str | None
    target: AuditTarget
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    reason: str
    created_at: datetime

    @property
    @override
    def request_id(self) -> str | None:
        """The `X-Request-Id` of the answer to the change."""
        found: str | None = (self.model_extra or {}).get("request_id")
        return found
