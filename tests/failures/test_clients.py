"""Clients that leave, stall, crawl and retry, and what is taken from under them while they read."""

import signal
import time
from collections.abc import Callable

import httpx
import openai
import pytest
from django.utils import timezone
from openai import OpenAI

from accounts import companies, keys
from billing import ledger
from tests import factories
from tests.e2e.conftest import eventually
from tests.failures import outcome
from tests.failures.conftest import Platform
from tests.failures.gateways import Starter
from tests.failures.streams import Client, body

# A stream of a second, piece by piece; its provider stops when the client leaves.
SLOW = "chunk_delay_ms=40,completion_tokens=60,provider=OpenAI"
# More than all buffers between upstream and a client that takes nothing.
LONG = "completion_tokens=16000,chunk_tokens=1"


@pytest.mark.parametrize("stream", [False, True])
def test_row_01_client_that_leaves_before_headers_is_charged_by_evidence(
    stream: bool, clean: Platform, acme: factories.Cast
) -> None:
    request = body("delay_headers_ms=300", stream=stream, max_tokens=30)
    for after_ms in range(0, 60, 10):
        with Client(clean.url, acme, request):
            time.sleep(after_ms / 1000)
    # Whoever comes after them is answered after they were heard.
    clean.post(acme.secret, body(max_tokens=10))
    outcome.all_is_paid(clean, acme)
    assert clean.upstream.accepted() == len(outcome.endings(acme)) >= 2


@pytest.mark.parametrize("frames", [1, 4])
def test_row_02_client_that_leaves_a_stream_pays_for_what_was_produced(
    frames: int, clean: Platform, acme: factories.Cast
) -> None:
    whole = clean.post(acme.secret, body(SLOW.replace("chunk_delay_ms=40,", ""), max_tokens=100)).json()[
        "usage"
    ]["cost"]
    with Client(clean.url, acme, body(SLOW, stream=True, max_tokens=100)) as client:
        client.read_frames(frames)
        client.reset()
    outcome.all_is_paid(clean, acme)
    cut = outcome.endings(acme)[1]
    assert cut.source == "generation"
    assert 0 < float(cut.cost_usd) < whole


def test_row_02_client_that_leaves_a_stream_pays_for_all_of_it_where_it_is_drained(
    clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    draining = gateway(ON_DISCONNECT="drain")
    with Client(draining.url, acme, body(SLOW, stream=True, max_tokens=100)) as client:
        client.read_frames(2)
        client.reset()
    outcome.all_is_paid(clean, acme)
    assert outcome.sources(acme) == ["stream"]


def test_row_03_provider_that_runs_on_is_drained_and_paid_in_full(
    clean: Platform, acme: factories.Cast
) -> None:
    faults = SLOW.replace("OpenAI", "Groq")
    with Client(clean.url, acme, body(faults, stream=True, max_tokens=100)) as client:
        client.read_frames(2)
        client.reset()
    cost = outcome.all_is_paid(clean, acme)
    assert outcome.sources(acme) == ["stream"]
    clean.post(acme.secret, body(faults.replace("chunk_delay_ms=40,", ""), max_tokens=100))
    assert outcome.all_is_paid(clean, acme) == 2 * cost


def test_row_04_client_that_stops_reading_counts_as_gone(
    clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    impatient = gateway("connections.CLIENT_STALL_S = pumps.CLIENT_STALL_S = 0.3")
    with Client(
        impatient.url, acme, body(LONG, stream=True, max_tokens=16_000), receive_bytes=4096
    ) as client:
        client.read_frames(1)
        outcome.all_is_paid(clean, acme)
    assert outcome.sources(acme) == ["generation"]


def test_row_04_client_that_reads_slowly_gets_and_pays_everything(
    clean: Platform, acme: factories.Cast
) -> None:
    with Client(
        clean.url, acme, body("completion_tokens=600,chunk_tokens=1", stream=True), receive_bytes=4096
    ) as client:
        while client.read_piece(2048):
            time.sleep(0.002)
    assert b"data: [DONE]" in client.got[-100:]
    outcome.all_is_paid(clean, acme)
    assert outcome.sources(acme) == ["stream"]


def revoke(acme: factories.Cast) -> None:
    keys.revoke(company_id=acme.company_id, key_id=acme.key.id, now=timezone.now())


def close_kit(acme: factories.Cast) -> None:
    factories.set_llm(acme, {"enabled": False})


def suspend(acme: factories.Cast) -> None:
    companies.suspend(company_id=acme.company_id)


def freeze(acme: factories.Cast) -> None:
    ledger.freeze(company_id=acme.company_id)


@pytest.mark.parametrize(
    ("take_away", "status"), [(revoke, 401), (close_kit, 403), (suspend, 403), (freeze, 403)]
)
def test_row_44_stream_under_way_ends_and_settles_though_new_calls_are_refused(
    take_away: Callable[[factories.Cast], None], status: int, clean: Platform, acme: factories.Cast
) -> None:
    with Client(
        clean.url, acme, body(SLOW + ",completion_tokens=120", stream=True, max_tokens=200)
    ) as client:
        client.read_frames(3)
        take_away(acme)
        eventually(
            lambda: clean.post(acme.secret, body(max_tokens=5)).status_code == status,
            timeout_s=1.0,
            what="new calls are refused",
        )
        assert b"data: [DONE]" in client.read_all()
    outcome.all_is_paid(clean, acme)
    assert "stream" in outcome.sources(acme)


def test_row_47_stream_that_outlasts_the_grace_ends_with_an_error_and_is_charged(
    clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    leaving = gateway("gateway.DRAIN_GRACE_S = 1.0")
    long = body("chunk_delay_ms=60,completion_tokens=400,provider=OpenAI", stream=True, max_tokens=400)
    short = body(SLOW, stream=True, max_tokens=60)
    with Client(leaving.url, acme, long) as cut, Client(leaving.url, acme, short) as whole:
        cut.read_frames(1)
        whole.read_frames(1)
        leaving.process.send_signal(signal.SIGTERM)
        assert b"data: [DONE]" in whole.read_all()
        assert b'"error_type":"gateway_draining"' in cut.read_all()
    eventually(leaving.has_ended, what="the gateway stops")
    assert leaving.has_said('"message":"stopped"')
    outcome.all_is_paid(clean, acme)
    assert sorted(outcome.sources(acme)) == ["generation", "stream"]


def test_row_47_gateway_that_drains_takes_no_new_call(
    clean: Platform, acme: factories.Cast, gateway: Starter
) -> None:
    leaving = gateway("gateway.DRAIN_GRACE_S = 5.0")
    with Client(leaving.url, acme, body(SLOW, stream=True, max_tokens=60)) as client:
        client.read_frames(1)
        with httpx.Client(base_url=leaving.url) as kept:
            assert kept.get("/readyz").status_code == 200
            leaving.process.send_signal(signal.SIGTERM)
            eventually(lambda: is_refused(kept), timeout_s=2.0, what="it is not ready")
        client.read_all()
    assert clean.upstream.accepted() == 1
    outcome.all_is_paid(clean, acme)


def is_refused(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 503
    except httpx.TransportError:
        return True


@pytest.mark.parametrize(
    "faults", ["cut_after=0,cut_bytes=20", "ok_error=top", "status=502,error_generation"]
)
def test_row_51_sdk_does_not_retry_what_may_have_cost(
    faults: str, clean: Platform, acme: factories.Cast
) -> None:
    client = OpenAI(api_key=acme.secret, base_url=f"{clean.url}/v1/llm", max_retries=2)
    with pytest.raises(openai.APIError):
        client.chat.completions.create(**body(faults))
    outcome.all_is_paid(clean, acme)
    assert clean.upstream.accepted() == 1


def test_row_51_sdk_that_gives_up_waiting_pays_each_accepted_try_once(
    clean: Platform, acme: factories.Cast
) -> None:
    client = OpenAI(api_key=acme.secret, base_url=f"{clean.url}/v1/llm", max_retries=2, timeout=0.2)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(**body("delay_headers_ms=600", max_tokens=20))
    eventually(
        lambda: clean.upstream.ledger()["calls"] == clean.upstream.accepted(), what="upstream has run them"
    )
    outcome.all_is_paid(clean, acme)
    assert len(outcome.endings(acme)) == clean.upstream.accepted() <= 3
