"""`naive setup`: writes the configuration files of coding agents, so that they call models through Naive."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

import typer

from naive.cli import commands, files
from naive.cli.agents import registry
from naive.cli.agents.agent import Change, Wanted
from naive.cli.answers import Answer
from naive.cli.session import Session
from naive.cli.terminal import Terminal

app = commands.alone()

AgentName = Literal["claude-code", "codex", "opencode", "aider", "continue"]

STYLES = {"+": "green", "-": "red", "@": "cyan"}


@commands.command(app, "setup", action="setup")
def setup(
    session: Session,
    *,
    agent: Annotated[
        AgentName, typer.Option("--agent", "-a", help="Whose files to write.", show_default=False)
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The model to begin with; the agent's own family, if left out."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
) -> Answer:
    """Let a coding agent call models through Naive. What was there is kept beside; the key is never shown."""
    chosen = registry.AGENTS[agent]
    key = session.required_key()
    wanted = Wanted(base_url=session.base_url, api_key=key, model=model or chosen.model)
    changes = [change for change in chosen.plan(wanted) if change.before != change.after]
    diffs = {str(change.path): _diff(change, key) for change in changes}
    backups: dict[str, str] = {}
    if not dry_run:
        for change in changes:
            if change.before is not None:
                backups[str(change.path)] = str(files.back_up(change.path))
            files.replace(change.path, change.after)
    result = {"agent": agent, "model": wanted.model, "dry_run": dry_run, "changes": diffs, "backups": backups}

    def show(terminal: Terminal) -> None:
        if not changes:
            terminal.done(f"{chosen.title} is set up already")
        for change in changes:
            if dry_run:
                _show_diff(terminal, diffs[str(change.path)])
            else:
                terminal.done(f"Wrote {change.path}")
                if (copy := backups.get(str(change.path))) is not None:
                    terminal.note(f"  what was there: {copy}")

    if dry_run:
        return Answer(result, show, [f"naive setup --agent {agent}"] if changes else ())
    return Answer(result, show, [chosen.start], chosen.hints)


def _diff(change: Change, key: str) -> str:
    """Return what would change, without any key: neither ours nor one that stands there."""
    before, after = (change.shown(text, key).splitlines() for text in (change.before or "", change.after))
    name = str(change.path)
    origin = name if change.before is not None else "/dev/null"
    return "\n".join(difflib.unified_diff(before, after, origin, name, lineterm=""))


def _show_diff(terminal: Terminal, diff: str) -> None:
    for line in diff.splitlines():
        terminal.print(line, style=STYLES.get(line[:1], ""))
