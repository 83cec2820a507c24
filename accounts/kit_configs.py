"""The configuration inside an account kit: its shape, its changes and its words; the gate is in kits.py."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from accounts import fields

PRIMITIVES_BYTES_MAX = 64 * 1024
CONNECTIONS_BYTES_MAX = 16 * 1024
PRIMITIVE_NAME_LENGTH_MAX = 64
MODEL_GLOBS_MAX = 500
MODEL_GLOB_LENGTH_MAX = 200
# What a shell would give a meaning; no model id holds one, so a glob with one would never match.
UNKNOWN_WILDCARDS = frozenset("?[]")
# Tokens; above every model's own limit.
MAX_TOKENS_MAX = 10_000_000
# USD; a dearer call counts as implausible (docs/product.md 6).
CALL_COST_USD_MAX = Decimal(1000)
MONTHLY_CREDITS_MAX = Decimal(1_000_000)
REQUESTS_PER_MINUTE_MAX = 1_000_000

CONNECTION_MODES = ("open", "allowlist", "blocklist")
ENTRY_KEYS = ("enabled", "defaults", "requiresApproval")
LLM_DEFAULTS = (
    "allowed_models",
    "denied_models",
    "max_tokens",
    "provider",
    "provider_required",
    "max_cost_usd_per_call",
    "monthly_credits_per_user",
    "requests_per_minute",
)


@dataclass(frozen=True, slots=True)
class LLMRules:
    """What a kit says about the llm primitive; the bare default says nothing and allows everything.

    Units: max_tokens in tokens, max_cost_usd_per_call in USD, monthly_credits_per_user in credits.
    """

    enabled: bool = True
    # None allows every model; an empty tuple allows none.
    allowed_models: tuple[str, ...] | None = None
    denied_models: tuple[str, ...] = ()
    max_tokens: int | None = None
    provider: Mapping[str, Any] | None = None
    provider_required: Mapping[str, Any] | None = None
    max_cost_usd_per_call: Decimal | None = None
    monthly_credits_per_user: Decimal | None = None
    requests_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs between two configurations; None where there is none."""

    path: str
    before: Any
    after: Any


def parse(primitives_config: object) -> LLMRules:
    """The llm rules of a kit's configuration as it is stored.

    Units: numbers inside `provider` and `provider_required` stay what they are given as, Decimals for instance.
    Errors: InvalidInput for a configuration that `validate_primitives_config` would have refused.
    """
    config = fields.mapping("primitives_config", primitives_config)
    entry = config.get("llm", {})
    _check_entry("primitives_config.llm", entry)
    given = entry.get("defaults", {})
    return LLMRules(
        enabled=entry.get("enabled", True), **_llm_defaults("primitives_config.llm.defaults", given)
    )


def validate_primitives_config(config: object) -> dict[str, Any]:
    """A copy of `config` that may be stored: a map of primitive to `{enabled, defaults?, requiresApproval?}`.

    Primitives this project does not know are kept as they are given.
    Errors: InvalidInput, its message beginning with the path, `primitives_config.llm.defaults.max_tokens`.
    Source: docs/product.md 3, "Account kit".
    """
    path = "primitives_config"
    copy = fields.json_object(path, config, bytes_max=PRIMITIVES_BYTES_MAX)
    for name, entry in copy.items():
        fields.text(f"{path}.{name}", name, length_max=PRIMITIVE_NAME_LENGTH_MAX)
        _check_entry(f"{path}.{name}", entry)
    llm = copy.get("llm", {})
    fields.known_keys(f"{path}.llm", llm, ENTRY_KEYS)
    _llm_defaults(f"{path}.llm.defaults", llm.get("defaults", {}))
    return copy


def validate_connections_config(config: object) -> dict[str, Any]:
    """A copy of `config` that may be stored: `{"mode": "open" | "allowlist" | "blocklist", ...}`.

    Errors: InvalidInput.
    """
    copy = fields.json_object("connections_config", config, bytes_max=CONNECTIONS_BYTES_MAX)
    mode = fields.choice("connections_config.mode", copy.get("mode", CONNECTION_MODES[0]), CONNECTION_MODES)
    return copy | {"mode": mode}


def merge(config: object, patch: object) -> dict[str, Any]:
    """`config` changed by a PATCH: per primitive, then per field of its entry and of its `defaults`.

    Null removes a primitive, a field of it, one of its defaults. Below that a value replaces the other whole.
    A stored configuration that is no object at all counts as an empty one, so that a PATCH can mend it.
    Errors: InvalidInput when the result could not be stored.
    """
    merged = dict(config) if isinstance(config, Mapping) else {}
    changes = fields.json_object("primitives_config", patch, bytes_max=PRIMITIVES_BYTES_MAX)
    for name, change in changes.items():
        before = merged.pop(name, {})
        if isinstance(change, dict):
            merged[name] = _merge_entry(before, change)
        elif change is not None:
            merged[name] = change
    return validate_primitives_config(merged)


def patch(before: object, after: Mapping[str, Any]) -> dict[str, Any]:
    """The PATCH that makes `after` of `before`: what `merge` takes, with null for everything that is to go."""
    stored = before if isinstance(before, Mapping) else {}
    changes: dict[str, Any] = {}
    for name in {**stored, **after}:
        was, will_be = stored.get(name), after.get(name)
        if isinstance(was, Mapping) and isinstance(will_be, Mapping):
            change = _top_patch(was, will_be)
            if isinstance(was.get("defaults"), Mapping) and isinstance(change.get("defaults"), Mapping):
                change["defaults"] = _top_patch(was["defaults"], change["defaults"])
            if change:
                changes[name] = change
        elif name not in after or not is_same(was, will_be):
            changes[name] = will_be
    return changes


def closes(change: Change) -> bool:
    """Whether a change may refuse something that was allowed; where nobody can tell, it may.

    Shape: of `difference`, its path that of one value of an entry, of its `defaults` or of `connections_config`.
    """
    before, after = change.before, change.after
    if before in (None, {}) and after in (None, {}):
        return False
    match change.path.rpartition(".")[2]:
        case "enabled" | "requiresApproval" as key:
            open_word = key == "enabled"
            return after is not None and after is not open_word
        case "allowed_models":
            return after is not None and (before is None or not _holds_all(after, before))
        case "denied_models":
            return not _holds_all(before or [], after or [])
        case "max_tokens" | "requests_per_minute" | "max_cost_usd_per_call" | "monthly_credits_per_user":
            return after is not None and (before is None or _is_less(after, before))
        case "mode" if change.path == "connections_config.mode":
            return bool(after != CONNECTION_MODES[0])
    return True


def difference(path: str, before: object, after: object) -> list[Change]:
    """What differs, by the path of each value and in the order of paths; a list is one value."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return [
            change
            for name in sorted({**before, **after})
            for change in difference(f"{path}.{name}", before.get(name), after.get(name))
        ]
    if isinstance(after, Mapping) and before is None and after:
        return difference(path, {}, after)
    if isinstance(before, Mapping) and after is None and before:
        return difference(path, before, {})
    return [] if is_same(before, after) else [Change(path, before, after)]


def is_same(before: object, after: object) -> bool:
    """Whether two JSON values are one, by their spelling: in Python 1 and true are the same."""
    return json.dumps(before, sort_keys=True, default=str) == json.dumps(after, sort_keys=True, default=str)


def _top_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What of the first level changes; null for what is to go."""
    return {
        name: after.get(name)
        for name in {**before, **after}
        if name not in after or not is_same(before.get(name), after[name])
    }


def _is_less(after: object, before: object) -> bool:
    try:
        return Decimal(str(after)) < Decimal(str(before))
    except InvalidOperation:
        # What was there could not be read, and its kit allowed nothing.
        return False


def _holds_all(wide: object, narrow: object) -> bool:
    """Whether a list has each entry of another."""
    return isinstance(wide, list) and isinstance(narrow, list) and all(entry in wide for entry in narrow)


def _merge_entry(before: object, change: Mapping[str, Any]) -> dict[str, Any]:
    entry = dict(before) if isinstance(before, Mapping) else {}
    for key, value in change.items():
        if key == "defaults" and isinstance(value, Mapping) and isinstance(entry.get(key), Mapping):
            entry[key] = _without_nulls(entry[key] | value)
        elif key == "defaults" and isinstance(value, Mapping):
            entry[key] = _without_nulls(value)
        else:
            entry[key] = value
    return _without_nulls(entry)


def _without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: inner for key, inner in value.items() if inner is not None}


def _check_entry(path: str, entry: object) -> None:
    if not isinstance(entry, Mapping):
        raise fields.refuse(path, 'must be an object such as {"enabled": true}.')
    for key in ("enabled", "requiresApproval"):
        if key in entry:
            fields.boolean(f"{path}.{key}", entry[key])
    if not isinstance(entry.get("defaults", {}), Mapping):
        raise fields.refuse(f"{path}.defaults", "must be an object.")


def _llm_defaults(path: str, given: Mapping[str, Any]) -> dict[str, Any]:
    fields.known_keys(path, given, LLM_DEFAULTS)
    found: dict[str, Any] = {}
    for key, value in given.items():
        here = f"{path}.{key}"
        match key:
            case "allowed_models" | "denied_models":
                found[key] = _globs(here, value)
            case "max_tokens":
                found[key] = fields.whole_number(here, value, least=1, most=MAX_TOKENS_MAX)
            case "requests_per_minute":
                found[key] = fields.whole_number(here, value, least=1, most=REQUESTS_PER_MINUTE_MAX)
            case "max_cost_usd_per_call":
                found[key] = fields.amount(here, value, most=CALL_COST_USD_MAX)
            case "monthly_credits_per_user":
                found[key] = fields.amount(here, value, most=MONTHLY_CREDITS_MAX)
            case _:
                found[key] = fields.mapping(here, value)
    return found


def _globs(path: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise fields.refuse(path, 'must be an array of strings such as "anthropic/*".')
    if len(value) > MODEL_GLOBS_MAX:
        raise fields.refuse(path, f"must have at most {MODEL_GLOBS_MAX} entries, not {len(value)}.")
    for index, glob in enumerate(value):
        here = f"{path}[{index}]"
        if fields.text(here, glob, length_max=MODEL_GLOB_LENGTH_MAX) != glob:
            raise fields.refuse(here, "must not begin or end with a space.")
        if not UNKNOWN_WILDCARDS.isdisjoint(glob):
            raise fields.refuse(here, "must have no other wildcard than *.")
    return tuple(value)
