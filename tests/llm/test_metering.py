"""Reading what upstream says a call cost: exact, and missing is not zero."""

from decimal import Decimal

import orjson
import pytest

from llm import metering

SHAPES = {
    "empty choices": b'{"id":"g","choices":[],"usage":{"cost":0.00444105}}',
    "null finish": b'{"id":"g","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],'
    b'"usage":{"cost":0.00444105}}',
    "repeated finish": b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"cost":0.00444105}}',
}


def read(payload: bytes) -> metering.Report:
    report = metering.read(payload)
    assert report is not None
    return report


@pytest.mark.parametrize("shape", SHAPES)
def test_cost_is_found_in_every_shape_of_the_usage_chunk(shape: str) -> None:
    assert read(SHAPES[shape]).cost_usd == Decimal("0.00444105")


@pytest.mark.parametrize(
    "literal",
    [
        "0.00012104999999999999",
        "7.5e-7",
        "0",
        "0.0",
        "12",
        "1e-20",
        "0.00000000000000000001",
        "-0.01",
        "1e400",
    ],
)
def test_cost_is_the_very_number_on_the_wire(literal: str) -> None:
    report = read(b'{"usage":{"cost":%s}}' % literal.encode())
    assert report.cost_usd == Decimal(literal)
    assert isinstance(report.cost_usd, Decimal)


@pytest.mark.parametrize(
    "usage", [b"{}", b'{"cost":null}', b'{"cost":"0.1"}', b'{"cost":true}', b'{"cost":[1]}', b"null", b"[]"]
)
def test_missing_cost_is_not_zero(usage: bytes) -> None:
    assert read(b'{"usage":%s}' % usage).cost_usd is None


@pytest.mark.parametrize(
    "payload", [b"", b"<html>", b'{"usage":{"cost":NaN}}', b'{"usage":{"cost":Infinity}}', b'{"a":', b"[1]"]
)
def test_what_cannot_be_read_has_no_report(payload: bytes) -> None:
    assert metering.read(payload) is None


def test_cost_details_are_not_added_to_the_cost() -> None:
    report = read(b'{"usage":{"cost":0.5,"cost_details":{"upstream_inference_cost":0.5}}}')
    assert report.cost_usd == Decimal("0.5")


def test_usage_in_the_middle_of_a_stream_is_not_the_last_word() -> None:
    report = read(SHAPES["null finish"])
    assert not report.is_last(finish_seen=False)
    assert report.is_last(finish_seen=True)
    assert read(SHAPES["empty choices"]).is_last(finish_seen=False)
    assert read(SHAPES["repeated finish"]).is_last(finish_seen=False)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"error":{"code":400,"message":"Token limit reached"},"choices":[]}',
        b'{"choices":[{"error":{"code":502,"message":"gone"},"finish_reason":"error"}]}',
        b'{"error":"server_error"}',
    ],
)
def test_error_in_an_answer_is_seen_wherever_it_stands(payload: bytes) -> None:
    assert read(payload).error is not None


def test_facts_hold_counts_and_never_content() -> None:
    payload = (
        b'{"id":"g","model":"openai/gpt-4o-mini-2024","provider":"OpenAI","choices":[{"finish_reason":"stop",'
        b'"native_finish_reason":"completed","message":{"content":"secret"}}],"usage":{"prompt_tokens":5,'
        b'"completion_tokens":7,"cost":0.1,"completion_tokens_details":{"reasoning_tokens":2}}}'
    )
    assert read(payload).facts() == {
        "model": "openai/gpt-4o-mini-2024",
        "provider": "OpenAI",
        "finish_reason": "stop",
        "native_finish_reason": "completed",
        "tokens_prompt": 5,
        "tokens_completion": 7,
        "native_tokens_reasoning": 2,
    }


def test_facts_leave_out_what_cannot_be_kept() -> None:
    payload = (
        b'{"id":"gen-\\ud800","model":"m\\u0000","provider":"\\ud800","choices":[{"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":99999999999999999999999,"completion_tokens":true,"cost":0.1}}'
    )
    report = read(payload)
    assert report.generation_id is None
    assert report.cost_usd == Decimal("0.1")
    assert orjson.loads(orjson.dumps(report.facts())) == {"finish_reason": "stop", "tokens_completion": True}
