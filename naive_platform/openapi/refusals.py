"""How errors stand in the document: one shape, and for every operation the codes it may answer with."""

from collections.abc import Iterable, Mapping
from typing import Any

from accounts import errors as accounts
from accounts.errors import DomainError
from billing import errors as billing
from llm import errors as llm
from naive_platform import errors

type Code = tuple[str, int]

# What any request may meet with.
ALWAYS: tuple[Code, ...] = (errors.INVALID_INPUT, errors.INTERNAL, errors.UNAVAILABLE)
# What any request may meet with that says who asks.
KNOWN: tuple[type[DomainError], ...] = (accounts.Unauthorized, accounts.Forbidden)
# What an Idempotency-Key may be answered with.
ONCE: tuple[type[DomainError], ...] = (
    accounts.IdempotencyInProgress,
    accounts.AlreadyCompleted,
    accounts.IdempotencyMismatch,
)
# What any call to a model may be refused with; upstream's refusals keep their status where the fault is the caller's.
CALL: tuple[type[DomainError], ...] = (
    accounts.NotFound,
    billing.InsufficientCredits,
    llm.PayloadTooLarge,
    llm.UnsupportedMediaType,
    llm.RateLimited,
    llm.NotConfigured,
    llm.UpstreamError,
    llm.UpstreamTimeout,
)
# The statuses of upstream's that are passed on with the code `provider_error`.
UPSTREAMS = (400, 403, 404, 408, 413, 422, 429)

_PROXIED = ".proxied"
_WORDS = {
    "invalid_input": "The request is not one we understand; the message begins with the field.",
    "unauthorized": "No key, or one that opens nothing.",
    "insufficient_credits": "The wallet, the key's cap or the user's cap does not cover it; `packs` says what to buy.",
    "forbidden": "The key is good and the answer is no; `details.reason` says which rule.",
    "not_found": "There is none such, or it is another company's: the two look the same.",
    "method_not_allowed": "Another method is; `Allow` says which.",
    "duplicate_record": "There is one already.",
    "conflict": "Its state does not allow this.",
    "idempotency_in_progress": "The first request under this Idempotency-Key still runs.",
    "already_completed": "What this Idempotency-Key asked for is done, and its answer is not kept.",
    "precondition_failed": "It was changed since; read it again.",
    "payload_too_large": "The body is longer than this route reads.",
    "unsupported_media_type": "The body is of a kind this route does not read.",
    "idempotency_mismatch": "This Idempotency-Key stands for another request.",
    "rate_limited": "Too much at once; `Retry-After` says when to come back.",
    "internal_error": "A fault of ours.",
    "not_configured": "The operator has not set what this needs; `details.missing` names it.",
    "provider_error": "The model's provider refused or failed.",
    "unavailable": "Something we stand on does not answer; nothing was done.",
    "provider_timeout": "The model's provider did not answer in time.",
}


def code(kind: type[DomainError]) -> Code:
    """The code and the status of an error class, as errors.classify tells them. Errors: KeyError."""
    return next(errors.TABLE[parent] for parent in kind.__mro__ if parent in errors.TABLE)


def codes(kinds: Iterable[type[DomainError]]) -> list[Code]:
    """Those of several classes; an upstream's refusal may have several statuses."""
    found = {code(kind) for kind in kinds}
    if any(name == "provider_error" for name, _ in found):
        found |= {("provider_error", status) for status in UPSTREAMS}
    return sorted(found)


def responses(found: Iterable[Code], *, is_proxied: bool = False) -> dict[str, dict[str, Any]]:
    """Responses by status, each a reference to one of `components`; a proxied one may be upstream's own."""
    by_status: dict[int, set[str]] = {}
    for name, status in found:
        by_status.setdefault(status, set()).add(name)
    return {
        str(status): {"$ref": f"#/components/responses/{_name(status, names, is_proxied)}"}
        for status, names in sorted(by_status.items())
    }


def components(referred: Iterable[str]) -> dict[str, Any]:
    """The responses that the document refers to, by name, with an example for every code."""
    found = {}
    for name in sorted(set(referred)):
        first, *names = name.removesuffix(_PROXIED).split("-")
        ours = {
            "$ref": "#/components/schemas/Error",
            "properties": {"error": {"properties": {"code": {"type": "string", "enum": names}}}},
        }
        either = {"anyOf": [ours, {"$ref": "#/components/schemas/UpstreamError"}]}
        found[name] = {
            "description": " Or: ".join(_WORDS[each] for each in names),
            "headers": _headers(int(first)),
            "content": {
                "application/json": {
                    "schema": either if name.endswith(_PROXIED) else ours,
                    "examples": {each: {"value": _example(each)} for each in names},
                }
            },
        }
    return found


def schema(pack: Mapping[str, Any]) -> dict[str, Any]:
    """The one shape of every error. Shape: `pack` is the schema of a pack, or a reference to it."""
    known = {name for name, _ in errors.TABLE.values()} | set(_WORDS)
    return {
        "type": "object",
        "description": "Every error of every route.",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "request_id"],
                "properties": {
                    "code": {"type": "string", "enum": sorted(known), "description": "For programs."},
                    "message": {"type": "string", "description": "What is wrong, and with which field."},
                    "hint": {"type": "string", "description": "What to do next."},
                    "details": {
                        "type": "object",
                        "additionalProperties": True,
                        "description": "What programs need: `field`, `reason`, `limit`, `missing`, amounts …",
                    },
                    "request_id": {"type": "string", "description": "Also in the header X-Request-Id."},
                },
            },
            "packs": {
                "type": "array",
                "items": dict(pack),
                "description": "What can be bought, beside `insufficient_credits`.",
            },
        },
    }


def _headers(status: int) -> dict[str, Any]:
    known = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
    if status == 429:
        for name in ("Limit", "Remaining", "Reset"):
            known[f"X-RateLimit-{name}-Requests"] = {"$ref": f"#/components/headers/RateLimit{name}"}
    if status in (409, 429, 503):
        known["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    return known


def _example(code_name: str) -> dict[str, Any]:
    message, more = _EXAMPLES[code_name]
    beside = {"packs": [_PACK]} if code_name == "insufficient_credits" else {}
    error = {
        "code": code_name,
        "message": message,
        **more,
        "request_id": "req_0197f3a2c1b47e6f8d21a5b9c3e4f607",
    }
    return {"error": error, **beside}


def _name(status: int, names: Iterable[str], is_proxied: bool) -> str:  # noqa: FBT001 - private.
    return "-".join([str(status), *sorted(names)]) + (_PROXIED if is_proxied else "")


_PACK = {"id": "small", "name": "Small", "credits": 20, "price_usd": 10, "badge": None}
_EXAMPLES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "invalid_input": ("limit: must be a whole number from 1 to 200.", {"details": {"field": "limit"}}),
    "unauthorized": (
        "An API key is required.",
        {"hint": "Send the header `Authorization: Bearer nv_sk_live_…`."},
    ),
    "insufficient_credits": (
        "2.1 credits are needed, 0.4 are available.",
        {
            "hint": "Top up, or lower max_tokens.",
            "details": {"limit": "wallet", "required": 2.1, "available": 0.4, "balance": 0.9, "held": 0.5},
        },
    ),
    "forbidden": (
        "Your role here is viewer; this takes member or above.",
        {
            "hint": "Ask an admin or owner of your company.",
            "details": {"reason": "role", "role": "viewer", "required": "member"},
        },
    ),
    "not_found": ("There is nothing here.", {}),
    "duplicate_record": ("There is one of this name already.", {"details": {"field": "name"}}),
    "conflict": ("It is in use.", {"details": {"users": 3}}),
    "idempotency_in_progress": (
        "The first request under this Idempotency-Key is still running.",
        {"hint": "Wait a moment and send it again."},
    ),
    "already_completed": ("What this Idempotency-Key asked for is done.", {}),
    "precondition_failed": (
        "It was changed since you read it.",
        {"hint": "Read it again and send its ETag."},
    ),
    "payload_too_large": ("The body is longer than this route reads.", {}),
    "unsupported_media_type": ("The body must be JSON: send Content-Type: application/json.", {}),
    "idempotency_mismatch": (
        "This Idempotency-Key stands for another request.",
        {"hint": "Send a new key with a new request."},
    ),
    "rate_limited": ("Too many requests; wait a moment.", {}),
    "internal_error": ("Something broke on our side.", {}),
    "not_configured": (
        "Calls are not set up on this platform: OPENROUTER_API_KEY missing.",
        {"details": {"missing": ["OPENROUTER_API_KEY"]}},
    ),
    "provider_error": (
        "The model provider failed.",
        {"details": {"upstream_status": 502, "upstream_message": "Provider returned error"}},
    ),
    "unavailable": ("The database cannot be reached.", {"hint": "Try again in a moment."}),
    "provider_timeout": ("The model provider did not answer in time.", {}),
}
