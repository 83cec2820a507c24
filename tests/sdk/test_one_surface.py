"""The two SDKs are one surface: the same names, errors and tools, and the same answers to a model."""

import inspect
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import naive
from naive import webhooks
from naive.tools import toolset

KEY = "key"
URL = "http://naive.test"
# Of an HTTP client that keeps connections; fetch has none to close.
ONLY_PYTHON = {
    "naive": {"close"},
    # Tests of a receiver are written where its other side is: in the platform's own language.
    "module webhooks": {"sign"},
}
# A call's own there: `naive.llm.chat(…).withResponse()`.
RAW = "with_raw_response"
# An acronym, and a field as it is on the wire.
NAMES = {"base_url": "baseURL", "next_cursor": "next_cursor"}
# How the language's own errors are called.
ROOTS = {"Exception": "Error"}

SEARCH, RUN = toolset.TOOLS
ANSWER: dict[str, Any] = {
    "id": "gen-1",
    "model": "openai/gpt-5.2",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Grün\n🐸"}}
    ],
    "usage": {"prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 17, "cost": 0.0000027},
    "credits_used": 0.00000675,
    "credits_remaining": 19.99999325,
}
CALL = {
    "index": 0,
    "id": "a",
    "type": "function",
    "function": {"name": "add", "arguments": '{"x":1}'},
    "more": None,
}
HELLO = {"model": "openai/gpt-5.2", "prompt": "Hello"}


def listed(count: int) -> dict[str, Any]:
    prices = [
        {"prompt": "0.00000175", "completion": "0.00000000003"},
        {"prompt": "-1", "completion": ""},
        None,
    ]
    models = [
        {"id": f"m{at}", "name": None if at == 1 else "M", "context_length": 8, "pricing": prices[at % 3]}
        for at in range(count)
    ]
    return {"object": "list", "count": count, "data": [], "models": models}


def chosen(choice: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**ANSWER, "choices": [{"index": 0, **choice}], **more}


def case(method: str, given: Any, answer: Any = ANSWER, status: int = 200, **headers: str) -> dict[str, Any]:
    """A run of `llm.<method>` with these arguments, and what the platform answers to it."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "name": RUN,
        "input": {"primitive": "llm", "method": method, "arguments": given},
        "status": status,
        "headers": {"x-request-id": "req_1", **told},
        "body": answer if isinstance(answer, str) else json.dumps(answer),
    }


def tool(name: str, given: Any) -> dict[str, Any]:
    """A call of a tool, of which nothing is to reach the platform."""
    return {**case("chat", None), "name": name, "input": given}


def refused(status: int, code: str, *, hint: str | None = None, details: Any = None, **headers: str) -> Any:
    error = {"code": code, "message": "No.", "hint": hint, "details": details or {}, "request_id": "req_1"}
    return case("chat", HELLO, {"error": error}, status, **headers)


ANSWERED = [
    case("chat", HELLO),
    case("chat", {**HELLO, "system": "Be terse.", "max_tokens": "9", "temperature": True, "user": None}),
    case(
        "chat",
        {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "system": "S", "stream": False},
    ),
    case(
        "chat",
        {**HELLO, "models": ["a/b"], "extra_headers": {"a": "b"}, "timeout": 0, "provider": {"zdr": True}},
    ),
    case("chat", json.loads('{"model": "m", "prompt": "p", "__proto__": {"polluted": 1}}')),
    case("chat", HELLO, x_naive_max_tokens="50"),
    case("chat", HELLO, {**ANSWER, "credits_used": None, "credits_remaining": 20, "usage": None}),
    case(
        "chat",
        HELLO,
        chosen({"finish_reason": "tool_calls", "message": {"content": None, "tool_calls": [CALL]}}),
    ),
    case("chat", HELLO, chosen({"message": {"content": [{"type": "text", "text": "a"}, {"type": "image"}]}})),
    case(
        "chat",
        HELLO,
        chosen(
            {
                "finish_reason": "error",
                "error": {"code": 502},
                "message": {"content": "half", "tool_calls": []},
            }
        ),
    ),
    case("chat", HELLO, {"id": "gen-1", "choices": []}),
    case("models", {}, listed(12)),
    case("models", None, listed(3)),
    case("models", {"search": "x", "provider": None, "max_price": 1.5, "limit": 2.0}, listed(3)),
    {**case("models", None, listed(3)), "input": '{"primitive": "llm", "method": "models"}'},
]
BAD_CHATS: list[Any] = [
    {}, None, "x", [], {"model": ""}, {"model": 3, "prompt": "p"}, {**HELLO, "messages": []},
    {"model": "m", "messages": "Hi"}, {"model": "m", "messages": ["Hi", 1, None]}, {"model": "m"},
    {**HELLO, "messages": [{}]}, {**HELLO, "models": [1, "a"], "max_tokens": 0, "temperature": 2.5},
    {**HELLO, "max_tokens": 1.5, "temperature": "hot", "system": 1}, {**HELLO, "stream": True},
    {**HELLO, "max_tokens": "many", "temperature": []}, {**HELLO, "max_tokens": {}, "prompt": 1},
    {"prompt": "", "models": "a", "messages": {}, "system": [], "max_tokens": "", "temperature": -1},
    {**HELLO, "user_id": "u"},
]  # fmt: skip
BAD_LISTS: list[Any] = [
    {"limit": 51},
    {"limit": 0},
    {"limit": None},
    {"user_id": "u", "x": 1, "max_price": -1},
]
BAD_RUNS: list[Any] = ["{", "[]", "null", "", [], 3, {}, {"primitive": 1, "method": [], "x": 1}]
MISTAKEN = [
    *(case("chat", given) for given in BAD_CHATS),
    *(case("models", given) for given in BAD_LISTS),
    *(tool(RUN, given) for given in BAD_RUNS),
    *(tool(RUN, {"primitive": "email", "method": name}) for name in ("send", "__proto__", "'")),
    tool("naive_rm_rf", {}),
]
SEARCHED = [
    tool(SEARCH, given)
    for given in (
        None,
        {},
        "{}",
        {"query": "List prices"},
        {"query": "teleport"},
        {"query": None},
        {"q": "x"},
    )
]
REFUSED = [
    *(
        refused(402, "insufficient_credits", details=details)
        for details in (
            {"limit": "wallet"}, {"limit": "key_cap", "required": 0.1, "available": 0.000000001},
            {"limit": "user_cap", "required": 20, "available": 0}, {},
        )
    ),
    *(
        refused(403, "forbidden", hint="Ask.", details={"reason": reason})
        for reason in (
            "primitive_disabled_by_kit", "model_not_allowed_by_kit", "max_cost_usd_per_call", "user_suspended",
            "key_subject_mismatch", "key_scope", None,
        )
    ),
    refused(400, "invalid_input", hint="Correct it."),
    refused(404, "not_found"),
    refused(429, "rate_limited", hint="Wait.", retry_after="7"),
    refused(502, "provider_error", hint="Look.", x_should_retry="false"),
    case("chat", HELLO, "<h1>Bad gateway</h1>\n", 502),
    case("models", {}, "", 418),
]  # fmt: skip
CASES = [*ANSWERED, *MISTAKEN, *SEARCHED, *REFUSED]


@pytest.fixture(scope="module")
def theirs(typescript: Callable[..., str]) -> Any:
    """What the TypeScript SDK has, and what it answers to CASES."""
    return json.loads(typescript("test/surface.mjs", json.dumps(CASES)))


def run(one: dict[str, Any]) -> tuple[str, list[Any]]:
    """What Python's toolset answers, and what it asked the platform."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        asked.append([request.method, str(request.url), body])
        return httpx.Response(one["status"], headers=one["headers"], text=one["body"])

    http = httpx.Client(transport=httpx.MockTransport(answer))
    with naive.Naive(api_key=KEY, base_url=URL, max_retries=0, http_client=http) as client:
        return client.agent_tools().handle(one["name"], one["input"]), asked


def camel(name: str) -> str:
    return NAMES.get(name) or re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def public(thing: Any) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")} - {RAW}


def ours(client: Any) -> dict[str, set[str]]:
    request = naive.requests.listing("/v1/users", "users", {}, naive.types.User)
    page = naive.Page(
        client._transport, request, httpx.Response(200, json={"users": [], "next_cursor": None})
    )
    functions = inspect.getmembers(webhooks, inspect.isfunction)
    return {
        "naive": public(client),
        "llm": public(client.llm),
        "users": public(client.users),
        "users.sessions": public(client.users.sessions),
        "account_kits": public(client.account_kits),
        "keys": public(client.keys),
        "billing": public(client.billing),
        "webhooks": public(client.webhooks),
        "audit": public(client.audit),
        "auth": public(client.auth),
        "for_user": public(client.for_user("u")),
        "stream": public(naive.Stream),
        "page": public(page),
        "module webhooks": {name for name, _ in functions if not name.startswith("_")},
    }


def test_every_public_name_of_one_is_in_the_other(theirs: Any) -> None:
    with naive.Naive(api_key=KEY, base_url=URL) as client:
        mine = ours(client)
    assert set(theirs["members"]) == set(mine)
    for where, names in mine.items():
        assert {camel(name) for name in names - ONLY_PYTHON.get(where, set())} == set(
            theirs["members"][where]
        ), where


def test_async_client_has_the_same_names() -> None:
    assert public(naive.AsyncNaive) == public(naive.Naive)
    assert public(naive.AsyncStream) == public(naive.Stream)
    assert public(naive.AsyncPage) == public(naive.Page)


def test_errors_are_one_tree(theirs: Any) -> None:
    tree = {
        name: ROOTS.get(kind.mro()[1].__name__, kind.mro()[1].__name__)
        for name, kind in vars(naive.errors).items()
        if isinstance(kind, type) and issubclass(kind, naive.NaiveError)
    }
    assert tree == theirs["errors"]


@pytest.mark.parametrize("form", ["anthropic", "openai"])
def test_tools_are_defined_alike(form: Any, theirs: Any) -> None:
    tools = toolset.of(None, form).tools
    assert json.dumps(tools, ensure_ascii=False, separators=(",", ":")) == theirs["definitions"][form]


@pytest.mark.parametrize("at", range(len(CASES)), ids=lambda at: f"{at} {CASES[at]['input']!r:.60}")
def test_tools_answer_alike(at: int, theirs: Any) -> None:
    told, asked = run(CASES[at])
    assert theirs["runs"][at] == {"told": told, "asked": asked}


def test_cases_reach_the_platform_or_do_not() -> None:
    assert all(run(one)[1] for one in [*ANSWERED, *REFUSED])
    assert not any(run(one)[1] for one in [*MISTAKEN, *SEARCHED])
