"""Streams as they come and as they should not: cut anywhere, malformed, buffered, without an end."""

import asyncio
import itertools
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from naive import StreamInterruptedError, sse
from naive.testing import FakePlatform, Seen

HELLO: dict[str, Any] = {"model": "openai/gpt-5.2", "messages": [{"role": "user", "content": "Hi"}]}
EVENTS = {"content-type": "text/event-stream; charset=utf-8", "x-naive-generation-id": "gen_1"}
CHUNK = b'data: {"id":"g","choices":[{"index":0,"delta":{"content":"Grun"}}]}\n\n'
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"cost":0.00000000000000012345}}\n\n'
CREDITS = b': {"credits_used":0.000000001,"credits_remaining":19.999999999}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = b": OPENROUTER PROCESSING\n\n" + CHUNK + LAST + CREDITS + DONE

type Broken = Callable[[bytes], StreamInterruptedError]


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


@pytest.fixture
def broken(platform: FakePlatform) -> Broken:
    """Returns what is raised for a stream of these bytes, after whatever it gave before."""

    def broken(content: bytes) -> StreamInterruptedError:
        platform.respond(content, headers=EVENTS)
        with pytest.raises(StreamInterruptedError) as raised:
            platform.client().llm.stream(**HELLO).final_message()
        assert raised.value.request_id == "req_fake1"
        assert raised.value.generation_id == "gen_1"
        assert len(platform.requests) == 1
        return raised.value

    return broken


def test_chunks_text_message_usage_and_credits(platform: FakePlatform) -> None:
    platform.reply("Spring in Paris", cost_usd=Decimal("0.0002"))
    with platform.client().llm.stream(**HELLO) as stream:
        assert stream.request_id == "req_fake1"
        assert stream.credits_used is None
        assert "".join(stream.text) == "Spring in Paris"
        assert stream.usage is not None
        assert stream.usage.cost == Decimal("0.0002")
        assert stream.credits_used == Decimal("0.0005")
        assert stream.credits_remaining == platform.balance
        assert stream.final_message().content == "Spring in Paris"
    assert platform.requests[0].json["stream"] is True


def test_error_inside_a_choice_is_a_part_of_the_answer(platform: FakePlatform) -> None:
    error = {"code": 502, "message": "The provider failed.", "metadata": {"provider_name": "X"}}
    failed = {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "error": error}
    content = CHUNK + f"data: {json.dumps({'choices': [failed]})}\n\n".encode() + CREDITS + DONE
    platform.respond(content, headers=EVENTS)
    stream = platform.client().llm.stream(**HELLO)
    [choice] = stream.final_completion().choices
    assert (choice.finish_reason, choice.error, choice.message.text) == ("error", error, "Grun")
    assert stream.credits_used == Decimal("0.000000001")
    whole = {"index": 0, "finish_reason": "error", "error": error, "message": {"content": "Grun"}}
    platform.respond(json.dumps({"id": "g", "choices": [whole]}).encode())
    assert platform.client().llm.chat(**HELLO).choices[0].error == error


def test_iterating_needs_no_with(platform: FakePlatform) -> None:
    platform.reply("Spring")
    texts = [chunk.choices[0].delta.content or "" for chunk in platform.client().llm.stream(**HELLO)]
    assert "".join(texts) == "Spring"
    assert len(texts) > 2


def test_final_completion_is_what_chat_would_have_answered(platform: FakePlatform) -> None:
    naive = platform.client()
    tool = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    for _ in range(2):
        platform.reply("Let me add.", tool_calls=[tool], finish_reason="tool_calls")
    whole = naive.llm.chat(**HELLO).to_dict()
    streamed = naive.llm.stream(**HELLO).final_completion()
    found = streamed.to_dict()
    for answer in (whole, found):
        for name in ("id", "credits_remaining"):
            del answer[name]
    [call] = found["choices"][0]["message"]["tool_calls"]
    assert call.pop("index") == 0
    assert found == whole
    assert streamed.generation_id == "gen_00000000-0000-7000-8000-000000000004"


def test_pieces_of_tool_calls_are_put_together(platform: FakePlatform) -> None:
    pieces = [
        '{"index":0,"id":"a","type":"function","function":{"name":"add","arguments":""}}',
        '{"index":0,"function":{"arguments":"{\\"x\\""}}',
        '{"index":1,"id":"b","type":"function","function":{"name":"mul","arguments":"{}"}}',
        '{"index":0,"function":{"arguments":":1}"}}',
    ]
    content = b"".join(
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":[' + piece.encode() + b"]}}]}\n\n"
        for piece in pieces
    )
    platform.respond(content + LAST + DONE, headers=EVENTS)
    calls = platform.client().llm.stream(**HELLO).final_message().tool_calls
    assert calls is not None
    told = [(call.id, call.type, call.function.name, call.function.arguments) for call in calls]
    assert told == [("a", "function", "add", '{"x":1}'), ("b", "function", "mul", "{}")]


def test_nothing_is_sent_before_it_is_read(platform: FakePlatform) -> None:
    stream = platform.client().llm.stream(**HELLO)
    assert platform.requests == []
    with pytest.raises(RuntimeError, match="nothing was sent yet"):
        _ = stream.response


def test_refusal_is_raised_on_entering_and_on_iterating(platform: FakePlatform) -> None:
    from_entering, from_iterating = platform.client().llm, platform.client().llm
    platform.fail(402)
    with pytest.raises(Exception, match="insufficient_credits"), from_entering.stream(**HELLO):
        pass
    platform.fail(402)
    with pytest.raises(Exception, match="insufficient_credits"):
        next(from_iterating.stream(**HELLO))


def test_opening_is_tried_again_under_the_same_key(platform: FakePlatform) -> None:
    platform.fail(503)
    platform.disconnect(httpx.ReadTimeout)
    assert platform.client().llm.stream(**HELLO).final_message().content
    assert len({seen.idempotency_key for seen in platform.requests}) == 1
    assert len(platform.requests) == 3


def test_cut_connection_is_not_tried_again_and_gives_the_text_so_far(platform: FakePlatform) -> None:
    platform.cut("Spring in")
    stream = platform.client().llm.stream(**HELLO)
    with pytest.raises(StreamInterruptedError) as raised:
        list(stream.text)
    assert raised.value.text == "Spring in"
    assert raised.value.code == "stream_cut"
    assert raised.value.request_id == "req_fake1"
    found = platform.client().llm.generation(str(raised.value.generation_id))
    assert found.state == "settled"
    assert [seen.method for seen in platform.requests] == ["POST", "GET"]


def test_stream_without_an_end_is_interrupted(broken: Broken) -> None:
    error = broken(CHUNK)
    assert (error.code, error.text) == ("stream_cut", "Grun")


def test_line_that_a_proxy_cut_is_no_chunk(broken: Broken) -> None:
    assert broken(CHUNK + LAST[:40]).code == "stream_cut"


@pytest.mark.parametrize(
    "line", [b"data: {not json}", b"data: [1]", b"data: 7", b"data: {\x80}", b'data: {"choices":'], ids=repr
)
def test_malformed_event_is_told_with_the_text_so_far(line: bytes, broken: Broken) -> None:
    error = broken(CHUNK + line + b"\n\n" + LAST + DONE)
    assert (error.code, error.text) == ("malformed_stream", "Grun")


def test_line_without_end_is_not_held_for_ever() -> None:
    decoder = sse.Decoder(event_bytes_max=1000)
    assert list(decoder.feed(b"data: " + b"x" * 994)) == []
    with pytest.raises(sse.EventTooLong):
        list(decoder.feed(b"x"))


@pytest.mark.parametrize("kind", ["text/html", "application/json", ""])
def test_answer_of_another_kind_is_malformed(kind: str, platform: FakePlatform) -> None:
    platform.respond(b"<html>Please sign in</html>", headers={"content-type": kind})
    with pytest.raises(StreamInterruptedError) as raised:
        platform.client().llm.stream(**HELLO).final_message()
    assert raised.value.code == "malformed_stream"
    assert raised.value.request_id == "req_fake1"


def test_error_in_the_stream_is_told_whole(broken: Broken) -> None:
    told = (
        b'data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}],"error":{"code":402,'
        b'"message":"The credits ran out.","metadata":{"error_type":"insufficient_credits","limit":"wallet"}}}\n\n'
    )
    error = broken(CHUNK + told + DONE)
    assert (error.status, error.code, error.message) == (402, "insufficient_credits", "The credits ran out.")
    assert error.details == {
        "error_type": "insufficient_credits",
        "limit": "wallet",
        "generation_id": "gen_1",
    }
    assert error.text == "Grun"


@pytest.mark.parametrize("error", [b'"overloaded"', b'{"code":"x","metadata":7}', b"[1]", b"true"])
def test_error_of_any_shape_is_an_error(error: bytes, broken: Broken) -> None:
    assert broken(CHUNK + b'data: {"error":' + error + b"}\n\n").code == "provider_error"


def test_missing_done_is_no_harm_where_the_last_chunk_came(platform: FakePlatform) -> None:
    platform.respond(CHUNK + LAST, headers=EVENTS)
    assert platform.client().llm.stream(**HELLO).final_message().content == "Grun"


def test_what_comes_after_done_is_not_read(platform: FakePlatform) -> None:
    platform.respond(WHOLE + b"data: {not json}\n\n", headers=EVENTS)
    assert platform.client().llm.stream(**HELLO).final_message().content == "Grun"


def test_costs_are_the_decimals_that_were_written(platform: FakePlatform) -> None:
    platform.respond(WHOLE, headers=EVENTS)
    stream = platform.client().llm.stream(**HELLO)
    completion = stream.final_completion()
    assert completion.usage is not None
    assert completion.usage.cost == Decimal("1.2345E-16")
    assert completion.credits_used == stream.credits_used == Decimal("0.000000001")
    assert completion.credits_remaining == Decimal("19.999999999")


@pytest.mark.parametrize("comment", [b": {not json", b': {"credits_used":1}', b': ["credits_used"]'])
def test_comments_of_others_are_passed_over(comment: bytes, platform: FakePlatform) -> None:
    platform.respond(CHUNK + comment + b"\n\n" + LAST + DONE, headers=EVENTS)
    stream = platform.client().llm.stream(**HELLO)
    assert stream.final_message().content == "Grun"
    assert stream.credits_remaining is None


def test_cost_that_is_not_known_yet_is_none(platform: FakePlatform) -> None:
    unknown = b': {"credits_used":null,"credits_remaining":null}\n\n'
    platform.respond(CHUNK + LAST + unknown + DONE, headers=EVENTS)
    completion = platform.client().llm.stream(**HELLO).final_completion()
    assert completion.credits_used is None


def test_closed_stream_has_no_final_message(platform: FakePlatform) -> None:
    with platform.client().llm.stream(**HELLO) as stream:
        next(stream)
    assert stream.response.is_closed
    with pytest.raises(StreamInterruptedError) as raised:
        stream.final_message()
    assert raised.value.code == "stream_closed"


def test_loop_that_is_left_closes_the_connection(platform: FakePlatform) -> None:
    stream = platform.client().llm.stream(**HELLO)
    with stream:
        response = stream.response
    assert response.is_closed
    for _ in (again := platform.client().llm.stream(**HELLO)):
        response = again.response
        break
    assert not response.is_closed
    del again
    assert response.is_closed


def test_async_stream_is_the_same(platform: FakePlatform) -> None:
    async def main() -> None:
        naive = platform.async_client()
        platform.reply("Spring")
        async with naive.llm.stream(**HELLO) as stream:
            assert "".join([piece async for piece in stream.text]) == "Spring"
            assert stream.credits_used == Decimal("0.00025")
        platform.reply("Autumn")
        assert "".join([chunk.text async for chunk in naive.llm.stream(**HELLO)]) == "Autumn"
        platform.reply("Winter")
        assert (await naive.llm.stream(**HELLO).final_message()).content == "Winter"
        platform.cut("Sum")
        with pytest.raises(StreamInterruptedError) as raised:
            await naive.llm.stream(**HELLO).final_message()
        assert raised.value.text == "Sum"

    asyncio.run(main())


@given(cuts=st.lists(st.integers(0, len(WHOLE)), max_size=12), end=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_bytes_may_be_cut_anywhere_and_lines_end_in_three_ways(cuts: list[int], end: bytes) -> None:
    content = b"\xef\xbb\xbf" + WHOLE.replace(b"Grun", "Grün 🌿".encode()).replace(b"\n", end)
    at = [0, *sorted(cuts), len(content)]
    pieces = [content[begin:to] for begin, to in itertools.pairwise(at)]
    platform = FakePlatform()
    platform.respond(pieces, headers=EVENTS)
    stream = platform.client().llm.stream(**HELLO)
    assert stream.final_message().content == "Grün 🌿"
    assert stream.credits_remaining == Decimal("19.999999999")


@given(content=st.binary(max_size=200))
def test_no_bytes_break_the_decoder_otherwise_than_as_documented(content: bytes) -> None:
    # Whoever says that is done, is.
    assume(b"[DONE]" not in content)
    platform = FakePlatform()
    platform.respond(content, headers=EVENTS)
    with pytest.raises(StreamInterruptedError):
        platform.client().llm.stream(**HELLO).final_message()


def test_events_of_more_than_one_line_are_joined() -> None:
    decoder = sse.Decoder()
    found = list(decoder.feed(b"event: x\nid: 1\ndata: a\ndata:b\n\ndata\n\n: c\n"))
    assert found == [sse.Event("a\nb"), sse.Event(""), sse.Comment("c")]
    assert decoder.is_between_events


def test_what_is_seen_can_be_asserted_on(platform: FakePlatform) -> None:
    platform.client().llm.stream(**HELLO).final_message()
    [seen] = platform.requests
    assert isinstance(seen, Seen)
    assert seen.headers["accept"] == "text/event-stream"
