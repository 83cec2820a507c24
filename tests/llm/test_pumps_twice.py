"""A stream that names its cost more than once: the first one that ended it is charged, and a person hears of more."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import pytest

from llm import calls, pumps
from llm.shapes import table
from llm.upstream import Answer
from tests.conftest import Run

FIRST = b'data: {"type":"image_generation.completed","b64_json":"aaaa","usage":{"cost":0.04}}\n\n'
SECOND = FIRST.replace(b"0.04", b"0.08")


@pytest.mark.parametrize("events", [(FIRST, SECOND), (FIRST, FIRST)])
def test_cost_that_grows_behind_the_end_is_told(
    events: tuple[bytes, ...], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Decimal] = []
    call = Mock(generation_id="gen-1", settled=None, covered_tokens=None, leave_open=AsyncMock())
    call.admission = Mock(shape=table.SHAPES["images"], is_proxied=True)

    async def settle(report: Any, _source: str) -> None:
        told.append(report.cost_usd)
        call.settled = call.settled or object()

    async def chunks() -> AsyncIterator[bytes]:
        for event in events:
            yield event

    call.settle = settle
    answer = Mock(provider=None, chunks=chunks, close=AsyncMock())
    monkeypatch.setattr(calls, "close_call", Mock())

    async def carry() -> bytes:
        pump = pumps.Pump(cast(calls.Call, call), cast(Answer, answer))
        pump.start()
        return b"".join([chunk async for chunk in pump.chunks()])

    assert run(carry()) == b"".join(events)
    assert told == [Decimal("0.04"), Decimal("0.08")][: len(set(events))]
