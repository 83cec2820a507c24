"""Rows R of the threats: an upstream that leaks, lies, swells or sends its callers elsewhere.

tests/house/test_threats.py knows the rows.
"""

import hashlib
import json
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests import factories
from tests.e2e import charges, threats
from tests.e2e.conftest import KEY, NO_TLS, Platform, eventually, open_holds
from tests.e2e.memory import Memory
from tests.e2e.test_proxy import STREAMS, alike, ask, require_charged, straight
from tests.e2e.threats import BASE, BODY, CHAT, MODEL
from tests.llm.test_shapes_simulated import BODIES

# That they may be late is tested elsewhere.
pytestmark = pytest.mark.usefixtures("prompt_records")

MEGABYTE = 1024 * 1024
TYPED = "/v1/llm/chat/completions"
BOTH = pytest.mark.parametrize("path", [CHAT, TYPED])
# What names the operator, in the words of the simulator's leaky error.
CANARIES = (
    KEY, hashlib.sha256(KEY.encode()).hexdigest(), "user_2", "org_2", "operator@", "12.34", "operator-main",
    "Operator Inc", "settings/credits", "settings/keys", "dd 10 credits",
)  # fmt: skip
# All that upstream may say to a client of ours, beside what we say ourselves.
HEADERS = {
    "content-type", "content-length", "content-encoding", "date", "server", "x-generation-id", "x-provider-name",
    "x-content-type-options", "content-security-policy", "x-request-id", "request-id", "x-naive-generation-id",
    "x-naive-credits-held", "cache-control", "x-accel-buffering", "transfer-encoding", "retry-after", "connection",
}  # fmt: skip


def call(platform: Platform, member: factories.Cast, path: str, faults: str, **more: Any) -> httpx.Response:
    return platform.post(member.secret, {**BODY, "model": f"{MODEL}:sim={faults}", **more}, path=path)


def elsewhere(platform: Platform) -> int:
    """How often somebody followed a redirect."""
    told = httpx.get(f"{platform.upstream.url}/__sim/requests?last=0", verify=NO_TLS).json()
    return int(told["elsewhere"])


@BOTH
@pytest.mark.parametrize("stream", [False, True])
def test_r01_redirect_is_not_followed(stream: bool, path: str, clean: Platform, acme: factories.Cast) -> None:
    for number, status in enumerate((301, 302, 303, 307, 308), start=1):
        answer = call(clean, acme, path, f"redirect={status}", stream=stream)
        assert answer.status_code == 502
        assert "location" not in answer.headers
        assert clean.upstream.accepted() == number
    assert elsewhere(clean) == 0
    charges.require_each_charged(clean, acme, calls=0)


def test_r01_redirect_of_a_free_question_is_not_followed(clean: Platform, acme: factories.Cast) -> None:
    clean.upstream.faults(redirect=307, on="models")
    answer = clean.get(acme.secret, f"{BASE}/models/openai/gpt-4o/endpoints")
    assert answer.status_code == 502
    assert "location" not in answer.headers
    assert elsewhere(clean) == 0


@pytest.mark.parametrize("shape", [*STREAMS, "embeddings", "speech", "videos"])
def test_r02_headers_of_the_operators_account_stay_there(
    shape: str, clean: Platform, acme: factories.Cast
) -> None:
    for more in ({}, {"stream": True}) if shape in STREAMS else ({},):
        for faults in ("leaky_headers,set_cookie", "leaky_headers,set_cookie,status=429"):
            answer = ask(clean, acme.secret, shape, faults, **more)
            assert set(answer.headers) <= HEADERS
            assert answer.headers.get("server") == "uvicorn"
    eventually(lambda: open_holds(acme.company.id) == 0, what="every call is settled")


def test_r02_headers_of_free_answers_stay_there(clean: Platform, acme: factories.Cast) -> None:
    clean.upstream.faults(leaky_headers=True, set_cookie=True, on="models")
    answer = clean.get(acme.secret, f"{BASE}/models/openai/gpt-4o-mini/endpoints")
    assert answer.status_code == 200
    assert set(answer.headers) <= HEADERS


REFUSALS = (400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 529)


@pytest.mark.parametrize("shape", list(BODIES))
def test_r03_error_tells_nothing_of_the_operator(shape: str, clean: Platform, acme: factories.Cast) -> None:
    for status in REFUSALS:
        for more in ({}, {"stream": True}) if shape in STREAMS else ({},):
            answer = ask(clean, acme.secret, shape, f"status={status},error_style=leaky", **more)
            assert answer.status_code == (502 if status in (401, 402, 403) else status)
            seen = answer.text + str(answer.headers)
            assert not [canary for canary in CANARIES if canary in seen], seen
    charges.require_each_charged(clean, acme, calls=0)


@pytest.mark.parametrize("stream", [False, True])
def test_r03_error_of_the_typed_route_tells_nothing_either(
    stream: bool, clean: Platform, acme: factories.Cast
) -> None:
    for status in REFUSALS:
        answer = call(clean, acme, TYPED, f"status={status},error_style=leaky", stream=stream)
        seen = answer.text + str(answer.headers)
        assert answer.status_code >= 400
        assert not [canary for canary in CANARIES if canary in seen], seen


def test_r03_error_of_a_free_question_tells_nothing_either(clean: Platform, acme: factories.Cast) -> None:
    clean.upstream.faults(status=429, error_style="leaky", on="models")
    answer = clean.get(acme.secret, f"{BASE}/model/openai/gpt-4o-mini")
    assert answer.status_code == 429
    assert not [canary for canary in CANARIES if canary in answer.text + str(answer.headers)]


@pytest.mark.parametrize("shape", ["chat", "responses", "messages"])
def test_r03_moderation_is_the_callers_own_and_stays_a_403(
    shape: str, clean: Platform, acme: factories.Cast
) -> None:
    answer = ask(clean, acme.secret, shape, "status=403,error_style=moderation")
    assert answer.status_code == 403
    assert "flagged" in answer.text
    assert "user_2" not in answer.text
    charges.require_each_charged(clean, acme, calls=0)


TEN_GIGABYTES = 10 * 1024**3
SWOLLEN = {
    "10 GB body": (f"pad_bytes={TEN_GIGABYTES}", False),
    "gzip bomb": (f"pad_bytes={300 * MEGABYTE},gzip", False),
    "one line of 100 MB": (f"pad_bytes={100 * MEGABYTE}", True),
    "gzip bomb of a stream": (f"pad_bytes={TEN_GIGABYTES},gzip", True),
}


@BOTH
@pytest.mark.parametrize("name", SWOLLEN)
def test_r04_answer_that_swells_is_cut_and_charged_by_its_record(
    name: str, path: str, clean: Platform, acme: factories.Cast, memory: Memory
) -> None:
    faults, stream = SWOLLEN[name]
    body = {**BODY, "model": f"{MODEL}:sim={faults}", "stream": stream}
    headers = {"Authorization": acme.authorization, "Accept-Encoding": "identity"}
    before = memory.forget()
    came, tail, is_cut = 0, b"", False
    asking = httpx.stream("POST", f"{clean.url}{path}", json=body, headers=headers, timeout=60, verify=NO_TLS)
    with asking as answer:
        try:
            # As it comes: the client is not to unpack it.
            for piece in answer.iter_raw():
                came, tail = came + len(piece), (tail + piece)[-1000:]
        except httpx.RemoteProtocolError:
            is_cut = True
    # The proxy passes a long answer as it comes, up to a limit; a bomb is small as it is, and its receiver's to unpack.
    is_passed = path == CHAT and not stream
    assert answer.status_code == (200 if stream or is_passed else 502)
    assert is_cut == (is_passed and name == "10 GB body")
    assert came < 70 * MEGABYTE
    assert not stream or answer.headers["x-naive-generation-id"].encode() in tail
    # What is kept until it is whole is so twice while it is put together.
    assert memory.peak() - before < 200 * MEGABYTE
    charges.require_each_charged(clean, acme, calls=1)


@pytest.mark.parametrize("shape", STREAMS)
@pytest.mark.parametrize(
    "faults", [
        "cr", "cr,split=3", "crlf,split=1", "unicode,split=1", "comments_before=30,comments_between=3", "no_done",
        "after_done", "event_lines,midstream_error=finish", "midstream_error=usage,no_done", "after_done,no_done",
        "comments_before=0,cr,gzip",
    ],
)  # fmt: skip
def test_r05_stream_of_any_form_is_forwarded_and_charged(
    faults: str, shape: str, clean: Platform, acme: factories.Cast
) -> None:
    answer = ask(clean, acme.secret, shape, faults, stream=True)
    assert answer.status_code == 200
    require_charged(clean, acme)
    assert alike(answer.content) == alike(straight(clean, shape).content)


@BOTH
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [200, 502, 503])
def test_r06_page_of_upstreams_is_never_one_of_ours(
    status: int, stream: bool, path: str, clean: Platform, acme: factories.Cast
) -> None:
    answer = call(clean, acme, path, f"html={status}", stream=stream)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    kind = answer.headers["content-type"]
    if path == TYPED:
        assert answer.status_code >= 500
        assert kind == "application/json"
        assert "<html" not in answer.text
    else:
        assert answer.status_code == status
        assert kind.startswith("text/plain")
        assert answer.text.startswith("<!DOCTYPE html>")
    if status != 200:
        # A page of 200 names no call that could be asked for: its hold runs out.
        assert open_holds(acme.company.id) == 0
    assert factories.balance_nanocredits(acme) == factories.GRANT_NANOCREDITS


@BOTH
@pytest.mark.parametrize("stream", [False, True])
def test_r07_cost_that_is_no_number_is_asked_for(
    stream: bool, path: str, clean: Platform, acme: factories.Cast
) -> None:
    wires = (
        "cost=string",
        "cost=null",
        "cost=nan",
        "cost=infinity",
        "omit_cost",
        "omit_usage",
        "cost=exponent",
    )
    for faults in wires:
        assert call(clean, acme, path, faults, stream=stream).status_code in (200, 502)
    charges.require_each_charged(clean, acme, calls=len(wires))


@BOTH
@pytest.mark.parametrize("stream", [False, True])
def test_r07_cost_beyond_belief_moves_nothing_by_itself(
    stream: bool, path: str, clean: Platform, acme: factories.Cast
) -> None:
    for faults in ("cost=negative", "cost=huge"):
        assert call(clean, acme, path, faults, stream=stream).status_code in (200, 502)
        assert factories.balance_nanocredits(acme) <= factories.GRANT_NANOCREDITS
    assert factories.balance(acme) > Decimal("19.9")


@BOTH
def test_r07_last_of_several_usages_counts(path: str, clean: Platform, acme: factories.Cast) -> None:
    answer = call(clean, acme, path, "usage_every_chunk,chunk_tokens=1", stream=True)
    frames = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    costs = [json.loads(frame)["usage"].get("cost", 0) for frame in frames if json.loads(frame).get("usage")]
    assert len({cost for cost in costs if cost}) > 3
    charges.require_each_charged(clean, acme, calls=1)


def test_no_key_of_upstreams_is_in_any_answer_to_a_stranger(clean: Platform) -> None:
    for key in (None, "nv_sk_live_x", factories.initech().secret):
        for path in (CHAT, f"{BASE}/models", f"{BASE}/key", f"{BASE}/keys"):
            answer = clean.post(key, BODY, path=path)
            assert KEY not in answer.text + str(answer.headers)
    threats.require_nothing(clean)
