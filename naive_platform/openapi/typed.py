"""The data plane's half of the document, part one: the typed llm routes and what stands beside both planes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accounts.errors import NotConfigured, NotFound, Unauthorized
from llm.errors import PayloadTooLarge, UnsupportedMediaType
from naive_platform.openapi import control, refusals, schemas
from naive_platform.openapi.refusals import Code
from naive_platform.openapi.schemas import JSON

LLM = "/v1/llm"
LLM_OF_USER = "/v1/users/{user_id}/llm"
EVENTS = "text/event-stream"
PLAIN = "text/plain"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the data plane.

    Shape: `body` is JSON's schema; `answers` are by status and media type; `parameters` are whole parameter objects;
    `headers` name those of `document.HEADERS` that an answer carries.
    """

    method: str
    path: str
    id: str
    tag: str
    summary: str
    answers: Mapping[int, Mapping[str, JSON]]
    description: str = ""
    body: JSON | None = None
    parameters: Sequence[JSON] = ()
    codes: Sequence[Code] = ()
    security: Sequence[Mapping[str, list[str]]] = (control.BEARER,)
    headers: Sequence[str] = ()
    is_idempotent: bool = False
    is_proxied: bool = False


def query(name: str, schema: JSON, description: str, *, required: bool = False) -> JSON:
    """A parameter of the address."""
    return {
        "name": name,
        "in": "query",
        "schema": schema,
        "description": description,
        **({"required": True} if required else {}),
    }


_ASKED = refusals.codes([*refusals.KNOWN, NotFound])
_CALLED = refusals.codes([*refusals.KNOWN, *refusals.CALL, *refusals.ONCE])
_WEIGHED = refusals.codes([*refusals.KNOWN, NotFound, PayloadTooLarge, UnsupportedMediaType, NotConfigured])
FOR_USER: JSON = {
    "name": "X-Naive-User-Id",
    "in": "header",
    "description": "For which tenant user: an id, `ext:<external_id>`, `default` or `me`. Absent: the key's seal, else "
    "the company's default user.",
    "schema": {key: value for key, value in control.USER.items() if key != "description"},
    "example": "default",
}
_FILTERS = (
    query("search", {"type": "string"}, "Words of the id or the name."),
    query("provider", {"type": "string"}, "The part of the id before the slash."),
    query("modality", {"type": "string"}, "Takes or gives this: `image`, `audio`, `file` …"),
    query("supported_parameters", {"type": "string"}, "Takes all of these, separated by commas."),
    query("max_price", {"type": "number", "minimum": 0}, "USD a million tokens, in and out."),
)
_ID = query(
    "id",
    {"type": "string", "minLength": 1},
    "The id of an answer (`gen-…`), or of its header X-Naive-Generation-Id (`gen_…`).",
    required=True,
)
CALL_HEADERS = (
    *("RequestId", "GenerationId", "CreditsHeld", "MaxTokens"),
    *("RateLimitLimit", "RateLimitRemaining", "RateLimitReset"),
)


def _typed(prefix: str, suffix: str, parameters: Sequence[JSON]) -> list[Operation]:
    """The typed routes on one of their two mounts."""
    whose = ", for one tenant user" if suffix else ""
    return [
        Operation(
            "post",
            f"{prefix}/chat/completions",
            f"createChatCompletion{suffix}",
            "Chat",
            f"Create a chat completion, as JSON or as a stream{whose}",
            {200: {"application/json": schemas.ref("ChatCompletion"), EVENTS: {}}},
            description="With `stream: true` upstream's events pass byte for byte; what it cost is in one comment line "
            "before `[DONE]`.",
            body=schemas.ref("ChatBody"),
            parameters=parameters,
            codes=_CALLED,
            headers=CALL_HEADERS,
            is_idempotent=True,
        ),
        Operation(
            "post",
            f"{prefix}/estimate",
            f"estimateChatCompletion{suffix}",
            "Chat",
            f"Say whether a chat completion would be allowed and what it would hold{whose}",
            {200: {"application/json": schemas.ref("Estimate")}},
            description="The same body, the same gate; free, and nothing is sent.",
            body=schemas.ref("ChatBody"),
            parameters=parameters,
            codes=_WEIGHED,
            headers=("RequestId",),
        ),
        Operation(
            "get",
            f"{prefix}/models",
            f"listModels{suffix}",
            "Chat",
            f"List the models this user may call{whose}",
            {200: {"application/json": schemas.ref("ModelList")}},
            parameters=[*parameters, *_FILTERS],
            codes=_ASKED,
            headers=("RequestId",),
        ),
        Operation(
            "get",
            f"{prefix}/generation",
            f"getGeneration{suffix}",
            "Chat",
            f"Read what one call cost and how it went{whose}",
            {
                200: {
                    "application/json": {
                        "type": "object",
                        "required": ["data"],
                        "properties": {"data": schemas.ref("Generation")},
                    }
                }
            },
            parameters=[*parameters, _ID],
            codes=_ASKED,
            headers=("RequestId",),
        ),
    ]


_BROADCASTS = [
    Operation(
        method,
        "/v1/broadcast",
        operation_id,
        "Platform",
        "Take what upstream broadcasts of its calls",
        {200: {"application/json": schemas.ANY | {"required": ["status"], "example": {"status": "ok"}}}},
        description="For upstream alone, which sends the operator's BROADCAST_SECRET.",
        body=schemas.ref("Broadcast"),
        codes=refusals.codes([Unauthorized, PayloadTooLarge, UnsupportedMediaType, NotConfigured]),
        security=({"BroadcastSecret": []},),
        headers=("RequestId",),
    )
    for method, operation_id in (("post", "receiveBroadcast"), ("put", "putBroadcast"))
]
_PROBE = {"application/json": schemas.ref("Probe")}
_PUBLIC: Sequence[Mapping[str, list[str]]] = ({},)
_BESIDE = [
    Operation(
        "get",
        "/health",
        "getHealth",
        "Platform",
        "Say that this process lives",
        {200: _PROBE},
        security=_PUBLIC,
    ),
    Operation(
        "get",
        "/readyz",
        "getReadiness",
        "Platform",
        "Say whether this gateway takes calls",
        {200: _PROBE, 503: _PROBE},
        security=_PUBLIC,
    ),
    Operation(
        "get",
        "/metrics",
        "getMetrics",
        "Platform",
        "Read the platform's figures, in Prometheus' text form",
        {200: {PLAIN: {"type": "string"}}, 401: {}, 404: {}},
        description="With METRICS_TOKEN as bearer token; without one set, for the same machine alone.",
        security=({"MetricsToken": []}, {}),
    ),
    Operation(
        "get",
        "/v1/openapi.json",
        "getOpenAPI",
        "Platform",
        "Read this document",
        {200: {"application/json": schemas.ANY | {"example": {"openapi": "3.1.1"}}}, 304: {}},
        security=_PUBLIC,
        headers=("ETag",),
        parameters=[
            {
                "name": "If-None-Match",
                "in": "header",
                "description": "The ETag of the document you have: 304 where it is still the same.",
                "schema": {"type": "string"},
            }
        ],
    ),
]

OPERATIONS = [
    *_typed(LLM, "", [FOR_USER]),
    *_typed(LLM_OF_USER, "ForUser", [control.path_parameter("user_id")]),
    *_BROADCASTS,
    *_BESIDE,
]
