"""An answer that nobody pays for gives its place and its connection back, whether or not anybody reads it."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import orjson
import pytest

from llm import calls, relays
from llm.answers import EventStream
from llm.errors import UpstreamLost
from llm.proxy import conversations
from llm.relays import LongAnswer, Passage
from llm.shapes import table
from llm.sightings import Sighting
from llm.upstream import Answer
from naive_platform import dataplane


class Film:
    """An answer of upstream's, and what became of it."""

    def __init__(self, *, is_cut: bool = False) -> None:
        self.places_back = 0
        self.close = AsyncMock()
        self._is_cut = is_cut
        self.passage = Passage(cast(Answer, Mock(chunks=self._chunks, close=self.close)), ended=self._ended)

    def _ended(self) -> None:
        self.places_back += 1

    async def _chunks(self, *, as_sent: bool) -> AsyncIterator[bytes]:
        assert as_sent
        for _ in range(3):
            yield b"film"
        if self._is_cut:
            raise UpstreamLost("It broke.", maybe_charged=True)

    async def settle(self) -> tuple[int, int]:
        for _ in range(3):
            await asyncio.sleep(0)
        return self.places_back, self.close.await_count


@pytest.mark.parametrize("is_cut", [False, True])
def test_answer_that_is_read_gives_its_place_back_once(is_cut: bool) -> None:
    async def read() -> None:
        film = Film(is_cut=is_cut)
        assert [chunk async for chunk in film.passage.chunks()] == [b"film"] * 3
        film.passage.leave()
        film.passage.leave()
        assert await film.settle() == (1, 1)
        assert film.passage.is_broken == is_cut

    asyncio.run(read())


def test_answer_whose_client_left_half_way_gives_its_place_back_once() -> None:
    async def read() -> None:
        film = Film()
        async for _ in film.passage.chunks():
            film.passage.leave()
        assert await film.settle() == (1, 1)

    asyncio.run(read())


def test_answer_whose_client_left_before_it_was_read_gives_its_place_back_once() -> None:
    async def read() -> None:
        film = Film()
        film.passage.leave()
        film.passage.leave()
        assert await film.settle() == (1, 1)
        assert [chunk async for chunk in film.passage.chunks()] == []
        assert await film.settle() == (1, 1)

    asyncio.run(read())


def test_answer_whose_connection_cannot_be_closed_is_let_go() -> None:
    async def read() -> None:
        film = Film()
        film.close.side_effect = OSError("gone")
        film.passage.leave()
        assert await film.settle() == (1, 1)

    asyncio.run(read())


@pytest.mark.parametrize("failure", [OSError("gone"), asyncio.CancelledError()])
def test_client_that_is_gone_before_the_first_byte_leaves_nothing_taken(failure: BaseException) -> None:
    async def send(_: Any) -> None:
        raise failure

    async def answer() -> None:
        film = Film()
        response = EventStream(film.passage, headers={"content-type": "video/mp4"})
        with pytest.raises(type(failure)):
            await dataplane._send_stream(response, AsyncMock(), send, Sighting())
        assert await film.settle() == (1, 1)

    asyncio.run(answer())


MEGABYTE = 1024 * 1024
VECTORS = [
    {"object": "embedding", "index": index, "embedding": [-0.5e-3, 0.25, 7] * 500} for index in range(600)
]
LONG = orjson.dumps({"object": "list", "data": VECTORS, "id": "gen-emb-1", "usage": {"cost": 0.125}})
PICTURE = "data:image/png;base64," + "A" * 2 * MEGABYTE
LONG_ANSWERS = [
    ("embeddings", LONG),
    ("embeddings", LONG.replace(b",", b" ,\n ")),
    ("images", b'{"id":"gen-2","data":[{"b64_json":"%s"}],"usage":{"cost":0.125}}' % (b"/+aA" * MEGABYTE)),
    (
        "chat",
        orjson.dumps({"id": "gen-3", "choices": [{"x": PICTURE}], "error": None, "usage": {"cost": 0.125}}),
    ),
]


class Asked:
    """A call whose answer is long, and what the books and the sweep heard of it."""

    def __init__(self, shape: str, raw: bytes, *, size: int, is_cut: bool = False) -> None:
        self.charged: list[object] = []
        self.read_bytes = 0
        self.leave_open = AsyncMock()
        self.call = Mock(generation_id=None, settled=None, covered_tokens=None, leave_open=self.leave_open)
        self.call.admission = Mock(shape=table.SHAPES[shape], request=Mock(fields={}))
        self.call.settle = self._settle
        self.answer = Mock(
            chunks=self._chunks, encoding="identity", generation_id=None, provider=None, close=AsyncMock()
        )
        self._raw, self._size, self._is_cut = raw, size, is_cut

    async def _settle(self, report: Any, _source: str) -> None:
        self.charged.append(report.cost_usd)

    async def _chunks(self, *, as_sent: bool) -> AsyncIterator[bytes]:
        assert as_sent
        for at in range(0, len(self._raw), self._size):
            self.read_bytes += self._size
            yield self._raw[at : at + self._size]
        if self._is_cut:
            raise UpstreamLost("It broke.", maybe_charged=True)

    async def carry(self) -> LongAnswer:
        pump, _ = await conversations._read(self.call, cast(Answer, self.answer))
        assert pump is not None
        pump.start()
        return pump


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Mock:
    close = Mock()
    monkeypatch.setattr(calls, "close_call", close)
    return close


@pytest.mark.parametrize(("shape", "raw"), LONG_ANSWERS)
@pytest.mark.parametrize("size", [4093, 65_536, 3_000_000])
def test_long_answer_passes_as_it_came_and_is_charged_before_its_end(
    shape: str, raw: bytes, size: int, closed: Mock
) -> None:
    async def read() -> None:
        asked = Asked(shape, raw, size=size)
        pump, given = await asked.carry(), b""
        async for chunk in pump.chunks():
            given += chunk
            assert len(given) < len(raw) or asked.charged
        assert given == raw
        assert asked.charged == [Decimal("0.125")]
        assert not pump.is_broken
        asked.call.learn.assert_called_once()
        closed.assert_called_once()

    asyncio.run(read())


def test_long_answer_waits_for_a_slow_client_and_keeps_little(closed: Mock) -> None:
    async def read() -> None:
        asked = Asked("embeddings", LONG, size=65_536)
        pump = await asked.carry()
        for _ in range(100):
            await asyncio.sleep(0)
        assert asked.read_bytes < len(LONG) / 2
        assert len(pump._gist.whole()) < MEGABYTE
        assert b"".join([chunk async for chunk in pump.chunks()]) == LONG

    asyncio.run(read())


def test_long_answer_whose_client_leaves_is_read_to_its_end_and_charged(closed: Mock) -> None:
    async def read() -> None:
        asked = Asked("embeddings", LONG, size=65_536)
        pump = await asked.carry()
        async for _ in pump.chunks():
            break
        pump.leave()
        assert pump.task is not None
        await pump.task
        assert asked.charged == [Decimal("0.125")]

    asyncio.run(read())


def test_client_that_takes_a_long_answer_in_drops_is_not_waited_for(
    closed: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "READ_TIMEOUT_S", 0.0)

    async def read() -> None:
        asked = Asked("embeddings", LONG, size=65_536)
        pump = await asked.carry()
        given = b"".join([chunk async for chunk in pump.chunks()])
        assert pump.task is not None
        await pump.task
        assert asked.charged == [Decimal("0.125")]
        assert len(given) < len(LONG)

    asyncio.run(read())


def test_long_answer_that_breaks_is_cut_and_left_to_the_sweep(closed: Mock) -> None:
    async def read() -> None:
        asked = Asked("embeddings", LONG, size=65_536, is_cut=True)
        pump = await asked.carry()
        given = b"".join([chunk async for chunk in pump.chunks()])
        assert LONG.startswith(given)
        assert pump.is_broken
        assert asked.charged == []
        asked.leave_open.assert_awaited_once_with()

    asyncio.run(read())


def test_long_answer_that_tells_of_an_error_is_kept_to_be_looked_through() -> None:
    async def read() -> None:
        for error in (b'{"error" : {"code":1},', b'{"choices":[{"error":"x"}],'):
            raw = error + LONG[1:]
            asked = Asked("embeddings", raw, size=65_536)
            assert await conversations._read(asked.call, cast(Answer, asked.answer)) == (None, raw)

    asyncio.run(read())


def test_answer_that_breaks_is_asked_for_by_the_name_in_its_headers() -> None:
    """A film's own name is in the body that did not come."""

    async def read() -> None:
        asked = Asked("videos", b'{"id":"vid', size=5, is_cut=True)
        asked.answer.generation_id = "gen-9"
        asked.call.explained = lambda exc: exc
        with pytest.raises(UpstreamLost):
            await conversations._read(asked.call, cast(Answer, asked.answer))
        asked.call.learn.assert_called_once_with("gen-9")
        asked.leave_open.assert_awaited_once_with()

    asyncio.run(read())
