"""Free questions are asked for all companies alike, however many one of them has."""

import asyncio
from uuid import uuid4

import pytest

from llm import upstream
from llm.proxy import free
from tests.conftest import Run


class Slow:
    """An upstream that answers nothing, and knows what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def open(self, path: str, *, query: str) -> None:
        self.asked.append(query)
        await asyncio.Event().wait()


def test_company_that_asks_without_end_leaves_room_for_others(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, greedy, modest = Slow(), uuid4(), uuid4()
    monkeypatch.setattr(upstream, "client", lambda: slow)
    monkeypatch.setattr(free, "ANSWER_WAIT_S", 0.2)

    async def ask() -> None:
        asking = [free.fetch("models", f"q={number}", company_id=greedy) for number in range(50)]
        asking.append(free.fetch("models", "q=other", company_id=modest))
        answers = asyncio.gather(*asking, return_exceptions=True)
        for _ in range(10):
            await asyncio.sleep(0)
        begun = list(slow.asked)
        await answers  # Each gives up by itself, in whatever order.
        slow.asked = begun

    run(ask())
    assert len(slow.asked) == free.COMPANY_QUESTIONS_MAX + 1
    assert "q=other" in slow.asked
