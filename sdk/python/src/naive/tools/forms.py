"""A tool as Anthropic, OpenAI and LangChain take it; MCP's form is in naive.mcp.server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from naive import errors, lazy
from naive.tools.tool import Tool

if TYPE_CHECKING:
    from langchain_core import tools as langchain
else:
    langchain = lazy.module("langchain_core.tools")

type Form = Literal["anthropic", "openai", "langchain"]
type Handle = Callable[[str, Mapping[str, Any] | str], Any]


def shaped(form: Form, tools: tuple[Tool, ...], handle: Handle, *, is_async: bool) -> list[Any]:
    """Return the tools in a form. Errors: ConfigurationError for a form that is not known or not installed."""
    if form == "anthropic":
        return [anthropic(tool) for tool in tools]
    if form == "openai":
        return [openai(tool) for tool in tools]
    if form == "langchain":
        return [_langchain(tool, handle, is_async=is_async) for tool in tools]
    raise errors.ConfigurationError(
        f"form {form!r} is not known; there are anthropic, openai and langchain.", code="unknown_form"
    )


def anthropic(tool: Tool) -> dict[str, Any]:
    """As `tools` of Anthropic's Messages take it."""
    return {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema()}


def openai(tool: Tool) -> dict[str, Any]:
    """As `tools` of chat completions take it, OpenAI's and Naive's own."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.input_schema()}
    return {"type": "function", "function": function}


def _langchain(tool: Tool, handle: Handle, *, is_async: bool) -> langchain.StructuredTool:
    def call(**arguments: Any) -> str:
        found: str = handle(tool.name, arguments)
        return found

    async def call_async(**arguments: Any) -> str:
        found: Awaitable[str] = handle(tool.name, arguments)
        return await found

    try:
        structured = langchain.StructuredTool
    except ImportError as exc:
        raise errors.ConfigurationError(
            "The form langchain needs langchain-core.",
            code="not_installed",
            hint="pip install 'naive-sdk[langchain]'",
        ) from exc
    return structured(
        name=tool.name,
        description=tool.description,
        # A schema, not a model: what is wrong with the arguments is told by handle(), as in every other form.
        args_schema=tool.input_schema(),
        func=None if is_async else call,
        coroutine=call_async if is_async else None,
    )
