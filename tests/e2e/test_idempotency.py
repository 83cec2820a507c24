"""Idempotency-Key on chat completions: one call a key, its answer again to the byte, never a second dispatch."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx
import openai
import pytest
import redis
from django.utils import timezone

from accounts import keys, tenants
from tests import factories
from tests.e2e.conftest import Platform, eventually, open_holds, redis_url

MODEL = "openai/gpt-4o-mini"
HELLO: dict[str, Any] = {"model": MODEL, "max_tokens": 60, "messages": [{"role": "user", "content": "Hi"}]}
SLOW = {**HELLO, "model": f"{MODEL}:sim=delay_headers_ms=1500"}
STREAM = {**HELLO, "stream": True}


@pytest.fixture
def key() -> str:
    return f"order-{uuid4()}"


def post(
    platform: Platform, secret: str, body: dict[str, Any], key: str | bytes, **headers: str
) -> httpx.Response:
    sent = {"Authorization": f"Bearer {secret}", "Idempotency-Key": key, **headers}
    return platform.post(secret, body, headers=sent)


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def own(answer: httpx.Response) -> dict[str, str]:
    """The headers that belong to an answer and not to the moment it was given."""
    names = {name for name in answer.headers if name.startswith("x-naive-")} | {
        "content-type",
        "content-length",
    }
    return {name: answer.headers[name] for name in names}


def hold_id(answer: httpx.Response) -> UUID:
    return UUID(answer.headers["x-naive-generation-id"].removeprefix("gen_"))


def test_finished_answer_is_given_again_to_the_byte(clean: Platform, acme: factories.Cast, key: str) -> None:
    first = post(clean, acme.secret, HELLO, key)
    spent = factories.balance(acme)
    again = [post(clean, acme.secret, HELLO, key) for _ in range(3)]
    assert "idempotency-replayed" not in first.headers
    for answer in again:
        assert (answer.status_code, answer.content, own(answer)) == (200, first.content, own(first))
        assert answer.headers["idempotency-replayed"] == "true"
        assert answer.headers["x-request-id"] != first.headers["x-request-id"]
    assert clean.upstream.accepted() == 1
    assert factories.balance(acme) == spent < 20


def test_key_of_a_running_call_waits(clean: Platform, acme: factories.Cast, key: str) -> None:
    """Ten at once: one is sent, nine are told to come back, and then get its answer."""
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: post(clean, acme.secret, SLOW, key), range(10)))
    done = [answer for answer in answers if answer.status_code == 200]
    waiting = [answer for answer in answers if answer.status_code != 200]
    assert len(done) == 1
    for answer in waiting:
        assert error(answer) == (409, "idempotency_in_progress")
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["details"]["generation_id"] == f"gen_{hold_id(done[0])}"
    assert post(clean, acme.secret, SLOW, key).content == done[0].content
    assert clean.upstream.accepted() == 1
    assert open_holds(acme.company.id) == 0


def test_other_body_is_a_mismatch_running_and_done(clean: Platform, acme: factories.Cast, key: str) -> None:
    other = {**SLOW, "max_tokens": 61}
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(post, clean, acme.secret, SLOW, key)
        eventually(lambda: open_holds(acme.company.id) == 1, what="the first call runs")
        assert error(post(clean, acme.secret, other, key)) == (422, "idempotency_mismatch")
        assert first.result().status_code == 200
    assert error(post(clean, acme.secret, other, key)) == (422, "idempotency_mismatch")
    assert clean.upstream.accepted() == 1


def test_another_user_is_another_request(clean: Platform, acme: factories.Cast, key: str) -> None:
    """The mounts of one user are one route; another user's call is not this one again."""
    assert post(clean, acme.secret, HELLO, key).status_code == 200
    path = f"/v1/users/{acme.tenant_user.id}/llm/chat/completions"
    same = clean.post(acme.secret, HELLO, path=path, headers={"Idempotency-Key": key})
    assert same.headers["idempotency-replayed"] == "true"
    other = tenants.create(company_id=acme.company_id, now=timezone.now(), label="Bob")
    answer = post(clean, acme.secret, HELLO, key, **{"X-Naive-User-Id": str(other.id)})
    assert error(answer) == (422, "idempotency_mismatch")


def test_anothers_key_is_not_ours(clean: Platform, acme: factories.Cast, key: str) -> None:
    globex = factories.globex()
    answers = [post(clean, member.secret, HELLO, key) for member in (acme, globex)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert hold_id(answers[0]) != hold_id(answers[1])
    assert clean.upstream.accepted() == 2


def test_finished_stream_is_never_sent_again(clean: Platform, acme: factories.Cast, key: str) -> None:
    first = post(clean, acme.secret, STREAM, key)
    assert first.content.rstrip().endswith(b"[DONE]")
    again = post(clean, acme.secret, STREAM, key)
    assert error(again) == (409, "already_completed")
    generation_id = again.json()["error"]["details"]["generation_id"]
    assert generation_id == first.headers["x-naive-generation-id"]
    # SDKs repeat every other 409 by themselves.
    assert again.headers["x-should-retry"] == "false"
    assert clean.upstream.accepted() == 1
    found = clean.get(acme.secret, "/v1/llm/generation", params={"id": generation_id})
    assert found.json()["data"]["state"] == "settled"


def test_running_stream_is_in_progress(clean: Platform, acme: factories.Cast, key: str) -> None:
    body = {**STREAM, "model": f"{MODEL}:sim=chunk_delay_ms=100"}
    headers = {"Authorization": f"Bearer {acme.secret}", "Idempotency-Key": key}
    with httpx.stream("POST", f"{clean.url}/v1/llm/chat/completions", json=body, headers=headers) as first:
        next(first.iter_raw())
        assert error(post(clean, acme.secret, body, key)) == (409, "idempotency_in_progress")
    assert clean.upstream.accepted() == 1


def test_answer_is_given_to_whoever_may_make_the_call_now(
    clean: Platform, acme: factories.Cast, key: str
) -> None:
    now = timezone.now()
    bob = tenants.create(company_id=acme.company_id, now=now, label="Bob")
    other = keys.create(
        company_id=acme.company_id, name="other", role="member", created_by_id=acme.owner.id, now=now
    ).secret
    for_bob = {"X-Naive-User-Id": str(bob.id)}
    first = post(clean, acme.secret, HELLO, key, **for_bob)
    keys.revoke(company_id=acme.company_id, key_id=acme.key.id, now=now)
    eventually(
        lambda: post(clean, acme.secret, HELLO, key, **for_bob).status_code == 401,
        what="a revoked key is told",
    )
    assert post(clean, other, HELLO, key, **for_bob).content == first.content
    tenants.suspend(company_id=acme.company_id, user_id=bob.id)
    eventually(
        lambda: post(clean, other, HELLO, key, **for_bob).status_code == 403, what="a suspended user is told"
    )
    assert clean.upstream.accepted() == 1


def test_longest_key_is_taken(clean: Platform, acme: factories.Cast) -> None:
    for _ in range(2):
        assert post(clean, acme.secret, HELLO, "~" * 255).status_code == 200
    assert clean.upstream.accepted() == 1


def test_what_somebody_put_into_valkey_is_given_to_nobody(
    clean: Platform, acme: factories.Cast, key: str
) -> None:
    """Neither bytes of his own nor another call's answer under this one's name."""
    first, other = (post(clean, acme.secret, HELLO, name) for name in (key, f"{key}-2"))
    with redis.from_url(redis_url()) as valkey:
        anothers = valkey.get(f"replay:{hold_id(other)}")
        for planted in (b"", b"x", b"{}" * 40, anothers, bytes(12) + anothers[12:]):
            valkey.set(f"replay:{hold_id(first)}", planted, ex=60)
            assert error(post(clean, acme.secret, HELLO, key)) == (409, "already_completed")
        valkey.delete(f"replay:{hold_id(first)}")
        valkey.rpush(f"replay:{hold_id(first)}", "a list")
        assert error(post(clean, acme.secret, HELLO, key)) == (409, "already_completed")
    assert clean.upstream.accepted() == 2


@pytest.mark.parametrize("loss", ["expired", "too long"])
def test_answer_that_is_not_kept_is_named(loss: str, clean: Platform, acme: factories.Cast, key: str) -> None:
    asked: list[tuple[str, httpx.Response]] = []
    body: dict[str, Any] = HELLO

    def is_kept(body: dict[str, Any]) -> bool:
        name = f"{key}-{len(asked)}"
        asked.append((name, post(clean, acme.secret, body, name)))
        with redis.from_url(redis_url()) as valkey:
            return bool(valkey.delete(f"replay:{hold_id(asked[-1][1])}"))

    # What was planted in the test before is no answer of Valkey's, which is then left alone for a second.
    eventually(lambda: is_kept(HELLO), what="an answer is kept")
    if loss == "too long":
        body = {**HELLO, "model": f"{MODEL}:sim=pad_bytes=1000001"}
        assert not is_kept(body)
    name, first = asked[-1]
    again = post(clean, acme.secret, body, name)
    assert error(again) == (409, "already_completed")
    assert again.json()["error"]["details"]["generation_id"] == f"gen_{hold_id(first)}"
    assert clean.upstream.accepted() == len(asked)


def test_refused_call_claims_nothing(clean: Platform, key: str) -> None:
    initech = factories.initech()
    assert error(post(clean, initech.secret, HELLO, key)) == (402, "insufficient_credits")
    factories.give(initech, credits=Decimal(1))
    assert post(clean, initech.secret, HELLO, key).status_code == 200


def test_call_that_cost_nothing_frees_its_key(clean: Platform, acme: factories.Cast, key: str) -> None:
    clean.upstream.faults(status=500)
    assert error(post(clean, acme.secret, HELLO, key)) == (502, "provider_error")
    clean.upstream.faults()
    answer = post(clean, acme.secret, HELLO, key)
    assert answer.status_code == 200
    assert "idempotency-replayed" not in answer.headers


def test_call_that_may_have_cost_keeps_its_key(clean: Platform, acme: factories.Cast, key: str) -> None:
    """Upstream named it before it failed: in progress until its record says what it cost, and over then."""
    body = {**HELLO, "model": f"{MODEL}:sim=status=502,error_generation,generation_delay_ms=2000"}
    assert post(clean, acme.secret, body, key).headers["x-should-retry"] == "false"
    assert error(post(clean, acme.secret, body, key)) == (409, "idempotency_in_progress")
    eventually(lambda: open_holds(acme.company.id) == 0, what="the sweep settles")
    assert error(post(clean, acme.secret, body, key)) == (409, "already_completed")
    assert clean.upstream.accepted() == 1


def test_answer_without_a_cost_is_kept_too(clean: Platform, acme: factories.Cast, key: str) -> None:
    body = {**HELLO, "model": f"{MODEL}:sim=omit_cost,generation_delay_ms=1500"}
    first = post(clean, acme.secret, body, key)
    assert error(post(clean, acme.secret, body, key)) == (409, "idempotency_in_progress")
    eventually(lambda: open_holds(acme.company.id) == 0, what="the sweep settles")
    again = post(clean, acme.secret, body, key)
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"


def test_estimate_claims_nothing(clean: Platform, acme: factories.Cast, key: str) -> None:
    path = "/v1/llm/estimate"
    for _ in range(2):
        assert clean.post(acme.secret, HELLO, path=path, headers={"Idempotency-Key": key}).json()["allowed"]
    assert post(clean, acme.secret, {**HELLO, "max_tokens": 5}, key).status_code == 200


@pytest.mark.parametrize("bad", ["", "x" * 256, "tab\there", "Grüße".encode(), "\u202e".encode()])
def test_bad_key_is_refused_by_its_name(bad: str | bytes, clean: Platform, acme: factories.Cast) -> None:
    answer = post(clean, acme.secret, HELLO, bad)
    assert error(answer) == (400, "invalid_input")
    assert "Idempotency-Key" in answer.json()["error"]["message"]
    assert clean.upstream.accepted() == 0


def test_openai_client_that_sends_twice_gets_one_answer(
    clean: Platform, acme: factories.Cast, key: str
) -> None:
    """It waits by itself where it is told to come back, and gives up at once where nothing would come of it."""
    client = openai.OpenAI(base_url=f"{clean.url}/v1/llm", api_key=acme.secret, max_retries=5)
    headers = {"Idempotency-Key": key}

    def create(_: int) -> str:
        return str(client.chat.completions.create(**SLOW, extra_headers=headers).to_json())

    with client, ThreadPoolExecutor(2) as threads:
        assert len(set(threads.map(create, range(2)))) == 1
        assert clean.upstream.accepted() == 1
        with redis.from_url(redis_url()) as valkey:
            valkey.delete(*valkey.keys("replay:*"))
        with pytest.raises(openai.ConflictError) as refused:
            create(0)
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert clean.upstream.accepted() == 1
