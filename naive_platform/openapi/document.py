"""The whole document: both planes' operations with errors, headers and examples, in one stable order."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from accounts import idempotency
from naive_platform.openapi import control, examples, names, proxied, refusals, schemas, typed
from naive_platform.openapi.schemas import JSON
from naive_platform.openapi.typed import Operation

FILE: Path = settings.BASE_DIR / "docs" / "openapi.json"
VERSION = "1.0.0"
_DESCRIPTION = """\
Multi-tenant infrastructure over OpenRouter: one key, many companies, one wallet each, books that are right.

* **Base URL**: this host. Send `Authorization: Bearer nv_sk_live_…`.
* **Typed routes** (`/v1/llm/…`) are gated by the account kit of the tenant user a call is for; the **proxy** \
(`/v1/proxy/openrouter/…`) is for clients of OpenRouter, OpenAI and Anthropic as they are.
* **Money** is a JSON number of credits, exact to 9 decimals. Times are ISO 8601 in UTC, ids UUIDs.
* **Lists** take `limit` and `cursor` and answer `next_cursor`, null at the end.
* **Mutations** take an `Idempotency-Key`; the same request under the same key is done once in 24 hours.
* **Errors** all have one shape: `{"error": {code, message, hint?, details?, request_id}}`.

Answers may gain fields; nothing that is named here goes away within v1.
"""
SECURITY = {
    "ApiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key (`nv_sk_live_…`) or a tenant user's session token (`nv_sess_…`).",
    },
    "BareApiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same on the proxy, as Anthropic's clients send it; one of the two.",
    },
    "DashboardSession": {
        "type": "apiKey",
        "in": "cookie",
        # `sessionid` with DEBUG, where there is no TLS.
        "name": "__Host-session",
        "description": "A person signed in to the dashboard.",
    },
    "CsrfToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-CSRFToken",
        "description": "Beside the session, for whatever changes anything.",
    },
    "BroadcastSecret": {"type": "apiKey", "in": "header", "name": "X-Broadcast-Secret"},
    "MetricsToken": {"type": "http", "scheme": "bearer", "description": "METRICS_TOKEN."},
}
HEADERS: dict[str, tuple[str, JSON]] = {
    "RequestId": (
        "X-Request-Id",
        {"description": "Names this request, in errors and in the audit log.", "schema": {"type": "string"}},
    ),
    "ETag": (
        "ETag",
        {"description": "Names this state, for If-Match and If-None-Match.", "schema": {"type": "string"}},
    ),
    "RetryAfter": (
        "Retry-After",
        {
            "description": "Seconds until it is worth asking again.",
            "schema": {"type": "integer", "minimum": 0},
        },
    ),
    "IdempotencyReplayed": (
        "Idempotency-Replayed",
        {
            "description": "`true`: done before; this is the answer of then.",
            "schema": {"type": "string", "enum": ["true"]},
        },
    ),
    "GenerationId": (
        "X-Naive-Generation-Id",
        {"description": "The call, for `getGeneration`.", "schema": {"type": "string", "pattern": "^gen_"}},
    ),
    "CreditsHeld": (
        "X-Naive-Credits-Held",
        {"description": "What was held for it.", "schema": {"type": "number"}},
    ),
    "RateLimitLimit": (
        "X-RateLimit-Limit-Requests",
        {"description": "Requests a minute, where one is limited.", "schema": {"type": "integer"}},
    ),
    "RateLimitRemaining": (
        "X-RateLimit-Remaining-Requests",
        {"description": "How many of them are left.", "schema": {"type": "integer"}},
    ),
    "RateLimitReset": (
        "X-RateLimit-Reset-Requests",
        {"description": "When all of them are back, such as `6.5s`.", "schema": {"type": "string"}},
    ),
    "MaxTokens": (
        "X-Naive-Max-Tokens",
        {"description": "What `max_tokens` was lowered to, where it was.", "schema": {"type": "integer"}},
    ),
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Name a request, and it is done once: sent again within 24 hours it gets the same answer.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": idempotency.KEY_LENGTH_MAX,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
    },
    "example": "order-1042",
}
_ETAG = r'^(\*|"[!#-~]{1,64}")$'
PARAMETERS: dict[str, JSON] = {
    "IdempotencyKey": _IDEMPOTENCY_KEY,
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "The `etag` you have read: the change is made to that state or refused with 412.",
        "schema": {"type": "string", "pattern": _ETAG},
        "example": '"v3"',
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag you have: 304 where it is still the same.",
        "schema": {"type": "string", "pattern": _ETAG},
        "example": '"v3"',
    },
}


def build() -> JSON:
    """The document. Errors: KeyError where a route, verb or error is in no table."""
    paths, known = control.read()
    known |= schemas.SCHEMAS
    known |= {"UpstreamError": proxied.UPSTREAM_ERROR, "Error": refusals.schema(schemas.ref("Pack"))}
    for item in paths.values():
        for operation in item.values():
            _finish(operation, known)
    for one in [*typed.OPERATIONS, *proxied.operations()]:
        paths.setdefault(one.path, {})[one.method] = _written(one, known)
    referred = [
        response["$ref"].rpartition("/")[2]
        for item in paths.values()
        for operation in item.values()
        for response in operation["responses"].values()
        if "$ref" in response
    ]
    return {
        "openapi": "3.1.1",
        "info": {"title": "Naive", "version": VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in names.TAGS.items()],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(known.items())),
            "responses": refusals.components(referred),
            "headers": {name: header for name, (_, header) in HEADERS.items()},
            "parameters": PARAMETERS,
            "securitySchemes": SECURITY,
        },
    }


def write(document: Mapping[str, Any]) -> str:
    """The document's text as it is committed."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _finish(operation: JSON, known: Mapping[str, JSON]) -> None:
    """Add to an operation of the management API what all of them have in common."""
    codes = operation.pop("x-codes")
    is_idempotent, is_tagged = operation.pop("x-idempotent"), operation.pop("x-tagged")
    for status, response in operation["responses"].items():
        response["description"] = response["description"] or _SAID.get(int(status), "Done.")
        tag = ["ETag"] if is_tagged and _names_state(response, known) else []
        replayed = ["IdempotencyReplayed"] if is_idempotent else []
        response["headers"] = _headers(["RequestId", *tag, *replayed])
        _exemplify(response.get("content", {}), known)
    if "requestBody" in operation:
        _exemplify(operation["requestBody"]["content"], known)
    if is_idempotent:
        operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/IdempotencyKey"})
    operation["responses"] |= refusals.responses(codes)


def _names_state(response: JSON, known: Mapping[str, JSON]) -> bool:
    """Whether an answer has an ETag: it shows one, or says that nothing changed."""
    shown = [media["schema"]["$ref"].rpartition("/")[2] for media in response.get("content", {}).values()]
    return not shown or any("etag" in known[name]["properties"] for name in shown)


def _written(one: Operation, known: Mapping[str, JSON]) -> JSON:
    parameters = [*one.parameters]
    if one.is_idempotent:
        parameters.append({"$ref": "#/components/parameters/IdempotencyKey"})
    replayed = ["IdempotencyReplayed"] if one.is_idempotent else []
    answers = {str(status): _answer(one, status, [*one.headers, *replayed], known) for status in one.answers}
    operation: JSON = {"operationId": one.id, "tags": [one.tag], "summary": one.summary}
    if one.description:
        operation["description"] = one.description
    if parameters:
        operation["parameters"] = parameters
    if one.body is not None:
        content = {"application/json": {"schema": one.body}}
        operation["requestBody"] = {"required": True, "content": _exemplify(content, known)}
    codes = {*one.codes, *refusals.ALWAYS} if one.codes else set()
    refused = refusals.responses(codes, is_proxied=one.is_proxied)
    return operation | {"security": list(one.security), "responses": refused | answers}


def _answer(one: Operation, status: int, headers: Iterable[str], known: Mapping[str, JSON]) -> JSON:
    content = {kind: {"schema": schema} if schema else {} for kind, schema in one.answers[status].items()}
    found: JSON = {"description": _SAID.get(status, "Done.")}
    if headers := _headers(headers):
        found["headers"] = headers
    if content:
        found["content"] = _exemplify(content, known)
    return found


def _exemplify(content: JSON, known: Mapping[str, JSON]) -> JSON:
    for kind, media in content.items():
        if kind == "application/json":
            media["example"] = examples.of(media["schema"], known)
        elif kind == typed.EVENTS:
            media["example"] = _STREAM
    return content


def _headers(found: Iterable[str]) -> JSON:
    return {HEADERS[name][0]: {"$ref": f"#/components/headers/{name}"} for name in found}


_SAID = {
    202: "Begun; ask again.",
    304: "It is still the one you have.",
    401: "Another token, or none.",
    404: "Not for you.",
    503: "It takes no calls now.",
}
_STREAM = (
    'data: {"id":"gen-1790000000-aBcDeFgHiJkLmNoPqRsT","choices":[{"index":0,"delta":{"content":"Hello!"}}]}\n\n'
    ': {"credits_used":0.00000675,"credits_remaining":19.99999325}\n\ndata: [DONE]\n\n'
)
