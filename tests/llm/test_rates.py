"""Requests per minute on a real Valkey."""

import asyncio
import time
from uuid import uuid4

import pytest

from llm import rates
from llm.errors import RateLimited
from tests.conftest import Run


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy test machine is not a Valkey that is down."""
    monkeypatch.setattr(rates, "TIMEOUT_S", 5.0)


async def take(times: int, *, per_minute: int) -> int:
    """Take that many at once for one user; return how many were let through."""
    user_id = uuid4()
    try:
        calls = [rates.take(user_id=user_id, per_minute=per_minute) for _ in range(times)]
        found = await asyncio.gather(*calls, return_exceptions=True)
    finally:
        await rates.close()
    assert all(one is None or isinstance(one, RateLimited) for one in found), found
    return sum(one is None for one in found)


def test_a_minutes_worth_may_come_at_once_and_no_more(run: Run) -> None:
    assert run(take(50, per_minute=10)) == 10


def test_refusal_says_when_to_come_back(run: Run) -> None:
    user_id = uuid4()

    async def twice() -> RateLimited:
        await rates.take(user_id=user_id, per_minute=1)
        try:
            with pytest.raises(RateLimited) as caught:
                await rates.take(user_id=user_id, per_minute=1)
        finally:
            await rates.close()
        return caught.value

    details = run(twice()).details
    assert details["limit"] == "requests_per_minute"
    assert 58 <= details["retry_after_s"] <= 60


def test_room_comes_back_with_time(run: Run) -> None:
    user_id = uuid4()

    async def spend_and_wait() -> None:
        for _ in range(600):
            await rates.take(user_id=user_id, per_minute=600)
        with pytest.raises(RateLimited):
            await asyncio.gather(*(rates.take(user_id=user_id, per_minute=600) for _ in range(20)))
        await asyncio.sleep(0.3)
        await rates.take(user_id=user_id, per_minute=600)
        await rates.close()

    run(spend_and_wait())


def test_calls_go_on_when_valkey_is_down(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.REDIS_URL", "redis://127.0.0.1:1/0")
    started = time.monotonic()
    assert run(take(20, per_minute=1)) == 20
    assert time.monotonic() - started < 2
