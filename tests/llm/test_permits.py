"""Places in one process: who waits for one, and who is woken."""

import asyncio
from uuid import uuid4

import pytest
from pytest_django import Settings

from llm import permits
from llm.errors import RateLimited
from llm.permits import Permits
from tests.conftest import Run


def test_place_that_comes_free_wakes_one_who_can_take_it(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were all woken, a company that asks for more than it has would cost everybody's calls their time."""
    settings.MAX_CALLS_PER_COMPANY = 2
    monkeypatch.setattr(permits, "WAIT_MAX_S", 5.0)
    places, hostile, stranger = Permits(), uuid4(), uuid4()

    async def work() -> list[int]:
        own = [await places.acquire(hostile) for _ in range(2)]
        asking = [asyncio.ensure_future(places.acquire(hostile)) for _ in range(20)]
        while len(places._waiting) < 20:
            await asyncio.sleep(0)
        waiters, woken = list(places._waiting), []
        for _ in range(10):
            places.release(await places.acquire(stranger))
        woken.append(sum(waiter.done() for waiter in waiters))
        places.release(own.pop())
        woken.append(sum(waiter.done() for waiter in waiters))
        for one in asyncio.as_completed(asking):
            places.release(await one)
        places.release(own.pop())
        return [*woken, places.running, len(places._waiting)]

    assert run(work()) == [0, 1, 0, 0]


def test_who_waits_in_vain_is_refused_and_leaves_nothing(run: Run, settings: Settings) -> None:
    settings.MAX_CALLS_PER_COMPANY = 1
    places, company = Permits(), uuid4()

    async def work() -> tuple[int, int]:
        first = await places.acquire(company)
        found = await asyncio.gather(*(places.acquire(company) for _ in range(5)), return_exceptions=True)
        assert all(isinstance(one, RateLimited) for one in found)
        places.release(first)
        return places.running, len(places._by_company)

    assert run(work()) == (0, 0)
