"""What a kit comes to: its rules (accounts) on the models there are (llm), beside the platform's own limits."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from asgiref.sync import async_to_sync
from django.conf import settings

from accounts import database, kit_configs, kits, model_globs
from accounts.kit_configs import LLMRules
from accounts.kits import Kit, Preview
from accounts.models import AccountKit
from llm import catalog

# What this platform runs; a kit may speak of others, which are kept for those who do.
PRIMITIVES = ("llm",)
_DEFAULTS = "primitives_config.llm.defaults"

type Source = Literal["account_kit", "platform", "none"]


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit, whose it is and where it is set; `value` None is no limit. Units: `unit` says it."""

    name: str
    value: int | Decimal | None
    unit: str
    source: Source
    path: str


@dataclass(frozen=True, slots=True)
class Primitive:
    """Whether the kit opens a primitive, and by its own word or because it says nothing."""

    name: str
    enabled: bool
    requires_approval: bool
    source: Source
    defaults: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Effects:
    """What a user of the kit may do. `models` may be called, of `models_known` in the catalogue."""

    kit: AccountKit
    gate: Kit
    primitives: list[Primitive]
    limits: list[Limit]
    models: list[str]
    models_known: int


@dataclass(frozen=True, slots=True)
class Reach:
    """How many models may be called under which kit, of `models_known` in the catalogue."""

    models_known: int
    models: Mapping[UUID, int]


@dataclass(frozen=True, slots=True)
class Matches:
    """Which of `models_known` models the kit's lists let pass, whether it opens llm or not."""

    gate: Kit
    models: list[str]
    models_known: int


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a change of the kit would do, to the catalogue's models too."""

    preview: Preview
    models_known: int
    models_before: int
    models_after: int
    allowed: list[str]
    denied: list[str]


def effective(*, company_id: UUID, kit_id: UUID) -> Effects:
    """What the gate would let a user of this kit do now. Errors: NotFound, Unavailable."""
    row = kits.get(company_id=company_id, kit_id=kit_id)
    gate, models = kits.gate(row), _models()
    return Effects(
        kit=row,
        gate=gate,
        primitives=[_primitive(gate, name) for name in sorted({*PRIMITIVES, *gate.config})],
        limits=_limits(gate),
        models=kits.callable_models(gate, models),
        models_known=len(models),
    )


def preview(
    *,
    company_id: UUID,
    kit_id: UUID,
    now: datetime,
    primitives_config: object = None,
    connections_config: object = None,
) -> Consequences:
    """What a PATCH with these configurations would do. Errors: InvalidInput, NotFound, Unavailable."""
    found = kits.preview(
        company_id=company_id,
        kit_id=kit_id,
        now=now,
        primitives_config=primitives_config,
        connections_config=connections_config,
    )
    models = _models()
    before = kits.callable_models(found.before, models)
    after = kits.callable_models(found.after, models)
    were, will_be = set(before), set(after)
    return Consequences(
        preview=found,
        models_known=len(models),
        models_before=len(before),
        models_after=len(after),
        allowed=[model for model in after if model not in were],
        denied=[model for model in before if model not in will_be],
    )


def matches(*, company_id: UUID, kit_id: UUID, primitives_config: object = None) -> Matches:
    """What the kit's lists match, after a PATCH with this configuration if one is given.

    Errors: InvalidInput, NotFound, Unavailable.
    """
    row = kits.get(company_id=company_id, kit_id=kit_id)
    if primitives_config is not None:
        row.primitives_config = kit_configs.merge(row.primitives_config, primitives_config)
    gate, models = kits.gate(row), _models()
    return Matches(
        gate=gate,
        models=[model for model in models if kits.allows_model(gate.rules, model)],
        models_known=len(models),
    )


def reach(rows: Iterable[AccountKit]) -> Reach:
    """How many of the catalogue's models may be called under each of these kits. Errors: Unavailable."""
    models = tuple(_models())
    counts = {}
    for row in rows:
        gate = kits.gate(row)
        counts[row.id] = _count(models, gate.rules) if kits.is_open(gate, "llm") else 0
    return Reach(models_known=len(models), models=counts)


def closes(found: Consequences) -> bool:
    """Whether a change may refuse something that was allowed before it."""
    return bool(found.denied) or any(kit_configs.closes(change) for change in found.preview.changes)


def _count(models: tuple[str, ...], rules: LLMRules) -> int:
    return _count_matches(models, rules.allowed_models, rules.denied_models)


@functools.lru_cache(maxsize=256)
def _count_matches(models: tuple[str, ...], allowed: tuple[str, ...] | None, denied: tuple[str, ...]) -> int:
    # Many kits have the same lists, and a page shows many kits.
    return sum(model_globs.allow(model, allowed=allowed, denied=denied) for model in models)


def _primitive(gate: Kit, name: str) -> Primitive:
    entry = gate.config.get(name)
    said: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {}
    return Primitive(
        name=name,
        enabled=kits.is_open(gate, name),
        requires_approval=said.get("requiresApproval") is True,
        source="account_kit" if gate.fault or "enabled" in said else "none",
        defaults=said.get("defaults", {}),
    )


def _limits(gate: Kit) -> list[Limit]:
    rules = gate.rules
    by_kit: list[tuple[str, int | Decimal | None, str]] = [
        ("max_tokens", rules.max_tokens, "output tokens per call"),
        ("max_cost_usd_per_call", rules.max_cost_usd_per_call, "USD per call"),
        ("monthly_credits_per_user", rules.monthly_credits_per_user, "credits per month and tenant user"),
        ("requests_per_minute", rules.requests_per_minute, "requests per minute and tenant user"),
    ]
    by_platform = [
        ("requests_per_minute_per_key", "REQUESTS_PER_MINUTE", "requests per minute and API key"),
        ("calls_at_once_per_company", "MAX_CALLS_PER_COMPANY", "calls at the same time per company"),
    ]
    found: list[tuple[str, int | None, str, str]] = [
        (name, getattr(settings, setting) or None, unit, setting) for name, setting, unit in by_platform
    ]
    return [
        *(
            Limit(name, value, unit, "none" if value is None else "account_kit", f"{_DEFAULTS}.{name}")
            for name, value, unit in by_kit
        ),
        *(
            Limit(name, value, unit, "none" if value is None else "platform", setting)
            for name, value, unit, setting in found
        ),
    ]


def catalogue() -> catalog.Catalog:
    """The models there are, as the database last had them; upstream is not asked. Errors: Unavailable."""
    return async_to_sync(_catalog)()


def _models() -> list[str]:
    return [model.id for model in catalogue().models]


async def _catalog() -> catalog.Catalog:
    async with database.visit():
        return await catalog.at_hand()
