"""Answers about webhooks: endpoints, deliveries, and the events that they carry."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from naive.types.model import Model

EventType = Literal[
    "credits.low",
    "credits.exhausted",
    "credits.topped_up",
    "key.created",
    "key.revoked",
    "generation.corrected",
]


class Webhook(Model):
    """An endpoint of the company's."""

    id: str
    url: str
    description: str
    events: list[EventType]
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: Literal["by_hand", "failing", "gone"] | None
    failing_since: datetime | None
    created_at: datetime


class IssuedWebhook(Webhook):
    """An endpoint with its new `secret`, which is shown only here: what its deliveries are verified with."""

    secret: str = Field(repr=False)


class Delivery(Model):
    """One event on its way to one endpoint, and what came of its last attempt."""

    id: str
    webhook_id: str
    message_id: str
    type: str
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    next_attempt_at: datetime | None
    last_attempt_at: datetime | None
    delivered_at: datetime | None
    status_code: int | None
    error: str | None
    answer: str
    duration_ms: int | None
    replay_of: str | None
    created_at: datetime
    payload: dict[str, Any]


class Event(Model):
    """What a delivery says, once it is verified."""

    type: str
    timestamp: datetime
    data: dict[str, Any]
