"""Days closed against the simulator's own books: its key's total, and its activity by model."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from pytest_django import Settings

from billing import alerts, batches, settlement
from billing.models import Day
from llm import readings, tasks, upstream
from tests import logins
from tests.billing import books
from tests.conftest import Run
from tests.simulator import process
from tests.simulator.process import Simulator

DAY = timedelta(days=1)


@pytest.fixture
def run(run: Run) -> Iterator[Run]:
    """An event loop for one test, its batchers stopped afterwards."""
    yield run
    run(batches.stop())


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with process.running("--port", "0", "--speed", "instant") as running, running.client:
        yield running


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the books and the simulator have clocks of their own.


@pytest.fixture(autouse=True)
def key(sim: Simulator, settings: Settings) -> Iterator[str]:
    """The operator's key, and no day in the books."""
    settings.OPENROUTER_API_KEY = f"sk-or-v1-{uuid4().hex}"
    settings.OPENROUTER_BASE_URL = sim.url
    Day.objects.all().delete()
    yield settings.OPENROUTER_API_KEY
    Day.objects.all().delete()


def charged(run: Run, sim: Simulator, key: str) -> Decimal:
    """Call the simulator, and charge what it says for it."""
    answer = process.decoded(sim.chat(key).text)
    cost, facts = answer["usage"]["cost"], b'{"model": "%s"}' % answer["model"].encode()
    request = run(books.held(books.wallet()))
    run(settlement.settle(hold=books.key(request), evidence=books.cost(cost, details=facts)))
    return Decimal(cost)


def test_what_the_gateway_charged_is_what_upstream_did(
    run: Run, sim: Simulator, key: str, now: datetime
) -> None:
    readings.close_days(now=now)
    total = charged(run, sim, key) + charged(run, sim, key)
    (found,) = readings.close_days(now=now + DAY)
    assert (found.day, found.basis) == (now.date(), "key")
    assert (found.ours_usd, found.theirs_usd, found.difference_usd) == (total, total, Decimal(0))
    assert found.closed_at
    assert found.by_model is None
    assert "management key" in found.note


def test_management_key_compares_by_model_too(
    run: Run, sim: Simulator, key: str, now: datetime, settings: Settings
) -> None:
    settings.OPENROUTER_MANAGEMENT_KEY = f"sk-or-v1-mgmt-{uuid4().hex}"
    readings.close_days(now=now)
    total = charged(run, sim, key)
    process.decoded(sim.chat(f"{key}-of-somebody-else").text)
    sim.control("POST", "clock", {"shift_s": 86_400})
    (found,) = readings.close_days(now=now + DAY)
    (row,) = [one for one in found.by_model or [] if one["model"] == process.MODEL]
    # Other tests' calls of today were not made with this key.
    assert Decimal(row["theirs_usd"]) == total
    assert found.closed_at


def test_call_that_upstream_charged_and_we_did_not_is_a_mismatch(
    run: Run, sim: Simulator, key: str, now: datetime
) -> None:
    (first,) = readings.close_days(now=now)
    bound = first.open_usd + first.estimated_usd + first.unattributed_usd
    sim.chat(key, f"cost_usd={bound + 1:f}")
    (found,) = readings.close_days(now=now + DAY)
    assert found.closed_at is None
    # Upstream tells its total as a double: exact to the last place of that total, whatever other tests left open.
    assert found.theirs_usd is not None
    assert abs(found.gap_usd - bound - 1) <= Decimal(math.ulp(float(found.theirs_usd)))
    assert str(found.day) in {one.reference for one in alerts.list_open(limit=200)}


def test_closed_day_is_not_asked_about_again(run: Run, sim: Simulator, key: str, now: datetime) -> None:
    readings.close_days(now=now)
    before = sim.control("GET", "requests")["total"]
    assert readings.close_days(now=now) == []
    assert sim.control("GET", "requests")["total"] == before


def test_days_that_were_missed_are_caught_up_with(run: Run, sim: Simulator, key: str, now: datetime) -> None:
    readings.close_days(now=now)
    charged(run, sim, key)
    found = readings.close_days(now=now + 3 * DAY)
    assert [one.day for one in found] == [(now + n * DAY).date() for n in range(3)]
    assert all(Day.objects.filter(closed_at__isnull=False, day=one.day).exists() for one in found)
    assert found[-1].difference_usd == 0


def test_upstream_that_does_not_answer_is_asked_again_later_and_told_of(
    sim: Simulator, key: str, now: datetime, settings: Settings
) -> None:
    readings.close_days(now=now)
    url, settings.OPENROUTER_BASE_URL = sim.url, f"{sim.sim_url}/nowhere"
    assert readings.close_days(now=now + DAY) == []
    assert alerts.resolve("days_not_compared") == 0
    assert readings.close_days(now=now + 2 * DAY) == []
    assert "days_not_compared" in {one.kind for one in alerts.list_open(limit=200)}
    settings.OPENROUTER_BASE_URL = url
    assert len(readings.close_days(now=now + 2 * DAY)) == 2
    assert "days_not_compared" not in {one.kind for one in alerts.list_open(limit=200)}


def test_platform_without_a_key_compares_nothing(settings: Settings) -> None:
    settings.OPENROUTER_API_KEY = ""
    tasks.close_days()
    assert not Day.objects.exists()


def test_application_login_closes_days_as_a_task() -> None:
    with logins.as_application():
        tasks.close_days()
    assert Day.objects.count() == 1


@pytest.mark.parametrize("usage", ["1e400", "1e999999999", "-1", "1e-400", '"5"', "null", "NaN"])
def test_total_that_no_key_comes_to_is_no_reading(usage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "look_up", lambda *_, **__: f'{{"data":{{"usage":{usage}}}}}'.encode())
    with pytest.raises(ValueError, match=r"usage|cannot be read"):
        readings._reading()
