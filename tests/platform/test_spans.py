"""Spans: what they say of a call, whose child they are, and that none of it goes upstream or costs who wants none."""

import subprocess
import sys
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llm.sightings import Sighting
from naive_platform import spans, traffic
from tests.conftest import Run
from tests.platform.conftest import ENVIRONMENT, ROOT

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FACTS = {
    "model": "openai/gpt-5",
    "provider": "OpenAI",
    "tokens_prompt": 7,
    "tokens_completion": 9,
    "finish_reason": "stop",
}


@pytest.fixture
def exporter(run: Run) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    recorder = spans.Recorder(SimpleSpanProcessor(exporter))
    recorder.start()
    yield exporter
    run(recorder.stop())
    assert traffic.listeners == []


def call(**more: object) -> Sighting:
    now = time.monotonic()
    seen = Sighting(
        request_id="req_1", status=200, method="POST", route="llm/chat/completions", began_at=now - 3
    )
    seen.hold_id, seen.held_at, seen.first_at = uuid4(), now - 2, now - 1
    seen.shape, seen.models, seen.generation_id, seen.facts = "chat", ("openai/gpt-5",), "gen-1", FACTS
    for name, value in more.items():
        setattr(seen, name, value)
    return seen


def by_kind(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.kind.name: span for span in exporter.get_finished_spans()}


def test_call_to_a_model_is_told_in_the_conventions_words(exporter: InMemorySpanExporter) -> None:
    seen = call()
    traffic.note(seen)
    span = by_kind(exporter)["CLIENT"]
    assert span.name == "chat openai/gpt-5"
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openrouter",
        "gen_ai.request.model": "openai/gpt-5",
        "gen_ai.response.model": "openai/gpt-5",
        "gen_ai.response.id": "gen-1",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 9,
        "gen_ai.response.finish_reasons": ("stop",),
        "naive.generation_id": f"gen_{seen.hold_id}",
        "naive.provider": "OpenAI",
    }
    assert [event.name for event in span.events] == ["gen_ai.first_token"]


def test_it_lies_within_its_request_and_takes_the_time_that_it_took(exporter: InMemorySpanExporter) -> None:
    traffic.note(call())
    outer, inner = by_kind(exporter)["SERVER"], by_kind(exporter)["CLIENT"]
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert outer.start_time is not None
    assert inner.start_time is not None
    assert 0.9e9 < inner.start_time - outer.start_time < 1.1e9
    assert outer.end_time == inner.end_time


def test_clients_trace_goes_on_and_no_other_header_is_believed(exporter: InMemorySpanExporter) -> None:
    for parent in (PARENT, "", "00-zz", "x" * 9000):
        traffic.note(call(parent=parent))
    traces = [f"{span.context.trace_id:032x}" for span in exporter.get_finished_spans() if span.context]
    assert traces.count("0af7651916cd43dd8448eb211c80319c") == 2
    assert len(set(traces)) == 4


def test_error_is_one_and_says_which(exporter: InMemorySpanExporter) -> None:
    traffic.note(call(outcome="provider_error", status=502))
    for span in exporter.get_finished_spans():
        assert span.status.description == "provider_error"
    assert (by_kind(exporter)["SERVER"].attributes or {})["error.type"] == "provider_error"


def test_nothing_of_it_is_loaded_where_nobody_collects() -> None:
    program = (
        "import naive_platform.asgi, sys\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.exporter', 'naive_platform.spans'))])"
    )
    environ = ENVIRONMENT | {"DEBUG": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr
