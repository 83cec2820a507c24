"""A stream that names its cost more than once: of one piece the first is charged, of several upstream's record says."""

from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import pytest

from llm import calls, pumps
from llm.errors import UpstreamLost
from llm.shapes import table
from llm.upstream import Answer
from tests.conftest import Run

FIRST = b'data: {"type":"image_generation.completed","b64_json":"aaaa","usage":{"cost":0.04}}\n\n'
SECOND = FIRST.replace(b"0.04", b"0.08")


THIRD = FIRST.replace(b"0.04", b"0.06")


class Told:
    """What the books and the sweep heard of one stream."""

    def __init__(self, *, shape: str, pictures: int, generation_id: str | None) -> None:
        self.charged: list[Decimal] = []
        self.left_open = AsyncMock()
        request = Mock(fields={"n": pictures}, models=("a/b",))
        self.call = Mock(
            generation_id=generation_id,
            public_id="gen_1",
            settled=None,
            covered_tokens=None,
            leave_open=self.left_open,
        )
        self.call.admission = Mock(shape=table.SHAPES[shape], is_proxied=True, request=request)
        self.call.settle = self._settle

    async def _settle(self, report: Any, _source: str) -> None:
        self.charged.append(report.cost_usd)
        self.call.settled = self.call.settled or object()


@pytest.fixture
def carry(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bytes, Told]]:
    monkeypatch.setattr(calls, "close_call", Mock())

    def carried(
        *events: bytes,
        shape: str = "images",
        pictures: int = 1,
        generation_id: str | None = "gen-1",
        is_cut: bool = False,
    ) -> tuple[bytes, Told]:
        told = Told(shape=shape, pictures=pictures, generation_id=generation_id)

        async def chunks() -> AsyncIterator[bytes]:
            for event in events:
                yield event
            if is_cut:
                raise UpstreamLost("It broke.", maybe_charged=True)

        async def carry_it() -> bytes:
            answer = Mock(provider=None, chunks=chunks, close=AsyncMock())
            pump = pumps.Pump(cast(calls.Call, told.call), cast(Answer, answer))
            pump.start()
            return b"".join([chunk async for chunk in pump.chunks()])

        return run(carry_it()), told

    return carried


@pytest.mark.parametrize("events", [(FIRST, SECOND), (FIRST, FIRST)])
def test_cost_that_grows_behind_the_end_is_told(
    events: tuple[bytes, ...], carry: Callable[..., tuple[bytes, Told]]
) -> None:
    given, told = carry(*events)
    assert given == b"".join(events)
    assert told.charged == [Decimal("0.04"), Decimal("0.08")][: len(set(events))]


@pytest.mark.parametrize("done", [b"", b"data: [DONE]\n\n"])
@pytest.mark.parametrize("events", [(FIRST, SECOND, THIRD), (FIRST, FIRST, FIRST), (FIRST, SECOND)])
def test_pictures_that_each_name_a_cost_are_charged_by_the_record(
    events: tuple[bytes, ...], done: bytes, carry: Callable[..., tuple[bytes, Told]]
) -> None:
    given, told = carry(*events, done, pictures=3)
    assert given == b"".join((*events, done))
    assert told.charged == []
    seen = {FIRST: "0.04", SECOND: "0.08", THIRD: "0.06"}
    told_usd = sum(Decimal(seen[event]) for event in events)
    told.left_open.assert_awaited_once_with(made_bytes=0, told_usd=told_usd)


@pytest.mark.parametrize("shape", ["speech", "transcriptions"])
def test_stream_of_one_event_that_names_no_cost_is_whole(
    shape: str, carry: Callable[..., tuple[bytes, Told]]
) -> None:
    event = b'data: {"type":%s}\n\n' % table.SHAPES[shape].ends[0]
    given, told = carry(event, shape=shape)
    assert given == event
    assert told.charged == []
    told.left_open.assert_awaited_once()


def test_pictures_without_a_record_are_charged_their_sum(carry: Callable[..., tuple[bytes, Told]]) -> None:
    given, told = carry(FIRST, SECOND, THIRD, pictures=3, generation_id=None)
    assert given == FIRST + SECOND + THIRD
    assert told.charged == [Decimal("0.18")]


@pytest.mark.parametrize("done", [b"", b"data: [DONE]\n\n"])
def test_one_cost_for_several_pictures_is_all_of_them(
    done: bytes, carry: Callable[..., tuple[bytes, Told]]
) -> None:
    partial = FIRST.replace(b',"usage":{"cost":0.04}', b"")
    given, told = carry(partial, partial, SECOND, done, pictures=3)
    assert given == partial + partial + SECOND + done
    assert told.charged == [Decimal("0.08")]
    _, told = carry(SECOND, done, pictures=3)
    assert told.charged == [Decimal("0.08")]


def test_pictures_whose_stream_breaks_are_charged_by_the_record(
    carry: Callable[..., tuple[bytes, Told]],
) -> None:
    given, told = carry(FIRST, pictures=3, is_cut=True)
    assert given.startswith(FIRST)
    assert b'"error"' in given
    assert told.charged == []
    told.left_open.assert_awaited_once_with(made_bytes=0, told_usd=Decimal("0.04"))


def test_long_error_loses_the_account_however_it_comes(carry: Callable[..., tuple[bytes, Told]]) -> None:
    pad = b"x" * 200_000
    event = (
        b'data: {"type":"error","pad":"%s","error":{"code":"502","message":"x"},"user_id":"user_2abcDEF"}\n\n'
    )
    event %= pad
    pieces = [event[at : at + 65_536] for at in range(0, len(event), 65_536)]
    given, _ = carry(*pieces)
    assert given == event.replace(b'"user_2abcDEF"', b"null")


@pytest.mark.parametrize(
    ("shape", "kind"), [("transcriptions", "transcript.text"), ("speech", "speech.audio")]
)
@pytest.mark.parametrize("usage", ["", ',"usage":{"input_tokens":3}', ',"usage":{"cost":0.25}'])
def test_streamed_sound_and_transcript_end_as_they_do(
    usage: str, shape: str, kind: str, carry: Callable[..., tuple[bytes, Told]]
) -> None:
    delta = b'data: {"type":"%s.delta","delta":"Hi"}\n\n' % kind.encode()
    done = b'data: {"type":"%s.done"%s}\n\n' % (kind.encode(), usage.encode())
    given, told = carry(delta, done, shape=shape)
    assert given == delta + done
    assert told.charged == ([Decimal("0.25")] if "cost" in usage else [])
    given, _ = carry(delta, shape=shape)
    assert b'"error"' in given
