"""Naive as tools for agents: one registry, in the forms of Anthropic, OpenAI, LangChain and MCP."""

from naive.tools.calling import Outcome, call, call_async
from naive.tools.tool import Tool
from naive.tools.toolset import AsyncToolset, Toolset

__all__ = ["AsyncToolset", "Outcome", "Tool", "Toolset", "call", "call_async"]
