"""Continue: a model in ~/.continue/config.yaml, its key in ~/.continue/.env, which `secrets` are read from."""

from __future__ import annotations

import json
import os
from pathlib import Path

from naive.cli.agents import agent, env_text, yaml_text
from naive.cli.agents.agent import Agent, Change, Wanted

KEY_VARIABLE = "NAIVE_API_KEY"
NEW = "name: Naive\nversion: 0.0.1\nschema: v1\n"


def plan(wanted: Wanted) -> list[Change]:
    folder = Path(os.environ.get("CONTINUE_GLOBAL_DIR") or Path.home() / ".continue")
    path = folder / "config.yaml"
    item = [
        "- name: Naive",
        "  provider: openai",
        f"  model: {json.dumps(wanted.model)}",
        f"  apiBase: {json.dumps(wanted.proxy)}",
        f"  apiKey: ${{{{ secrets.{KEY_VARIABLE} }}}}",
        "  roles: [chat, edit, apply]",
    ]
    return [
        agent.edit(path, lambda text: yaml_text.with_item(text or NEW, "models", item, path=path)),
        agent.edit(
            folder / ".env",
            lambda text: env_text.with_value(text, KEY_VARIABLE, wanted.api_key),
            is_secret=True,
        ),
    ]


AGENT = Agent(
    title="Continue",
    model="anthropic/claude-sonnet-4.6",
    start="cn",
    plan=plan,
    hints=('In the editor, choose "Naive" as the model.',),
)
