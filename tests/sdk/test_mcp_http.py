"""/mcp as its official client speaks it: the same gate, the same charges and the same refusals as over REST."""

import asyncio
import json
import re
from collections.abc import Generator
from decimal import Decimal
from typing import Any

import httpx
import jsonschema
import pytest
from mcp import Client
from mcp_types import CallToolResult

from accounts.models import Role
from tests import factories
from tests.e2e.conftest import NO_TLS, Platform, eventually, open_holds
from tests.sdk import mcp_clients
from tests.sdk.mcp_clients import MODES, Mode, said

MODEL = "openai/gpt-4o-mini"
SLOW = f"{MODEL}:sim=delay_headers_ms=1000"
LLM = {"naive_llm_chat", "naive_llm_models", "naive_llm_estimate"}
ACCOUNT = {"naive_usage", "naive_whoami"}
HELLO: dict[str, Any] = {"model": MODEL, "prompt": "Say hello.", "max_tokens": 20}
# A message that needs no handshake, for what no client of the package would send.
MODERN = "2026-07-28"
DEAR = "anthropic/claude-opus-4"
# A prompt that alone costs more at the dear model than the allowance, so that no shorter answer would help.
TASK: dict[str, Any] = {"system": "You know this by heart. " * 200, "prompt": "Sum it up.", "max_tokens": 200}
ALLOWANCE = Decimal("0.05")
ACCEPTED = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}

type Turn = tuple[str, dict[str, Any]]


def message(method: str, **params: Any) -> dict[str, Any]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}


def send(platform: Platform, secret: str | None, body: Any, **headers: str) -> httpx.Response:
    """Send one message by hand."""
    sent = {**ACCEPTED, "MCP-Protocol-Version": MODERN, **headers}
    if secret:
        sent["Authorization"] = f"Bearer {secret}"
    if isinstance(body, dict):
        sent |= {"Mcp-Method": body["method"]}
        if "name" in body["params"]:
            sent |= {"Mcp-Name": body["params"]["name"]}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    return httpx.post(f"{platform.url}/mcp", content=content, headers=raw, timeout=60, verify=NO_TLS)


def session_token(platform: Platform, member: factories.Cast, external_id: str) -> str:
    platform.post(member.secret, {"external_id": external_id}, path="/v1/users").raise_for_status()
    made = platform.post(member.secret, {}, path=f"/v1/users/ext:{external_id}/sessions").raise_for_status()
    token: str = made.json()["token"]
    return token


@pytest.mark.parametrize("mode", MODES)
def test_every_tool_is_listed_with_schemas_and_annotations(
    mode: Mode, platform: Platform, acme: factories.Cast
) -> None:
    found = mcp_clients.tools(platform, acme.secret, mode=mode)
    assert set(found) == LLM | ACCOUNT
    for name, tool in found.items():
        assert tool.output_schema is not None
        assert tool.annotations is not None
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        jsonschema.Draft202012Validator.check_schema(tool.output_schema)
        assert tool.input_schema["type"] == tool.output_schema["type"] == "object"
        assert tool.title
        assert tool.description
        is_chat = name == "naive_llm_chat"
        hints = tool.annotations
        assert (hints.read_only_hint, hints.idempotent_hint, hints.open_world_hint) == (
            not is_chat,
            not is_chat,
            is_chat,
        )
        assert ("user_id" in tool.input_schema["properties"]) is (name != "naive_whoami")


@pytest.mark.parametrize("mode", MODES)
def test_chat_answers_and_charges_as_rest_does(mode: Mode, clean: Platform, acme: factories.Cast) -> None:
    result = mcp_clients.call(clean, acme.secret, "naive_llm_chat", HELLO, mode=mode)
    assert not result.is_error, said(result)
    found = json.loads(said(result), parse_float=Decimal)
    assert result.structured_content == json.loads(said(result))
    assert found["text"]
    assert found["model"] == MODEL
    spent = Decimal(20) - factories.balance(acme)
    assert found["credits_used"] == spent > 0
    assert found["credits_remaining"] == factories.balance(acme)
    record = clean.get(acme.secret, f"/v1/llm/generation?id={found['generation_id']}").json()["data"]
    assert record["state"] == "settled"
    assert clean.upstream.accepted() == 1


def test_chat_takes_messages_a_system_prompt_and_what_else_upstream_takes(
    clean: Platform, acme: factories.Cast
) -> None:
    arguments = {
        "model": MODEL,
        "system": "Be terse.",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 5,
        "top_p": 0.5,
    }
    assert not mcp_clients.call(clean, acme.secret, "naive_llm_chat", arguments).is_error
    sent = json.loads(clean.upstream.last_request()["body"])
    assert sent["messages"] == [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}]
    assert (sent["top_p"], sent["max_tokens"]) == (0.5, 5)
    assert "system" not in sent
    assert "user_id" not in sent


def test_models_are_few_and_say_how_many_more_there_are(platform: Platform, acme: factories.Cast) -> None:
    found = mcp_clients.call(platform, acme.secret, "naive_llm_models", {"limit": 3}).structured_content
    count = platform.get(acme.secret, "/v1/llm/models").json()["count"]
    assert len(found["models"]) == 3
    assert found["count"] == count
    assert found["more"] == f"{count - 3} more: narrow them with search, provider or max_price."
    narrowed = mcp_clients.call(platform, acme.secret, "naive_llm_models", {"search": "gpt-4o-mini"})
    (one,) = [one for one in narrowed.structured_content["models"] if one["id"] == MODEL]
    price = platform.get(acme.secret, "/v1/llm/models?search=gpt-4o-mini").json()["models"]
    (rest,) = [row["pricing"] for row in price if row["id"] == MODEL]
    assert Decimal(str(one["input_usd_per_million"])) == Decimal(rest["prompt"]) * 1_000_000


def test_estimate_usage_and_whoami_cost_nothing(clean: Platform, acme: factories.Cast) -> None:
    estimate = mcp_clients.call(clean, acme.secret, "naive_llm_estimate", HELLO).structured_content
    assert estimate["allowed"] is True
    assert estimate["account_kit"] == acme.kit.name
    assert estimate["worst_case_credits"] > 0
    usage = mcp_clients.call(clean, acme.secret, "naive_usage").structured_content
    assert (usage["balance"], usage["available"], usage["calls"]) == (20, 20, 0)
    me = mcp_clients.call(clean, acme.secret, "naive_whoami").structured_content
    assert (me["company"], me["role"], me["is_narrow"]) == (acme.company.name, "owner", False)
    assert clean.upstream.accepted() == 0
    assert factories.balance(acme) == 20


def test_usage_is_told_by_model(clean: Platform, acme: factories.Cast) -> None:
    mcp_clients.call(clean, acme.secret, "naive_llm_chat", HELLO)
    usage = mcp_clients.call(clean, acme.secret, "naive_usage", {"days": 1}).structured_content
    assert [(row["model"], row["calls"]) for row in usage["by_model"]] == [(MODEL, 1)]
    assert Decimal(str(usage["balance"])) == factories.balance(acme)


def test_kit_without_llm_shows_none_of_its_tools_and_refuses_the_call(
    clean: Platform, acme: factories.Cast
) -> None:
    kit = factories.set_llm(acme, {"enabled": False})
    eventually(lambda: set(mcp_clients.tools(clean, acme.secret)) == ACCOUNT, what="the kit's change acts")
    refused = mcp_clients.call(clean, acme.secret, "naive_llm_chat", HELLO)
    assert refused.is_error
    assert f'403 forbidden: Not allowed by AccountKit "{kit.name}": primitive_disabled_by_kit' in said(
        refused
    )
    assert clean.upstream.accepted() == 0
    factories.set_llm(acme, {"enabled": True})
    eventually(lambda: set(mcp_clients.tools(clean, acme.secret)) >= LLM, what="the kit's change acts")


def test_viewers_key_is_shown_what_only_reads(platform: Platform, acme: factories.Cast) -> None:
    viewer = factories.with_key(acme, role=Role.VIEWER)
    assert set(mcp_clients.tools(platform, viewer.secret)) == (LLM | ACCOUNT) - {"naive_llm_chat"}
    refused = mcp_clients.call(platform, viewer.secret, "naive_llm_chat", HELLO)
    assert said(refused).startswith("403 forbidden: This API key is read-only")


def test_session_token_is_sealed_to_its_user(clean: Platform, acme: factories.Cast) -> None:
    token = session_token(clean, acme, "alice")
    clean.post(acme.secret, {"external_id": "bob"}, path="/v1/users").raise_for_status()
    assert set(mcp_clients.tools(clean, token)) == LLM | ACCOUNT
    me = mcp_clients.call(clean, token, "naive_whoami").structured_content
    assert (me["external_id"], me["is_narrow"]) == ("alice", True)
    assert not mcp_clients.call(clean, token, "naive_llm_chat", HELLO).is_error
    own = mcp_clients.call(clean, token, "naive_usage").structured_content
    assert own["calls"] == 1
    for name, arguments in (("naive_llm_chat", HELLO), ("naive_usage", {})):
        refused = mcp_clients.call(clean, token, name, {**arguments, "user_id": "ext:bob"})
        assert refused.is_error
        assert said(refused).startswith("403 forbidden")
    by_header = mcp_clients.call(
        clean, token, "naive_llm_chat", HELLO, headers={"X-Naive-User-Id": "ext:bob"}
    )
    assert "Leave user_id out." in said(by_header)
    assert clean.upstream.accepted() == 1


def test_calls_are_for_the_user_that_is_named(clean: Platform, acme: factories.Cast) -> None:
    for name in ("alice", "bob"):
        clean.post(acme.secret, {"external_id": name}, path="/v1/users").raise_for_status()
    mcp_clients.call(clean, acme.secret, "naive_llm_chat", {**HELLO, "user_id": "ext:alice"})
    mcp_clients.call(clean, acme.secret, "naive_llm_chat", HELLO, headers={"X-Naive-User-Id": "ext:bob"})
    for name, calls in (("ext:alice", 1), ("ext:bob", 1), ("default", 0)):
        usage = mcp_clients.call(clean, acme.secret, "naive_usage", {"user_id": name}).structured_content
        assert usage["calls"] == calls, name
    assert mcp_clients.call(clean, acme.secret, "naive_usage").structured_content["calls"] == 2


def test_header_names_a_user_as_over_rest_byte_for_byte(clean: Platform, acme: factories.Cast) -> None:
    for name in ("Zoë", "a/b"):
        clean.post(acme.secret, {"external_id": name}, path="/v1/users").raise_for_status()
        asked = message("tools/call", name="naive_llm_estimate", arguments=HELLO)
        found = send(clean, acme.secret, asked, **{"X-Naive-User-Id": f"ext:{name}"}).json()
        assert found["result"]["structuredContent"]["allowed"] is True, name
    stranger = send(clean, acme.secret, asked, **{"X-Naive-User-Id": "ext:nobody"}).json()
    assert stranger["result"]["content"][0]["text"].startswith("404 not_found: ")


def test_no_argument_becomes_a_header_or_an_option_of_the_client(
    clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, {"external_id": "bob"}, path="/v1/users").raise_for_status()
    options = {
        "extra_headers": {"X-Naive-User-Id": "ext:bob", "Authorization": "Bearer x"},
        "extra_query": {"a": "b"},
        "timeout": 0.000001,
        "idempotency_key": "mine",
    }
    result = mcp_clients.call(clean, acme.secret, "naive_llm_chat", {**HELLO, **options})
    assert not result.is_error, said(result)
    sent = json.loads(clean.upstream.last_request()["body"])
    assert {name: sent[name] for name in options} == options
    bobs = mcp_clients.call(clean, acme.secret, "naive_usage", {"user_id": "ext:bob"}).structured_content
    assert bobs["calls"] == 0


@pytest.mark.parametrize("name", ["naive_llm_chat", "naive_llm_models", "naive_llm_estimate", "naive_usage"])
def test_strangers_user_is_not_found(name: str, clean: Platform, acme: factories.Cast) -> None:
    stranger = factories.globex().tenant_user
    arguments = HELLO if name in ("naive_llm_chat", "naive_llm_estimate") else {}
    for user_id in (str(stranger.id), "ext:nobody", "..", "a/b"):
        refused = mcp_clients.call(clean, acme.secret, name, {**arguments, "user_id": user_id})
        assert refused.is_error
        assert said(refused).startswith(("404 not_found: ", "Not sent: ")), said(refused)
    assert clean.upstream.accepted() == 0


def test_empty_wallet_is_told_with_its_limit_and_what_is_left(clean: Platform) -> None:
    initech = factories.initech()
    refused = mcp_clients.call(clean, initech.secret, "naive_llm_chat", HELLO)
    assert refused.is_error
    assert refused.structured_content is None
    assert said(refused).startswith("402 insufficient_credits: ")
    assert "Limit: the company's wallet (wallet): needs " in said(refused)
    assert " credits, 0 left. Choose a cheaper model" in said(refused)
    estimate = mcp_clients.call(clean, initech.secret, "naive_llm_estimate", HELLO).structured_content
    assert (estimate["allowed"], estimate["limit"], estimate["available_credits"]) == (False, "wallet", 0)
    assert clean.upstream.accepted() == 0


def test_rate_limit_says_when_to_come_back(clean: Platform, acme: factories.Cast) -> None:
    slow = factories.with_key(acme, requests_per_minute=1)
    assert not mcp_clients.call(clean, slow.secret, "naive_llm_chat", HELLO).is_error
    refused = mcp_clients.call(clean, slow.secret, "naive_llm_chat", HELLO)
    assert said(refused).startswith("429 rate_limited: ")
    assert re.search(r"Come back in \d+ s\.", said(refused))
    assert clean.upstream.accepted() == 1


def test_mistaken_arguments_are_told_and_nothing_is_sent(clean: Platform, acme: factories.Cast) -> None:
    for arguments, told in (
        ({"model": MODEL}, "give either prompt or messages"),
        ({"prompt": "Hi"}, "model: is missing"),
        ({**HELLO, "max_tokens": 0}, "max_tokens: "),
        ({**HELLO, "stream": True}, "leave stream out"),
        ({**HELLO, "user_id": ""}, "user_id: "),
    ):
        refused = mcp_clients.call(clean, acme.secret, "naive_llm_chat", arguments)
        assert refused.is_error
        assert said(refused).startswith("Not sent: ")
        assert told in said(refused)
    misspelt = mcp_clients.call(clean, acme.secret, "naive_usage", {"dayz": 3})
    assert "dayz: is not known here; known: user_id, days." in said(misspelt)
    assert clean.upstream.accepted() == 0


def test_upstreams_refusal_reaches_the_agent(clean: Platform, acme: factories.Cast) -> None:
    refused = mcp_clients.call(clean, acme.secret, "naive_llm_chat", {**HELLO, "model": "nobody/nothing"})
    assert refused.is_error
    assert "nobody/nothing" in said(refused)
    assert factories.balance(acme) == 20


@pytest.mark.parametrize("secret", [None, "nv_sk_live_wrong", "Basic x"])
def test_without_a_key_that_opens_it_is_401_in_mcps_form(secret: str | None, platform: Platform) -> None:
    answer = send(platform, secret, message("tools/list"))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Bearer realm="Naive", error="invalid_token", ')
    assert answer.json()["error"]["code"] == "unauthorized"
    assert answer.headers["x-request-id"] == answer.json()["error"]["request_id"]


def test_request_id_is_one_from_the_door_to_the_refusal(platform: Platform) -> None:
    initech = factories.initech()
    answer = send(platform, initech.secret, message("tools/call", name="naive_llm_chat", arguments=HELLO))
    assert answer.status_code == 200
    (content,) = answer.json()["result"]["content"]
    assert f"({answer.headers['x-request-id']})" in content["text"]


def test_host_of_no_port_there_is_breaks_nothing(platform: Platform, acme: factories.Cast) -> None:
    answer = send(platform, acme.secret, message("tools/list"), Host="127.0.0.1:99999")
    assert answer.status_code == 200


def test_pages_of_other_sites_are_refused(platform: Platform, acme: factories.Cast) -> None:
    for origin in (
        "https://evil.example",
        "null",
        "http://evil.example:8000",
        "file://",
        "http://[::2]",
        "http://[::1",
    ):
        answer = send(platform, acme.secret, message("tools/list"), Origin=origin)
        assert answer.status_code == 403, origin
        assert answer.json()["error"]["details"] == {"reason": "origin"}
    rebound = send(
        platform, acme.secret, message("tools/list"), Origin="http://evil.example", Host="evil.example"
    )
    assert rebound.status_code == 403
    assert send(platform, acme.secret, message("tools/list"), Origin=platform.url).status_code == 200


def test_what_is_no_message_is_refused_in_our_one_shape(platform: Platform, acme: factories.Cast) -> None:
    key = acme.secret
    large = b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * (4 * 1024 * 1024) + b'"}'
    for answer, status, code in (
        (send(platform, key, b"{"), 400, "invalid_input"),
        (send(platform, key, b"[]"), 400, "invalid_input"),
        (send(platform, key, large), 413, "payload_too_large"),
        (send(platform, key, b"{}", **{"Content-Encoding": "gzip"}), 415, "unsupported_media_type"),
        (platform.get(key, "/mcp"), 405, "method_not_allowed"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert platform.get(key, "/mcp").headers["allow"] == "POST"
    assert send(platform, key, {**message("tools/list"), "jsonrpc": "1.0"}).status_code == 400
    unknown = send(platform, key, message("tools/call", name="naive_rm_rf", arguments={}))
    assert "Unknown tool: 'naive_rm_rf'" in unknown.json()["error"]["message"]


def test_many_at_once_over_two_gateways_charge_each_call_once(clean: Platform, acme: factories.Cast) -> None:
    async def burst(mode: Mode) -> list[Any]:
        async with mcp_clients.connected(clean.url, acme.secret, mode=mode) as client:
            calls = (client.call_tool("naive_llm_chat", HELLO) for _ in range(12))
            return await asyncio.gather(*calls)

    results = [result for mode in MODES for result in asyncio.run(burst(mode))]
    assert not any(result.is_error for result in results)
    used = [Decimal(str(result.structured_content["credits_used"])) for result in results]
    assert sum(used) == Decimal(20) - factories.balance(acme)
    assert len({result.structured_content["generation_id"] for result in results}) == 24
    assert clean.upstream.accepted() == 24
    assert open_holds(acme.company_id) == 0


@pytest.mark.parametrize("mode", MODES)
def test_who_leaves_in_the_middle_is_charged_what_upstream_charges(
    mode: Mode, clean: Platform, acme: factories.Cast
) -> None:
    async def leave() -> None:
        async with mcp_clients.connected(clean.url, acme.secret, mode=mode) as client:
            asking = asyncio.create_task(client.call_tool("naive_llm_chat", {**HELLO, "model": SLOW}))
            while not await asyncio.to_thread(open_holds_seen):
                await asyncio.sleep(0.05)
            asking.cancel()

    def open_holds_seen() -> bool:
        return clean.upstream.accepted() == 1

    asyncio.run(leave())
    eventually(lambda: factories.balance(acme) < 20 and open_holds(acme.company_id) == 0, what="it settles")
    (charged,) = clean.get(acme.secret, "/v1/usage").json()["transactions"][:1]
    assert charged["action"] == "llm_call"


def scripted_model() -> Generator[Turn, CallToolResult, str]:
    """Stands for a language model: it chooses tools by what the last ones answered, and ends with its result."""
    estimate = yield "naive_llm_estimate", {"model": DEAR, **TASK}
    assert estimate.structured_content["allowed"] is False
    assert estimate.structured_content["limit"] == "user_cap"
    # An estimate is advice; the gate is where it counts.
    refused = yield "naive_llm_chat", {"model": DEAR, **TASK}
    assert refused.is_error
    assert "Limit: this user's monthly allowance (user_cap): needs " in said(refused)
    assert "Choose a cheaper model (list models with max_price)" in said(refused)
    left = Decimal(str(estimate.structured_content["available_credits"]))
    assert left == ALLOWANCE
    listed = yield "naive_llm_models", {"max_price": 1, "limit": 50}
    for model in listed.structured_content["models"]:
        estimate = yield "naive_llm_estimate", {"model": model["id"], **TASK}
        if estimate.structured_content["allowed"] and estimate.structured_content["worst_case_credits"] > 0:
            answer = yield "naive_llm_chat", {"model": model["id"], **TASK}
            usage = yield "naive_usage", {}
            assert usage.structured_content["calls"] == 1
            return str(answer.structured_content["text"])
    raise AssertionError("no model was cheap enough")


def test_agent_within_an_allowance_finishes_with_a_cheaper_model(
    clean: Platform, acme: factories.Cast
) -> None:
    config = {"llm": {"defaults": {"monthly_credits_per_user": float(ALLOWANCE)}}}
    kit = clean.post(
        acme.secret, {"name": "Small", "primitives_config": config}, path="/v1/account-kits"
    ).json()
    alice = {"external_id": "alice", "account_kit_id": kit["id"]}
    clean.post(acme.secret, alice, path="/v1/users").raise_for_status()
    token = clean.post(acme.secret, {}, path="/v1/users/ext:alice/sessions").json()["token"]

    async def work(client: Client) -> str:
        model = scripted_model()
        name, arguments = next(model)
        try:
            while True:
                name, arguments = model.send(await client.call_tool(name, arguments))
        except StopIteration as done:
            return str(done.value)

    assert mcp_clients.ask(clean, token, work)
    assert clean.upstream.accepted() == 1
    assert 0 < Decimal(20) - factories.balance(acme) <= ALLOWANCE
