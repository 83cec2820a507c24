"""The schemas of the data plane: what the typed llm routes read and answer, by name."""

from typing import Any

from llm import fields, requests

type JSON = dict[str, Any]


def ref(name: str) -> JSON:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


_COUNT: JSON = {"type": "integer", "minimum": 0}
_NUMBER: JSON = {"type": "number"}
_CREDITS: JSON = {
    "type": ["number", "null"],
    "description": "Exact to 9 decimals; null while it is not known.",
}
ANY: JSON = {"type": "object", "additionalProperties": True}
# Without a type it would say the same, and readers of the document would not show it.
ANYTHING: JSON = {"type": ["string", "number", "boolean", "object", "array", "null"], "items": {}}
_MODEL_ID: JSON = {
    "type": "string",
    "minLength": 1,
    "maxLength": fields.MODEL_CHARS_MAX,
    "pattern": r"^[!-~]([ -~]*[!-~])?$",
}
_SWITCH: JSON = {"type": ["boolean", "null"]}
_NAME: JSON = {"type": ["string", "null"]}


def _tokens(description: str) -> JSON:
    least_most = {"minimum": 1, "maximum": fields.TOKENS_MAX}
    return {"type": ["integer", "null"], **least_most, "description": description}


SCHEMAS: dict[str, JSON] = {
    "ChatBody": {
        "type": "object",
        "description": "Upstream's own body. What is named here is what the platform reads or changes; every other "
        "field goes upstream untouched.",
        "properties": {
            "model": {
                **_MODEL_ID,
                "type": ["string", "null"],
                "description": "Such as `openai/gpt-4o-mini`; see listModels.",
            },
            "models": {
                "type": ["array", "null"],
                "items": _MODEL_ID,
                "maxItems": fields.MODELS_MAX,
                "description": "Fallbacks, tried in this order.",
            },
            "messages": {
                "type": ["array", "null"],
                "minItems": 1,
                "maxItems": requests.MESSAGES_MAX,
                "items": ref("Message"),
            },
            "prompt": {**ANYTHING, "description": "A text in place of `messages`."},
            "stream": {**_SWITCH, "description": "true: server-sent events."},
            "max_tokens": _tokens("A ceiling on output; lowered where credits or the kit allow less."),
            "max_completion_tokens": _tokens("As `max_tokens`."),
            "n": {"type": ["integer", "null"], "minimum": 1, "maximum": fields.CHOICES_MAX},
            "user": {**_NAME, "description": "Goes upstream under an opaque name of your company's."},
            "session_id": _NAME,
            "prompt_cache_key": _NAME,
            "provider": {"type": ["object", "null"], "description": "Upstream's provider routing."},
            "tools": {"type": ["array", "null"], "items": {}},
            "plugins": {"type": ["array", "null"], "items": {}},
            "trace": {"type": ["object", "null"]},
        },
        "allOf": [
            {
                "anyOf": [
                    {"required": ["messages"], "properties": {"messages": {"type": "array", "items": {}}}},
                    {"required": ["prompt"], "properties": {"prompt": {"type": "string", "minLength": 1}}},
                ]
            },
            {
                "anyOf": [
                    {"required": ["model"], "properties": {"model": {"type": "string"}}},
                    {"required": ["models"], "properties": {"models": {"type": "array", "minItems": 1, "items": {}}}},
                ]
            },
        ],
        "additionalProperties": True,
        "example": {
            "model": "openai/gpt-4o-mini",
            "messages": [{"role": "user", "content": "Say hello."}],
            "max_tokens": 50,
        },
    },
    "Message": {
        "type": "object",
        "properties": {
            "role": {**ANYTHING, "description": "`system`, `developer`, `user`, `assistant` or `tool`."},
            "content": {**ANYTHING, "description": "A text, or upstream's content parts."},
        },
        "additionalProperties": True,
        "example": {"role": "user", "content": "Say hello."},
    },
    "ChatCompletion": {
        "type": "object",
        "description": "Upstream's answer as it came, with what it cost in credits.",
        "required": ["id", "choices", "credits_used", "credits_remaining"],
        "properties": {
            "id": {"type": "string"},
            "object": {"type": "string"},
            "created": _COUNT,
            "model": {"type": "string"},
            "choices": {"type": "array", "items": ANY},
            "usage": ANY,
            "credits_used": _CREDITS,
            "credits_remaining": _CREDITS,
        },
        "additionalProperties": True,
        "example": {
            "id": "gen-1790000000-aBcDeFgHiJkLmNoPqRsT",
            "object": "chat.completion",
            "created": 1790000000,
            "model": "openai/gpt-4o-mini",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "cost": 0.0000027},
            "credits_used": 0.00000675,
            "credits_remaining": 19.99999325,
        },
    },
    "ModelList": {
        "type": "object",
        "required": ["object", "count", "data", "models"],
        "properties": {
            "object": {"type": "string", "const": "list"},
            "count": _COUNT,
            "data": {
                "type": "array",
                "items": {**ANY, "required": ["id"], "properties": {"id": {"type": "string"}}},
                "description": "Upstream's full objects.",
            },
            "models": {"type": "array", "items": ref("Model")},
        },
        "example": {
            "object": "list",
            "count": 1,
            "data": [{"id": "openai/gpt-4o-mini", "name": "GPT-4o-mini", "context_length": 128000}],
            "models": [
                {
                    "id": "openai/gpt-4o-mini",
                    "name": "GPT-4o-mini",
                    "context_length": 128000,
                    "pricing": {"prompt": "0.00000015", "completion": "0.0000006"},
                }
            ],
        },
    },
    "Model": {
        "type": "object",
        "required": ["id", "name", "context_length", "pricing"],
        "properties": {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "context_length": {"type": ["integer", "null"]},
            "pricing": {"type": ["object", "null"], "description": "USD a token, as texts."},
        },
    },
    "Generation": {
        "type": "object",
        "description": "Our record of one call, completed from upstream's once that is there.",
        "required": [
            "id", "naive_generation_id", "model", "streamed", "created_at", "settled_at", "state",
            "settlement_source", "total_cost", "usage", "credits_used", "credits_held", "user_id",
            "account_kit_id", "corrections",
        ],
        "properties": {
            "id": {"type": "string", "description": "Upstream's `gen-…`, ours before that is known."},
            "naive_generation_id": {"type": "string", "pattern": "^gen_[0-9a-f-]{36}$"},
            "model": {"type": "string"},
            "streamed": {"type": "boolean"},
            "created_at": {"type": ["string", "null"], "format": "date-time"},
            "settled_at": {"type": ["string", "null"], "format": "date-time"},
            "state": {"type": "string", "enum": ["held", "dispatched", "settled", "voided", "parked"]},
            "settlement_source": {"type": ["string", "null"]},
            "total_cost": {"type": ["number", "null"], "description": "USD, as upstream charged it."},
            "usage": {"type": ["number", "null"]},
            "credits_used": _CREDITS,
            "credits_held": {"type": "number"},
            "user_id": {"type": "string", "format": "uuid"},
            "account_kit_id": {"type": "string", "format": "uuid"},
            "corrections": {"type": "array", "items": ref("Correction")},
        },
        "additionalProperties": True,
        "example": {
            "id": "gen-1790000000-aBcDeFgHiJkLmNoPqRsT",
            "naive_generation_id": "gen_0197f3a2-c1b4-7e6f-8d21-a5b9c3e4f607",
            "model": "openai/gpt-4o-mini",
            "streamed": False,
            "created_at": "2026-11-23T12:00:00Z",
            "settled_at": "2026-11-23T12:00:01Z",
            "state": "settled",
            "settlement_source": "inline",
            "total_cost": 0.0000027,
            "usage": 0.0000027,
            "credits_used": 0.00000675,
            "credits_held": 0,
            "user_id": "0197f3a2-0000-7000-8000-00000000a001",
            "account_kit_id": "0197f3a2-0000-7000-8000-00000000b001",
            "corrections": [],
        },
    },
    "Correction": {
        "type": "object",
        "required": ["number", "total_cost", "credits_used", "source", "created_at"],
        "properties": {
            "number": _COUNT,
            "total_cost": _NUMBER,
            "credits_used": _NUMBER,
            "source": {"type": "string"},
            "created_at": {"type": "string", "format": "date-time"},
        },
    },
    "Estimate": {
        "type": "object",
        "description": "What the gate would say of this call now; nothing is held or sent. Only the first four fields "
        "where the kit refuses.",
        "required": ["allowed", "account_kit", "user_id", "refusal"],
        "properties": {
            "allowed": {"type": "boolean"},
            "account_kit": {
                "type": "object",
                "required": ["id", "name"],
                "properties": {"id": {"type": "string", "format": "uuid"}, "name": {"type": "string"}},
            },
            "user_id": {"type": "string", "format": "uuid"},
            "models": {"type": "array", "items": {"type": "string"}},
            "price_known": {"type": "boolean"},
            "prompt_tokens_max": {"type": ["integer", "null"]},
            "output_tokens_max": {"type": ["integer", "null"]},
            "max_tokens": {"type": ["integer", "null"], "description": "What it would be lowered to."},
            "worst_case_cost_usd": {"type": ["number", "null"]},
            "worst_case_credits": _NUMBER,
            "least_credits": _NUMBER,
            "hold_credits": {"type": ["number", "null"]},
            "hold_grows": {"type": "boolean"},
            "refusal": {
                "type": ["object", "null"],
                "required": ["message", "details"],
                "properties": {"message": {"type": "string"}, "details": ANY},
            },
        },
        "example": {
            "allowed": True,
            "account_kit": {"id": "0197f3a2-0000-7000-8000-00000000b001", "name": "Default"},
            "user_id": "0197f3a2-0000-7000-8000-00000000a001",
            "models": ["openai/gpt-4o-mini"],
            "price_known": True,
            "prompt_tokens_max": 96,
            "output_tokens_max": 50,
            "max_tokens": None,
            "worst_case_cost_usd": 0.0000444,
            "worst_case_credits": 0.000111,
            "least_credits": 0.000111,
            "hold_credits": 0.000111,
            "hold_grows": False,
            "refusal": None,
        },
    },
    "Probe": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"type": "string", "enum": ["ok", "degraded", "unavailable"]},
            "reason": {"type": "string"},
            "checks": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "example": {"status": "ok"},
    },
    "Broadcast": {
        **ANY,
        "description": "OTLP traces in JSON, as upstream sends them.",
        "example": {"resourceSpans": []},
    },
}  # fmt: skip
