"""Parameters about API keys, sign-ins, money and webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, Required

from naive.options import Options

type Role = Literal["owner", "admin", "member", "viewer"]
type Action = Literal["llm_call", "credit_topup", "grant", "refund", "correction", "chargeback"]
type GroupBy = Literal["hour", "day", "model", "user", "key", "kit"]
type EventType = Literal[
    "credits.low",
    "credits.exhausted",
    "credits.topped_up",
    "key.created",
    "key.revoked",
    "generation.corrected",
]


class _KeyLimits(Options, total=False):
    expires_at: datetime | str | None
    # So many credits in a `cap_period`; both or neither.
    cap_credits: float | Decimal | None
    cap_period: Literal["day", "week", "month", "total"] | None
    requests_per_minute: int | None


class KeyParams(_KeyLimits, total=False):
    """A new API key."""

    name: Required[str]
    # At most your own.
    role: Role
    # Only for users of this kit, and on the typed routes.
    account_kit_id: str | None
    # Sealed to one tenant user: an id, `ext:<external_id>` or `default`.
    active_tenant_user_id: str | None


class KeyChanges(_KeyLimits, total=False):
    """What to change of a key."""

    name: str


class PageParams(Options, total=False):
    """Which page: `limit` items of a list, after `cursor`."""

    limit: int
    cursor: str


class DeliveriesParams(PageParams, total=False):
    """Which deliveries to list."""

    state: Literal["pending", "delivered", "failed"]


class _AuditFilters(Options, total=False):
    # Such as `account_kit.updated`.
    action: str
    actor_kind: Literal["key", "session", "person", "operator", "platform"]
    # The id of the key, session token or person.
    actor_id: str
    # Such as `account_kit`.
    target_kind: str
    target_id: str
    # The `X-Request-Id` of the answer.
    request_id: str
    # The first moment, and the moment after the last.
    since: datetime | str
    until: datetime | str


class AuditParams(_AuditFilters, total=False):
    """Which changes to list."""

    limit: int
    cursor: str


class AuditExportParams(_AuditFilters, total=False):
    """Which changes to export, and how."""

    format: Literal["csv", "jsonl"]


class KeysParams(Options, total=False):
    """Which keys to list."""

    account_kit_id: str
    user_id: str
    revoked: bool
    limit: int
    cursor: str


class RegisterParams(Options, total=False):
    """A new person and their company."""

    name: Required[str]
    email: Required[str]
    password: Required[str]
    company_name: str


class LoginParams(Options, total=False):
    """Who signs in."""

    email: Required[str]
    password: Required[str]
    mfa_code: str


class UserUsageParams(Options, total=False):
    """Of which days; `limit` and `cursor` are of the entries beside."""

    days: int
    group_by: GroupBy
    limit: int
    cursor: str


class UsageParams(UserUsageParams, total=False):
    """Of which days, and of whom."""

    # One tenant user: an id, `ext:<external_id>` or `default`.
    user_id: str


class LedgerParams(Options, total=False):
    """Which entries to list."""

    action: Action
    limit: int
    cursor: str


class StatementParams(Options, total=False):
    """Of which month: `2026-11`. Left out: this one."""

    month: str


class WebhookParams(Options, total=False):
    """A new endpoint."""

    url: Required[str]
    events: Required[Sequence[EventType]]
    description: str


class WebhookChanges(Options, total=False):
    """What to change of an endpoint."""

    url: str
    events: Sequence[EventType]
    description: str
    enabled: bool
