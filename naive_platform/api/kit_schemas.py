"""The configuration inside an account kit as JSON Schema, with the bounds that accounts/kit_configs.py checks it by."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from accounts import kit_configs
from naive_platform.api import shapes

type Schema = dict[str, Any]

_INNER = r"[^\u0000-\u001f\u007f?\[\]]"
_OUTER = rf"[^\u0000-\u0020\u007f{shapes.SPACES}?\[\]]"
_SWITCH: Schema = {"type": "boolean"}
_FREE: Schema = {"type": "object", "additionalProperties": True}
_GLOBS: Schema = {
    "type": "array",
    "maxItems": kit_configs.MODEL_GLOBS_MAX,
    "items": {
        "type": "string",
        "minLength": 1,
        "maxLength": kit_configs.MODEL_GLOB_LENGTH_MAX,
        "pattern": rf"^{_OUTER}({_INNER}*{_OUTER})?$",
    },
}


def _whole(most: int) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": most}


def _amount(most: Decimal) -> Schema:
    return {"type": "number", "minimum": 0, "maximum": int(most)}


_LLM_DEFAULTS: Mapping[str, Schema] = {
    "allowed_models": {**_GLOBS, "description": "Only these, such as `anthropic/*`; absent: every model."},
    "denied_models": {**_GLOBS, "description": "None of these, whatever is allowed."},
    "max_tokens": {**_whole(kit_configs.MAX_TOKENS_MAX), "description": "A ceiling on each call's output."},
    "provider": {**_FREE, "description": "Upstream's provider routing, under the caller's own."},
    "provider_required": {**_FREE, "description": "The same, over the caller's own."},
    "max_cost_usd_per_call": _amount(kit_configs.CALL_COST_USD_MAX),
    "monthly_credits_per_user": _amount(kit_configs.MONTHLY_CREDITS_MAX),
    "requests_per_minute": {
        **_whole(kit_configs.REQUESTS_PER_MINUTE_MAX),
        "description": "Of each tenant user.",
    },
}


def _or_null(schema: Schema) -> Schema:
    return schema | {"type": [schema["type"], "null"]}


def _config(*, is_change: bool) -> Schema:
    allow = _or_null if is_change else dict
    switches = {name: allow(_SWITCH) for name in ("enabled", "requiresApproval")}
    defaults: Schema = {
        "type": "object",
        "properties": {name: allow(schema) for name, schema in _LLM_DEFAULTS.items()},
        "additionalProperties": False,
    }
    llm = {
        "type": "object",
        "properties": {**switches, "defaults": allow(defaults)},
        "additionalProperties": False,
        "description": "The llm primitive: absent means enabled.",
    }
    other = {
        "type": "object",
        "properties": {**switches, "defaults": allow(_FREE)},
        "additionalProperties": True,
    }
    return {
        "properties": {"llm": allow(llm)},
        "propertyNames": {
            "minLength": 1,
            "maxLength": kit_configs.PRIMITIVE_NAME_LENGTH_MAX,
            "pattern": shapes.FILLED_LINE,
        },
        "additionalProperties": allow(other),
        "example": {
            "llm": {"enabled": True, "defaults": {"allowed_models": ["openai/*"], "max_tokens": 4000}}
        },
    }


PRIMITIVES = _config(is_change=False)
PRIMITIVE_CHANGES = _config(is_change=True)
CONNECTIONS: Schema = {
    "properties": {"mode": {"type": "string", "enum": list(kit_configs.CONNECTION_MODES)}},
    "additionalProperties": True,
    "example": {"mode": "open"},
}
