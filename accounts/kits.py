"""Account kits: created, changed, asked what they allow; the shape of what they hold is in kit_configs.py."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet

from accounts import audit, database, fields, kit_configs, model_globs, pages
from accounts.errors import (
    Conflict,
    DuplicateRecord,
    Forbidden,
    InvalidInput,
    NotFound,
    PreconditionFailed,
)
from accounts.ids import AccountKitId
from accounts.kit_configs import Change, LLMRules
from accounts.models import NAME_LENGTH_MAX, AccountKit, APIKey, Company, TenantUser

DEFAULT_NAME = "Default"
DESCRIPTION_LENGTH_MAX = 2_000
PROMPT_RETENTION_DAYS_MAX = 365
CHANGEABLE = (
    *("name", "description", "is_default", "primitives_config", "connections_config"),
    "prompt_retention_days",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kit:
    """An account kit as the gate sees it."""

    id: AccountKitId
    name: str
    rules: LLMRules
    config: Mapping[str, Any] = field(repr=False)
    # Why the configuration cannot be read, if so; such a kit allows nothing.
    fault: str = ""
    # How long the prompts and answers of its calls are stored; None: they are not.
    prompt_retention_days: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some kits, the newest first; the next ones are before `before_id`, and there are none where that is None."""

    kits: list[AccountKit]
    # How many tenant users each has; one that is not named has none.
    users: Mapping[UUID, int]
    before_id: UUID | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would make of a kit, and whom it would touch; nothing is written.

    Shape: `users` have the kit; `keys` are live and scoped to it, or sealed to one of those users.
    """

    kit: AccountKit
    primitives_config: Mapping[str, Any]
    connections_config: Mapping[str, Any]
    changes: list[Change]
    users: int
    keys: int
    before: Kit
    after: Kit


def read(*, kit_id: AccountKitId, name: str, config: object, prompt_retention_days: int | None = None) -> Kit:
    """The kit with this stored configuration; a closed one where nobody can tell what it allows."""
    try:
        rules = kit_configs.parse(config)
    except InvalidInput as exc:
        log.warning("Kit %s is closed, for its configuration cannot be read: %s", kit_id, exc.message)
        closed = LLMRules(enabled=False, allowed_models=())
        return Kit(
            id=kit_id,
            name=name,
            rules=closed,
            config={},
            fault=exc.message,
            prompt_retention_days=prompt_retention_days,
        )
    return Kit(
        id=kit_id,
        name=name,
        rules=rules,
        config=fields.mapping("primitives_config", config),
        prompt_retention_days=prompt_retention_days,
    )


def gate(row: AccountKit) -> Kit:
    """The kit as the gate sees it."""
    return read(
        kit_id=AccountKitId(row.id),
        name=row.name,
        config=row.primitives_config,
        prompt_retention_days=row.prompt_retention_days,
    )


def is_open(kit: Kit, primitive: str) -> bool:
    """Whether the kit opens a primitive: absent, or without `enabled`, it is open; nothing is in an unreadable kit."""
    entry = kit.config.get(primitive)
    return not kit.fault and not (isinstance(entry, Mapping) and entry.get("enabled") is False)


def require_primitive(kit: Kit, primitive: str) -> None:
    """Refuse a primitive that the kit closes.

    Errors: Forbidden, reason `primitive_disabled_by_kit`, also where the kit's configuration cannot be read.
    """
    if kit.fault:
        raise Forbidden(
            f'Not allowed by AccountKit "{kit.name}": its configuration cannot be read. {kit.fault}',
            hint="Correct the kit, or give the user another one.",
            details={"reason": "primitive_disabled_by_kit", "primitive": primitive},
        )
    if not is_open(kit, primitive):
        raise _denied(kit, "primitive_disabled_by_kit", {"primitive": primitive})


def require_models(kit: Kit, models: Iterable[str]) -> None:
    """Refuse a call when the kit does not allow every model that may answer it.

    Shape: `model` and each of `models`, as the caller wrote them; a `preset` field counts as `@preset/<it>`.
    Errors: Forbidden, reason `model_not_allowed_by_kit`, details.model the first one refused.
    """
    for model in models:
        if not allows_model(kit.rules, model):
            raise _denied(kit, "model_not_allowed_by_kit", {"primitive": "llm", "model": model})


def allows_model(rules: LLMRules, model: str) -> bool:
    """Whether the kit's lists let `model` pass (model_globs.py); what its entry closes is closed before that."""
    return model_globs.allow(model, allowed=rules.allowed_models, denied=rules.denied_models)


def callable_models(kit: Kit, models: Iterable[str]) -> list[str]:
    """Those of `models` that may be called under the kit; none where it closes llm."""
    return [model for model in models if allows_model(kit.rules, model)] if is_open(kit, "llm") else []


@transaction.atomic
def create(
    *,
    company_id: UUID,
    name: str,
    now: datetime,
    description: str = "",
    primitives_config: object = None,
    connections_config: object = None,
    is_default: bool = False,
    prompt_retention_days: int | None = None,
) -> AccountKit:
    """Add a kit; a default one takes the place of the company's default before it.

    Errors: InvalidInput (its message names the path), NotFound (the company), DuplicateRecord (the company has a
    kit of this name).
    """
    if not Company.objects.filter(id=company_id).exists():
        raise NotFound(f"Company {company_id} was not found.")
    kit = AccountKit(
        company_id=company_id,
        name=fields.text("name", name, length_max=NAME_LENGTH_MAX),
        description=_description(description),
        primitives_config=kit_configs.merge({}, {} if primitives_config is None else primitives_config),
        connections_config=kit_configs.validate_connections_config(
            {} if connections_config is None else connections_config
        ),
        prompt_retention_days=_retention(prompt_retention_days),
        created_at=now,
    )
    if is_default:
        _become_default(kit)
    _save(kit)
    _record("created", kit, after=_facts(kit))
    return kit


def get(*, company_id: UUID, kit_id: UUID) -> AccountKit:
    """The company's kit. Errors: NotFound."""
    return _find(company_id, kit_id)


def page(*, company_id: UUID, limit: int, before_id: UUID | None = None, search: str | None = None) -> Page:
    """The company's kits, the newest first, those whose name begins with `search`; two queries however many."""
    rows = AccountKit.objects.filter(company_id=company_id)
    if search:
        rows = rows.filter(name__istartswith=search)
    shown, next_id = pages.latest(rows, limit=limit, before_id=before_id)
    users = TenantUser.objects.filter(company_id=company_id, account_kit__in=[kit.id for kit in shown])
    counts = users.order_by().values_list("account_kit_id").annotate(Count("id"))
    return Page(
        kits=shown,
        users=dict(counts) if shown else {},
        before_id=next_id,
    )


def etag(kit: AccountKit) -> str:
    """The name of the state a kit is in, in the quotes that HTTP wants; it changes with everything a kit shows."""
    return f'"v{kit.version}"'


@transaction.atomic
def update(
    *, company_id: UUID, kit_id: UUID, changes: Mapping[str, Any], if_match: Collection[str] | None = None
) -> AccountKit:
    """Change a kit; `primitives_config` is merged into what is there, `is_default` can only become true.

    Shape: `if_match` are the states (`etag`) in one of which the kit must be; None takes any.
    Errors: InvalidInput, NotFound, DuplicateRecord, Conflict (a company cannot be without a default kit),
    PreconditionFailed.
    Source: docs/product.md 3, "PATCH merges per primitive".
    """
    fields.known_keys("account_kit", changes, CHANGEABLE)
    # Users may be given the kit meanwhile.
    kit = _find(company_id, kit_id, AccountKit.objects.select_for_update(no_key=True))
    _require_match(kit, if_match)
    before = _facts(kit)
    if "name" in changes:
        kit.name = fields.text("name", changes["name"], length_max=NAME_LENGTH_MAX)
    if "description" in changes:
        kit.description = _description(changes["description"])
    if "primitives_config" in changes:
        kit.primitives_config = kit_configs.merge(kit.primitives_config, changes["primitives_config"])
    if "connections_config" in changes:
        kit.connections_config = kit_configs.validate_connections_config(changes["connections_config"])
    if "prompt_retention_days" in changes:
        kit.prompt_retention_days = _retention(changes["prompt_retention_days"])
    if "is_default" in changes and fields.boolean("is_default", changes["is_default"]) != kit.is_default:
        if kit.is_default:
            raise Conflict(f'AccountKit "{kit.name}" is the default.', hint="Make another kit the default.")
        _become_default(kit)
    _save(kit, changes)
    _record("updated", kit, before=before, after=_facts(kit))
    kit.refresh_from_db(fields=["version", "prompts_since_at"])
    return kit


@transaction.atomic
def delete(*, company_id: UUID, kit_id: UUID, if_match: Collection[str] | None = None) -> None:
    """Remove a kit that nothing needs; revoked keys scoped to it lose the scope they can no longer use.

    Errors: NotFound, PreconditionFailed, Conflict (the default, or in use; details.users and details.keys count by
    whom).
    """
    kit = _find(company_id, kit_id, AccountKit.objects.select_for_update())
    _require_match(kit, if_match)
    APIKey.objects.filter(account_kit=kit, revoked_at__isnull=False).update(account_kit=None)
    details = {
        "users": TenantUser.objects.filter(company_id=company_id, account_kit=kit).count(),
        "keys": APIKey.objects.filter(company_id=company_id, account_kit=kit).count(),
    }
    if kit.is_default or any(details.values()):
        why = "is the default" if kit.is_default else "is in use"
        raise Conflict(
            f'AccountKit "{kit.name}" {why}.', hint="Assign its users another kit first.", details=details
        )
    _record("deleted", kit, before=_facts(kit))
    kit.delete()


def preview(
    *,
    company_id: UUID,
    kit_id: UUID,
    now: datetime,
    primitives_config: object = None,
    connections_config: object = None,
) -> Preview:
    """What `update` would do with these configurations. Errors: InvalidInput, NotFound."""
    kit = _find(company_id, kit_id)
    primitives, connections = kit.primitives_config, kit.connections_config
    if primitives_config is not None:
        primitives = kit_configs.merge(primitives, primitives_config)
    if connections_config is not None:
        connections = kit_configs.validate_connections_config(connections_config)
    keys = APIKey.objects.filter(
        Q(account_kit=kit) | Q(active_tenant_user__account_kit=kit), company_id=company_id
    )
    return Preview(
        kit=kit,
        primitives_config=primitives,
        connections_config=connections,
        changes=[
            *kit_configs.difference("primitives_config", kit.primitives_config, primitives),
            *kit_configs.difference("connections_config", kit.connections_config, connections),
        ],
        users=TenantUser.objects.filter(company_id=company_id, account_kit=kit).count(),
        keys=keys.live(now).count(),
        before=gate(kit),
        after=read(kit_id=AccountKitId(kit.id), name=kit.name, config=primitives),
    )


def _require_match(kit: AccountKit, if_match: Collection[str] | None) -> None:
    if if_match is not None and etag(kit) not in if_match:
        raise PreconditionFailed(
            f'AccountKit "{kit.name}" has been changed since you read it.',
            hint="Read it again, and send the change with its new ETag.",
            details={"etag": etag(kit), "version": kit.version},
        )


def _facts(kit: AccountKit) -> dict[str, Any]:
    return {name: getattr(kit, name) for name in CHANGEABLE}


def _record(
    done: str,
    kit: AccountKit,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    audit.record(
        company_id=kit.company_id,
        action=f"account_kit.{done}",
        target_kind="account_kit",
        target_id=kit.id,
        target_label=kit.name,
        before=before,
        after=after,
    )


def _find(company_id: UUID, kit_id: UUID, rows: QuerySet[AccountKit] | None = None) -> AccountKit:
    known = AccountKit.objects.all() if rows is None else rows
    kit = known.filter(company_id=company_id, id=kit_id).first()
    if kit is None:
        raise NotFound(f"AccountKit {kit_id} was not found.")
    return kit


def _save(kit: AccountKit, columns: Iterable[str] | None = None) -> None:
    try:
        with transaction.atomic():
            kit.save(update_fields=columns)
    except IntegrityError as exc:
        if database.violated(exc) != "accounts_accountkit_name":
            raise
        there = AccountKit.objects.filter(company_id=kit.company_id, name=kit.name)
        raise DuplicateRecord(
            f'An AccountKit named "{kit.name}" is there already.',
            details={"field": "name", "existing_id": there.values_list("id", flat=True).first()},
        ) from exc


def _become_default(kit: AccountKit) -> None:
    """Make room for `kit`, which the caller saves; the default before it is one no longer."""
    # Two that both become the default take turns here instead of meeting in the unique index.
    Company.objects.select_for_update(no_key=True).get(id=kit.company_id)
    rows = AccountKit.objects.select_for_update(no_key=True)
    for old in rows.filter(company_id=kit.company_id, is_default=True):
        before = _facts(old)
        old.is_default = False
        old.save(update_fields=["is_default"])
        _record("updated", old, before=before, after=_facts(old))
    kit.is_default = True


def _retention(value: object) -> int | None:
    if value is None:
        return None
    return fields.whole_number("prompt_retention_days", value, least=1, most=PROMPT_RETENTION_DAYS_MAX)


def _description(value: object) -> str:
    return fields.text("description", value, length_max=DESCRIPTION_LENGTH_MAX, may_be_empty=True)


def _denied(kit: Kit, reason: str, details: Mapping[str, Any]) -> Forbidden:
    return Forbidden(
        f'Not allowed by AccountKit "{kit.name}": {reason}',
        hint="Change the kit, or give the user another one.",
        details={"reason": reason, **details},
    )
