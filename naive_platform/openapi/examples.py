"""Examples of every body and answer: put together from their schemas, by what each field is called."""

from collections.abc import Mapping
from typing import Any

type JSON = Mapping[str, Any]

_REF = "#/components/schemas/"
_ID = "0197f3a2-0000-7000-8000-00000000{}"
_AT = "2026-11-23T12:00:00Z"

_RULES = {"llm": {"defaults": {"allowed_models": ["openai/gpt-4o-mini"], "monthly_credits_per_user": 2}}}

# By field; where one name means different things, by `Schema.field`.
VALUES: Mapping[str, Any] = {
    "account_kit_name": "Free",
    "account_kit_id": _ID.format("b001"),
    "action": "llm_call",
    "active_tenant_user_id": _ID.format("a001"),
    "actor": "key:" + _ID.format("c001"),
    "amount": -0.00000675,
    "allowed_model": "openai/*",
    "answer": "",
    "api_key": "nv_sk_live_…",
    "at": _AT,
    "available": 19.5,
    "balance": 20,
    "badge": None,
    "balance_after": 19.99999325,
    "calls": 12,
    "company_id": _ID.format("d001"),
    "company_name": "Acme",
    "corrects": None,
    "cost_usd": 0.0000027,
    "created_at": _AT,
    "denied_model": "*:free",
    "etag": '"v3"',
    "credits_used": 0.00000675,
    "description": "For people who try it out.",
    "email": "ada@acme.example",
    "expires_at": "2027-11-23T12:00:00Z",
    "external_id": "customer-42",
    "fault": None,
    "group": "2026-11-23",
    "held": 0.5,
    "hint": "Keep the api_key: it is not shown again.",
    "ip": "203.0.113.7",
    "is_closed": False,
    "is_default": False,
    "key_id": _ID.format("c001"),
    "label": "Ada",
    "last_4": "x7Qm",
    "mfa_code": None,
    "model": "openai/gpt-4o-mini",
    "name": "Acme",
    "note": "",
    "outcome": "applied",
    "path": "primitives_config.llm.defaults.max_tokens",
    "next_cursor": None,
    "pack_id": "small",
    "password": "correct horse battery",
    "price_usd": 10,
    "prompt_retention_days": 30,
    "reason": "Ada asked for it.",
    "reference": "gen_0197f3a2-c1b4-7e6f-8d21-a5b9c3e4f607",
    "request_id": "req_0197f3a2c1b47e6f8d21a5b9c3e4f607",
    "token": "nv_sess_…",
    "unit": "tokens",
    "AuditEntry.action": "account_kit.updated",
    "Change.before": 2000,
    "Change.after": 4000,
    "IssuedKey.name": "Production",
    "Key.name": "Production",
    "Kit.connections_config": {"mode": "open"},
    "Kit.name": "Free",
    "Kit.primitives_config": _RULES,
    "KitRow.connections_config": {"mode": "open"},
    "KitRow.name": "Free",
    "KitRow.primitives_config": _RULES,
    "Limit.name": "max_tokens",
    "Limit.value": 4000,
    "Pack.id": "small",
    "Pack.name": "Small",
    "Target.id": _ID.format("b001"),
    "Target.kind": "account_kit",
    "Target.label": "Free",
    "tenant_user_id": _ID.format("a001"),
    "user_id": _ID.format("a001"),
    "webhook_id": _ID.format("e001"),
    "url": "https://acme.example/hooks/naive",
    "checkout_url": "https://checkout.example/c/pay/cs_1",
    "Checkout.session_id": "cs_1",
    "session_id": None,
    "message_id": "msg_0197f3a2c1b47e6f8d21a5b9c3e4f607",
    "revoked": False,
    "revoked_at": None,
    "rotated_from": None,
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "month": "2026-11",
    "starts_at": "2026-11-01T00:00:00Z",
    "ends_at": "2026-12-01T00:00:00Z",
    "error": None,
    "disabled_at": None,
    "disabled_reason": None,
    "failing_since": None,
}

# Bodies of which not all fields go together.
WHOLE: Mapping[str, Any] = {
    "AssignBody": {"user_ids": ["ext:customer-42", _ID.format("a001")]},
    "KeyBody": {"name": "Production", "role": "member", "cap_credits": 100, "cap_period": "month"},
    "KeyChanges": {"name": "Production", "cap_credits": 250, "cap_period": "month"},
    "KitBody": {"name": "Free", "primitives_config": _RULES},
    "KitChanges": {"primitives_config": {"llm": {"defaults": {"monthly_credits_per_user": 5}}}},
    "PreviewBody": {"primitives_config": {"llm": {"defaults": {"denied_models": ["*:free"]}}}},
    "UserBody": {"external_id": "customer-42", "email": "ada@customer.example", "label": "Ada"},
    "UserChanges": {"status": "suspended"},
    "WebhookBody": {"url": "https://acme.example/hooks/naive", "events": ["credits.low", "key.revoked"]},
    "WebhookChanges": {"events": ["credits.low"]},
}


def of(schema: JSON, schemas: Mapping[str, JSON], *, owner: str = "", name: str = "") -> Any:
    """An example of a schema. Shape: `owner` is the schema that it is the field `name` of."""
    if "example" in schema:
        return schema["example"]
    if "$ref" in schema:
        referred = schema["$ref"].removeprefix(_REF)
        if referred in WHOLE:
            return WHOLE[referred]
        return of(schemas[referred], schemas, owner=referred, name=name)
    if f"{owner}.{name}" in VALUES:
        return VALUES[f"{owner}.{name}"]
    if name in VALUES and _is_leaf(schema):
        return VALUES[name]
    for key in ("allOf", "anyOf", "oneOf"):
        if key in schema and "type" not in schema:
            return of(schema[key][0], schemas, owner=owner, name=name)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    return _by_type(schema, schemas, owner=owner, name=name)


def _is_leaf(schema: JSON) -> bool:
    return _type(schema) not in ("object", "array") and "enum" not in schema


def _type(schema: JSON) -> str | None:
    kind = schema.get("type")
    return kind[0] if isinstance(kind, list) else kind


def _by_type(schema: JSON, schemas: Mapping[str, JSON], *, owner: str, name: str) -> Any:
    match _type(schema):
        case "object":
            return {
                field: of(inner, schemas, owner=owner, name=field)
                for field, inner in schema.get("properties", {}).items()
            }
        case "array":
            items = schema.get("items", {})
            return [of(items, schemas, owner=owner, name=name.removesuffix("s"))] if items else []
        case "boolean":
            return schema.get("default", True)
        case "integer" | "number":
            return schema.get("default", schema.get("minimum", 1))
        case "string":
            formats = {"uuid": _ID.format("f001"), "date-time": _AT, "date": "2026-11-23"}
            return formats.get(schema.get("format", ""), schema.get("default", "text"))
        case _:
            return None
