"""Aider: ~/.aider.conf.yml. `openai/` before a model is its own word for any OpenAI-compatible address."""

from __future__ import annotations

from pathlib import Path

from naive.cli.agents import agent, yaml_text
from naive.cli.agents.agent import Agent, Change, Wanted


def plan(wanted: Wanted) -> list[Change]:
    path = Path.home() / ".aider.conf.yml"
    values = {
        "model": f"openai/{wanted.model}",
        "openai-api-base": wanted.proxy,
        "openai-api-key": wanted.api_key,
    }
    return [agent.edit(path, lambda text: yaml_text.with_keys(text, values, path=path))]


AGENT = Agent(title="Aider", model="anthropic/claude-sonnet-4.6", start="aider", plan=plan)
