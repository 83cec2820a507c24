"""Who leaves early pays for what was produced, or for everything where the provider cannot be stopped."""

import time
from typing import Any

from tests.simulator import process
from tests.simulator.process import Simulator, eventually

SLOW = "chunk_delay_ms=30,chunk_tokens=1,completion_tokens=200"


def leave_after(sim: Simulator, key: str, faults: str, mark: bytes = b" the", **fields: Any) -> str:
    """Read a stream up to a mark, close it, and give its generation id."""
    connection = sim.begin(key, faults, stream=True, **fields)
    raw = process.read_until(connection, mark)
    connection.close()
    return raw.partition(b"X-Generation-Id: ")[2].partition(b"\r\n")[0].decode()


def settled(sim: Simulator, key: str) -> None:
    eventually(lambda: sim.calls(key) or None)


def test_cancellable_provider_stops_and_bills_what_was_produced(sim: Simulator, key: str) -> None:
    generation = leave_after(sim, key, SLOW, b"data: ")
    record = sim.generation(generation, key)
    assert record["cancelled"] is True
    assert record["finish_reason"] is None
    assert 1 <= record["native_tokens_completion"] < 200
    assert record["native_tokens_prompt"] > 0
    assert record["total_cost"] == record["usage"] == sim.spent(key) > 0


def test_other_providers_run_on_and_bill_everything(sim: Simulator, key: str) -> None:
    faults = "chunk_delay_ms=10,chunk_tokens=1,completion_tokens=30,cancellable=0"
    record = sim.generation(leave_after(sim, key, faults, b"data: "), key)
    assert record["cancelled"] is True
    assert record["native_tokens_completion"] == 30
    assert sim.spent(key) == record["total_cost"]


def test_provider_decides_what_a_disconnect_costs(sim: Simulator, key: str) -> None:
    faults = "chunk_delay_ms=10,chunk_tokens=1,completion_tokens=30"
    model = "google/gemini-2.5-flash"
    record = sim.generation(leave_after(sim, key, faults, b"data: ", model=model), key)
    assert record["native_tokens_completion"] == 30


def test_leaving_before_the_first_token_costs_nothing(sim: Simulator, key: str) -> None:
    generation = leave_after(sim, key, "first_token_ms=3000", b"PROCESSING")
    record = sim.generation(generation, key)
    assert (record["total_cost"], record["cancelled"]) == (0, True)
    assert sim.spent(key) == 0


def test_leaving_a_stall_settles_it(sim: Simulator, key: str) -> None:
    record = sim.generation(leave_after(sim, key, "stall_after=2", b"PROCESSING\n\n\r\n", max_tokens=90), key)
    assert record["cancelled"] is True
    settled(sim, key)


def test_json_call_runs_to_its_end_and_is_billed_in_full(sim: Simulator, key: str) -> None:
    connection = sim.begin(key, "first_token_ms=200")
    time.sleep(0.05)
    connection.close()
    settled(sim, key)
    assert sim.spent(key) == process.decoded(sim.chat(f"{key}-whole").text)["usage"]["cost"]


def test_journal_knows_who_left(sim: Simulator, key: str) -> None:
    leave_after(sim, key, SLOW, b"data: ")
    settled(sim, key)
    visits = sim.control("GET", "requests", last="50")["last"]
    mine = [visit for visit in visits if visit["headers"].get("authorization") == f"Bearer {key}"]
    assert [visit["state"] for visit in mine] == ["left"]


def test_every_mix_of_leaving_and_staying_adds_up_to_the_records(sim: Simulator, key: str) -> None:
    faults = "chunk_delay_ms=3,chunk_tokens=1,completion_tokens=20"
    ids = [leave_after(sim, key, faults, b"data: ") for _ in range(10)]
    ids += [leave_after(sim, key, f"{faults},cancellable=0", b"data: ") for _ in range(5)]
    ids += [sim.chat(key, faults).headers["X-Generation-Id"] for _ in range(5)]
    assert sum(sim.generation(generation, key)["total_cost"] for generation in ids) == sim.spent(key)
    assert sim.calls(key) == 20
