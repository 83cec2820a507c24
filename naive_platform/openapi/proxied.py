"""The data plane's half of the document, part two: the drop-in proxy, from its own table of paths."""

import re
from collections.abc import Mapping
from typing import Any

from accounts.errors import NotConfigured, NotFound
from llm import fields
from llm.errors import UpstreamError, UpstreamTimeout
from llm.proxy import paths
from llm.proxy.paths import Route, Treatment
from naive_platform.openapi import control, refusals, schemas, typed
from naive_platform.openapi.schemas import JSON
from naive_platform.openapi.typed import EVENTS, Operation

_JSON = "application/json"
_ANYTHING: JSON = {"description": "Upstream's own, to the byte."}
_OBJECT: JSON = {
    "type": "object",
    "additionalProperties": True,
    "description": "Upstream's own, to the byte.",
}
_MODEL: JSON = {
    "type": "string",
    "minLength": 1,
    "maxLength": fields.MODEL_CHARS_MAX,
    "pattern": r"^[!-~]([ -~]*[!-~])?$",
}
_TEXT: JSON = {"type": "string", "minLength": 1}
_SWITCH: JSON = {"type": ["boolean", "null"]}
_LIST: JSON = {"type": "array", "minItems": 1, "items": {}}
_TEXT_OR_LIST: JSON = {"type": ["string", "array"], "items": {}}
_MODEL_ID = "openai/gpt-4o-mini"
# What upstream answers beside JSON and event streams.
_MEDIA = {"speech": "audio/*", "video_content": "video/*"}
# What the platform requires of a body: the rest is upstream's. By shape: its fields, and an example.
_BODIES: Mapping[str, tuple[Mapping[str, JSON], Mapping[str, Any]]] = {
    "completions": ({"prompt": _TEXT_OR_LIST}, {"model": _MODEL_ID, "prompt": "Say hello."}),
    "responses": ({"input": _TEXT_OR_LIST}, {"model": _MODEL_ID, "input": "Say hello."}),
    "messages": (
        {"messages": {"type": "array", "minItems": 1, "items": {"type": "object"}}},
        {
            "model": "anthropic/claude-haiku-4.5",
            "max_tokens": 50,
            "messages": [{"role": "user", "content": "Say hello."}],
        },
    ),
    "embeddings": (
        {"input": _TEXT_OR_LIST},
        {"model": "openai/text-embedding-3-small", "input": "Hello."},
    ),
    "rerank": (
        {"query": _TEXT, "documents": _LIST},
        {"model": "cohere/rerank-v3.5", "query": "hello", "documents": ["Hello.", "Good-bye."]},
    ),
    "images": ({"prompt": _TEXT}, {"model": "google/gemini-2.5-flash-image", "prompt": "A red square."}),
    "speech": ({"input": _TEXT}, {"model": "openai/gpt-4o-mini-tts", "input": "Hello.", "voice": "alloy"}),
    "transcriptions": (
        {
            "input_audio": {
                "type": "object",
                "required": ["data"],
                "properties": {"data": {**_TEXT, "description": "Base64."}},
                "additionalProperties": True,
            }
        },
        {"model": "openai/whisper-1", "input_audio": {"data": "UklGRiQAAABXQVZF", "format": "wav"}},
    ),
    "videos": ({}, {"model": "google/veo-3.1", "prompt": "A red square turns.", "duration": 4}),
}
_WORDS = {
    Treatment.METERED: "Upstream's own request and answer; charged by what upstream reports.",
    Treatment.FREE: "Upstream's own answer, a minute old at most; free.",
    Treatment.OURS: "In upstream's shape, from your company's own records.",
}
_SUMMARIES = {
    "POST chat/completions": "Create a chat completion",
    "POST completions": "Complete a prompt",
    "POST responses": "Create a response (OpenAI's Responses API)",
    "POST messages": "Create a message (Anthropic's Messages API)",
    "POST embeddings": "Create embeddings",
    "POST rerank": "Order documents by how well they fit a query",
    "POST images": "Make pictures",
    "POST audio/speech": "Make speech of a text",
    "POST audio/transcriptions": "Make a text of speech",
    "POST videos": "Begin to make a film",
    "GET videos/{job}": "Read how far a film of yours is",
    "GET videos/{job}/content": "Read a film of yours",
    "GET models": "List upstream's models",
    "GET models/count": "Count upstream's models",
    "GET models/{author}/{slug}/endpoints": "List who serves a model",
    "GET model/{author}/{slug}": "Read a model",
    "GET embeddings/models": "List models that embed",
    "GET images/models": "List models that make pictures",
    "GET images/models/{author}/{slug}/endpoints": "List who serves a model that makes pictures",
    "GET videos/models": "List models that make films",
    "GET providers": "List providers",
    "GET endpoints/zdr": "List endpoints that keep no data",
    "GET key": "Read this key and its cap",
    "GET auth/key": "Read this key and its cap",
    "GET credits": "Read credits bought and used",
    "GET generation": "Read one call of yours",
    "GET activity": "Read the last days' use by day and model",
}
_IMAGE_MODEL = {"author": "google", "slug": "gemini-2.5-flash-image"}
_PARAMETERS = {
    "author": {
        "schema": {"type": "string", "pattern": "^~?[a-z0-9][a-z0-9._-]{0,63}$"},
        "example": "openai",
    },
    "slug": {
        "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._:-]{0,127}$"},
        "example": "gpt-4o-mini",
    },
    "job": {
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$"},
        "example": "vid-1790000000-aBcDeFgHiJkLmNoPqRsT",
    },
}
# Of the rest, upstream's own filters go on as they are; what it does not know is left out.
_QUERY = {
    "date": typed.query("date", {"type": "string", "format": "date"}, "Only this UTC day, of the last 30."),
    "id": typed.query("id", {"type": "string", "minLength": 1}, "The id of an answer.", required=True),
    "index": typed.query("index", {"type": "string", "pattern": "^[0-9]{1,4}$"}, "Which film, from 0."),
}
_ASKED = refusals.codes([*refusals.KNOWN, NotFound, NotConfigured, UpstreamError, UpstreamTimeout])
_CALLED = refusals.codes([*refusals.KNOWN, *refusals.CALL, *refusals.ONCE])
_OURS = refusals.codes([*refusals.KNOWN, NotFound])
UPSTREAM_ERROR: JSON = {
    "type": "object",
    "description": "Upstream's own error, in the shape of the API that was called.",
    "required": ["error"],
    "properties": {"error": {"type": "object", "additionalProperties": True}},
    "additionalProperties": True,
}


def operations() -> list[Operation]:
    """Every route that the proxy opens. Errors: KeyError for one that has no summary here."""
    return [_operation(route) for route in paths.TABLE.values() if route.treatment is not Treatment.NEVER]


def _operation(route: Route) -> Operation:
    is_call = route.method == "POST"
    return Operation(
        method=route.method.lower(),
        path=paths.MOUNT.decode() + route.template,
        id=_id(route),
        tag="Proxy",
        summary=_SUMMARIES[f"{route.method} {route.template}"],
        description=_description(route),
        answers={
            200: _answers(route),
            **({202: {_JSON: _OBJECT}} if route.shape.startswith("video") else {}),
        },
        body=_body(route.shape) if is_call else None,
        parameters=[*_parameters(route)],
        security=(control.BEARER, control.BARE),
        codes=_CALLED if is_call else _OURS if route.treatment is Treatment.OURS else _ASKED,
        headers=typed.CALL_HEADERS if is_call else ("RequestId",),
        is_idempotent=is_call,
        is_proxied=route.treatment is not Treatment.OURS,
    )


def _description(route: Route) -> str:
    filters = sorted(route.parameters - set(_QUERY))
    if route.treatment is not Treatment.FREE or not filters:
        return _WORDS[route.treatment]
    return f"{_WORDS[route.treatment]} It takes upstream's filters: {', '.join(f'`{name}`' for name in filters)}."


def _answers(route: Route) -> dict[str, JSON]:
    if route.shape in _MEDIA:
        return {_MEDIA[route.shape]: _ANYTHING}
    streams = route.shape in ("chat", "completions", "responses", "messages", "images", "transcriptions")
    return {_JSON: _OBJECT, **({EVENTS: dict[str, Any]()} if streams else {})}


def _body(shape: str) -> JSON:
    if shape == "chat":
        return schemas.ref("ChatBody")
    properties, example = _BODIES[shape]
    return {
        "type": "object",
        "required": ["model", *properties],
        "properties": {"model": _MODEL, "stream": _SWITCH, **properties},
        "additionalProperties": True,
        "example": dict(example),
    }


def _parameters(route: Route) -> list[JSON]:
    names = re.findall(r"\{(\w+)\}", route.template)
    in_path = [{"name": name, "in": "path", "required": True, **_PARAMETERS[name]} for name in names]
    if route.template.startswith("images/"):
        in_path = [one | {"example": _IMAGE_MODEL[one["name"]]} for one in in_path]
    in_query = [_QUERY[name] for name in sorted(route.parameters) if name in _QUERY]
    for_user = [typed.FOR_USER] if route.method == "POST" else []
    return [*in_path, *in_query, *for_user]


def _id(route: Route) -> str:
    """Such as proxyPostChatCompletions."""
    words = re.findall(r"[a-z0-9]+", route.template.replace("{", "by/"))
    return "proxy" + route.method.capitalize() + "".join(word.capitalize() for word in words)
