"""Streamed chat answers: the shape upstream has, and every way to bend it."""

import gzip
from decimal import Decimal
from typing import Any

import pytest

from tests.simulator import process
from tests.simulator.process import Simulator

COMMENT = b": OPENROUTER PROCESSING"


def words(frames: list[Any]) -> str:
    choices = [frame["choices"][0] for frame in frames if frame != "[DONE]" and frame["choices"]]
    return "".join(choice["delta"]["content"] or "" for choice in choices)


def test_stream_has_upstreams_shape(sim: Simulator, key: str) -> None:
    answer = sim.chat(key, stream=True)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.content.startswith(COMMENT + b"\n\ndata: {")
    assert answer.content.endswith(b"data: [DONE]\n\n")
    frames = process.frames(answer.text)
    chunks = frames[:-1]
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["provider"]) for chunk in chunks}) == 1
    assert chunks[0]["id"] == answer.headers["X-Generation-Id"]
    assert all(chunk["choices"][0]["delta"]["role"] == "assistant" for chunk in chunks)


def test_stream_and_json_say_and_cost_the_same(sim: Simulator, key: str) -> None:
    frames = sim.stream(key)
    whole = process.decoded(sim.chat(key).text)
    assert words(frames) == whole["choices"][0]["message"]["content"]
    assert frames[-2]["usage"] == whole["usage"]
    assert [("usage" in frame) for frame in frames[:-1]].count(True) == 1


def test_usage_frame_comes_in_three_shapes(sim: Simulator, key: str) -> None:
    assert sim.stream(key, "usage_style=empty")[-2]["choices"] == []
    assert sim.stream(key, "usage_style=null-finish")[-2]["choices"][0]["finish_reason"] is None
    frames = sim.stream(key)
    assert [frame["choices"][0]["finish_reason"] for frame in frames[-3:-1]] == ["stop", "stop"]


def test_key_orders(sim: Simulator, key: str) -> None:
    assert list(sim.stream(key)[0])[:5] == ["id", "object", "created", "model", "provider"]
    assert list(sim.stream(key, "key_order=old")[0])[:5] == ["id", "provider", "model", "object", "created"]


def test_comments_come_before_and_between(sim: Simulator, key: str) -> None:
    answer = sim.chat(
        key, "comments_before=4,comments_between=2,comment_delay_ms=1", stream=True, max_tokens=6
    )
    blocks = answer.content.split(b"\n\n")
    assert blocks[:4] == [COMMENT] * 4
    assert blocks[4].startswith(b"data: ")
    assert blocks[5:7] == [COMMENT] * 2


def test_tokens_in_a_frame_can_be_chosen(sim: Simulator, key: str) -> None:
    frames = sim.stream(key, "chunk_tokens=1,completion_tokens=50")
    assert len(frames) == 50 + 3
    assert frames[-2]["usage"]["completion_tokens"] == 50


def test_crlf_changes_line_ends_only(sim: Simulator, key: str) -> None:
    raw = sim.chat(key, "crlf", stream=True).content
    assert raw.count(b"\n") == raw.count(b"\r\n")
    assert process.frames(raw.decode())[-1] == "[DONE]"


def test_bare_cr_changes_line_ends_only(sim: Simulator, key: str) -> None:
    raw = sim.chat(key, "cr", stream=True).content
    assert b"\n" not in raw
    assert process.frames(raw.replace(b"\r", b"\n").decode())[-1] == "[DONE]"


def test_split_goes_through_characters_and_loses_nothing(sim: Simulator, key: str) -> None:
    connection = sim.begin(key, "split=1,unicode", stream=True, max_tokens=20)
    with connection:
        raw = process.read_until(connection, b"\r\n0\r\n\r\n")
    body = raw.partition(b"\r\n\r\n")[2]
    lines = body.split(b"\r\n")
    assert set(lines[0::2][:-2]) == {b"1"}
    assert "東京" in sim.chat(key, "split=1,unicode", stream=True, max_tokens=20).text


def test_gzip_is_sent_asked_for_or_not(sim: Simulator, key: str) -> None:
    answer = sim.chat(key, "gzip", stream=True)
    assert answer.headers["content-encoding"] == "gzip"
    assert process.frames(answer.text)[-1] == "[DONE]"
    plain = sim.chat(key, "gzip")
    assert plain.headers["content-encoding"] == "gzip"
    assert plain.json()["usage"]["cost"] > 0
    assert gzip.compress(plain.content)


def test_done_can_be_missing_and_data_can_follow_it(sim: Simulator, key: str) -> None:
    assert "usage" in sim.stream(key, "no_done")[-1]
    assert sim.stream(key, "after_done")[-2:] == ["[DONE]", {"late": True}]


def test_usage_on_every_chunk_grows_to_the_charge(sim: Simulator, key: str) -> None:
    frames = sim.stream(key, "usage_every_chunk")[:-1]
    costs = [frame["usage"]["cost"] for frame in frames if "usage" in frame]
    assert len(costs) == len(frames) - 1
    assert costs == sorted(costs)
    assert sim.spent(key) == costs[-1]


def test_usage_can_be_missing(sim: Simulator, key: str) -> None:
    assert not any("usage" in frame for frame in sim.stream(key, "omit_usage")[:-1])
    assert "cost" not in sim.stream(key, "omit_cost")[-2]["usage"]
    assert sim.spent(key) > 0


def test_debug_echo_comes_first(sim: Simulator, key: str) -> None:
    first = sim.stream(key, debug={"echo_upstream_body": True})[0]
    assert first["choices"] == []
    assert first["debug"]["echo_upstream_body"]["stream"] is True


def test_reasoning_and_tools_stream_in_parts(sim: Simulator, key: str) -> None:
    frames = sim.stream(key, reasoning={"enabled": True})[:-1]
    thoughts = "".join(frame["choices"][0]["delta"].get("reasoning", "") for frame in frames)
    assert thoughts.startswith("The user asks about")
    tool = {"type": "function", "function": {"name": "clock", "parameters": {"required": ["zone"]}}}
    frames = sim.stream(key, tools=[tool])[:-1]
    calls = [frame["choices"][0]["delta"].get("tool_calls", [None])[0] for frame in frames]
    assert calls[0]["function"] == {"name": "clock", "arguments": ""}
    assert "".join(call["function"]["arguments"] for call in calls if call).startswith('{"zone":"')
    assert frames[-1]["choices"][0]["finish_reason"] == "tool_calls"


ERRORS: list[tuple[str, Any, Any]] = [
    ("finish", 502, "error"),
    ("string", "server_error", "error"),
    ("usage", 400, None),
]


@pytest.mark.parametrize(("style", "code", "finish"), ERRORS, ids=[style for style, _, _ in ERRORS])
def test_midstream_error_frame(sim: Simulator, key: str, style: str, code: Any, finish: Any) -> None:
    frames = sim.stream(key, f"midstream_error={style},error_after=3")
    assert len(frames) == 5
    assert frames[-2]["error"]["code"] == code
    assert frames[-2]["choices"][0]["finish_reason"] == finish
    assert frames[-1] == "[DONE]"
    assert sim.spent(key) == 0


def test_midstream_error_as_captured_has_its_keys_and_a_usage(sim: Simulator, key: str) -> None:
    frame = sim.stream(key, "midstream_error=usage")[-2]
    assert list(frame) == ["id", "provider", "error", "model", "object", "created", "choices", "usage"]
    assert frame["usage"]["cost"] == 0


def test_midstream_error_without_choices_or_inside_one(sim: Simulator, key: str) -> None:
    assert sim.stream(key, "midstream_error=empty")[-2]["choices"] == []
    frame = sim.stream(key, "midstream_error=choice")[-2]
    assert "error" not in frame
    assert frame["choices"][0]["error"]["code"] == 502


def test_midstream_error_can_be_billed(sim: Simulator, key: str) -> None:
    frames = sim.stream(key, "midstream_error=usage,error_after=4,error_billed")
    assert frames[-2]["usage"]["completion_tokens"] == 12
    assert sim.spent(key) == frames[-2]["usage"]["cost"] > 0


def test_cut_resets_after_the_frame(sim: Simulator, key: str) -> None:
    connection = sim.begin(key, "cut_after=3", stream=True)
    raw, was_reset = process.read_all(connection)
    assert was_reset
    assert raw.count(b"data: ") == 3


def test_cut_can_be_inside_a_frame_and_polite(sim: Simulator, key: str) -> None:
    connection = sim.begin(key, "cut_after=2,cut_bytes=17,cut_style=fin", stream=True)
    raw, was_reset = process.read_all(connection)
    assert not was_reset
    assert raw.endswith(b'data: {"id":"gen-\r\n')
    assert b"0\r\n\r\n" not in raw


def test_cut_stream_is_billed_in_full_and_recorded(sim: Simulator, key: str) -> None:
    raw, _ = process.read_all(sim.begin(key, "cut_after=2", stream=True))
    generation = raw.partition(b"X-Generation-Id: ")[2].partition(b"\r\n")[0].decode()
    record = sim.generation(generation, key)
    assert record["total_cost"] == sim.spent(key) == sim.stream(f"{key}-whole")[-2]["usage"]["cost"]
    assert record["cancelled"] is False


def test_stall_sends_comments_only(sim: Simulator, key: str) -> None:
    frames = sim.chat(key, "stall_after=1,stall_ms=200", stream=True).text.split("\n\n")
    assert frames[1].startswith("data: ")
    assert frames[2] == COMMENT.decode()
    assert frames.count(COMMENT.decode()) <= 1 + 5
    assert frames[-2] == "data: [DONE]"


def test_hang_sends_nothing(sim: Simulator, key: str) -> None:
    with sim.begin(key, "hang_after=1", stream=True) as connection:
        process.read_until(connection, b"}\n\n\r\n")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1000)


def test_pace_can_be_chosen(sim: Simulator, key: str) -> None:
    answer = sim.chat(key, "first_token_ms=60,chunk_delay_ms=20", stream=True, max_tokens=12)
    assert answer.elapsed.total_seconds() > 0.06 + 4 * 0.02


def test_cost_styles_on_the_wire(sim: Simulator, key: str) -> None:
    plain = sim.stream(key)[-2]["usage"]["cost"]
    assert sim.stream(key, "cost=string")[-2]["usage"]["cost"] == str(plain)
    assert sim.stream(key, "cost=exponent")[-2]["usage"]["cost"] == plain
    assert sim.stream(key, "cost=null")[-2]["usage"]["cost"] is None
    assert sim.stream(key, "cost=negative")[-2]["usage"]["cost"] == -plain
    assert sim.stream(key, "cost=huge")[-2]["usage"]["cost"] == Decimal("1e30")
    assert '"cost":NaN' in sim.chat(key, "cost=nan", stream=True).text
    assert '"cost":Infinity' in sim.chat(key, "cost=infinity").text
    assert sim.spent(key) == 8 * plain
