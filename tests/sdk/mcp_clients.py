"""MCP's official client, one connection a question, so that each test reads as question and answer."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal

import httpx2
import jsonschema
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent, Tool

from tests.e2e.conftest import NO_TLS, Platform

# The handshake of 2025 and before, and the protocol of 2026, which has none.
type Mode = Literal["legacy", "auto"]
MODES: list[Mode] = ["legacy", "auto"]


def ask[T](
    platform: Platform,
    secret: str,
    talk: Callable[[Client], Awaitable[T]],
    *,
    mode: Mode = "auto",
    headers: dict[str, str] | None = None,
) -> T:
    """Connect to the platform's /mcp, talk, and leave."""

    async def visit() -> T:
        async with connected(platform.url, secret, mode=mode, headers=headers) as client:
            return await talk(client)

    return asyncio.run(visit())


@contextlib.asynccontextmanager
async def connected(
    url: str, secret: str, *, mode: Mode = "auto", headers: dict[str, str] | None = None
) -> AsyncIterator[Client]:
    sent = {"Authorization": f"Bearer {secret}", **(headers or {})}
    context: ssl.SSLContext = NO_TLS
    async with (
        httpx2.AsyncClient(headers=sent, timeout=60, verify=context) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def tools(platform: Platform, secret: str, **more: Any) -> dict[str, Tool]:
    """The tools that this credential is shown."""

    async def talk(client: Client) -> dict[str, Tool]:
        return {tool.name: tool for tool in (await client.list_tools()).tools}

    return ask(platform, secret, talk, **more)


def call(
    platform: Platform, secret: str, name: str, arguments: dict[str, Any] | None = None, **more: Any
) -> CallToolResult:
    """What a tool answers, its structure held to the schema that it was listed with."""

    async def talk(client: Client) -> CallToolResult:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        result = await client.call_tool(name, arguments or {})
        if not result.is_error:
            schema = listed[name].output_schema
            assert schema is not None
            jsonschema.validate(result.structured_content, schema)
        return result

    return ask(platform, secret, talk, **more)


def said(result: CallToolResult) -> str:
    """The one text of an answer."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text
