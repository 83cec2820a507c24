"""Requests a minute and calls at once, on a real Valkey, over all gateways together."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import redis
from django.conf import settings as django_settings
from pytest_django import Settings

from accounts.auth import Principal
from accounts.subjects import Subject
from llm import rates, sightings, turns
from llm.errors import RateLimited
from llm.rates import Limit, Pass
from tests.conftest import Run

ROOT = Path(__file__).parents[2]
# One gateway's part of races: so many calls at once as each line says, which keep their places.
RACER = """
import asyncio, sys, uuid, django
django.setup()
from django.conf import settings
from llm import rates, turns
from llm.errors import RateLimited
from llm.rates import Limit
turns.line.timeout_s = 30.0
async def race(company, key, per_minute, places, times):
    settings.MAX_CALLS_PER_COMPANY = int(places)
    limits = (Limit("api_key", uuid.UUID(key), int(per_minute)),) if int(per_minute) else ()
    calls = (rates.enter(uuid.UUID(company), limits) for _ in range(int(times)))
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, (rates.Pass, RateLimited)) for one in found), found
    assert turns.count.unjudged == 0
    return sum(isinstance(one, rates.Pass) for one in found)
async def main():
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(await race(*line.split()), flush=True)
asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy test machine is not a Valkey that is down."""
    monkeypatch.setattr(turns.line, "timeout_s", 5.0)


@pytest.fixture
def valkey() -> Iterator[Any]:
    with redis.from_url(django_settings.REDIS_URL, decode_responses=True) as client:
        yield client


def per_key(per_minute: int, key_id: UUID | None = None) -> Limit:
    return Limit("api_key", key_id or uuid4(), per_minute)


def per_user(per_minute: int) -> Limit:
    return Limit("tenant_user", uuid4(), per_minute)


async def many(times: int, *limits: Limit, company_id: UUID | None = None) -> list[Pass | RateLimited]:
    """Let so many calls in at once."""
    company_id = company_id or uuid4()
    found = await asyncio.gather(
        *(rates.enter(company_id, limits) for _ in range(times)), return_exceptions=True
    )
    assert all(isinstance(one, Pass | RateLimited) for one in found), found
    return found  # type: ignore[return-value]


def let_in(found: list[Pass | RateLimited]) -> int:
    return sum(isinstance(one, Pass) for one in found)


def refusal(found: list[Pass | RateLimited]) -> RateLimited:
    return next(one for one in found if isinstance(one, RateLimited))


@pytest.mark.parametrize("per_minute", [1, 7, 10, 59])
def test_a_minutes_worth_may_come_at_once_and_no_more(run: Run, per_minute: int) -> None:
    assert let_in(run(many(per_minute + 20, per_key(per_minute)))) == per_minute


@pytest.mark.parametrize(
    ("limit", "whose", "who"),
    [
        (per_key(1), "This API key", "an admin of your company"),
        (per_user(1), "This user's kit", "an admin of your company"),
    ],
)
def test_refusal_says_which_limit_whose_who_raises_it_and_when_to_come_back(
    run: Run, limit: Limit, whose: str, who: str
) -> None:
    error = refusal(run(many(2, limit)))
    assert error.message.startswith(whose)
    assert who in str(error.hint)
    assert error.details.pop("retry_after_s") in (59, 60)
    assert error.details == {
        "limit": "requests_per_minute",
        "scope": limit.scope,
        "scope_id": str(limit.scope_id),
        "max": 1,
    }


def test_refused_call_uses_up_none_of_the_other_limits(run: Run, settings: Settings) -> None:
    settings.MAX_CALLS_PER_COMPANY = 3
    key, user, company = per_key(5), per_user(2), uuid4()

    async def work() -> list[int]:
        # The user's kit refuses all but two; then the company's places refuse all but one.
        seen = [let_in(await many(9, key, user, company_id=company))]
        seen.append(let_in(await many(9, key, company_id=company)))
        # Had a refused call been counted, the key would be out of requests.
        return [*seen, let_in(await many(9, key))]

    assert run(work()) == [2, 1, 2]


def test_room_comes_back_with_time(run: Run, valkey: Any) -> None:
    limit = per_key(60)
    name = f"rate:api_key:{limit.scope_id}"

    async def work() -> tuple[int, int]:
        before = let_in(await many(70, limit))
        used, at = valkey.get(name).split()
        # As if ten seconds had gone by: sixty a minute are ten by then.
        valkey.set(name, f"{used} {int(at) - 10_000}")
        return before, let_in(await many(70, limit))

    before, after = run(work())
    assert before == 60
    assert 10 <= after <= 12


def test_place_is_taken_until_it_is_given_back(run: Run, settings: Settings) -> None:
    settings.MAX_CALLS_PER_COMPANY = 4
    company = uuid4()

    async def work() -> tuple[int, int]:
        found = await many(9, company_id=company)
        assert refusal(found).details["limit"] == "concurrent_calls"
        for one in found[:3]:
            assert isinstance(one, Pass)
            rates.leave(one)
        return let_in(found), let_in(await many(9, company_id=company))

    assert run(work()) == (4, 3)


def test_place_of_a_call_that_was_cancelled_while_it_asked_comes_back(run: Run, settings: Settings) -> None:
    settings.MAX_CALLS_PER_COMPANY = 1
    company = uuid4()

    async def work() -> int:
        asking = asyncio.create_task(rates.enter(company, ()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        return let_in(await many(2, company_id=company))

    assert run(work()) == 1


def test_long_call_keeps_its_place_and_a_killed_gateways_places_come_back(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch, valkey: Any
) -> None:
    settings.MAX_CALLS_PER_COMPANY = 2
    monkeypatch.setattr(turns, "RENEW_S", 0.05)
    company = uuid4()
    places = f"calls:{company}"

    async def work() -> tuple[set[str], int]:
        (kept,) = await many(1, company_id=company)
        assert isinstance(kept, Pass)
        # A gateway that is gone left this one; and both are almost at their end.
        now_ms = int(valkey.time()[0]) * 1000
        valkey.zadd(places, {kept.lease.id: now_ms + 3000, "gone": now_ms - 1})
        async with asyncio.timeout(10):
            while (valkey.zscore(places, kept.lease.id) or 0) < now_ms + 10_000:
                await asyncio.sleep(0.01)
        found = await many(5, company_id=company)
        return set(valkey.zrange(places, 0, -1)) & {kept.lease.id, "gone"}, let_in(found)

    still, more = run(work())
    assert "gone" not in still
    assert len(still) == more == 1


def test_nothing_of_it_stays_in_valkey_for_ever(run: Run, valkey: Any) -> None:
    limit, company = per_key(5), uuid4()
    run(many(3, limit, company_id=company))
    assert 0 < valkey.pttl(f"rate:api_key:{limit.scope_id}") <= 36_000
    assert 0 < valkey.pttl(f"calls:{company}") <= 20_000


def test_valkey_that_was_emptied_learns_script_and_places_again(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch, valkey: Any
) -> None:
    settings.MAX_CALLS_PER_COMPANY = 2
    monkeypatch.setattr(turns, "RENEW_S", 0.05)
    company = uuid4()

    async def work() -> int:
        await many(2, company_id=company)
        valkey.delete(f"calls:{company}")
        valkey.script_flush()
        async with asyncio.timeout(10):
            while valkey.zcard(f"calls:{company}") < 2:
                await asyncio.sleep(0.01)
        return let_in(await many(2, company_id=company))

    assert run(work()) == 0


def test_calls_that_wait_together_share_a_round_trip(run: Run) -> None:
    before = turns.count.trips
    assert let_in(run(many(60, per_key(1000)))) == 60
    assert turns.count.trips - before <= 2


def test_calls_go_on_when_valkey_is_down_and_are_counted(run: Run, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    settings.MAX_CALLS_PER_COMPANY = 2
    unjudged, failures = turns.count.unjudged, turns.line.failures

    async def work() -> tuple[int, int]:
        return let_in(await many(20, per_key(1))), let_in(await many(5, per_key(1)))

    assert run(work()) == (20, 5)
    assert turns.count.unjudged - unjudged == 25
    # The second lot did not ask: an outage costs one round its deadline, not every call.
    assert turns.line.failures - failures == 1


def test_calls_go_on_when_valkey_says_nothing(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns.line, "timeout_s", 0.05)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def work() -> int:
        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}/0"
        found = await many(20, per_key(1))
        await rates.close()
        silent.close()
        return let_in(found)

    assert run(work()) == 20


def test_calls_of_an_outage_take_their_places_when_it_is_over(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch, valkey: Any
) -> None:
    monkeypatch.setattr(turns, "RENEW_S", 0.05)
    monkeypatch.setattr("llm.valkey.REST_S", 0.05)
    company = uuid4()

    async def work() -> None:
        there, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1/0"
        await many(3, company_id=company)
        settings.REDIS_URL = there
        await turns.line.close()
        async with asyncio.timeout(10):
            while valkey.zcard(f"calls:{company}") < 3:
                await asyncio.sleep(0.01)

    run(work())


def test_standing_is_told_in_openais_words_for_the_nearest_limit(run: Run) -> None:
    seen = sightings.Sighting()

    async def work() -> None:
        sightings.begin(seen)
        await rates.enter(uuid4(), (per_key(6), per_user(3)))

    run(work())
    assert seen.limit_headers == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "20s",
    }


@pytest.mark.parametrize(
    ("ms", "said"), [(0, "0ms"), (999, "999ms"), (1000, "1s"), (6500, "6.5s"), (60_000, "1m0s")]
)
def test_durations_are_written_as_openai_does(ms: int, said: str) -> None:
    assert rates._duration(ms) == said


def found(*, own: int | None, kit: int | None, is_proxied: bool = False) -> list[tuple[str, int]]:
    """The limits of a call by such a key for a user of such a kit."""
    principal = SimpleNamespace(cap_scope_id=uuid4(), requests_per_minute=own)
    rules = SimpleNamespace(requests_per_minute=kit)
    subject = SimpleNamespace(user_id=uuid4(), kit=SimpleNamespace(rules=rules))
    limits = rates.limits(cast("Principal", principal), cast("Subject", subject), is_proxied=is_proxied)
    return [(limit.scope, limit.per_minute) for limit in limits]


def test_limits_are_those_of_key_and_kit_and_the_proxy_has_no_kit(settings: Settings) -> None:
    settings.REQUESTS_PER_MINUTE = 0
    assert found(own=None, kit=None) == []
    assert found(own=None, kit=5) == [("tenant_user", 5)]
    assert found(own=None, kit=5, is_proxied=True) == []
    settings.REQUESTS_PER_MINUTE = 60
    assert found(own=None, kit=5) == [("api_key", 60), ("tenant_user", 5)]
    assert found(own=None, kit=5, is_proxied=True) == [("api_key", 60)]


def test_keys_own_limit_comes_before_the_operators_default(settings: Settings) -> None:
    for settings.REQUESTS_PER_MINUTE in (0, 60):
        assert found(own=7, kit=None) == [("api_key", 7)]


@pytest.fixture(scope="module")
def racers() -> Iterator[list["subprocess.Popen[str]"]]:
    environ = {
        **os.environ,
        "DEBUG": "1",
        "DJANGO_SETTINGS_MODULE": "naive_platform.settings",
        "REDIS_URL": django_settings.REDIS_URL,
    }
    command = [sys.executable, "-c", RACER]
    started = [
        subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    try:
        assert [heard(racer) for racer in started] == ["ready\n"] * 3
        yield started
    finally:
        for racer in started:
            racer.kill()
            racer.communicate()


def heard(racer: "subprocess.Popen[str]") -> str:
    assert racer.stdout is not None
    return racer.stdout.readline()


@pytest.mark.parametrize(("per_minute", "places", "expected"), [(50, 1000, 50), (0, 40, 40), (30, 20, 20)])
def test_three_gateways_at_once_never_let_in_more_than_the_limit(
    racers: list["subprocess.Popen[str]"], per_minute: int, places: int, expected: int
) -> None:
    line = f"{uuid4()} {uuid4()} {per_minute} {places} 60\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(line)
        racer.stdin.flush()
    assert sum(int(heard(racer)) for racer in racers) == expected


def test_stranger_in_valkeys_place_holds_up_no_call(
    run: Run, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it answers to the script, the calls go on."""

    async def say_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await reader.read(65536):
            writer.write(b"+OK\r\n" * len(re.findall(rb"(?:^|\n)\*\d", said)))
        writer.close()

    async def work() -> int:
        stranger = await asyncio.start_server(say_ok, "127.0.0.1", 0)
        settings.REDIS_URL = f"redis://127.0.0.1:{stranger.sockets[0].getsockname()[1]}/0?protocol=2"
        found = await many(5, per_key(1))
        await rates.close()
        stranger.close()
        return let_in(found)

    assert run(work()) == 5


@pytest.mark.parametrize(
    "said", ["OOM no memory", "READONLY a replica", "LOADING", "MISCONF no disk", "ERR bug"]
)
def test_valkey_that_cannot_is_as_one_that_is_away(
    run: Run, settings: Settings, caplog: pytest.LogCaptureFixture, said: str
) -> None:
    """Limits that are off must not look as if they were on."""
    failures, unjudged = turns.line.failures, turns.count.unjudged

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while asked := await reader.read(65536):
            is_ours = b"EVAL" in asked
            writer.write(f"-{said}\r\n".encode() if is_ours else b"+OK\r\n" * asked.count(b"*"))
        writer.close()

    async def work() -> tuple[int, bool, int]:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        settings.REDIS_URL = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0?protocol=2"
        let = [let_in(await many(5, per_key(1))) for _ in range(2)]
        away = turns.line.is_away
        await rates.close()
        server.close()
        return sum(let), away, turns.line.failures - failures

    try:
        assert run(work()) == (10, True, 1)
    finally:
        turns.line.is_away = False
    assert turns.count.unjudged - unjudged == 10
    assert "Valkey does not answer" in caplog.text


def test_places_that_come_free_in_an_outage_go_back_when_it_is_over(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch, valkey: Any
) -> None:
    """Else a hiccup would refuse the next calls for as long as a lease is."""
    monkeypatch.setattr("llm.valkey.REST_S", 0.05)
    company = uuid4()

    async def work() -> int:
        found = await many(3, company_id=company)
        there, settings.REDIS_URL = settings.REDIS_URL, "redis://127.0.0.1:1/0"
        await turns.line.close()
        failures = turns.line.failures
        for one in found:
            assert isinstance(one, Pass)
            rates.leave(one)
        async with asyncio.timeout(10):
            while turns.line.failures < failures + 2:
                await asyncio.sleep(0.01)
            taken = valkey.zcard(f"calls:{company}")
            settings.REDIS_URL = there
            await turns.line.close()
            while valkey.zcard(f"calls:{company}"):
                await asyncio.sleep(0.01)
        return int(taken)

    assert run(work()) == 3


def test_what_an_outage_keeps_is_forgotten_once_it_has_ended_by_itself(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm.valkey.REST_S", 0.01)
    monkeypatch.setattr(turns, "LEASE_S", 0.05)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    async def work() -> None:
        for one in await many(20):
            assert isinstance(one, Pass)
            rates.leave(one)
        desk = turns._desk()
        assert len(desk.leaving) == 20
        async with asyncio.timeout(10):
            while desk.leaving or desk.work or desk.returning:
                await asyncio.sleep(0.01)

    run(work())


def test_limit_that_was_lowered_waits_no_longer_than_it_says(run: Run) -> None:
    key = uuid4()

    async def work() -> RateLimited:
        assert let_in(await many(90, per_key(90, key))) == 90
        return refusal(await many(1, per_key(2, key)))

    assert run(work()).details["retry_after_s"] <= 30


def test_clock_that_was_set_back_keeps_nobody_out(run: Run, settings: Settings, valkey: Any) -> None:
    """As after a failover to a server whose clock is an hour behind."""
    settings.MAX_CALLS_PER_COMPANY = 1
    limit, company = per_key(5), uuid4()
    hence_ms = (int(valkey.time()[0]) + 3600) * 1000
    valkey.set(f"rate:api_key:{limit.scope_id}", f"5.000000000 {hence_ms}", px=60_000)
    valkey.zadd(f"calls:{company}", {"gone": hence_ms})
    assert let_in(run(many(1, limit, company_id=company))) == 1
