"""Traces as upstream broadcasts them, built span by span."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid4

import orjson

KEYS = ["resourceSpans", "resource", "scopeSpans", "spans", "attributes", "key", "value", "stringValue", "doubleValue",
        "traceId", "parentSpanId", "openrouter.trace.id", "gen_ai.usage.total_cost"]  # fmt: skip


def double(literal: str) -> dict[str, Any]:
    """A doubleValue whose literal is on the wire as it stands here."""
    return {"doubleValue": orjson.Fragment(literal.encode())}


def attribute(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def span(
    hold_id: UUID,
    *,
    cost: Any = {"doubleValue": 0.4},  # noqa: B006 - never changed.
    generation_id: str = "",
    user: str | None = None,
    trace_id: str | None = None,
    span_id: str | None = None,
    parent: str | None = None,
    also: Mapping[str, Any] | None = None,
    without: Iterable[str] = (),
) -> dict[str, Any]:
    """One generation's span; `about` is taken out by `delivery`."""
    named: dict[str, Any] = {
        "gen_ai.operation.name": {"stringValue": "chat"},
        "gen_ai.prompt": {"stringValue": '{"messages":[]}'},
        "gen_ai.response.model": {"stringValue": "openai/gpt-4o-mini"},
        "gen_ai.response.id": {"stringValue": generation_id},
        "gen_ai.response.finish_reason": {"stringValue": "stop"},
        "gen_ai.usage.input_tokens": {"intValue": "10"},
        "gen_ai.usage.output_tokens": {"intValue": "20"},
        "gen_ai.usage.total_cost": cost,
        "trace.metadata.openrouter.provider_name": {"stringValue": "OpenAI"},
        "user.id": {"stringValue": user} if user else None,
    }
    for name in without:
        named.pop(name, None)
    named |= also or {}
    found = {
        "about": str(hold_id),
        "traceId": trace_id or hashlib.sha256(str(hold_id).encode()).hexdigest()[:32],
        "spanId": span_id or uuid4().hex[:16],
        "name": "LLM Generation",
        "startTimeUnixNano": "1772321746000000000",
        "endTimeUnixNano": "1772321748000000000",
        "attributes": [attribute(name, value) for name, value in named.items() if value is not None],
    }
    return found | ({"parentSpanId": parent} if parent else {})


def delivery(*spans: Any, resource: Mapping[str, str] | None = None) -> bytes:
    """One body: a resource for each span, which names its trace unless `resource` says otherwise."""
    return orjson.dumps({"resourceSpans": _resources(spans, resource)})


def _resources(spans: Iterable[Any], resource: Mapping[str, str] | None) -> list[Any]:
    """Those of one trace stand together; what is no span stands with what comes before or after it."""
    groups: list[tuple[str, list[Any]]] = []
    strays: list[Any] = []
    for one in spans:
        name = one.get("about") if isinstance(one, dict) else None
        if name is None or (groups and groups[-1][0] == name):
            (groups[-1][1] if groups else strays).append(one)
        else:
            groups.append((name, [*strays, one]))
            strays = []
    return [_resource(name, listed, resource) for name, listed in groups or [("", strays)]]


def _resource(name: str, spans: list[Any], resource: Mapping[str, str] | None) -> dict[str, Any]:
    about = _about(name, resource)
    return {
        "resource": {"attributes": [attribute(key, {"stringValue": value}) for key, value in about]},
        "scopeSpans": [{"scope": {"name": "openrouter"}, "spans": [_plain(one) for one in spans]}],
    }


def _about(name: str, resource: Mapping[str, str] | None) -> Iterable[tuple[str, str]]:
    found = {"openrouter.trace.id": name} if name else {}
    return {"service.name": "openrouter", **(found if resource is None else resource)}.items()


def _plain(one: Any) -> Any:
    return {key: value for key, value in one.items() if key != "about"} if isinstance(one, dict) else one
