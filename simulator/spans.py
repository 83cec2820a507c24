"""One ended generation as OTLP JSON, the way Broadcast writes it (docs/broadcast.md); no sockets here."""

import hashlib
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from simulator import pricing
from simulator.pricing import Bill
from simulator.traffic import Body

# observed: the trace id as it was sent on the resource, its digest as traceId; the others: only what they say.
FORMS = ("observed", "digest", "hex", "dashed")
COSTS = ("double", "string")
# Keys of a request's `trace` that mean something; the rest is handed through as trace.metadata.*.
_KNOWN = {"trace_id", "trace_name", "span_name", "generation_name", "parent_span_id"}
# Spans that no reader of OTLP can make sense of, for the `garbage` knob.
_GARBAGE: list[Any] = [
    None,
    7,
    "span",
    {},
    {"traceId": 5, "attributes": {"key": 1}},
    {"attributes": [1, {"key": []}]},
]


@dataclass(frozen=True, slots=True)
class Ended:
    """What Broadcast tells of one generation; times are nanoseconds since 1970."""

    generation_id: str
    asked_model: str
    answer_model: str
    provider: str
    slug: str
    user: str | None
    trace: Body
    bill: Bill
    finish: str | None
    started_ns: int
    ended_ns: int
    with_cost: bool = True
    garbage: bool = False
    cost: str = field(default="")

    @property
    def trace_id(self) -> str:
        """The request's own id of its trace; upstream falls back to the generation's."""
        named = self.trace.get("trace_id")
        return named if isinstance(named, str) and named else self.generation_id


def spoilt(ended: Ended, how: str) -> Ended:
    """What the `broadcast` knob makes of it."""
    if how == "wrong-cost":
        return replace(ended, cost=pricing.literal(2 * ended.bill.amount + pricing.SEARCH_FEE_USD))
    if how == "wrong-trace":
        return replace(ended, trace={**ended.trace, "trace_id": str(uuid.uuid4())})
    if how == "wrong-user":
        return replace(ended, user="somebody-else")
    if how == "no-cost":
        return replace(ended, with_cost=False)
    return replace(ended, garbage=True) if how == "garbage" else ended


def payload(batch: Iterable[Ended], *, form: str, cost: str) -> bytes:
    """The body of one delivery: a resource per generation, each with its span and its provider's."""
    return orjson.dumps({"resourceSpans": [_resource(ended, form, cost) for ended in batch]})


def _resource(ended: Ended, form: str, cost: str) -> Body:
    about = [_text("service.name", "openrouter"), _text("service.version", "1.0.0")]
    if form == "observed":
        about.append(_text("openrouter.trace.id", ended.trace_id))
    trace_id, span_id = _trace_id(ended.trace_id, form), os.urandom(8).hex()
    spans: list[Any] = [_generation(ended, trace_id, span_id, cost), _attempt(ended, trace_id, span_id)]
    if ended.garbage:
        spans = [*_GARBAGE, *spans, *_GARBAGE]
    return {
        "resource": {"attributes": about},
        "scopeSpans": [{"scope": {"name": "openrouter"}, "spans": spans}],
    }


def _trace_id(wanted: str, form: str) -> str:
    if form == "dashed":
        return wanted
    if form == "hex":
        return wanted.replace("-", "")
    return hashlib.sha256(wanted.encode()).hexdigest()[:32]


def _generation(ended: Ended, trace_id: str, span_id: str, cost: str) -> Body:
    return {
        "traceId": trace_id,
        "spanId": span_id,
        "name": str(ended.trace.get("generation_name") or "LLM Generation"),
        "kind": 3,
        "startTimeUnixNano": str(ended.started_ns),
        "endTimeUnixNano": str(ended.ended_ns),
        "attributes": [*_facts(ended), *_counts(ended, cost), *_metadata(ended)],
        "status": {"code": 1},
    }


def _attempt(ended: Ended, trace_id: str, parent_id: str) -> Body:
    """The provider's part of it, which costs nothing of its own."""
    return {
        "traceId": trace_id,
        "spanId": os.urandom(8).hex(),
        "parentSpanId": parent_id,
        "name": f"provider attempt 1: {ended.provider}",
        "kind": 3,
        "startTimeUnixNano": str(ended.started_ns),
        "endTimeUnixNano": str(ended.ended_ns),
        "attributes": [_whole("attempt_index", 0), _whole("status_code", 200)],
        "status": {"code": 1},
    }


def _facts(ended: Ended) -> list[Body]:
    found = [
        _text("gen_ai.operation.name", "chat"),
        _text("gen_ai.system", ended.asked_model.partition("/")[0]),
        _text("gen_ai.provider.name", ended.asked_model.partition("/")[0]),
        _text("gen_ai.request.model", ended.asked_model),
        _text("gen_ai.response.model", ended.answer_model),
        _text("gen_ai.response.id", ended.generation_id),
    ]
    if ended.finish:
        found.append(_text("gen_ai.response.finish_reason", ended.finish))
    if ended.user:
        found.append(_text("user.id", ended.user))
    return found


def _counts(ended: Ended, cost: str) -> list[Body]:
    tally = ended.bill.tally
    found = [
        _whole("gen_ai.usage.input_tokens", tally.prompt),
        _whole("gen_ai.usage.output_tokens", tally.completion),
        _whole("gen_ai.usage.total_tokens", tally.prompt + tally.completion),
        _whole("gen_ai.usage.input_tokens.cached", tally.cached),
        _whole("gen_ai.usage.output_tokens.reasoning", tally.reasoning),
    ]
    if ended.with_cost:
        amounts = {
            "total_cost": ended.cost or ended.bill.literal,
            "input_cost": ended.bill.prompt_part,
            "output_cost": ended.bill.completion_part,
        }
        found += [_money(f"gen_ai.usage.{name}", amount, cost) for name, amount in amounts.items()]
    return found


def _metadata(ended: Ended) -> list[Body]:
    theirs = {
        "openrouter.source": "openrouter",
        "openrouter.provider_name": ended.provider,
        "openrouter.provider_slug": ended.slug,
        **{name: value for name, value in ended.trace.items() if name not in _KNOWN},
    }
    return [_text(f"trace.metadata.{name}", str(value)) for name, value in theirs.items()]


def _text(key: str, value: str) -> Body:
    return {"key": key, "value": {"stringValue": value}}


def _whole(key: str, value: int) -> Body:
    # OTLP writes 64 bit numbers as strings.
    return {"key": key, "value": {"intValue": str(value)}}


def _money(key: str, literal: str, how: str) -> Body:
    value: Body = (
        {"stringValue": literal} if how == "string" else {"doubleValue": orjson.Fragment(literal.encode())}
    )
    return {"key": key, "value": value}
