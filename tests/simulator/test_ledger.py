"""The simulator's own books: exact, per key, and equal to what the wire and the records say."""

import datetime
from decimal import Decimal
from typing import Any

import pytest

from simulator import ledger
from tests.simulator.process import PROMPT, Simulator, decoded

PLAUSIBLE = [
    "",
    "cost=exponent",
    "cost=noisy",
    "usage_style=empty",
    "usage_every_chunk",
    "server_tool_usd=0.007",
    "price_factor=3.7",
    "cost_usd=0.123456789012345",
    "cached_tokens=5,cache_write_tokens=2",
    "byok",
    "cache=hit",
    "crlf,split=7",
]


def test_ledger_is_the_sum_of_the_costs_on_the_wire(sim: Simulator, key: str) -> None:
    models = [
        "openai/gpt-4o-mini",
        "anthropic/claude-haiku-4.5",
        "google/gemini-2.5-flash",
        "openai/gpt-oss-20b:free",
    ]
    total = Decimal(0)
    for number, faults in enumerate(PLAUSIBLE * 4):
        asked: dict[str, Any] = {"model": models[number % 4], "prompt": f"{PROMPT} Part {number}."}
        if number % 2:
            total += decoded(sim.chat(key, faults, **asked).text)["usage"]["cost"]
        else:
            total += [frame for frame in sim.stream(key, faults, **asked) if "usage" in frame][-1]["usage"][
                "cost"
            ]
    assert sim.spent(key) == total > 0
    assert sim.calls(key) == len(PLAUSIBLE) * 4


@pytest.mark.parametrize(
    "faults",
    ["omit_cost", "omit_usage", "cost=null", "cost=string", "cost=nan", "cost=negative", "cost=huge"],
)
def test_where_the_wire_is_silent_or_wrong_ledger_and_record_hold_the_price(
    sim: Simulator, key: str, faults: str
) -> None:
    plain = decoded(sim.chat(f"{key}-plain").text)["usage"]["cost"]
    answer = sim.chat(key, faults)
    assert sim.spent(key) == plain
    assert sim.generation(answer.headers["X-Generation-Id"], key)["total_cost"] == plain


def test_own_provider_key_is_charged_nothing(sim: Simulator, key: str) -> None:
    used = decoded(sim.chat(key, "byok").text)["usage"]
    assert (used["cost"], used["is_byok"]) == (0, True)
    assert used["cost_details"]["upstream_inference_cost"] > 0
    assert sim.spent(key) == 0


def test_server_tools_leave_is_byok_out(sim: Simulator, key: str) -> None:
    used = decoded(sim.chat(key, "server_tool_usd=0.007").text)["usage"]
    assert "is_byok" not in used
    assert used["cost"] - used["cost_details"]["upstream_inference_cost"] == Decimal("0.007")
    assert used["server_tool_use_details"]["tool_calls_executed"] == 1


def test_refused_calls_are_not_in_the_books(sim: Simulator, key: str) -> None:
    sim.chat(key, "status=500")
    sim.chat(key, model="no/such")
    assert sim.calls(key) == 0


def test_entries_tell_single_charges(sim: Simulator, key: str) -> None:
    answer = sim.chat(key)
    entry = sim.control("GET", "ledger", entries="1")["entries"][0]
    assert entry["id"] == answer.headers["X-Generation-Id"]
    assert Decimal(entry["usd"]) == decoded(answer.text)["usage"]["cost"]


def test_response_cache_hits_are_free_under_a_new_id(sim: Simulator, key: str) -> None:
    body = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"X-OpenRouter-Cache": "true"}
    first = sim.post("/chat/completions", key, body, **headers)
    second = sim.post("/chat/completions", key, body, **headers)
    assert first.headers["X-OpenRouter-Cache-Status"] == "MISS"
    assert second.headers["X-OpenRouter-Cache-Status"] == "HIT"
    assert second.headers["X-OpenRouter-Cache-Source-Id"] == first.headers["X-Generation-Id"]
    assert second.json()["id"] != first.json()["id"]
    assert second.json()["usage"]["total_tokens"] == 0
    assert sim.spent(key) == decoded(first.text)["usage"]["cost"]
    other = sim.post("/chat/completions", f"{key}-other", body, **headers)
    assert other.headers["X-OpenRouter-Cache-Status"] == "MISS"


def test_totals_are_sums_over_keys_and_can_be_reset() -> None:
    from_books = ledger_of(("a", "0.1"), ("b", "0.00000000000000000000000012345"), ("a", "123456789"))
    assert from_books["total_usd"] == "123456789.10000000000000000000000012345"
    assert from_books["by_key"]["a"] == {"total_usd": "123456789.1", "calls": 2}
    assert from_books["calls"] == 3


def ledger_of(*charges: tuple[str, str]) -> Any:
    books = ledger.Ledger()
    for key, amount in charges:
        books.charge(
            ledger.Charge("gen-1", key, Decimal(amount), cancelled=False, date=datetime.date(2026, 11, 23))
        )
    return books.summary()
