"""A span for each call, for whoever collects traces; only loaded where OTEL_EXPORTER_OTLP_ENDPOINT is set.

They are made when a call is over, from what was seen of it: nothing runs beside a call, and nothing is told upstream.
"""

import asyncio
import time
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from llm.sightings import Sighting
from naive_platform import traffic

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as exc:
    raise ImproperlyConfigured(
        "OTEL_EXPORTER_OTLP_ENDPOINT is set, and what it needs is not there: install naive-platform[otel]."
    ) from exc

NAME: Final = "naive-gateway"
STOP_TIMEOUT_S = 3.0
TEXT_CHARS_MAX = 200
# The conventions' own words for what a call asks for, by the shape's name.
_OPERATIONS = {
    "chat": "chat",
    "messages": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}
_TRACEPARENT = TraceContextTextMapPropagator()


class Recorder:
    """Makes spans of sightings, and sends them from a thread of its own."""

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": NAME}), shutdown_on_exit=False
        )
        # The exporter reads the OTEL_… variables itself: endpoint, headers, timeout.
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("naive_platform")

    def start(self) -> None:
        traffic.listeners.append(self.record)

    async def stop(self) -> None:
        """Send what is left, as far as the collector takes it in time."""
        if self.record in traffic.listeners:
            traffic.listeners.remove(self.record)
        stopping = asyncio.create_task(asyncio.to_thread(self._provider.shutdown))
        await asyncio.wait({stopping}, timeout=STOP_TIMEOUT_S)

    def record(self, seen: Sighting, now: float) -> None:
        """Make the span of a request, and within it that of the call to the model, if there was one."""
        end_ns = time.time_ns()

        def moment(at: float) -> int:
            return end_ns - int((now - at) * 1_000_000_000)

        # A header that is no trace's is none.
        context = _TRACEPARENT.extract({"traceparent": seen.parent}, Context())
        span = self._tracer.start_span(
            f"{seen.method} {seen.route}",
            context,
            SpanKind.SERVER,
            attributes=_request(seen),
            start_time=moment(seen.began_at),
        )
        if seen.status >= 500:
            span.set_status(Status(StatusCode.ERROR, seen.outcome))
        if seen.hold_id is not None:
            operation = _OPERATIONS.get(seen.shape, seen.shape)
            model = next(iter(seen.models), "")[:TEXT_CHARS_MAX]
            inner = self._tracer.start_span(
                f"{operation} {model}".strip(),
                trace.set_span_in_context(span, context),
                SpanKind.CLIENT,
                attributes={"gen_ai.operation.name": operation, **_generation(seen, model)},
                start_time=moment(seen.held_at),
            )
            if seen.first_at:
                inner.add_event("gen_ai.first_token", timestamp=moment(seen.first_at))
            if seen.outcome != "ok":
                inner.set_status(Status(StatusCode.ERROR, seen.outcome))
            inner.end(end_ns)
        span.end(end_ns)


def _request(seen: Sighting) -> dict[str, Any]:
    found: dict[str, Any] = {
        "http.request.method": seen.method,
        "http.route": seen.route,
        "http.response.status_code": seen.status,
        "naive.request_id": seen.request_id,
    }
    if seen.outcome != "ok":
        found["error.type"] = seen.outcome
    if seen.company_id is not None:
        found |= {"naive.company_id": str(seen.company_id), "naive.key_id": str(seen.key_id)}
    return found


def _generation(seen: Sighting, model: str) -> dict[str, Any]:
    """Return the attributes of a call to a model: names and counts, never what was said."""
    facts = seen.facts or {}
    found = {
        "gen_ai.provider.name": "openrouter",
        "gen_ai.request.model": model,
        "gen_ai.response.id": seen.generation_id,
        "gen_ai.response.model": facts.get("model"),
        "gen_ai.usage.input_tokens": facts.get("tokens_prompt"),
        "gen_ai.usage.output_tokens": facts.get("tokens_completion"),
        "naive.generation_id": f"gen_{seen.hold_id}",
        "naive.provider": facts.get("provider"),
    }
    reason = facts.get("finish_reason")
    if reason:
        found["gen_ai.response.finish_reasons"] = [str(reason)]
    return {name: value for name, value in found.items() if value is not None and value != ""}
