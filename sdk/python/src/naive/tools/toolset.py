"""`naive.agent_tools()`: the toolset in the form that an agent's framework takes, and what runs its calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from naive.tools import calling, forms, registry

if TYPE_CHECKING:
    from naive.tools.forms import Form

TOOLS = {tool.name: tool for tool in registry.TOOLSET}


class Toolset(NamedTuple):
    """Tools for a model, and `handle(name, input)`, which returns what to give back to it; it raises nothing."""

    tools: list[Any]
    handle: Callable[[str, Mapping[str, Any] | str], str]


class AsyncToolset(NamedTuple):
    """The same, where `handle` is awaited."""

    tools: list[Any]
    handle: Callable[[str, Mapping[str, Any] | str], Awaitable[str]]


def of(client: Any, form: Form = "anthropic") -> Toolset:
    """Return the toolset of a `Naive`, or of what its `for_user` gives."""

    def handle(name: str, input: Mapping[str, Any] | str) -> str:
        tool = TOOLS.get(name)
        return _unknown(name) if tool is None else calling.call(tool, client, input).text

    return Toolset(forms.shaped(form, registry.TOOLSET, handle, is_async=False), handle)


def of_async(client: Any, form: Form = "anthropic") -> AsyncToolset:
    """Return the toolset of an `AsyncNaive`, or of what its `for_user` gives."""

    async def handle(name: str, input: Mapping[str, Any] | str) -> str:
        tool = TOOLS.get(name)
        return _unknown(name) if tool is None else (await calling.call_async(tool, client, input)).text

    return AsyncToolset(forms.shaped(form, registry.TOOLSET, handle, is_async=True), handle)


def _unknown(name: str) -> str:
    return f"Unknown Naive tool: '{name}'. There are: {', '.join(TOOLS)}."
