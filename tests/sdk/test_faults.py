"""What fails between a program and a model, against a whole platform: one exception each, and never a second charge."""

import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from naive import (
    APITimeoutError,
    ConflictError,
    InsufficientCreditsError,
    Naive,
    NotFoundError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
    StreamInterruptedError,
)
from tests import factories
from tests.e2e import charges
from tests.e2e.conftest import NO_TLS, Platform, eventually

MODEL = "openai/gpt-4o-mini"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 60}


class Wire(httpx.BaseTransport):
    """The way to the platform, on which answers are lost, buffered or cut; and what waits between attempts does not."""

    def __init__(self) -> None:
        self._http = httpx.HTTPTransport(verify=NO_TLS)
        self.lost = 0  # So many answers are lost after the platform gave them.
        self.is_buffering = False
        self.cut_at: int | None = None
        self.keys: list[str | None] = []
        self.waited_s: list[float] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers.get("idempotency-key"))
        response = self._http.handle_request(request)
        if self.lost:
            self.lost -= 1
            response.read()
            response.close()
            raise httpx.ReadError("The answer was lost on its way.", request=request)
        if self.is_buffering or self.cut_at is not None:
            content = response.read()[: self.cut_at]
            response.close()
            headers = [
                (name, value) for name, value in response.headers.raw if name.lower() != b"transfer-encoding"
            ]
            return httpx.Response(response.status_code, headers=headers, stream=httpx.ByteStream(content))
        return response

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    found = Wire()
    yield found
    found.close()


@pytest.fixture
def naive(clean: Platform, acme: factories.Cast, wire: Wire) -> Naive:
    return client(clean, acme, wire)


def client(platform: Platform, member: factories.Cast, wire: Wire, **options: Any) -> Naive:
    return Naive(
        api_key=member.secret,
        base_url=platform.url,
        http_client=httpx.Client(transport=wire),
        sleep=wire.waited_s.append,
        **options,
    )


@pytest.mark.parametrize("lost", [1, 2])
def test_lost_answer_is_given_again_and_charged_once(
    lost: int, naive: Naive, wire: Wire, clean: Platform, acme: factories.Cast
) -> None:
    wire.lost = lost
    answer = naive.llm.chat(model=MODEL, **HELLO)
    assert answer.text
    assert len(wire.keys) == lost + 1
    assert len(set(wire.keys)) == 1
    assert clean.upstream.ledger()["calls"] == 1
    charges.require_each_charged(clean, acme, calls=1)
    assert answer.credits_remaining == factories.balance(acme)


def test_lost_stream_is_a_conflict_that_names_what_was_charged_once(
    naive: Naive, wire: Wire, clean: Platform, acme: factories.Cast
) -> None:
    wire.lost = 1
    with pytest.raises(ConflictError) as raised, naive.llm.stream(model=MODEL, **HELLO):
        pass
    assert raised.value.code == "already_completed"
    assert raised.value.request_id
    found = naive.llm.generation(str(raised.value.generation_id))
    assert found.state == "settled"
    assert clean.upstream.ledger()["calls"] == 1
    charges.require_each_charged(clean, acme, calls=1)


def test_timeout_names_the_key_under_which_the_answer_is_fetched(
    naive: Naive, clean: Platform, acme: factories.Cast
) -> None:
    slow = f"{MODEL}:sim=delay_headers_ms=700"
    with pytest.raises(APITimeoutError) as raised:
        naive.llm.chat(model=slow, **HELLO, timeout=0.2, max_retries=0)
    key = raised.value.details["idempotency_key"]
    eventually(lambda: clean.upstream.ledger()["calls"] == 1, what="the call that was given up has ended")
    charges.require_each_charged(clean, acme, calls=1)
    assert naive.llm.chat(model=slow, **HELLO, idempotency_key=key).text
    charges.require_each_charged(clean, acme, calls=1)


def test_timeout_is_tried_again_and_charged_once(
    naive: Naive, wire: Wire, clean: Platform, acme: factories.Cast
) -> None:
    """The second attempt meets the first one, which still runs, and is told to come back."""
    slow = f"{MODEL}:sim=delay_headers_ms=1500"
    with pytest.raises(ConflictError) as raised:
        naive.llm.chat(model=slow, **HELLO, timeout=0.2)
    assert raised.value.code == "idempotency_in_progress"
    assert raised.value.generation_id
    assert raised.value.request_id
    assert len(wire.keys) == 3
    assert len(set(wire.keys)) == 1
    eventually(lambda: clean.upstream.ledger()["calls"] == 1, what="the call has ended")
    charges.require_each_charged(clean, acme, calls=1)


@pytest.mark.parametrize("fault", ["ok_error=top", "cut_after=1,cut_bytes=20"])
def test_failure_that_may_have_cost_something_is_not_repeated(
    fault: str, naive: Naive, wire: Wire, clean: Platform
) -> None:
    with pytest.raises(ProviderError) as raised:
        naive.llm.chat(model=f"{MODEL}:sim={fault}", **HELLO)
    assert raised.value.request_id
    assert raised.value.generation_id
    assert len(wire.keys) == 1
    assert clean.upstream.accepted() == 1


def test_provider_that_is_down_is_tried_again_for_nothing(
    naive: Naive, wire: Wire, clean: Platform, acme: factories.Cast
) -> None:
    with pytest.raises(ProviderError) as raised:
        naive.llm.chat(model=f"{MODEL}:sim=status=502", **HELLO)
    assert raised.value.details["upstream_status"] == 502
    assert len(wire.keys) == 3
    assert len(set(wire.keys)) == 1
    assert factories.balance(acme) == 20
    assert clean.upstream.ledger()["calls"] == 0


def test_providers_limit_is_a_429_with_its_retry_after(naive: Naive, wire: Wire) -> None:
    with pytest.raises(RateLimitError) as raised:
        naive.llm.chat(model=f"{MODEL}:sim=status=429,retry_after=3", **HELLO)
    assert raised.value.retry_after_s == 3
    assert raised.value.request_id
    assert wire.waited_s == [3, 3]


def test_kits_limit_is_waited_for(naive: Naive, wire: Wire, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"requests_per_minute": 1}})
    once = naive.with_options(max_retries=0)
    eventually(lambda: _is_limited(once), what="the kit acts")
    with pytest.raises(RateLimitError) as raised:
        once.llm.chat(model=MODEL, **HELLO)
    assert raised.value.details["limit"] == "requests_per_minute"
    assert raised.value.retry_after_s is not None
    assert raised.value.retry_after_s >= 1


def _is_limited(naive: Naive) -> bool:
    try:
        naive.llm.chat(model=MODEL, **HELLO)
    except RateLimitError:
        return True
    return False


def test_no_credit_is_a_402_that_says_what_is_needed(clean: Platform, wire: Wire) -> None:
    naive = client(clean, factories.initech(), wire)
    for ask in (naive.llm.chat, lambda **given: naive.llm.stream(**given).final_message()):
        with pytest.raises(InsufficientCreditsError) as raised:
            ask(model=MODEL, **HELLO)
        error = raised.value
        assert (error.status, error.code, error.limit) == (402, "insufficient_credits", "wallet")
        assert error.required is not None
        assert error.required > Decimal(0) == error.available
        assert [pack["id"] for pack in error.packs] == ["small", "medium", "large", "xl"]
        assert error.request_id
    assert len(wire.keys) == 2
    assert clean.upstream.ledger()["calls"] == 0


def test_kits_denial_is_a_403_with_its_reason(naive: Naive, wire: Wire, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"enabled": False})
    eventually(lambda: not _may_call(naive), timeout_s=2, what="the kit acts")
    with pytest.raises(PermissionDeniedError) as raised:
        naive.llm.chat(model=MODEL, **HELLO)
    assert raised.value.reason == "primitive_disabled_by_kit"
    assert raised.value.details["primitive"] == "llm"
    assert raised.value.request_id


def _may_call(naive: Naive) -> bool:
    try:
        naive.llm.models(provider="-")
    except PermissionDeniedError:
        return False
    return True


def test_strangers_generation_is_a_404(naive: Naive, clean: Platform, wire: Wire) -> None:
    answer = naive.llm.chat(model=MODEL, **HELLO)
    stranger = client(clean, factories.globex(), wire)
    with pytest.raises(NotFoundError) as raised:
        stranger.llm.generation(str(answer.id))
    assert raised.value.request_id


def test_buffering_proxy_loses_nothing(
    naive: Naive, wire: Wire, clean: Platform, acme: factories.Cast
) -> None:
    wire.is_buffering = True
    with naive.llm.stream(model=MODEL, **HELLO) as stream:
        assert len(list(stream)) > 2
        assert stream.credits_remaining == factories.balance(acme)
    charges.require_each_charged(clean, acme, calls=1)


@pytest.mark.parametrize("cut_at", [0, 1, 100, 500])
def test_proxy_that_cuts_an_answer_is_an_interruption(
    cut_at: int, naive: Naive, wire: Wire, clean: Platform, acme: factories.Cast
) -> None:
    wire.cut_at = cut_at
    stream = naive.llm.stream(model=MODEL, **HELLO)
    with pytest.raises(StreamInterruptedError) as raised:
        stream.final_message()
    wire.cut_at = None
    assert raised.value.request_id == stream.request_id
    assert naive.llm.generation(str(raised.value.generation_id)).state == "settled"
    charges.require_each_charged(clean, acme, calls=1)


def test_upstream_that_breaks_is_told_in_the_stream(naive: Naive, clean: Platform, wire: Wire) -> None:
    stream = naive.llm.stream(model=f"{MODEL}:sim=cut_after=2,cut_bytes=30", **HELLO)
    with pytest.raises(StreamInterruptedError) as raised:
        stream.final_message()
    assert raised.value.code == "provider_error"
    assert raised.value.generation_id == stream.generation_id
    assert raised.value.request_id == stream.request_id
    assert raised.value.text
    assert len(wire.keys) == 1


def test_error_frame_of_upstream_is_told(naive: Naive, wire: Wire) -> None:
    stream = naive.llm.stream(model=f"{MODEL}:sim=midstream_error=finish", **HELLO)
    with pytest.raises(StreamInterruptedError) as raised:
        list(stream)
    assert raised.value.request_id == stream.request_id
    assert len(wire.keys) == 1


def test_killed_gateway_is_an_interruption_and_the_call_is_charged_once(
    naive: Naive, wire: Wire, clean: Platform, acme: factories.Cast
) -> None:
    clean.upstream.faults(generation_delay_ms=0)
    slow = f"{MODEL}:sim=chunk_delay_ms=30,completion_tokens=150,provider=OpenAI"
    stream = naive.llm.stream(model=slow, **{**HELLO, "max_tokens": 200})
    pieces = stream.text
    begun = next(pieces)
    for pid in clean.pids["gateway"]:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(StreamInterruptedError) as raised:
        list(pieces)
    error = raised.value
    assert error.code == "stream_cut"
    assert error.request_id == stream.request_id
    assert error.text.startswith(begun)
    assert len(wire.keys) == 1
    eventually(lambda: _is_settled(naive, str(error.generation_id)), what="the sweep has found what it cost")
    assert naive.llm.generation(str(error.generation_id)).credits_used == Decimal(20) - factories.balance(
        acme
    )
    assert clean.upstream.ledger()["calls"] == 1
    charges.require_each_charged(clean, acme, calls=1)


def _is_settled(naive: Naive, generation_id: str) -> bool:
    return naive.with_options(max_retries=20).llm.generation(generation_id).state == "settled"
