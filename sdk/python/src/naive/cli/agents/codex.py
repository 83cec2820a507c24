"""Codex: a provider in ~/.codex/config.toml, its key in ~/.codex/.env. It speaks OpenAI's Responses alone."""

from __future__ import annotations

import os
from pathlib import Path

from naive.cli.agents import agent, env_text, toml_text
from naive.cli.agents.agent import Agent, Change, Wanted

KEY_VARIABLE = "NAIVE_API_KEY"


def plan(wanted: Wanted) -> list[Change]:
    folder = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
    path = folder / "config.toml"
    fields = {"name": "Naive", "base_url": wanted.proxy, "env_key": KEY_VARIABLE, "wire_api": "responses"}
    top = {"model": wanted.model, "model_provider": "naive"}
    return [
        agent.edit(
            path,
            lambda text: toml_text.merged(
                text, top=top, table="model_providers.naive", fields=fields, path=path
            ),
        ),
        agent.edit(
            folder / ".env",
            lambda text: env_text.with_value(text, KEY_VARIABLE, wanted.api_key),
            is_secret=True,
        ),
    ]


AGENT = Agent(title="Codex", model="openai/gpt-5.2-codex", start="codex", plan=plan)
