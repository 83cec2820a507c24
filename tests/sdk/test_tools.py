"""The agent toolset: one registry in every form, and handle(), which answers a model whatever it asks for."""

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import jsonschema
import pytest

from naive import AsyncNaive, Naive, errors
from naive.tools import refusals, registry
from tests import factories
from tests.e2e.conftest import Platform, eventually

MODEL = "openai/gpt-4o-mini"
CHAT: dict[str, Any] = {
    "primitive": "llm",
    "method": "chat",
    "arguments": {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
}
NAMES = ["naive_search_primitives", "naive_run_primitive"]


@pytest.fixture
def naive(clean: Platform, acme: factories.Cast) -> Iterator[Naive]:
    with Naive(api_key=acme.secret, base_url=clean.url) as client:
        yield client


def test_anthropic_definitions_are_the_default(naive: Naive) -> None:
    tools, _ = naive.agent_tools()
    assert [tool["name"] for tool in tools] == NAMES
    for tool in tools:
        assert set(tool) == {"name", "description", "input_schema"}
        jsonschema.Draft202012Validator.check_schema(tool["input_schema"])
    assert tools == naive.agent_tools(form="anthropic").tools


def test_openai_functions_are_the_same_tools(naive: Naive) -> None:
    functions = naive.agent_tools(form="openai").tools
    for tool, function in zip(naive.agent_tools().tools, functions, strict=True):
        assert function["type"] == "function"
        assert function["function"] == {
            "name": tool["name"],
            "description": tool["description"],
            "parameters": tool["input_schema"],
        }


def test_langchain_tools_run(naive: Naive, acme: factories.Cast) -> None:
    search, run = naive.agent_tools(form="langchain").tools
    assert "llm" in search.invoke({"query": "model"})
    assert json.loads(run.invoke(CHAT))["credits_used"] > 0
    assert run.invoke({**CHAT, "method": "paint"}) == "Unknown Naive primitive method: 'llm.paint'"
    assert factories.balance(acme) < 20


def test_unknown_form_is_named(naive: Naive) -> None:
    with pytest.raises(
        errors.ConfigurationError, match="'gemini' is not known; there are anthropic, openai and langchain"
    ):
        naive.agent_tools(form="gemini")  # type: ignore[arg-type]


def test_run_calls_a_model_and_says_what_it_cost(naive: Naive, acme: factories.Cast) -> None:
    found = json.loads(naive.agent_tools().handle("naive_run_primitive", CHAT), parse_float=Decimal)
    assert found["text"]
    assert found["credits_used"] == Decimal(20) - factories.balance(acme) > 0


def test_arguments_may_be_the_json_that_openai_gives(naive: Naive) -> None:
    handle = naive.agent_tools(form="openai").handle
    assert json.loads(handle("naive_run_primitive", json.dumps(CHAT)))["text"]
    assert handle("naive_run_primitive", '{"primitive": ').startswith("Not sent: ")
    assert handle("naive_run_primitive", "[]").startswith("Not sent: ")


def test_models_are_listed(naive: Naive) -> None:
    asked = {"primitive": "llm", "method": "models", "arguments": {"search": "gpt-4o-mini", "limit": 1}}
    found = json.loads(naive.agent_tools().handle("naive_run_primitive", asked))
    assert len(found["models"]) == 1


@pytest.mark.parametrize(
    ("primitive", "method"), [("llm", "paint"), ("email", "send"), ("", ""), ("llm", "__class__")]
)
def test_unknown_pair_is_told(primitive: str, method: str, naive: Naive) -> None:
    asked = {"primitive": primitive, "method": method, "arguments": {}}
    told = naive.agent_tools().handle("naive_run_primitive", asked)
    assert told == f"Unknown Naive primitive method: '{primitive}.{method}'"


def test_unknown_tool_is_told(naive: Naive) -> None:
    told = naive.agent_tools().handle("naive_rm_rf", {})
    assert (
        told == "Unknown Naive tool: 'naive_rm_rf'. There are: naive_search_primitives, naive_run_primitive."
    )


def test_search_finds_by_words_and_shows_all_where_none_fit(naive: Naive) -> None:
    handle = naive.agent_tools().handle
    listing = json.loads(handle("naive_search_primitives", {"query": "List prices"}))
    assert [(one["primitive"], one["method"]) for one in listing["methods"]] == [("llm", "models")]
    jsonschema.Draft202012Validator.check_schema(listing["methods"][0]["arguments"])
    everything = json.loads(handle("naive_search_primitives", {}))
    assert len(everything["methods"]) == 2
    nothing = json.loads(handle("naive_search_primitives", {"query": "teleport"}))
    assert nothing == {**everything, "hint": "Nothing has all of these words; this is everything there is."}


def test_kit_is_asked_again_on_the_server(naive: Naive, clean: Platform, acme: factories.Cast) -> None:
    handle = naive.agent_tools().handle
    kit = factories.set_llm(acme, {"defaults": {"denied_models": ["openai/*"]}})
    refused = f'Not allowed by AccountKit "{kit.name}": '
    eventually(lambda: refused in handle("naive_run_primitive", CHAT), what="the kit's change acts")
    told = handle("naive_run_primitive", CHAT)
    assert told.startswith("403 forbidden: ")
    assert "List the models: what is listed is allowed." in told


def test_allowance_and_what_is_left_of_it_are_told(naive: Naive, acme: factories.Cast) -> None:
    handle = naive.agent_tools().handle
    factories.set_llm(acme, {"defaults": {"monthly_credits_per_user": 0}})
    eventually(
        lambda: (
            "Limit: this user's monthly allowance (user_cap): needs " in handle("naive_run_primitive", CHAT)
        ),
        what="the kit's change acts",
    )


def test_toolset_of_a_user_acts_for_that_user_alone(naive: Naive, clean: Platform) -> None:
    alice = naive.users.create(external_id="alice")
    handle = naive.for_user("ext:alice").agent_tools().handle
    assert json.loads(handle("naive_run_primitive", CHAT))["text"]
    # Whose calls they are was decided by who made the toolset, and is not the model's to choose.
    for method in ("chat", "models"):
        asked = {**CHAT, "method": method, "arguments": {**CHAT["arguments"], "user_id": "default"}}
        assert handle("naive_run_primitive", asked).startswith("Not sent: ")
    assert naive.users.usage(alice.id).summary.calls == 1
    assert naive.users.usage("default").summary.calls == 0


def test_no_mistake_of_a_model_leaves_handle_as_an_exception(naive: Naive, clean: Platform) -> None:
    handle = naive.agent_tools().handle
    mistakes: list[Any] = [
        {}, {"primitive": "llm"}, {"primitive": 1, "method": []}, {**CHAT, "arguments": "x"}, {**CHAT, "more": 1},
        {**CHAT, "arguments": {"model": MODEL}}, {**CHAT, "arguments": {"model": "", "prompt": "x"}},
        {**CHAT, "arguments": {"model": MODEL, "messages": "Hi"}},
        {**CHAT, "arguments": {"model": MODEL, "messages": [{"role": "nobody"}]}},
        {**CHAT, "arguments": {"model": MODEL, "prompt": "Hi", "temperature": float("nan")}},
        {**CHAT, "arguments": {"model": MODEL, "prompt": "Hi", "x": float("inf")}},
        {**CHAT, "arguments": {"model": MODEL, "prompt": "Hi", "stream": True}},
        {**CHAT, "arguments": {"model": MODEL, "prompt": "\ud800"}},
    ]  # fmt: skip
    for mistake in mistakes:
        told = handle("naive_run_primitive", mistake)
        assert told.startswith(("Not sent: ", "400 ", "422 ")), (mistake, told)
    assert clean.upstream.accepted() <= 1


def test_platform_that_is_away_is_told(acme: factories.Cast) -> None:
    with Naive(api_key=acme.secret, base_url="http://127.0.0.1:9", max_retries=0) as away:
        assert away.agent_tools().handle("naive_run_primitive", CHAT).startswith("connection_failed: ")


def test_async_toolset_answers_the_same(clean: Platform, acme: factories.Cast) -> None:
    async def visit() -> list[str]:
        async with AsyncNaive(api_key=acme.secret, base_url=clean.url) as client:
            tools, handle = client.agent_tools()
            assert [tool["name"] for tool in tools] == NAMES
            _, run = client.agent_tools(form="langchain").tools
            return [
                await handle("naive_run_primitive", CHAT),
                await run.ainvoke(CHAT),
                await handle("naive_run_primitive", {**CHAT, "method": "paint"}),
                await handle("naive_nothing", {}),
            ]

    answered, by_langchain, unknown, nothing = asyncio.run(visit())
    assert set(json.loads(answered)) == set(json.loads(by_langchain))
    assert unknown == "Unknown Naive primitive method: 'llm.paint'"
    assert nothing.startswith("Unknown Naive tool: 'naive_nothing'.")


def test_each_tool_is_defined_once_and_says_what_it_is() -> None:
    tools = [*registry.MCP, *registry.TOOLSET]
    assert len({tool.name for tool in tools}) == len(tools) == 7
    for tool in tools:
        assert len(tool.description) < 300
        assert tool.title


@pytest.mark.parametrize(
    ("status", "headers", "error", "told"),
    [
        (
            429, {"retry-after": "7"}, {"code": "rate_limited", "message": "Slow."},
            "429 rate_limited: Slow. Come back in 7 s.",
        ),
        (
            503, {"x-should-retry": "false"}, {"code": "unavailable", "message": "Cut."},
            "503 unavailable: Cut. Do not repeat it blindly: it may have been charged.",
        ),
        (
            402, {}, {"code": "insufficient_credits", "message": "Short.", "details": {"limit": "key_cap"}},
            "402 insufficient_credits: Short. Limit: this key's spend cap (key_cap). Choose a cheaper model",
        ),
        (
            402, {}, {
                "code": "insufficient_credits", "message": "Short.",
                "details": {"limit": "user_cap", "required": 0.1, "available": 0.000000001},
            },
            "Limit: this user's monthly allowance (user_cap): needs 0.1 credits, 0.000000001 left.",
        ),
        (
            403, {}, {"code": "forbidden", "message": "No.", "hint": "Ask.", "details": {"reason": "key_scope"}},
            "403 forbidden: No. Ask.",
        ),
        (404, {}, {"code": "not_found", "message": "Gone.", "hint": "Look.", "request_id": "req_1"}, "Look. (req_1)"),
        (502, {}, {}, "502 unexpected_answer: "),
    ],
)  # fmt: skip
def test_refusals_say_what_to_do_next(
    status: int, headers: dict[str, str], error: dict[str, Any], told: str
) -> None:
    response = httpx.Response(status, headers=headers, json={"error": error})
    assert told in refusals.told(errors.from_response(response))
