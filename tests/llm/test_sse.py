"""The stream scan: bytes stay as they are, marks are found at every split."""

import itertools
import json
from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm import sse
from llm.sse import Mark, Scan

type Dumps = Callable[[object], bytes]

CONTENT = (
    b'data: {"id":"gen-1","choices":[{"index":0,"delta":{"content":"h\xc3\xa9"},"finish_reason":null}]}\n\n'
)
FINISH = b'data: {"id":"gen-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"id":"gen-1","choices":[],"usage":{"cost":0.5}}\n\n'
COMMENT = b": OPENROUTER PROCESSING\n\n"
DONE = b"data: [DONE]\n\n"
STREAM = COMMENT + CONTENT + COMMENT + FINISH + COMMENT + USAGE + DONE


def scan(pieces: list[bytes], *, want_first: bool = False) -> list[sse.Segment]:
    found = Scan(want_first=want_first)
    segments = [segment for piece in pieces for segment in found.feed(piece)]
    return segments + found.finish()


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


def marks(segments: list[sse.Segment]) -> list[tuple[Mark, bytes]]:
    return [(segment.mark, segment.payload) for segment in segments if segment.mark is not Mark.NONE]


EXPECTED = [(Mark.OBJECT, b'{"id":"gen-1","choices":[],"usage":{"cost":0.5}}'), (Mark.DONE, b"")]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("cut", range(len(STREAM)))
def test_every_split_gives_the_same_bytes_and_the_same_marks(cut: int, ending: bytes) -> None:
    stream = STREAM.replace(b"\n", ending)
    segments = scan(split(stream, [cut]))
    assert b"".join(segment.data for segment in segments) == stream
    assert marks(segments) == EXPECTED


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_any_splits_give_the_same_bytes_and_the_same_marks(cuts: list[int]) -> None:
    segments = scan(split(STREAM, cuts))
    assert b"".join(segment.data for segment in segments) == STREAM
    assert marks(segments) == EXPECTED


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_nothing_of_done_is_forwarded_before_its_mark(cuts: list[int]) -> None:
    before_done = b""
    for segment in scan(split(STREAM, cuts)):
        if segment.mark is Mark.DONE:
            break
        before_done += segment.data
    assert before_done == STREAM[: -len(DONE)]


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_foreign_bytes_pass_unchanged(pieces: list[bytes]) -> None:
    assert b"".join(segment.data for segment in scan(pieces)) == b"".join(pieces)


def test_done_without_line_end_is_found_when_upstream_ends() -> None:
    assert marks(scan([CONTENT + b"data: [DONE]"])) == [(Mark.DONE, b"")]


def test_done_without_space_is_found() -> None:
    assert marks(scan([b"data:[DONE]\n\n"])) == [(Mark.DONE, b"")]


def test_usage_spoken_of_in_content_is_no_mark() -> None:
    quoted = b'data: {"choices":[{"delta":{"content":"\\"usage\\": {\\"cost\\": 1} [DO"}}]}\n\n'
    assert marks(scan([quoted])) == []


def test_first_object_is_marked_where_an_id_is_wanted() -> None:
    first, *_ = marks(scan([COMMENT, CONTENT, CONTENT], want_first=True))
    assert first == (Mark.OBJECT, CONTENT[6:].strip())


def test_finish_is_noticed_on_the_way() -> None:
    found = Scan()
    found.feed(CONTENT)
    assert not found.finish_seen
    found.feed(FINISH)
    assert found.finish_seen


def test_comments_do_not_count_as_data() -> None:
    found = Scan()
    found.feed(COMMENT)
    assert found.data_lines == 0
    found.feed(CONTENT)
    assert found.data_lines == 1


def test_endless_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LINE_BYTES_MAX", 1000)
    found = Scan()
    found.feed(b"x" * 1000)
    with pytest.raises(sse.LineTooLong):
        found.feed(b"x")


def test_comment_and_event_are_frames_of_their_own() -> None:
    assert sse.comment('{"a":1}') == b': {"a":1}\n\n'
    assert sse.event(b"{}") == b"\n\ndata: {}\n\n"


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_what_was_made_is_counted_the_same_at_every_split(cuts: list[int]) -> None:
    found = Scan()
    for piece in split(STREAM, cuts):
        found.feed(piece)
    assert found.made_bytes == len("hé".encode())


@pytest.mark.parametrize(
    ("delta", "least"),
    [
        ({"content": "four"}, 4),
        ({"content": 'say "hi"\n\\'}, 10),
        ({"content": "東京\U0001f680"}, 10),
        ({"content": None, "reasoning": "because"}, 7),
        ({"reasoning_details": [{"type": "reasoning.encrypted", "data": "AAAA"}]}, 4),
        ({"tool_calls": [{"function": {"name": "f", "arguments": '{"a":1}'}}]}, 8),
        ({"refusal": "No."}, 3),
        ({"role": "assistant", "content": ""}, 0),
    ],
)
@pytest.mark.parametrize("dumps", [orjson.dumps, lambda found: json.dumps(found).encode()])
def test_what_a_model_makes_counts_at_least_its_bytes(delta: object, least: int, dumps: Dumps) -> None:
    """A tokenizer never makes more tokens than bytes, so that the count bounds them, however it is escaped."""
    found = Scan()
    frame = {"id": "gen-1", "model": "a/b", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    found.feed(b"data: " + dumps(frame) + b"\n\n")
    assert least <= found.made_bytes <= 6 * least


def test_frames_around_the_text_are_not_counted() -> None:
    """A frame is some 280 bytes for a token or two: counted whole, a hold would grow fifty times too fast."""
    found = Scan()
    frame = (
        b'data: {"id":"gen-1784733441-abcdefghijklmnopqrst","object":"chat.completion.chunk","created":1784733441,'
        b'"model":"openai/gpt-4o-mini","provider":"OpenAI","choices":[{"index":0,"delta":{"content":" word",'
        b'"role":"assistant"},"finish_reason":null,"native_finish_reason":null}]}\n\n'
    )
    for _ in range(100):
        found.feed(frame)
    assert found.made_bytes == 100 * len(" word")
    assert 100 * len(frame) > 50 * found.made_bytes


def test_line_goes_on_only_when_it_is_whole() -> None:
    found = Scan()
    frame = b'data: {"error":{"code":1},"user_id":"user_2abc"}\n'
    for size in (1, 7):
        pieces = [frame[at : at + size] for at in range(0, len(frame), size)]
        given = [found.feed(piece) for piece in pieces]
        assert not any(given[:-1])
        assert [(segment.data, segment.mark) for segment in given[-1]] == [(frame, Mark.OBJECT)]


def test_long_line_is_waited_for_as_well() -> None:
    """An error may stand at the end of it, or what names the operator behind the error."""
    found = Scan()
    frame = b'data: {"a":"%s","error":{"code":1},"user_id":"user_2abc"}\n' % (b"x" * 300_000)
    pieces = [frame[at : at + 65536] for at in range(0, len(frame), 65536)]
    given = [found.feed(piece) for piece in pieces]
    assert not any(given[:-1])
    assert [(segment.data, segment.mark) for segment in given[-1]] == [(frame, Mark.OBJECT)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 5, 12, 1000])
def test_line_that_is_to_be_left_out_goes_and_no_other(size: int, end: bytes) -> None:
    found = Scan(without=frozenset({b"event: data"}))
    lines = [
        b"event: message_stop",
        b'data: {"type":"message_stop"}',
        b"",
        b"event: data",
        b"data: [DONE]",
        b"",
    ]
    raw = end.join((*lines, b": event: data", b"data: event: data", b"event: data"))
    given = [segment for at in range(0, len(raw), size) for segment in found.feed(raw[at : at + size])]
    given += found.finish()
    kept = end.join((*lines[:3], *lines[4:], b": event: data", b"data: event: data", b""))
    assert b"".join(segment.data for segment in given) == kept
    assert [segment.mark for segment in given].count(Mark.DONE) == 1


def test_last_event_of_a_shape_is_marked_in_a_chunk_of_many() -> None:
    found = Scan(ends=(b'"message_stop"',))
    segments = found.feed(b'data: {"type":"ping"}\n\ndata: {"type":"message_stop"}\n\n')
    assert [segment.payload for segment in segments if segment.mark is Mark.OBJECT] == [
        b'{"type":"message_stop"}'
    ]
