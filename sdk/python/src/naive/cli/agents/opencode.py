"""OpenCode: a provider in ~/.config/opencode/opencode.json, its key where `/connect` keeps them, in auth.json.

The provider is written as version 1 documents it, which version 2 reads as well.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from naive.cli.agents import agent, json_text
from naive.cli.agents.agent import Agent, Change, Wanted

# Offered beside the chosen one: OpenCode asks no provider for its list.
OFFERED = (
    "anthropic/claude-sonnet-4.6",
    "anthropic/claude-haiku-4.5",
    "openai/gpt-5.2",
    "google/gemini-2.5-pro",
)


def plan(wanted: Wanted) -> list[Change]:
    path = _folder("XDG_CONFIG_HOME", ".config") / "opencode.json"
    secrets = _folder("XDG_DATA_HOME", ".local/share") / "auth.json"
    provider: dict[str, Any] = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Naive",
        "options": {"baseURL": wanted.proxy},
        "models": {model: {"name": model} for model in dict.fromkeys((wanted.model, *OFFERED))},
    }
    config = {
        "$schema": "https://opencode.ai/config.json",
        "model": f"naive/{wanted.model}",
        "provider": {"naive": provider},
    }
    key = {"naive": {"type": "api", "key": wanted.api_key}}
    return [
        agent.edit(path, lambda text: json_text.merged(text, config, path=path)),
        agent.edit(secrets, lambda text: json_text.merged(text, key, path=secrets), is_secret=True),
    ]


def _folder(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / default) / "opencode"


AGENT = Agent(title="OpenCode", model="anthropic/claude-sonnet-4.6", start="opencode", plan=plan)
