"""Where each shape's answer says what it cost, on every shape of usage that upstream was seen to send."""

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llm.metering import Report
from llm.shapes import reports, table
from llm.sse import Mark, Scan

HERE = Path(__file__).parent
STREAMS = sorted((HERE / "streams").glob("*.sse"))


def usages() -> list[list[str]]:
    """What upstream was seen to send: shape, cost as written, JSON."""
    lines = (HERE / "usages.txt").read_text().splitlines()
    return [line.split(" ", 2) for line in lines if not line.startswith("#")]


RESPONSE = next(payload for shape, _, payload in usages() if shape == "responses")
MESSAGE = next(payload for shape, _, payload in usages() if shape == "messages")


def read(shape: str, payload: str) -> Report:
    found = table.SHAPES[shape].report(payload.encode())
    assert found is not None
    return found


@pytest.mark.parametrize(("shape", "cost", "payload"), usages())
def test_cost_is_found_as_it_was_written(shape: str, cost: str, payload: str) -> None:
    found = read(shape, payload).cost_usd
    assert found == (None if cost == "-" else Decimal(cost))
    assert cost == "-" or found is None or found.as_tuple() == Decimal(cost).as_tuple()


@pytest.mark.parametrize("shape", [name for name in table.SHAPES if name != "speech"])
@pytest.mark.parametrize("payload", ["", "<html>", "[1]", '{"usage":', '{"usage":{"cost":NaN}}', "null"])
def test_what_is_no_object_reports_nothing(shape: str, payload: str) -> None:
    assert table.SHAPES[shape].report(payload.encode()) is None


def test_sound_alone_is_not_looked_into() -> None:
    assert {name for name, shape in table.SHAPES.items() if shape.is_bytes} == {"speech"}


def test_usage_that_a_model_wrote_is_no_usage() -> None:
    said = '{"type":"response.output_item.done","item":{"usage":{"cost":5}},"message":{"usage":{"cost":5}}}'
    assert read("responses", said).cost_usd is None
    assert read("embeddings", '{"response":{"usage":{"cost":5}}}').cost_usd is None


@pytest.mark.parametrize(
    ("shape", "payload", "generation_id"),
    [
        ("chat", '{"id":"gen-1-a"}', "gen-1-a"),
        ("responses", '{"type":"response.created","response":{"id":"gen-1-r"}}', "gen-1-r"),
        ("responses", '{"type":"response.created","response":{"id":"resp_1"}}', None),
        ("responses", '{"type":"error","message":"x"}', None),
        ("messages", '{"type":"message_start","message":{"id":"msg_1"}}', None),
        ("messages", '{"type":"message_start","message":{"id":"gen-1-m"}}', "gen-1-m"),
        ("messages", '{"type":"error","error":{"message":"x"},"request_id":"gen-1-m"}', "gen-1-m"),
        ("embeddings", '{"id":"embd-1"}', None),
        ("rerank", '{"id":"gen-rerank-1"}', "gen-rerank-1"),
        ("images", '{"created":1}', None),
        ("videos", '{"id":"gen-not-a-generation","status":"pending"}', None),
        ("videos", '{"id":"vid-1","generation_id":"gen-9-z"}', "gen-9-z"),
    ],
)
def test_id_is_taken_only_where_it_can_be_looked_up(
    shape: str, payload: str, generation_id: str | None
) -> None:
    assert read(shape, payload).generation_id == generation_id


@pytest.mark.parametrize(
    ("shape", "payload", "message"),
    [
        ("chat", '{"error":{"code":400,"message":"Token limit"},"choices":[]}', "Token limit"),
        ("chat", '{"choices":[{"finish_reason":"error","error":{"message":"Gone"}}]}', "Gone"),
        ("responses", '{"type":"error","code":"server_error","message":"Gone","param":null}', "Gone"),
        ("responses", '{"type":"response.error","error":{"message":"Gone"}}', "Gone"),
        ("responses", '{"type":"response.failed","response":{"error":{"message":"Gone"}}}', "Gone"),
        ("responses", RESPONSE, None),
        ("messages", '{"type":"error","error":{"type":"overloaded_error","message":"Gone"}}', "Gone"),
        ("messages", MESSAGE, None),
        ("images", '{"type":"error","error":{"message":"Gone"}}', "Gone"),
        ("images", '{"type":"image_generation.failed","error":{"message":"Gone"}}', "Gone"),
        ("videos", '{"id":"v","status":"failed","error":"Gone"}', "Gone"),
        ("videos", '{"id":"v","status":"pending"}', None),
    ],
)
def test_failure_is_seen_in_every_dialect(shape: str, payload: str, message: str | None) -> None:
    error = read(shape, payload).error
    assert (error or {}).get("message") == message


@pytest.mark.parametrize(
    ("shape", "payload", "facts"),
    [
        ("responses", RESPONSE,
         {"model": "a/b", "tokens_prompt": 20, "tokens_completion": 9, "native_tokens_reasoning": 4,
          "native_tokens_cached": 5, "is_byok": False, "finish_reason": "completed"}),
        ("messages", MESSAGE, {"model": "a/b", "provider": "Anthropic", "tokens_prompt": 3329, "tokens_completion": 20,
                               "is_byok": False, "finish_reason": "end_turn"}),
        ("messages", '{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":7}}',
         {"tokens_completion": 7, "finish_reason": "max_tokens"}),
        ("embeddings", '{"model":"a/b","usage":{"prompt_tokens":4,"total_tokens":4}}',
         {"model": "a/b", "tokens_prompt": 4}),
        ("rerank", '{"model":"a/b","usage":{"search_units":2,"total_tokens":9}}',
         {"model": "a/b", "tokens_prompt": 9, "units": 2}),
        ("images", '{"usage":{"prompt_tokens":1,"completion_tokens":-5,"total_tokens":true}}', {"tokens_prompt": 1}),
        ("videos", '{"id":"v","usage":{"is_byok":true}}', {"is_byok": True}),
    ],
)  # fmt: skip
def test_facts_have_the_same_names_in_every_shape(shape: str, payload: str, facts: dict[str, Any]) -> None:
    assert read(shape, payload).facts() == facts


def test_usage_at_the_beginning_of_a_message_is_not_its_last() -> None:
    begin = read("messages", '{"type":"message_start","message":{"usage":{"cost":0.001}}}')
    end = read("messages", '{"type":"message_delta","usage":{"cost":0.002}}')
    assert [found.is_last(finish_seen=False) for found in (begin, end)] == [False, True]


def test_account_is_taken_out_of_an_error() -> None:
    raw = b'{"error":{"code":429,"message":"x"},"user_id":"user_2abc"}'
    assert read("images", raw.decode()).without_account(raw) == raw.replace(b'"user_2abc"', b"null")


def test_job_is_known_by_its_id() -> None:
    assert reports.job(read("videos", '{"id":"vid-1","status":"pending"}')) == "vid-1"
    assert reports.job(read("videos", '{"id":7,"status":"pending"}')) is None


def test_job_without_a_name_is_none() -> None:
    assert reports.job(read("videos", '{"id":"","status":"pending"}')) is None


VECTOR = ",".join(f"{index / 7:.7f}" for index in range(3072))
THICK = [
    ("embeddings", ",".join([f'{{"object":"embedding","embedding":[{VECTOR}],"index":0}}'] * 500)),
    ("embeddings", ",".join([f'{{"object":"embedding","embedding":"{"A" * 16384}"}}'] * 500)),
    ("images", f'{{"b64_json":"{"iVBORw0K" * 500_000}"}}'),
]


@pytest.mark.parametrize(("shape", "rows"), THICK)
def test_large_answer_is_read_without_what_it_brings(shape: str, rows: str) -> None:
    tail = (
        '"model":"a/b","said":"[1,2] \\"usage\\":{\\"cost\\":9}","usage":{"prompt_tokens":4,"cost":8.1e-8}}'
    )
    payload, begun = f'{{"data":[{rows}],{tail}', time.perf_counter()
    report = read(shape, payload)
    assert (report.cost_usd, report.facts()["tokens_prompt"]) == (Decimal("8.1e-8"), 4)
    # Read as a whole, the vectors alone would take seconds of everybody's time.
    assert time.perf_counter() - begun < 1


def pieces(raw: bytes, size: int) -> Iterator[bytes]:
    return (raw[start : start + size] for start in range(0, len(raw), size))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 5, 1 << 20])
@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_stream_passes_to_the_byte_and_its_cost_is_found(path: Path, size: int, end: str) -> None:
    raw, scan = path.read_bytes().replace(b"\n", end.encode()), Scan(want_first=True)
    segments = [segment for piece in pieces(raw, size) for segment in scan.feed(piece)]
    segments += scan.finish()
    assert b"".join(segment.data for segment in segments) == raw
    objects = [segment.payload for segment in segments if segment.mark is Mark.OBJECT]
    costs = [read(path.stem, payload.decode()).cost_usd for payload in objects]
    assert [cost for cost in costs if cost is not None] == [Decimal("0.0000039")]
