"""Look-ups of upstream's records: what is evidence and what is not, how many a second, and when none is sent."""

import time
from collections.abc import Iterator
from decimal import Decimal
from uuid import uuid4

import pytest
import redis
from pytest_django import Settings

from llm import lookups, upstream
from llm.lookups import Breaker, NoAnswer, StillRunning
from tests import races
from tests.simulator import process
from tests.simulator.process import Simulator


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    with process.running("--port", "0", "--speed", "instant") as running, running.client:
        yield running


@pytest.fixture(autouse=True)
def key(sim: Simulator, settings: Settings) -> Iterator[str]:
    """The operator's key, an upstream that is the simulator, and a breaker nobody has opened."""
    settings.OPENROUTER_API_KEY = f"sk-or-v1-{uuid4().hex}"
    settings.OPENROUTER_BASE_URL = sim.url
    settings.LOOKUPS_PER_S = 1000
    lookups.breaker.answered()
    yield settings.OPENROUTER_API_KEY
    lookups.breaker.answered()
    sim.control("POST", "faults", {})


def called(sim: Simulator, key: str, faults: str = "generation_delay_ms=0") -> str:
    return str(sim.chat(key, faults).headers["X-Generation-Id"])


def asked(sim: Simulator) -> int:
    return int(sim.control("GET", "requests")["by_path"].get("GET /api/v1/generation", 0))


def test_record_is_what_upstream_charged(sim: Simulator, key: str) -> None:
    record = lookups.record(called(sim, key))
    assert record["total_cost"] == sim.spent(key) > 0


def test_record_that_is_not_there_is_none(sim: Simulator, key: str) -> None:
    assert lookups.record(called(sim, key, "generation=never")) == {}


@pytest.mark.parametrize(
    "faults", [{"status": 429}, {"status": 500}, {"status": 503}, {"html": 502}, {"status": 401}]
)
def test_anything_else_than_404_is_no_answer(sim: Simulator, key: str, faults: dict[str, int]) -> None:
    generation_id = called(sim, key)
    sim.control("POST", "faults", {**faults, "on": "generation"})
    with pytest.raises(NoAnswer):
        lookups.record(generation_id)


def test_upstream_that_cannot_be_reached_is_no_answer(settings: Settings) -> None:
    settings.OPENROUTER_BASE_URL = "http://127.0.0.1:9"
    with pytest.raises(NoAnswer):
        lookups.record("gen-1")


def test_failures_in_a_row_pause_all_look_ups(sim: Simulator, key: str) -> None:
    sim.control("POST", "faults", {"status": 503, "on": "generation"})
    before = asked(sim)
    for _ in range(lookups.FAILURES_MAX + 5):
        with pytest.raises(NoAnswer):
            lookups.record("gen-1")
    assert asked(sim) - before == lookups.FAILURES_MAX


def test_404_is_an_answer_and_opens_nothing(sim: Simulator, key: str) -> None:
    before = asked(sim)
    for _ in range(lookups.FAILURES_MAX + 3):
        assert lookups.record("gen-1-unknown") == {}
    assert asked(sim) - before == lookups.FAILURES_MAX + 3


def test_429_is_obeyed_at_once(sim: Simulator, key: str) -> None:
    sim.control("POST", "faults", {"status": 429, "retry_after": 7, "on": "generation"})
    with pytest.raises(NoAnswer, match="429"):
        lookups.record("gen-1")
    with pytest.raises(NoAnswer, match="left alone"):
        lookups.record("gen-1")
    assert 6 < lookups.breaker.rests_s() <= 7


def test_pause_doubles_until_an_answer_comes() -> None:
    breaker, pauses = Breaker(), []
    for _ in range(lookups.FAILURES_MAX + 8):
        breaker.failed()
        pauses.append(round(breaker.rests_s()))
    assert pauses == [0, 0, 0, 0, 5, 10, 20, 40, 80, 160, 300, 300, 300]
    breaker.answered()
    assert not breaker.is_open()
    breaker.failed()
    assert not breaker.is_open()


def test_look_ups_of_all_workers_share_one_pace(sim: Simulator, key: str, settings: Settings) -> None:
    settings.LOOKUPS_PER_S = 20
    time.sleep(1.1)
    began = time.monotonic()
    found = races.at_once(*[lambda: [lookups.record("gen-1-unknown") for _ in range(10)]] * 4)
    took_s = time.monotonic() - began
    assert found == [[{}] * 10] * 4
    # 20 at once, the other 20 in a second.
    assert took_s > 0.9


def test_look_up_that_would_wait_too_long_is_not_sent(sim: Simulator, settings: Settings) -> None:
    before = asked(sim)
    with redis.Redis.from_url(settings.REDIS_URL) as valkey:
        seconds, _ = valkey.time()
        valkey.set("naive:lookups", (seconds + 30) * 1000, px=60_000)
        with pytest.raises(NoAnswer, match="Too many"):
            lookups.record("gen-1-unknown")
        valkey.delete("naive:lookups")
    assert asked(sim) == before


def test_without_valkey_look_ups_go_on(sim: Simulator, key: str, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    assert lookups.record(called(sim, key))["total_cost"] > 0


def film(sim: Simulator, key: str, faults: str) -> str:
    """A job that upstream has taken on, by the name that the books know it by."""
    body = {"model": "google/veo-3.1", "prompt": "The tide comes in.", "duration": 4}
    return f"{lookups.JOB_BEGINNING}{sim.post('/videos', key, body, faults).json()['id']}"


def test_job_is_its_own_record(sim: Simulator, key: str) -> None:
    name = film(sim, key, "job_ms=0")
    assert lookups.record(name)["total_cost"] == sim.spent(key) > 0


@pytest.mark.parametrize("faults", ["job=stuck", "job_ms=60000"])
def test_job_that_goes_on_says_nothing_of_its_cost(faults: str, sim: Simulator, key: str) -> None:
    name = film(sim, key, faults)
    for _ in range(lookups.FAILURES_MAX + 1):
        with pytest.raises(StillRunning):
            lookups.record(name)


@pytest.mark.parametrize("ending", ["failed", "cancelled", "expired"])
@pytest.mark.parametrize("generation", ["generation_delay_ms=0", "generation=never"])
def test_job_without_a_film_and_a_cost_cost_nothing(
    ending: str, generation: str, sim: Simulator, key: str
) -> None:
    name = film(sim, key, f"job={ending},job_ms=0,{generation}")
    found = lookups.record(name)
    assert (found["id"], found["total_cost"]) == (name, 0)
    assert sim.spent(key) == 0


@pytest.mark.parametrize("told", ["omit_cost", "omit_usage", "cost=null"])
def test_job_that_keeps_its_cost_back_is_asked_for_by_its_generation(
    told: str, sim: Simulator, key: str
) -> None:
    name = film(sim, key, f"{told},job_ms=0,generation_delay_ms=0")
    assert lookups.record(name)["total_cost"] == sim.spent(key) > 0


def test_job_that_keeps_its_cost_back_for_good_is_no_gift(sim: Simulator, key: str) -> None:
    assert lookups.record(film(sim, key, "omit_cost,job_ms=0,generation=never")) == {}
    assert lookups.record(f"{lookups.JOB_BEGINNING}gen-vid-unknown") == {}


@pytest.mark.parametrize("status", ["failed", "completed"])
def test_cost_of_a_job_counts_however_it_ended(
    status: str, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{"id":"vid-1","status":"%s","usage":{"cost":0.25}}' % status.encode()
    monkeypatch.setattr(upstream, "look_up", lambda *_, **__: body)
    assert lookups.record(f"{lookups.JOB_BEGINNING}vid-1")["total_cost"] == Decimal("0.25")


@pytest.mark.parametrize("status", [b'"pending"', b'"in_progress"', b'"a_new_kind"', b"null", b"[]"])
def test_status_that_nobody_knows_ends_nothing(status: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "look_up", lambda *_, **__: b'{"id":"vid-1","status":%s}' % status)
    with pytest.raises(StillRunning):
        lookups.record(f"{lookups.JOB_BEGINNING}vid-1")
