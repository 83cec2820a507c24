"""Chat completions over real sockets: bytes, charges, headers, kits, caps."""

import json
import re
from decimal import Decimal
from typing import Any

import httpx
import pytest

from billing import money
from tests import factories
from tests.e2e.conftest import KEY, Platform, eventually, open_holds

MODEL = "openai/gpt-4o-mini"
HELLO: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 60,
    "messages": [{"role": "user", "content": "Héllo, wörld"}],
}
CREDITS_COMMENT = b': {"credits_used":'


def straight(platform: Platform, body: dict[str, Any]) -> bytes:
    """The same request at the upstream itself, with what the platform changes in it."""
    sent = json.loads(platform.upstream.last_request()["body"])
    assert {**sent, "user": "", "trace": ""} == {**body, "user": "", "trace": ""}
    url = f"{platform.upstream.url}/api/v1/chat/completions"
    return httpx.post(url, json=sent, headers={"Authorization": f"Bearer {KEY}"}).content


def without_ids(stream: bytes) -> bytes:
    """A stream with what differs between any two answers made equal."""
    stream = re.sub(rb'"id":"gen-[^"]+"', b'"id":"gen"', stream)
    return re.sub(rb'"created":\d+', b'"created":0', stream)


def split_credits(stream: bytes) -> tuple[bytes, dict[str, Any]]:
    """Take our comment out; return the rest, and what it said."""
    start = stream.index(CREDITS_COMMENT)
    end = stream.index(b"\n\n", start) + 2
    said: dict[str, Any] = json.loads(stream[start + 2 : end], parse_float=Decimal)
    return stream[:start] + stream[end:], said


SHAPES = [
    "", "usage_style=empty", "usage_style=null-finish", "usage_style=repeated-finish", "usage_every_chunk", "crlf",
    "split=1", "split=13", "comments_between=3", "key_order=old", "unicode", "after_done", "gzip",
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_stream_reaches_the_client_byte_for_byte(shape: str, clean: Platform, acme: factories.Cast) -> None:
    body = {**HELLO, "stream": True, "model": f"{MODEL}:sim={shape}" if shape else MODEL}
    answer = clean.post(acme.secret, body)
    assert answer.headers["content-type"] == "text/event-stream"
    stream, said = split_credits(answer.content)
    assert without_ids(stream) == without_ids(straight(clean, body))
    spent = factories.GRANT_NANOCREDITS - factories.balance_nanocredits(acme)
    assert money.nanocredits_from_credits(said["credits_used"]) == spent > 0
    assert money.nanocredits_from_credits(said["credits_remaining"]) == factories.balance_nanocredits(acme)
    tail = answer.content[answer.content.index(CREDITS_COMMENT) :]
    assert tail.split(b"\n\n", 1)[1].lstrip().startswith(b"data: [DONE]")


def test_json_answer_is_upstreams_bytes_plus_credits(clean: Platform, acme: factories.Cast) -> None:
    answer = clean.post(acme.secret, HELLO)
    found = json.loads(answer.content, parse_float=Decimal)
    used, remaining = found.pop("credits_used"), found.pop("credits_remaining")
    cost = found["usage"]["cost"]
    assert used == cost * Decimal("1.25") / Decimal("0.50")
    assert remaining == factories.balance(acme) == Decimal(20) - used
    theirs = json.loads(straight(clean, HELLO), parse_float=Decimal)
    assert list(found) == list(theirs)
    assert found["choices"] == theirs["choices"]


def test_answer_says_what_was_held_and_who_it_is(clean: Platform, acme: factories.Cast) -> None:
    answer = clean.post(acme.secret, HELLO)
    assert Decimal(answer.headers["x-naive-credits-held"]) > Decimal(str(answer.json()["credits_used"]))
    by_ours = clean.get(
        acme.secret, "/v1/llm/generation", params={"id": answer.headers["x-naive-generation-id"]}
    )
    by_theirs = clean.get(acme.secret, "/v1/llm/generation", params={"id": answer.json()["id"]})
    assert by_ours.json() == by_theirs.json()
    data = by_ours.json()["data"]
    assert data["state"] == "settled"
    assert data["settlement_source"] == "inline"
    assert data["total_cost"] == answer.json()["usage"]["cost"]
    assert data["credits_used"] == answer.json()["credits_used"]
    assert data["native_tokens_prompt"] == answer.json()["usage"]["prompt_tokens"]
    assert data["corrections"] == []


def test_anothers_generation_looks_like_none(clean: Platform, acme: factories.Cast) -> None:
    answer, globex = clean.post(acme.secret, HELLO), factories.globex()
    for wanted in (
        answer.headers["x-naive-generation-id"],
        answer.json()["id"],
        "gen-nothing",
        "gen_nothing",
        "\x00",
    ):
        found = clean.get(globex.secret, "/v1/llm/generation", params={"id": wanted})
        assert found.status_code == 404, wanted
        assert found.json()["error"]["message"] == "There is no such generation."
    assert clean.get(globex.secret, "/v1/llm/generation").status_code == 400


def test_cost_that_comes_late_is_null_first_and_exact_later(clean: Platform, acme: factories.Cast) -> None:
    answer = clean.post(acme.secret, {**HELLO, "model": f"{MODEL}:sim=omit_cost"})
    assert answer.json()["credits_used"] is None
    eventually(lambda: open_holds(acme.company.id) == 0, what="the sweep settles")
    found = clean.get(acme.secret, "/v1/llm/generation", params={"id": answer.json()["id"]}).json()["data"]
    assert found["settlement_source"] == "generation"
    assert Decimal(str(found["total_cost"])) == Decimal(clean.upstream.ledger()["total_usd"])


def test_what_leaves_is_namespaced_and_the_rest_untouched(clean: Platform, acme: factories.Cast) -> None:
    mine = {
        "user": "bob",
        "session_id": "s1",
        "trace": {"trace_name": "x", "trace_id": "victim"},
        "metadata": {"a": "b"},
    }
    answer = clean.post(acme.secret, {**HELLO, **mine, "unknown_field": {"kept": 1.50}})
    request = clean.upstream.last_request()
    sent = json.loads(request["body"])
    assert sent["trace"] == {
        "trace_name": "x",
        "trace_id": answer.headers["x-naive-generation-id"].removeprefix("gen_"),
    }
    assert sent["user"] not in ("bob", "")
    assert sent["session_id"] not in ("s1", "")
    assert sent["metadata"] == {"a": "b"}
    assert b'"unknown_field":{"kept":1.5}' in request["body"].encode()
    clean.post(factories.globex().secret, {**HELLO, **mine})
    assert json.loads(clean.upstream.last_request()["body"])["user"] != sent["user"]


def test_clients_headers_stay_here(clean: Platform, acme: factories.Cast) -> None:
    theirs = {
        "Cookie": "a=b",
        "X-OpenRouter-Cache": "true",
        "X-Forwarded-For": "1.2.3.4",
        "HTTP-Referer": "https://x",
    }
    clean.post(acme.secret, HELLO, headers={"Authorization": f"Bearer {acme.secret}", **theirs})
    headers = {name.lower(): value for name, value in dict(clean.upstream.last_request()["headers"]).items()}
    assert headers["authorization"] == f"Bearer {KEY}"
    assert not {"cookie", "x-openrouter-cache", "x-forwarded-for", "http-referer"} & set(headers)


def test_upstreams_headers_stay_there(clean: Platform, acme: factories.Cast) -> None:
    answer = clean.post(acme.secret, {**HELLO, "model": f"{MODEL}:sim=set_cookie,leaky_headers"})
    assert answer.status_code == 200
    expected = {"date", "server", "content-type", "content-length", "x-request-id"}
    expected |= {"content-security-policy", "x-content-type-options"}
    assert {name for name in answer.headers if not name.startswith("x-naive-")} == expected


def test_tenant_users_mounts_are_one(clean: Platform, acme: factories.Cast) -> None:
    user = str(acme.tenant_user.id)
    for path, headers in (
        (f"/v1/users/{user}/llm/chat/completions", {}),
        ("/v1/users/default/llm/chat/completions", {}),
        ("/v1/llm/chat/completions", {"X-Naive-User-Id": user}),
    ):
        answer = clean.post(acme.secret, HELLO, path=path, headers=headers)
        found = clean.get(acme.secret, "/v1/llm/generation", params={"id": answer.json()["id"]}).json()[
            "data"
        ]
        assert found["user_id"] == user


def test_kits_ceiling_lowers_max_tokens(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"max_tokens": 7}})
    answer = clean.post(acme.secret, HELLO)
    assert answer.headers["x-naive-max-tokens"] == "7"
    assert answer.json()["usage"]["completion_tokens"] <= 7
    assert "x-naive-max-tokens" not in clean.post(acme.secret, {**HELLO, "max_tokens": 5}).headers


def test_kits_provider_lies_under_and_over_the_callers(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(
        acme,
        {
            "defaults": {
                "provider": {"sort": "price", "zdr": False},
                "provider_required": {"data_collection": "deny"},
            }
        },
    )
    clean.post(acme.secret, {**HELLO, "provider": {"sort": "latency", "data_collection": "allow"}})
    sent = json.loads(clean.upstream.last_request()["body"])["provider"]
    assert sent == {"sort": "latency", "zdr": False, "data_collection": "deny"}


def test_kits_cost_limit_a_call(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"max_cost_usd_per_call": 0.0001}})
    lowered = clean.post(acme.secret, {**HELLO, "max_tokens": 100_000})
    assert lowered.json()["usage"]["cost"] <= 0.0001
    assert int(lowered.headers["x-naive-max-tokens"]) < 200
    dear = clean.post(acme.secret, {**HELLO, "model": "anthropic/claude-opus-4.8"})
    assert dear.status_code == 403
    assert dear.json()["error"]["details"]["reason"] == "max_cost_usd_per_call"


def test_users_monthly_credits_are_a_cap(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"monthly_credits_per_user": 0.0001}})
    refused = clean.post(acme.secret, {**HELLO, "model": "anthropic/claude-sonnet-4.6"})
    assert refused.status_code == 402
    assert refused.json()["error"]["details"]["limit"] == "user_cap"
    assert clean.upstream.ledger()["calls"] == 0


def test_kits_requests_per_minute(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"requests_per_minute": 3}})
    answers = [clean.post(acme.secret, HELLO) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
    assert answers[-1].json()["error"]["details"]["limit"] == "requests_per_minute"
    assert clean.upstream.accepted() == 3


def test_models_are_there_from_the_first_moment(clean: Platform, acme: factories.Cast) -> None:
    assert clean.get(acme.secret, "/v1/llm/models").json()["count"] >= 300


def test_models_are_those_the_kit_allows(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"allowed_models": ["anthropic/*"], "denied_models": ["*haiku*"]}})
    found = clean.get(acme.secret, "/v1/llm/models").json()
    assert found["count"] == len(found["data"]) == len(found["models"]) > 0
    assert all(model["id"].startswith("anthropic/") and "haiku" not in model["id"] for model in found["data"])
    assert set(found["models"][0]) == {"id", "name", "context_length", "pricing"}


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ({"search": "claude sonnet"}, lambda m: "claude" in m["id"] and "sonnet" in m["id"]),
        ({"provider": "google"}, lambda m: m["id"].startswith("google/")),
        ({"max_price": "0"}, lambda m: Decimal(m["pricing"]["prompt"]) == 0),
        ({"modality": "image"}, lambda m: "image" in str(m["architecture"])),
        (
            {"supported_parameters": "tools,seed"},
            lambda m: {"tools", "seed"} <= set(m["supported_parameters"]),
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_models_can_be_filtered(
    query: dict[str, str], rule: Any, clean: Platform, acme: factories.Cast
) -> None:
    found = clean.get(acme.secret, "/v1/llm/models", params=query).json()["data"]
    assert found
    assert all(map(rule, found))


def test_bad_price_filter_is_named(clean: Platform, acme: factories.Cast) -> None:
    answer = clean.get(acme.secret, "/v1/llm/models", params={"max_price": "cheap"})
    assert answer.status_code == 400
    assert answer.json()["error"]["details"] == {"field": "max_price"}


def test_estimate_is_the_gate_without_the_call(clean: Platform, acme: factories.Cast) -> None:
    estimate = clean.post(acme.secret, HELLO, path="/v1/llm/estimate").json()
    assert estimate["allowed"]
    answer = clean.post(acme.secret, HELLO)
    assert Decimal(answer.headers["x-naive-credits-held"]) == Decimal(str(estimate["hold_credits"]))
    assert Decimal(str(estimate["worst_case_cost_usd"])) >= Decimal(str(answer.json()["usage"]["cost"]))
    assert estimate["account_kit"] == {"id": str(acme.kit.id), "name": acme.kit.name}
    assert clean.upstream.ledger()["calls"] == 1


def test_estimate_says_why_not(clean: Platform) -> None:
    initech = factories.initech()
    poor = clean.post(initech.secret, HELLO, path="/v1/llm/estimate").json()
    assert not poor["allowed"]
    assert poor["refusal"]["details"]["limit"] == "wallet"
    factories.set_llm(initech, {"enabled": True, "defaults": {"denied_models": ["openai/*"]}})
    eventually(
        lambda: (
            "reason"
            in clean.post(initech.secret, HELLO, path="/v1/llm/estimate").json()["refusal"]["details"]
        ),
        timeout_s=1.0,
        what="the kit acts",
    )


def test_free_model_costs_nothing_and_leaves_no_entry(clean: Platform, acme: factories.Cast) -> None:
    answer = clean.post(acme.secret, {**HELLO, "model": "openai/gpt-oss-120b:free"})
    assert answer.json()["credits_used"] == 0
    assert factories.balance_nanocredits(acme) == factories.GRANT_NANOCREDITS
    assert open_holds(acme.company.id) == 0


def test_router_is_held_by_default_and_charged_exactly(clean: Platform, acme: factories.Cast) -> None:
    answer = clean.post(acme.secret, {**HELLO, "model": "openrouter/auto"})
    assert answer.headers["x-naive-credits-held"] == "1"
    assert answer.json()["credits_used"] > 0


def test_error_in_a_200_is_an_error(clean: Platform, acme: factories.Cast) -> None:
    answer = clean.post(acme.secret, {**HELLO, "model": f"{MODEL}:sim=ok_error=top"})
    assert answer.status_code >= 400
    assert answer.json()["error"]["code"] == "provider_error"
    assert answer.headers["x-should-retry"] == "false"


def test_broken_stream_ends_with_an_error_that_names_the_generation(
    clean: Platform, acme: factories.Cast
) -> None:
    answer = clean.post(
        acme.secret, {**HELLO, "stream": True, "model": f"{MODEL}:sim=cut_after=2,cut_bytes=30"}
    )
    last = json.loads(answer.content.rstrip().rpartition(b"data: ")[2])
    assert last["error"]["metadata"]["generation_id"] == answer.headers["x-naive-generation-id"]
    assert last["choices"][0]["finish_reason"] == "error"


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 529])
def test_operators_account_is_never_told(status: int, clean: Platform, acme: factories.Cast) -> None:
    answer = clean.post(acme.secret, {**HELLO, "model": f"{MODEL}:sim=status={status}"})
    assert answer.json()["error"]["code"] == "provider_error"
    assert answer.json()["error"]["details"]["upstream_status"] == status
    for secret in (KEY, "user_", "openrouter.ai"):
        assert secret not in answer.text
    assert open_holds(acme.company.id) == 0
    assert factories.balance_nanocredits(acme) == factories.GRANT_NANOCREDITS


def test_estimate_says_that_the_kit_is_closed(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"enabled": False})
    answer = clean.post(acme.secret, HELLO, path="/v1/llm/estimate")
    assert answer.status_code == 200
    assert not answer.json()["allowed"]
    assert answer.json()["refusal"]["details"]["reason"] == "primitive_disabled_by_kit"
