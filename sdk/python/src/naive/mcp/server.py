"""The MCP server over the registry of tools; whatever carries its messages gives it the client of each request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from naive import calls, errors
from naive.tools import calling, refusals, registry
from naive.tools.tool import Tool

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

    from naive import AsyncNaive

type Context = ServerRequestContext[Any, Any]

INSTRUCTIONS = (
    "Naive calls 300+ language models and bills each call in credits. Before a long or dear call ask "
    "naive_llm_estimate; naive_usage says what is left. A refusal names the limit and what to do next."
)


def build(client_of: Callable[[Context], AsyncNaive]) -> Server[Any]:
    """Return a server whose tools are called through `client_of(context)`, each time with that request's own rights."""

    async def list_tools(
        context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        try:
            standing = await calling.finish_async(registry.standing(client_of(context)))
        except errors.NaiveError as exc:
            raise MCPError(types.INTERNAL_ERROR, refusals.told(exc)) from exc
        return types.ListToolsResult(tools=[described(tool) for tool in registry.offered(standing)])

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = registry.BY_NAME.get(params.name)
        if tool is None:
            known = ", ".join(registry.BY_NAME)
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name[:100]!r}. There are: {known}.")
        outcome = await calling.call_async(tool, client_of(context), params.arguments)
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=outcome.text)],
            structured_content=outcome.structured,
            is_error=outcome.is_error,
        )

    def input_schema(name: str) -> dict[str, Any] | None:
        tool = registry.BY_NAME.get(name)
        return None if tool is None else tool.input_schema()

    return Server(
        "naive",
        title="Naive",
        version=calls.version(),
        instructions=INSTRUCTIONS,
        get_tool_input_schema=input_schema,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def described(tool: Tool) -> types.Tool:
    """Return a tool as MCP lists it."""
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema(),
        output_schema=tool.output_schema(),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.is_read_only,
            destructive_hint=False,
            idempotent_hint=tool.is_idempotent,
            open_world_hint=tool.is_open_world,
        ),
    )
