"""Traces that upstream broadcasts: OTLP JSON in, what each generation cost out; nothing here knows the books."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from accounts.errors import InvalidInput
from llm import metering

# A number that is written longer is none; upstream's have some 20 digits.
NUMBER_CHARS_MAX = 200
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
_HEX = re.compile(r"[0-9a-fA-F]{32}")
_OUR_VERSION = 7

_TRACE = "openrouter.trace.id"
# Each fact under the names it has had (docs/broadcast.md); the first that is there counts.
_COST = ("gen_ai.usage.total_cost", "gen_ai.usage.cost")
_WORDS: dict[str, tuple[str, ...]] = {
    "model": ("gen_ai.response.model", "gen_ai.request.model"),
    "provider": ("trace.metadata.openrouter.provider_name", "openrouter.provider_name"),
    "finish_reason": ("gen_ai.response.finish_reason", "openrouter.finish_reason"),
}
_COUNTS: dict[str, tuple[str, ...]] = {
    "tokens_prompt": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "tokens_completion": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "native_tokens_reasoning": ("gen_ai.usage.output_tokens.reasoning",),
    "native_tokens_cached": ("gen_ai.usage.input_tokens.cached",),
}
_NAMES = {"gen_ai.response.id", "user.id"}
# Prompts and completions come along too, and are not even looked at.
_WANTED = {
    _TRACE,
    *_COST,
    *_NAMES,
    *(name for names in (*_WORDS.values(), *_COUNTS.values()) for name in names),
}

type Value = str | int | Decimal


@dataclass(frozen=True, slots=True)
class Span:
    """One generation as its trace tells it.

    Units: `cost_usd` is USD exactly as written, not checked to be an amount of money. Shape: `hold_id` is what the
    trace's id says as it stands, `digest` what it may be the digest of; at least one is there.
    """

    hold_id: UUID | None
    digest: str | None
    generation_id: str
    user: str | None
    cost_usd: Decimal
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Traces:
    """What a delivery tells: spans that name a cost and a trace that may be ours, and how many do not."""

    spans: tuple[Span, ...]
    ignored: int


def read(raw: bytes) -> Traces:
    """Read one delivery.

    Shape: a span that makes no sense, has no cost or names no trace of ours is counted and spoils no other.
    Errors: InvalidInput where the whole is no OTLP JSON.
    Source: docs/broadcast.md.
    """
    try:
        body = json.loads(raw, parse_float=_number, parse_int=_number, parse_constant=Decimal)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput("The body is not JSON.", hint="Send OTLP traces as JSON.") from exc
    listed = body.get("resourceSpans", []) if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise InvalidInput("The body has no list of resourceSpans.", hint="Send OTLP traces as JSON.")
    told = [(span, _span(span, about)) for span, about in _walk(listed)]
    inner = _inside_another(span for span, found in told if found is not None)
    kept = tuple(found for span, found in told if found is not None and id(span) not in inner)
    return Traces(spans=kept, ignored=len(told) - len(kept))


def _walk(resources: list[Any]) -> Iterator[tuple[Any, Mapping[str, Value]]]:
    for resource in _objects(resources):
        about = _attributes(_at(resource, "resource"))
        for scope in _objects(resource.get("scopeSpans")):
            spans = scope.get("spans")
            for span in spans if isinstance(spans, list) else []:
                yield span, about


def _span(span: Any, about: Mapping[str, Value]) -> Span | None:
    if not isinstance(span, dict):
        return None
    attributes = _attributes(span)
    cost = _decimal(_first(attributes, _COST))
    hold_id, digest = _identity(about.get(_TRACE), span.get("traceId"))
    if cost is None or (hold_id is None and digest is None):
        return None
    facts = {name: _first(attributes, names) for name, names in _WORDS.items()}
    facts |= {name: _whole(_first(attributes, names)) for name, names in _COUNTS.items()}
    return Span(
        hold_id=hold_id,
        digest=digest,
        generation_id=metering.text(attributes.get("gen_ai.response.id")) or "",
        user=metering.text(attributes.get("user.id")),
        cost_usd=cost,
        facts=metering.storable(facts),
    )


def _identity(named: Value | None, trace_id: Any) -> tuple[UUID | None, str | None]:
    """Return (hold, digest of a hold): from the id that we sent, where it is told, else from the trace's own."""
    if named is not None:
        return _uuid(named), None
    found = trace_id if isinstance(trace_id, str) else ""
    # 32 digits may be our id without its dashes or the digest of it, and look alike.
    return _uuid(found), found.lower() if _HEX.fullmatch(found) else None


def _uuid(text: Value) -> UUID | None:
    """The id of a hold: other senders' traces seldom look like one."""
    if not isinstance(text, str) or len(text) not in (32, 36):
        return None
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if found.version == _OUR_VERSION and text.lower() in (found.hex, str(found)) else None


def _inside_another(spans: Iterable[dict[str, Any]]) -> set[int]:
    """Which spans are a part of another one of the same delivery: its cost has theirs in it."""
    listed = list(spans)
    ids = {_place(span, "spanId") for span in listed if isinstance(span.get("spanId"), str)}
    # A caller names what its trace is under: that may be anything, but never reaches into another trace.
    return {id(span) for span in listed if _place(span, "parentSpanId") in ids}


def _place(span: dict[str, Any], name: str) -> tuple[str, str]:
    return repr(span.get("traceId")), repr(span.get(name))


def _attributes(owner: Mapping[str, Any]) -> dict[str, Value]:
    """The attributes we look at; one that is there twice and says two things says nothing."""
    found: dict[str, Value] = {}
    torn: set[str] = set()
    for attribute in _objects(owner.get("attributes")):
        name = attribute.get("key")
        if not isinstance(name, str) or name not in _WANTED:
            continue
        value = _value(attribute.get("value"))
        if value is not None and name in found and found[name] != value:
            torn.add(name)
        elif value is not None:
            found[name] = value
    return {name: value for name, value in found.items() if name not in torn}


def _value(wrapped: Any) -> Value | None:
    if not isinstance(wrapped, dict):
        return None
    for kind in ("stringValue", "intValue", "doubleValue"):
        value = wrapped.get(kind)
        if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
            return value
    return None


def _first(attributes: Mapping[str, Value], names: Iterable[str]) -> Value | None:
    return next((attributes[name] for name in names if name in attributes), None)


def _decimal(value: Value | None) -> Decimal | None:
    return _number(value) if isinstance(value, str) else None if value is None else Decimal(value)


def _whole(value: Value | None) -> Any:
    """A count, which OTLP writes as a text; anything else as it is, for `storable` to refuse."""
    number = _decimal(value)
    is_whole = number is not None and number.is_finite() and 0 <= number < 2**63 and number == int(number)
    return int(number) if number is not None and is_whole else None


def _number(literal: str) -> Decimal | None:
    """A number to its last digit; None for what is none, so that it spoils only the place it stands in."""
    if len(literal) > NUMBER_CHARS_MAX or not _NUMBER.fullmatch(literal):
        return None
    try:
        return Decimal(literal)
    except InvalidOperation:
        return None


def _objects(found: Any) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _at(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = found.get(name)
    return value if isinstance(value, dict) else {}
