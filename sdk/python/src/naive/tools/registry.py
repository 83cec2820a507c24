"""THE registry: every tool there is, and which of them a credential is offered."""

from __future__ import annotations

from typing import Any

from naive import errors
from naive.tools import account, llm, primitives
from naive.tools.tool import Standing, Steps, Tool

# What an MCP client is shown, as far as its credential opens it.
MCP: tuple[Tool, ...] = (llm.CHAT, llm.MODELS, llm.ESTIMATE, account.USAGE, account.WHOAMI)
# What `agent_tools()` gives: two tools, however many primitives there will be.
TOOLSET: tuple[Tool, ...] = (primitives.SEARCH, primitives.RUN)
BY_NAME = {tool.name: tool for tool in MCP}

# Viewers read and estimate.
READ_ONLY_ROLE = "viewer"
# No provider's name begins so: the answer is short, or it is the refusal.
NO_PROVIDER = "-"


def standing(client: Any) -> Steps[Standing]:
    """Ask what the credential may do. Errors: NaiveError."""
    me = yield client.auth.me()
    try:
        yield client.llm.models(provider=NO_PROVIDER)
    except errors.PermissionDeniedError:
        return Standing(may_write=me.role != READ_ONLY_ROLE, may_call_models=False)
    return Standing(may_write=me.role != READ_ONLY_ROLE, may_call_models=True)


def offered(found: Standing) -> list[Tool]:
    """The tools of MCP for a credential of this standing."""
    return [tool for tool in MCP if tool.is_for(found)]
