"""GET /key, /credits and /activity: what the account says it used, day by day, by a clock that tests move."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.simulator import process
from tests.simulator.process import Simulator, decoded

MANAGER = "sk-or-v1-mgmt-tests"
DAY_S = 86_400


@pytest.fixture
def world() -> Iterator[Simulator]:
    """A simulator whose clock may be moved: one of its own."""
    with process.running("--speed", "instant", "--generation-delay-ms", "0") as started:
        yield started
        started.client.close()


def move(world: Simulator, days: int) -> date:
    """Move the clock to so many days from now; the UTC day it is then."""
    found = world.control("POST", "clock", {"shift_s": days * DAY_S})
    return datetime.fromtimestamp(found["unix_time"], UTC).date()


def usage(world: Simulator, key: str) -> dict[str, Decimal]:
    data = decoded(world.get("/key", key).text)["data"]
    return {name: Decimal(data[name]) for name in data if name.startswith(("usage", "byok_usage"))}


def activity(world: Simulator, **query: str) -> list[dict[str, Any]]:
    answer = world.get("/activity", MANAGER, **query)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = decoded(answer.text)["data"]
    return rows


def test_key_tells_day_week_month_and_all_exactly(world: Simulator, key: str) -> None:
    today = move(world, 0)
    for _ in range(3):
        world.chat(key, "cost_usd=0.1")
    assert usage(world, key)["usage"] == Decimal("0.3")
    tomorrow = move(world, 1)
    world.chat(key, "cost_usd=0.00012104999999999999")
    told = usage(world, key)
    total = Decimal("0.30012104999999999999")
    assert told["usage"] == world.spent(key) == total
    assert told["usage_daily"] == Decimal("0.00012104999999999999")
    assert told["usage_weekly"] == (told["usage_daily"] if tomorrow.weekday() == 0 else total)
    assert told["usage_monthly"] == (told["usage_daily"] if tomorrow.day == 1 else total)
    assert told["byok_usage"] == 0
    assert today < tomorrow


def test_own_provider_key_is_counted_apart(world: Simulator, key: str) -> None:
    plain = decoded(world.chat(f"{key}-plain").text)["usage"]["cost"]
    world.chat(key, "byok")
    told = usage(world, key)
    assert told["usage"] == 0
    assert told["byok_usage"] == told["byok_usage_daily"] == plain


def test_credits_are_the_account_whole_and_exact(world: Simulator, key: str) -> None:
    world.chat(key, "cost_usd=0.1")
    world.chat(f"{key}-other", "cost_usd=0.2")
    data = decoded(world.get("/credits", MANAGER).text)["data"]
    assert data["total_usage"] == Decimal("0.3")


def test_day_is_in_the_activity_once_it_is_over(world: Simulator, key: str) -> None:
    today = move(world, 0)
    answers = [world.chat(key, "cost_usd=0.1", model=name) for name in
               ("openai/gpt-4o-mini", "openai/gpt-4o-mini", "anthropic/claude-haiku-4.5")]  # fmt: skip
    assert activity(world) == []
    assert world.get("/activity", MANAGER, date=today.isoformat()).status_code == 400
    move(world, 1)
    rows = {row["model"]: row for row in activity(world, date=today.isoformat())}
    mini = rows["openai/gpt-4o-mini"]
    assert (mini["requests"], mini["usage"], mini["date"]) == (2, Decimal("0.2"), today.isoformat())
    tokens = [answer.json()["usage"] for answer in answers[:2]]
    assert mini["prompt_tokens"] == sum(used["prompt_tokens"] for used in tokens)
    assert mini["completion_tokens"] == sum(used["completion_tokens"] for used in tokens)
    assert rows["anthropic/claude-haiku-4.5"]["usage"] == Decimal("0.1")
    assert len(rows) == 2


def test_activity_can_be_one_key_s_and_ends_after_thirty_days(world: Simulator, key: str) -> None:
    today = move(world, 0)
    world.chat(key, "cost_usd=0.1")
    world.chat(f"{key}-other", "cost_usd=0.2")
    move(world, 30)
    mine = hashlib.sha256(key.encode()).hexdigest()
    assert [row["usage"] for row in activity(world)] == [Decimal("0.3")]
    assert [row["usage"] for row in activity(world, api_key_hash=mine)] == [Decimal("0.1")]
    assert activity(world, api_key_hash="0" * 64) == []
    move(world, 31)
    assert activity(world) == []
    assert world.get("/activity", MANAGER, date=today.isoformat()).status_code == 400


def test_activity_is_for_management_keys_and_good_dates(world: Simulator, key: str) -> None:
    assert world.get("/activity", key).status_code == 403
    assert world.get("/activity").status_code == 401
    for bad in ("yesterday", "2026-13-01", (move(world, 0) - timedelta(days=31)).isoformat()):
        assert world.get("/activity", MANAGER, date=bad).status_code == 400


def test_corrected_call_counts_with_what_it_cost_in_the_end(world: Simulator, key: str) -> None:
    answer = world.chat(key, "generation=corrected,generation_change_ms=600000")
    first = decoded(answer.text)["usage"]["cost"]
    generation_id = answer.headers["X-Generation-Id"]
    assert world.generation(generation_id, key)["total_cost"] == first
    world.control("POST", "clock", {"shift_s": 600})
    assert world.generation(generation_id, key)["total_cost"] == 2 * first == world.spent(key)


def test_bad_clocks_are_refused(world: Simulator) -> None:
    for bad in ({"shift_s": "1"}, {"shift_s": True}, {"shift_s": 10**12}, {}):
        assert "error" in world.control("POST", "clock", bad)
    assert world.control("GET", "clock")["shift_s"] == 0
