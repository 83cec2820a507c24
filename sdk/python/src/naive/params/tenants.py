"""Parameters about tenant users and account kits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Required, TypedDict

from naive.options import Options


class UserParams(Options, total=False):
    """A new tenant user."""

    # Your own id of the user, which stands for it as `ext:<external_id>`.
    external_id: str | None
    email: str
    label: str
    # Left out: the company's default kit.
    account_kit_id: str
    metadata: Mapping[str, Any]


class UserChanges(UserParams, total=False):
    """What to change of a user; `metadata` is merged, and None removes a key of it."""

    status: Literal["active", "suspended"]


class UsersParams(Options, total=False):
    """Which users to list."""

    account_kit_id: str
    created_since: datetime | str
    created_until: datetime | str
    external_id: str
    search: str
    status: Literal["active", "suspended"]
    # How many on a page.
    limit: int
    cursor: str


class LLMDefaults(TypedDict, total=False):
    """What a kit allows of models; in a change, None removes a rule."""

    allowed_models: Sequence[str] | None
    denied_models: Sequence[str] | None
    max_tokens: int | None
    provider: Mapping[str, Any] | None
    provider_required: Mapping[str, Any] | None
    max_cost_usd_per_call: float | Decimal | None
    monthly_credits_per_user: float | Decimal | None
    requests_per_minute: int | None


class LLMConfig(TypedDict, total=False):
    """The primitive llm in a kit: absent means enabled."""

    enabled: bool | None
    requiresApproval: bool | None
    defaults: LLMDefaults | None


class ConnectionsConfig(TypedDict, total=False):
    """Which connections a kit's users may make."""

    mode: Required[Literal["open", "allowlist", "blocklist"]]


type PrimitivesConfig = Mapping[str, LLMConfig | Mapping[str, Any] | None]


class KitPreviewParams(Options, total=False):
    """A change to look at before it is made; a primitive set to None is removed."""

    primitives_config: PrimitivesConfig
    connections_config: ConnectionsConfig | Mapping[str, Any]


class _Kit(KitPreviewParams, total=False):
    description: str
    is_default: bool
    # Store the prompts and answers of its users' calls for so many days, 1 to 365; None: not at all.
    prompt_retention_days: int | None


class KitParams(_Kit, total=False):
    """A new account kit."""

    name: Required[str]


class KitChanges(_Kit, total=False):
    """What to change of a kit; `primitives_config` is merged for each primitive."""

    name: str
    # The `etag` that was read: the change is made to that state, or refused with PreconditionFailedError.
    if_match: str


class KitDeletion(Options, total=False):
    """The state of the kit that is to be removed."""

    if_match: str


class KitsParams(Options, total=False):
    """Which kits to list."""

    search: str
    limit: int
    cursor: str
