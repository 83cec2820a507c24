"""A gateway that is killed at each point of a call's life, and what becomes of the call."""

import contextlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests import factories
from tests.e2e.conftest import NO_TLS, database_url, eventually, open_holds
from tests.failures import outcome
from tests.failures.conftest import Platform
from tests.failures.gateways import Gateway, Starter
from tests.failures.proxies import DatabaseProxy
from tests.failures.streams import Client, body

PACE = {"HOLD_TTL_S": "20", "BROADCAST_SECRET": "told-by-upstream", "BROADCAST_GRACE_S": "0.2"}

# Upstream runs it to its end whoever listens, and answers when the gateway is gone, however slowly that dies.
UNHEARD = "provider=Groq,delay_headers_ms=500"


@pytest.fixture
def broadcasting(clean: Platform) -> Iterator[Platform]:
    """The platform, told by upstream of every generation that ended."""
    clean.broadcast()
    yield clean
    clean.broadcast(ends=True)


def crash(dying: Gateway, acme: factories.Cast, request: dict[str, Any], **headers: str) -> dict[str, str]:
    """Make a call at a gateway that dies at some point of it; returns the headers the client got, if any."""
    got: dict[str, str] = {}
    sent = {"Authorization": acme.authorization, **headers}
    with (
        contextlib.suppress(httpx.TransportError),
        httpx.stream("POST", dying.chat_url, json=request, headers=sent, timeout=30, verify=NO_TLS) as answer,
    ):
        got = dict(answer.headers)
        answer.read()
    eventually(dying.was_killed, what="the gateway is dead")
    return got


def test_row_14_gateway_killed_before_the_hold_leaves_nothing(
    clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    crash(gateway(CRASH_AT="A"), acme, body())
    assert outcome.holds(acme) == 0
    assert clean.upstream.accepted() == 0
    outcome.books_are_right(acme)


def test_row_15_call_that_was_never_sent_is_given_back(
    clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    crash(gateway(CRASH_AT="B", HOLD_TTL_S="1"), acme, body())
    assert open_holds(acme.company.id) == 1
    assert outcome.all_is_paid(clean, acme) == 0
    assert outcome.sources(acme) == ["no_evidence"]
    assert clean.upstream.accepted() == 0


@pytest.mark.parametrize("stream", [False, True])
def test_row_16_call_that_was_sent_and_not_heard_of_is_charged_by_broadcast(
    stream: bool, broadcasting: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    crash(gateway(CRASH_AT="C"), acme, body(UNHEARD, stream=stream, max_tokens=40))
    assert outcome.all_is_paid(broadcasting, acme) > 0
    assert outcome.sources(acme) == ["broadcast"]


def test_row_16_without_broadcast_it_is_given_back_and_the_operators_loss(
    clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    crash(gateway(CRASH_AT="C", HOLD_TTL_S="1"), acme, body(UNHEARD, max_tokens=40))
    eventually(lambda: open_holds(acme.company.id) == 0, what="its time is over")
    outcome.books_are_right(acme)
    assert outcome.sources(acme) == ["no_evidence"]
    assert Decimal(clean.upstream.ledger()["total_usd"]) > 0


def test_row_17_call_whose_name_was_not_written_down_is_charged_by_broadcast(
    broadcasting: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    crash(gateway(CRASH_AT="D"), acme, body("provider=Groq", stream=True, max_tokens=40))
    assert outcome.all_is_paid(broadcasting, acme) > 0
    assert outcome.sources(acme) == ["broadcast"]


def test_row_18_stream_cut_by_a_kill_is_looked_up_by_the_name_in_its_spool(
    clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    request = body("delay_headers_ms=500,chunk_delay_ms=30", stream=True, max_tokens=60)
    with DatabaseProxy(database_url()) as proxy, ThreadPoolExecutor(1) as client:
        crashing = client.submit(crash, gateway(CRASH_AT="E", DATABASE_URL=proxy.url), acme, request)
        eventually(lambda: clean.upstream.accepted() == 1, what="upstream has it")
        # Nothing but the spool can be told what upstream calls it.
        with proxy.away():
            crashing.result()
    clean.have_done("llm.tasks.replay_spool")
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.sources(acme) == ["generation"]


def test_row_18_supervisor_starts_the_gateway_again_and_its_stream_is_looked_up(
    clean: Platform, acme: factories.Cast
) -> None:
    with Client(clean.url, acme, body("chunk_delay_ms=30", stream=True, max_tokens=200)) as client:
        client.read_frames(2)
        os.kill(clean.pids["gateway"][0], signal.SIGKILL)
        client.read_to_a_broken_end()
    eventually(lambda: answers(clean), what="another gateway")
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.sources(acme) == ["generation"]


def answers(platform: Platform) -> bool:
    try:
        return httpx.get(f"{platform.url}/readyz", timeout=2, verify=NO_TLS).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("stream", [False, True])
def test_row_19_cost_that_was_seen_and_not_settled_is_looked_up(
    stream: bool, clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    crash(gateway(CRASH_AT="F"), acme, body(stream=stream, max_tokens=40))
    clean.have_done("llm.tasks.replay_spool")
    assert outcome.all_is_paid(clean, acme) > 0
    assert outcome.sources(acme) == ["generation"]


def test_row_20_charge_the_client_was_not_told_of_is_there_to_be_read(
    clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    got = crash(gateway(CRASH_AT="G"), acme, body(stream=True, max_tokens=40))
    name = got["x-naive-generation-id"]
    cost = outcome.all_is_paid(clean, acme, timeout_s=0)
    told = clean.get(acme.secret, "/v1/llm/generation", params={"id": name}).json()["data"]
    assert (told["state"], Decimal(str(told["total_cost"]))) == ("settled", cost)


@pytest.mark.parametrize("stream", [False, True])
def test_row_20_client_that_retries_its_key_is_not_charged_again(
    stream: bool, clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    request, key = body(stream=stream, max_tokens=40), {"Idempotency-Key": "order-1"}
    crash(gateway(CRASH_AT="G"), acme, request, **key)
    again = clean.post(acme.secret, request, headers=key)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_completed")
    assert outcome.all_is_paid(clean, acme, timeout_s=0) > 0
    assert clean.upstream.accepted() == 1
