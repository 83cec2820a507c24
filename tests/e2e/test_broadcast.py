"""Calls whose gateway was killed before it knew their cost, charged from what upstream broadcasts."""

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connection

from tests import factories
from tests.e2e.conftest import Platform, eventually, open_holds
from tests.llm.deliveries import delivery, span

MODEL = "openai/gpt-4o-mini"
# No other evidence than the trace.
UNRECORDED = "generation=never"


def environment(pid: int, name: str) -> str:
    """What a process of the platform was given."""
    found = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(line.decode().split("=", 1) for line in found if b"=" in line)[name]


def point(platform: Platform, **more: Any) -> None:
    """Have upstream broadcast to the platform from now on."""
    secret = environment(platform.pids["worker"], "BROADCAST_SECRET")
    headers = {"Authorization": f"Bearer {secret}"}
    body = {"url": f"{platform.url}/v1/broadcast", "headers": headers, **more}
    httpx.post(f"{platform.upstream.url}/__sim/broadcast", json=body).raise_for_status()


def deliveries(platform: Platform) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{platform.upstream.url}/__sim/broadcast").raise_for_status().json()
    return found


def all_delivered(platform: Platform, count: int) -> bool:
    state = deliveries(platform)
    return bool(state["delivered"] >= count and not state["waiting"])


@pytest.fixture
def told(clean: Platform) -> Iterator[Platform]:
    point(clean)
    yield clean
    httpx.post(f"{clean.upstream.url}/__sim/broadcast", json={}).raise_for_status()


def kill_gateways(platform: Platform) -> None:
    """End this platform's gateways, whoever was restarted meanwhile, as a crash does."""
    folder = environment(platform.pids["worker"], "NAIVE_DATA_DIR")
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, KeyError):
            is_gateway = b"naive_platform.asgi" in (process / "cmdline").read_bytes()
            if is_gateway and environment(int(process.name), "NAIVE_DATA_DIR") == folder:
                os.kill(int(process.name), signal.SIGKILL)


def lose_spool(platform: Platform) -> None:
    """The disk of the gateway's machine is gone with it."""
    folder = Path(environment(platform.pids["worker"], "NAIVE_DATA_DIR")) / "spool"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)


def begin(platform: Platform, acme: factories.Cast, knobs: str, *, stream: bool = False) -> threading.Thread:
    """Make a call that nobody will get the answer of."""

    def call() -> None:
        body = {
            "model": f"{MODEL}:sim={UNRECORDED},{knobs}",
            "stream": stream,
            "max_tokens": 300,
            "messages": [{"role": "user", "content": "Tell me about the sea."}],
        }
        with contextlib.suppress(httpx.HTTPError):
            platform.post(acme.secret, body)

    accepted = platform.upstream.accepted()
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    eventually(lambda: platform.upstream.accepted() > accepted, what="the call at upstream")
    return thread


def settlements(acme: factories.Cast) -> list[tuple[str, str, Decimal]]:
    """(kind, source, cost) of every settled call, and nothing corrected."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM billing_correction WHERE company_id = %s", [acme.company.id])
        assert cursor.fetchone() == (0,)
        cursor.execute(
            "SELECT kind, source, coalesce(cost_usd, 0) FROM billing_settlement WHERE company_id = %s",
            [acme.company.id],
        )
        return list(cursor.fetchall())


def anomalies(acme: factories.Cast) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT kind FROM billing_anomaly WHERE company_id = %s", [acme.company.id])
        return [kind for (kind,) in cursor.fetchall()]


def charged_from_the_trace(platform: Platform, acme: factories.Cast) -> None:
    """The one call is charged what upstream charged, once, on the trace's word alone."""
    eventually(lambda: open_holds(acme.company.id) == 0, what="the call settled")
    eventually(lambda: all_delivered(platform, 1), what="the trace taken")
    cost = Decimal(platform.upstream.ledger()["total_usd"])
    assert cost > 0
    assert settlements(acme) == [("post", "broadcast", cost)]
    assert factories.balance_nanocredits(acme) < factories.GRANT_NANOCREDITS
    assert anomalies(acme) == []


@pytest.mark.parametrize("knob", ["broadcast=normal", "broadcast=twice", "broadcast=garbage"])
def test_16_gateway_killed_after_sending_and_before_headers(
    told: Platform, acme: factories.Cast, knob: str
) -> None:
    thread = begin(told, acme, f"delay_headers_ms=1000,{knob}")
    kill_gateways(told)
    thread.join(10)
    charged_from_the_trace(told, acme)


def test_48_spool_lost_before_the_first_token(told: Platform, acme: factories.Cast) -> None:
    thread = begin(told, acme, "first_token_ms=1500,cancellable=0", stream=True)
    kill_gateways(told)
    lose_spool(told)
    thread.join(10)
    charged_from_the_trace(told, acme)


def test_48_spool_lost_in_the_middle_of_a_stream(told: Platform, acme: factories.Cast) -> None:
    thread = begin(told, acme, "chunk_delay_ms=30", stream=True)
    # The id is on the open hold by now, and upstream has no record under it.
    eventually(lambda: waiting_for(acme), what="the generation's id on the open hold")
    kill_gateways(told)
    lose_spool(told)
    thread.join(10)
    charged_from_the_trace(told, acme)


def waiting_for(acme: factories.Cast) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(generation_id) FROM billing_open_hold WHERE company_id = %s", [acme.company.id]
        )
        return bool(cursor.fetchone()[0])


def test_calls_that_live_are_settled_by_their_gateway(told: Platform, acme: factories.Cast) -> None:
    calls = 20
    for number in range(calls):
        body = {
            "model": MODEL,
            "stream": bool(number % 2),
            "max_tokens": 50,
            "messages": [{"role": "user", "content": f"Say {number}."}],
        }
        assert told.post(acme.secret, body).status_code == 200
    eventually(lambda: all_delivered(told, calls), what="every trace taken")
    assert {source for _, source, _ in settlements(acme)} == {"inline", "stream"}
    assert sum(cost for *_, cost in settlements(acme)) == Decimal(told.upstream.ledger()["total_usd"])
    assert deliveries(told)["refused"] == 0
    assert anomalies(acme) == []


def test_late_trace_with_another_cost_waits_for_a_person(told: Platform, acme: factories.Cast) -> None:
    body = {"model": f"{MODEL}:sim=broadcast=wrong-cost", "messages": [{"role": "user", "content": "Hi"}]}
    assert told.post(acme.secret, body).status_code == 200
    eventually(lambda: anomalies(acme) == ["late_broadcast"], what="the anomaly")
    assert [source for _, source, _ in settlements(acme)] == ["inline"]


def test_trace_with_a_wrong_secret_charges_nobody(told: Platform, acme: factories.Cast) -> None:
    point(told, headers={"Authorization": "Bearer guessed"})
    thread = begin(told, acme, "delay_headers_ms=500")
    kill_gateways(told)
    thread.join(10)
    eventually(lambda: deliveries(told)["last_status"] == 401, what="the refusal")
    eventually(lambda: open_holds(acme.company.id) == 0, what="the hold given back")
    assert [kind for kind, *_ in settlements(acme)] == ["void"]
    assert factories.balance_nanocredits(acme) == factories.GRANT_NANOCREDITS


def test_garbage_at_the_door_changes_nothing(clean: Platform, acme: factories.Cast) -> None:
    secret = environment(clean.pids["worker"], "BROADCAST_SECRET")
    strangers = delivery(*[span(acme.company.id) for _ in range(3)])
    for body, status in ((b"", 400), (b"[]", 400), (b"\0" * 1000, 400), (b"{}", 200), (strangers, 200)):
        answer = httpx.post(
            f"{clean.url}/v1/broadcast", content=body, headers={"X-Broadcast-Secret": secret}, timeout=30
        )
        assert answer.status_code == status, answer.text
    assert factories.balance_nanocredits(acme) == factories.GRANT_NANOCREDITS
