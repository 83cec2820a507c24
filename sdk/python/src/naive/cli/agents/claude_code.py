"""Claude Code: `env` in ~/.claude/settings.json. It speaks Anthropic's Messages, so it goes through the proxy.

It adds /v1/messages to ANTHROPIC_BASE_URL and sends ANTHROPIC_AUTH_TOKEN as a bearer; an ANTHROPIC_API_KEY of the
shell's would be sent beside it, so that is emptied.
"""

from __future__ import annotations

import os
from pathlib import Path

from naive.cli.agents import agent, json_text
from naive.cli.agents.agent import Agent, Change, Wanted

HAIKU = "anthropic/claude-haiku-4.5"


def plan(wanted: Wanted) -> list[Change]:
    folder = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
    path = folder / "settings.json"
    env = {
        "ANTHROPIC_BASE_URL": wanted.anthropic,
        "ANTHROPIC_AUTH_TOKEN": wanted.api_key,
        "ANTHROPIC_API_KEY": "",
        "ANTHROPIC_MODEL": wanted.model,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": wanted.model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": HAIKU,
    }
    return [agent.edit(path, lambda text: json_text.merged(text, {"env": env}, path=path))]


AGENT = Agent(
    title="Claude Code",
    model="anthropic/claude-sonnet-4.6",
    start="claude",
    plan=plan,
    hints=("In a session that was signed in before: /logout, then start again. /status shows the address.",),
)
