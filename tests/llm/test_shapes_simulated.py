"""Every shape against the simulator: what is read of a request bounds what it costs, and the answer says how much."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from llm import catalog
from llm.catalog import Catalog
from llm.metering import Report
from llm.shapes import faults, reports, table
from llm.sse import Mark, Scan
from tests.simulator import process
from tests.simulator.process import Simulator

SAID = "Explain how tides work in the North Sea."
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": SAID}], "max_tokens": 30},
    "completions": {"model": "openai/gpt-4o-mini", "prompt": SAID, "max_tokens": 30},
    "responses": {"model": "openai/gpt-4o-mini", "input": SAID, "max_output_tokens": 30},
    "messages": {
        "model": "anthropic/claude-haiku-4.5", "messages": [{"role": "user", "content": SAID}], "max_tokens": 30,
    },
    "embeddings": {"model": "openai/text-embedding-3-small", "input": [SAID, "Ebb"]},
    "rerank": {"model": "cohere/rerank-v3.5", "query": "tides", "documents": [SAID, "Ebb", "Flow"]},
    "images": {"model": "openai/gpt-image-1", "prompt": SAID},
    "transcriptions": {"model": "openai/whisper-1", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    "speech": {"model": "hexgrad/kokoro-82m", "input": SAID, "voice": "af"},
    "videos": {"model": "google/veo-3.1", "prompt": SAID, "duration": 4},
}  # fmt: skip
STREAMS = ["chat", "completions", "responses", "messages", "images"]
INLINE = [shape for shape in BODIES if shape not in ("speech", "videos")]


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    with process.running("--port", "0", "--speed", "instant") as running, running.client:
        yield running


@pytest.fixture(scope="module")
def offered(sim: Simulator) -> Catalog:
    return catalog.parse(sim.get("/models", output_modalities="all").content)


@pytest.fixture
def key() -> str:
    return f"sk-or-v1-{uuid4().hex}"


def ask(sim: Simulator, shape: str, key: str, faults: str = "", **more: Any) -> httpx.Response:
    return sim.post(f"/{table.SHAPES[shape].path}", key, {**BODIES[shape], **more}, faults)


@pytest.mark.parametrize("shape", INLINE)
def test_answer_says_what_the_call_cost(shape: str, sim: Simulator, key: str) -> None:
    answer = ask(sim, shape, key)
    report = table.SHAPES[shape].report(answer.content)
    assert report is not None
    assert report.cost_usd is not None
    assert report.cost_usd == sim.spent(key) > 0
    assert report.error is None
    assert report.is_last(finish_seen=False)


@pytest.mark.parametrize("shape", BODIES)
def test_hold_covers_what_the_call_cost(shape: str, sim: Simulator, key: str, offered: Catalog) -> None:
    request = table.SHAPES[shape].read(orjson.dumps(BODIES[shape]))
    prices = [price for model in request.models for price in offered.prices(model)]
    bound = table.SHAPES[shape].bound(request, prices)
    assert ask(sim, shape, key).is_success
    known = shape in (*STREAMS[:4], "embeddings", "rerank", "speech")
    assert bound.price_known is known
    if known:
        assert 0 < sim.spent(key) <= bound.cost_usd()


@pytest.mark.parametrize("chosen", ["", "crlf", "event_lines", "split=7"])
@pytest.mark.parametrize("shape", STREAMS)
def test_stream_says_once_what_the_call_cost(shape: str, chosen: str, sim: Simulator, key: str) -> None:
    answer = ask(sim, shape, key, chosen, stream=True)
    scan, objects = Scan(want_first=True), []
    for segment in [*scan.feed(answer.content), *scan.finish()]:
        if segment.mark is Mark.OBJECT:
            objects.append(segment.payload)
    found = [table.SHAPES[shape].report(payload) for payload in objects]
    costs = [report.cost_usd for report in found if report and report.cost_usd is not None]
    assert costs == [sim.spent(key)]
    assert not any(report.error for report in found if report)


@pytest.mark.parametrize("shape", ["responses", "messages", "images"])
def test_last_event_of_a_stream_is_known_without_done(shape: str, sim: Simulator, key: str) -> None:
    events = ask(sim, shape, key, "no_done", stream=True).content.strip().split(b"\n\n")
    ending = [any(end in event for end in table.SHAPES[shape].ends) for event in events]
    assert ending == [False] * (len(events) - 1) + [True]


@pytest.mark.parametrize("shape", BODIES)
def test_record_calls_the_shape_what_the_table_does(shape: str, sim: Simulator, key: str) -> None:
    answer = ask(sim, shape, key)
    record = sim.generation(answer.headers["x-generation-id"], key)
    assert record["api_type"] == table.SHAPES[shape].api_type


@pytest.mark.parametrize("shape", ["chat", "completions", "responses"])
def test_first_object_of_a_stream_names_the_call(shape: str, sim: Simulator, key: str) -> None:
    answer = ask(sim, shape, key, stream=True)
    segments = Scan(want_first=True).feed(answer.content)
    first = next(segment.payload for segment in segments if segment.mark is Mark.OBJECT)
    report = table.SHAPES[shape].report(first)
    assert report
    assert report.generation_id == answer.headers["x-generation-id"]


def test_sound_is_told_of_by_its_header_alone(sim: Simulator, key: str) -> None:
    answer = ask(sim, "speech", key)
    assert table.SHAPES["speech"].report(answer.content) is None
    record = sim.generation(answer.headers["x-generation-id"], key)
    assert Decimal(record["total_cost"]) == sim.spent(key) > 0


def test_job_tells_its_cost_when_it_is_over(sim: Simulator, key: str) -> None:
    begun = reports.read_job(ask(sim, "videos", key).content)
    assert begun
    job = reports.job(begun)
    assert job
    assert begun.cost_usd is None

    def look() -> Report | None:
        found = reports.read_job(sim.get(f"/videos/{job}", key).content)
        return found if found and found.cost_usd is not None else None

    done = process.eventually(look)
    assert done.cost_usd == sim.spent(key)
    assert done.generation_id
    assert reports.job(done) == job


@pytest.mark.parametrize("status", [400, 404, 413, 422, 429, 500, 502, 503, 529])
@pytest.mark.parametrize("shape", ["chat", "responses", "messages"])
def test_upstreams_error_keeps_its_shape_and_loses_the_account(
    shape: str, status: int, sim: Simulator, key: str
) -> None:
    answer = ask(sim, shape, key, f"status={status}")
    found = faults.answer(answer.status_code, answer.content, dialect=table.SHAPES[shape].dialect)
    assert (found.status, found.is_ours) == (status, False)
    assert b"user_2" not in found.body
    assert orjson.loads(found.body).keys() == answer.json().keys()
    assert b"X-RateLimit-Limit" in found.body or status != 429 or shape == "messages"
