"""Answers about tenant users, their sessions and their account kits."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from naive.types.model import Model, Money


class User(Model):
    """A tenant user: one of your company's own users."""

    id: str
    external_id: str | None
    email: str
    label: str
    status: Literal["active", "suspended"]
    account_kit_id: str
    is_default: bool
    metadata: dict[str, Any]
    created_at: datetime
    last_active_at: datetime | None


class Session(Model):
    """A session token without its secret."""

    id: str
    user_id: str
    key_id: str
    expires_at: datetime
    created_at: datetime
    revoked_at: datetime | None


class IssuedSession(Session):
    """A new session with its `token`, for the user's own device; it is shown only here."""

    token: str = Field(repr=False)


class AccountKit(Model):
    """A template of what its users may do. Its `etag` goes into `if_match`."""

    id: str
    name: str
    description: str
    is_default: bool
    primitives_config: dict[str, Any]
    connections_config: dict[str, Any]
    # For how many days prompts and answers of its users are stored; None: not at all.
    prompt_retention_days: int | None
    etag: str
    created_at: datetime
    # In lists: how many tenant users have it.
    users: int | None = None


class Deleted(Model):
    """What was there, and is no more."""

    id: str
    deleted: bool


class Assigned(Model):
    """How many users have another kit now, and how many had this one already."""

    account_kit_id: str
    assigned: int
    unchanged: int


class Primitive(Model):
    name: str
    enabled: bool
    requires_approval: bool
    source: Literal["account_kit", "platform", "none"]
    defaults: dict[str, Any]


class LLMRules(Model):
    """A kit's rules for models; None for `allowed_models` allows every one."""

    allowed_models: list[str] | None
    denied_models: list[str]
    provider: dict[str, Any] | None
    provider_required: dict[str, Any] | None


class Limit(Model):
    """One limit; `value` is None where there is none, `path` is where it is set."""

    name: str
    value: Money | None
    unit: str
    source: Literal["account_kit", "platform", "none"]
    path: str


class AllowedModels(Model):
    known: int
    count: int
    names: list[str]


class EffectiveKit(Model):
    """What a tenant user of the kit may do."""

    account_kit_id: str
    account_kit_name: str
    etag: str
    fault: str | None
    primitives: list[Primitive]
    llm: LLMRules
    limits: list[Limit]
    models: AllowedModels


class Change(Model):
    """One value that would differ."""

    path: str
    before: Any = None
    after: Any = None


class ModelNames(Model):
    count: int
    names: list[str]


class ModelChanges(Model):
    """How many models may be called before and after, and which change sides."""

    known: int
    allowed_before: int
    allowed_after: int
    allowed: ModelNames
    denied: ModelNames


class KitPreview(Model):
    """What a change would make of a kit, and whom it would touch."""

    account_kit_id: str
    etag: str
    primitives_config: dict[str, Any]
    connections_config: dict[str, Any]
    changes: list[Change]
    users: int
    keys: int
    models: ModelChanges
