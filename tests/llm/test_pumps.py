"""A line that is long waits in memory until it is whole: few at once, and of no company all of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast
from unittest.mock import AsyncMock, Mock
from uuid import UUID, uuid4

import pytest

from llm import calls, feeds, pumps
from llm.shapes import table
from llm.upstream import Answer

BEGUN = b'data: {"type":"image_generation.partial_image","b64_json":"' + b"A" * pumps.LONG_LINE_BYTES
LINES = BEGUN + b'A"}\n\ndata: [DONE]\n\n'


class Picture:
    """One stream whose first line is long; what follows its beginning comes when it is let."""

    def __init__(self, company_id: UUID) -> None:
        self.reads = 0
        self.may_end = asyncio.Event()
        call = Mock(
            public_id="gen_1",
            generation_id="gen-1",
            settled=None,
            covered_tokens=None,
            leave_open=AsyncMock(),
        )
        call.admission = Mock(
            shape=table.SHAPES["images"], is_proxied=True, request=Mock(fields={}, models=("a/b",))
        )
        call.admission.principal.company_id = company_id
        answer = Mock(provider=None, chunks=self._chunks, close=AsyncMock())
        self.pump = pumps.Pump(cast(calls.Call, call), cast(Answer, answer))
        self.pump.start()

    async def _chunks(self) -> AsyncIterator[bytes]:
        yield BEGUN
        self.reads += 1
        await self.may_end.wait()
        yield LINES[len(BEGUN) :]

    async def given(self) -> bytes:
        return b"".join([chunk async for chunk in self.pump.chunks()])


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "close_call", Mock())


def test_long_lines_of_many_streams_are_read_a_few_at_a_time() -> None:
    async def read() -> None:
        greedy, modest = uuid4(), uuid4()
        pictures = [Picture(company_id) for company_id in [greedy] * 5 + [modest]]
        await settle()
        reading = [picture.reads == 1 for picture in pictures]
        assert reading.count(True) == pumps.COMPANY_LONG_LINES_MAX + 1
        assert reading[-1]
        for picture in pictures:
            picture.may_end.set()
        assert await asyncio.gather(*(picture.given() for picture in pictures)) == [LINES] * len(pictures)

    asyncio.run(read())


def test_long_line_keeps_its_room_until_its_client_has_it() -> None:
    async def read() -> None:
        company_id = uuid4()
        slow = [Picture(company_id) for _ in range(pumps.COMPANY_LONG_LINES_MAX)]
        for picture in slow:
            picture.may_end.set()
        await settle()
        next_one = Picture(company_id)
        await settle()
        assert next_one.reads == 0
        assert all(picture.pump._queue.qsize() <= 2 for picture in slow)
        chunks = slow[0].pump.chunks()
        assert len(await anext(chunks)) == feeds.BYTES_MAX
        slow[0].pump.leave()  # One that goes away gives it back, too.
        await settle()
        assert next_one.reads == 1
        slow[1].pump.leave()
        next_one.pump.leave()
        await asyncio.wait([picture.pump.task for picture in (*slow, next_one) if picture.pump.task])

    asyncio.run(read())


def test_stream_that_waits_for_room_can_be_left() -> None:
    async def read() -> None:
        company_id = uuid4()
        first = [Picture(company_id) for _ in range(pumps.COMPANY_LONG_LINES_MAX)]
        await settle()
        waiting = Picture(company_id)
        await settle()
        waiting.pump.drain()
        assert waiting.pump.task is not None
        await asyncio.wait_for(waiting.pump.task, 5)
        for picture in first:
            picture.may_end.set()
            assert await picture.given() == LINES

    asyncio.run(read())
