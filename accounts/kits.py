"""Account kits: created, changed, asked what they allow; the shape of what they hold is in kit_configs.py."""

import functools
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts import database, fields, kit_configs
from accounts.errors import Conflict, DuplicateRecord, Forbidden, InvalidInput, NotFound
from accounts.ids import AccountKitId
from accounts.kit_configs import LLMRules
from accounts.models import NAME_LENGTH_MAX, AccountKit, APIKey, Company, TenantUser

DEFAULT_NAME = "Default"
DESCRIPTION_LENGTH_MAX = 2_000
CHANGEABLE = ("name", "description", "is_default", "primitives_config", "connections_config")

PRESET = "@preset/"
ROUTER = "openrouter/"
ALIAS = "~"
# Upstream knows one or two at a time; a deny list looks at each of them.
VARIANTS_MAX = 8

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


def read(*, kit_id: AccountKitId, name: str, config: object) -> Kit:
    """The kit with this stored configuration; a closed one where nobody can tell what it allows."""
    try:
        rules = kit_configs.parse(config)
    except InvalidInput as exc:
        log.warning("Kit %s is closed, for its configuration cannot be read: %s", kit_id, exc.message)
        closed = LLMRules(enabled=False, allowed_models=())
        return Kit(id=kit_id, name=name, rules=closed, config={}, fault=exc.message)
    return Kit(id=kit_id, name=name, rules=rules, config=fields.mapping("primitives_config", config))


def require_primitive(kit: Kit, primitive: str) -> None:
    """Refuse a primitive that the kit closes; absent, or without `enabled`, it is open.

    Errors: Forbidden, reason `primitive_disabled_by_kit`, also where the kit's configuration cannot be read.
    """
    if kit.fault:
        raise Forbidden(
            f'Not allowed by AccountKit "{kit.name}": its configuration cannot be read. {kit.fault}',
            hint="Correct the kit, or give the user another one.",
            details={"reason": "primitive_disabled_by_kit", "primitive": primitive},
        )
    entry = kit.config.get(primitive)
    if isinstance(entry, Mapping) and entry.get("enabled") is False:
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
    """Whether the kit's lists let `model` pass; `*` in a glob stands for any characters, and case matters.

    An allow list is matched against the model as it is written, `:variant` included. A deny list wins over it, and
    also catches every form of what it names: `openai/o1-pro` denies `openai/o1-pro:online`, and `anthropic/*` the
    alias `~anthropic/claude-latest`.
    Presets (`@preset/x`, `vendor/model@preset/x`) and routers (`openrouter/auto`) choose a model that nobody
    sees here, so where there is a list of either kind they pass only if an allow list names them: `@preset/x`,
    `openrouter/*`, not `*`. An alias may stand for any model of its vendor, so a deny list that may mean one of
    those stops it alike.
    Source: docs/product.md 3, "Account kit"; docs/architecture.md, "Choices where the contract is silent".
    """
    if rules.denied_models and _is_denied(rules.denied_models, model):
        return False
    chooses = PRESET in model or model.startswith(ROUTER)
    if chooses or _is_doubtful_alias(rules.denied_models, model):
        if rules.allowed_models is None:
            return not rules.denied_models
        return any(_names(glob, model) for glob in rules.allowed_models)
    return rules.allowed_models is None or _globs(rules.allowed_models).match(model)


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
        created_at=now,
    )
    _save(kit)
    return _make_default(kit) if is_default else kit


def get(*, company_id: UUID, kit_id: UUID) -> AccountKit:
    """The company's kit. Errors: NotFound."""
    return _find(company_id, kit_id)


@transaction.atomic
def update(*, company_id: UUID, kit_id: UUID, changes: Mapping[str, Any]) -> AccountKit:
    """Change a kit; `primitives_config` is merged into what is there, `is_default` can only become true.

    Errors: InvalidInput, NotFound, DuplicateRecord, Conflict (a company cannot be without a default kit).
    Source: docs/product.md 3, "PATCH merges per primitive".
    """
    fields.known_keys("account_kit", changes, CHANGEABLE)
    kit = _find(company_id, kit_id, for_update=True)
    if "name" in changes:
        kit.name = fields.text("name", changes["name"], length_max=NAME_LENGTH_MAX)
    if "description" in changes:
        kit.description = _description(changes["description"])
    if "primitives_config" in changes:
        kit.primitives_config = kit_configs.merge(kit.primitives_config, changes["primitives_config"])
    if "connections_config" in changes:
        kit.connections_config = kit_configs.validate_connections_config(changes["connections_config"])
    _save(kit, [name for name in changes if name != "is_default"])
    if "is_default" not in changes or fields.boolean("is_default", changes["is_default"]) == kit.is_default:
        return kit
    if kit.is_default:
        raise Conflict(f'AccountKit "{kit.name}" is the default.', hint="Make another kit the default.")
    return _make_default(kit)


@transaction.atomic
def delete(*, company_id: UUID, kit_id: UUID) -> None:
    """Remove a kit that nothing needs; revoked keys scoped to it lose the scope they can no longer use.

    Errors: NotFound, Conflict (the default, or in use; details.users and details.keys count by whom).
    """
    kit = _find(company_id, kit_id, for_update=True)
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
    kit.delete()


def _find(company_id: UUID, kit_id: UUID, *, for_update: bool = False) -> AccountKit:
    rows = AccountKit.objects.select_for_update() if for_update else AccountKit.objects
    kit = rows.filter(company_id=company_id, id=kit_id).first()
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
        raise DuplicateRecord(
            f'An AccountKit named "{kit.name}" is there already.', details={"field": "name"}
        ) from exc


def _make_default(kit: AccountKit) -> AccountKit:
    # Two that both become the default take turns here instead of meeting in the unique index.
    Company.objects.select_for_update().get(id=kit.company_id)
    AccountKit.objects.filter(company_id=kit.company_id, is_default=True).update(is_default=False)
    kit.is_default = True
    kit.save(update_fields=["is_default"])
    return kit


def _description(value: object) -> str:
    return fields.text("description", value, length_max=DESCRIPTION_LENGTH_MAX, may_be_empty=True)


def _denied(kit: Kit, reason: str, details: Mapping[str, Any]) -> Forbidden:
    return Forbidden(
        f'Not allowed by AccountKit "{kit.name}": {reason}',
        hint="Change the kit, or give the user another one.",
        details={"reason": reason, **details},
    )


def _is_denied(denied: tuple[str, ...], model: str) -> bool:
    plain = model.removeprefix(ALIAS).partition(PRESET)[0]
    base, *variants = plain.split(":")
    if len(variants) > VARIANTS_MAX:
        return True
    forms = {model, model.removeprefix(ALIAS), plain, base, *(f"{base}:{variant}" for variant in variants)}
    globs = _globs(denied)
    return any(globs.match(form) for form in forms)


def _is_doubtful_alias(denied: tuple[str, ...], model: str) -> bool:
    if not model.startswith(ALIAS):
        return False
    vendor = model.removeprefix(ALIAS).partition("/")[0] + "/"
    heads = [glob.partition("*")[0] for glob in denied]
    return any(head.startswith(vendor) or vendor.startswith(head) for head in heads)


def _names(glob: str, model: str) -> bool:
    if PRESET in model and PRESET not in glob:
        return False
    if model.startswith(ROUTER) and not glob.startswith(ROUTER):
        return False
    if model.startswith(ALIAS) and not glob.startswith(ALIAS):
        return False
    return _globs((glob,)).match(model)


@dataclass(frozen=True, slots=True)
class _Globs:
    """A list of globs, taken apart once: a regular expression of 500 of them takes half a second to compile."""

    literal: frozenset[str]
    # The text around each `*`.
    pieces: tuple[tuple[str, ...], ...]

    def match(self, model: str) -> bool:
        return model in self.literal or any(_fits(pieces, model) for pieces in self.pieces)


@functools.lru_cache(maxsize=4096)
def _globs(globs: tuple[str, ...]) -> _Globs:
    return _Globs(
        literal=frozenset(glob for glob in globs if "*" not in glob),
        pieces=tuple(tuple(glob.split("*")) for glob in globs if "*" in glob),
    )


def _fits(pieces: tuple[str, ...], model: str) -> bool:
    head, *middle, tail = pieces
    at, end = len(head), len(model) - len(tail)
    if at > end or not model.startswith(head) or not model.endswith(tail):
        return False
    # The first place of a piece leaves the most room for those after it, so nothing is ever tried twice.
    for piece in middle:
        found = model.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
