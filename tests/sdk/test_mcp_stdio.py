"""`naive mcp`: the same tools over stdin and stdout, with the rights of the key in the environment."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from mcp import Client, StdioServerParameters

from tests import factories
from tests.e2e.conftest import Platform
from tests.sdk.mcp_clients import MODES, Mode, said

HELLO: dict[str, Any] = {"model": "openai/gpt-4o-mini", "prompt": "Say hello.", "max_tokens": 20}
# What `naive mcp` does, without the command line around it.
SERVE = "from naive import AsyncNaive\nfrom naive.mcp import stdio\nstdio.run(AsyncNaive())"

AT_ONCE = SERVE.replace("AsyncNaive()", "AsyncNaive(max_retries=0)")


@contextlib.asynccontextmanager
async def started(platform: Platform, secret: str, mode: Mode) -> AsyncIterator[Client]:
    environ = {"NAIVE_API_KEY": secret, "NAIVE_BASE_URL": platform.url}
    server = StdioServerParameters(command=sys.executable, args=["-c", SERVE], env=environ)
    async with Client(server, mode=mode) as client:
        yield client


def ask[T](platform: Platform, secret: str, talk: Callable[[Client], Awaitable[T]], mode: Mode = "auto") -> T:
    async def visit() -> T:
        async with started(platform, secret, mode) as client:
            return await talk(client)

    return asyncio.run(visit())


@pytest.mark.parametrize("mode", MODES)
def test_every_tool_answers_as_its_schema_says(mode: Mode, clean: Platform, acme: factories.Cast) -> None:
    asked = {
        "naive_llm_models": {"limit": 2},
        "naive_llm_estimate": HELLO,
        "naive_llm_chat": HELLO,
        "naive_usage": {},
        "naive_whoami": {},
    }

    async def talk(client: Client) -> dict[str, Any]:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(listed) == set(asked)
        found = {}
        for name, arguments in asked.items():
            result = await client.call_tool(name, arguments)
            assert not result.is_error, said(result)
            jsonschema.validate(result.structured_content, listed[name].output_schema or False)
            found[name] = result.structured_content
        return found

    found = ask(clean, acme.secret, talk, mode)
    assert Decimal(str(found["naive_usage"]["balance"])) == factories.balance(acme) < 20
    assert found["naive_whoami"]["company"] == acme.company.name
    assert clean.upstream.accepted() == 1


def test_tools_follow_the_kit_while_it_runs(clean: Platform, acme: factories.Cast) -> None:
    off = factories.with_key(acme)

    async def talk(client: Client) -> tuple[set[str], set[str], str]:
        before = {tool.name for tool in (await client.list_tools()).tools}
        await asyncio.to_thread(close_llm)
        while len(after := {tool.name for tool in (await client.list_tools()).tools}) == len(before):
            pass
        return before, after, said(await client.call_tool("naive_llm_chat", HELLO))

    def close_llm() -> None:
        path = f"/v1/account-kits/{acme.kit.id}"
        body = {"primitives_config": {"llm": {"enabled": False}}}
        clean.patch(acme.secret, path, body).raise_for_status()

    before, after, refused = ask(clean, off.secret, talk)
    assert before - after == {"naive_llm_chat", "naive_llm_models", "naive_llm_estimate"}
    assert after == {"naive_usage", "naive_whoami"}
    assert f'Not allowed by AccountKit "{acme.kit.name}": primitive_disabled_by_kit' in refused
    assert clean.upstream.accepted() == 0


def test_wrong_key_is_told_to_who_lists_and_to_who_calls(platform: Platform) -> None:
    async def talk(client: Client) -> tuple[str, str]:
        with pytest.raises(Exception, match="401 unauthorized") as caught:
            await client.list_tools()
        return str(caught.value), said(await client.call_tool("naive_usage", {}))

    listing, call = ask(platform, "nv_sk_live_wrong", talk)
    assert "nv_sk_live_wrong" not in listing + call
    assert call.startswith("401 unauthorized: ")


def test_platform_that_is_away_is_told(platform: Platform, acme: factories.Cast) -> None:
    async def talk() -> str:
        environ = {"NAIVE_API_KEY": acme.secret, "NAIVE_BASE_URL": "http://127.0.0.1:9"}
        server = StdioServerParameters(command=sys.executable, args=["-c", AT_ONCE], env=environ)
        async with Client(server) as client:
            return said(await client.call_tool("naive_whoami", {}))

    assert asyncio.run(talk()).startswith("connection_failed: ")
