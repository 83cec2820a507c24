"""Pages of help: what it does, how it is called, what there is, in as many columns as the terminal has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from typer import core

from naive import lazy
from naive.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich import padding, table, text
else:
    padding = lazy.module("rich.padding")
    table = lazy.module("rich.table")
    text = lazy.module("rich.text")

type Lines = list[tuple[str, str]]

MARGIN = 2
GAP = 2
# How wide names may make their column, before they are broken.
NAMES_WIDTH_MAX = 32
# Types as typer writes them, and as people read them.
_TYPES = re.compile(r" <(str|list\[str\]|int range|float range|int)>")
_READ_AS = {
    "str": "text",
    "list[str]": "text",
    "int": "number",
    "int range": "number",
    "float range": "number",
}


class Command(core.TyperCommand):
    """A command whose page of help is ours."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        show(self, ctx)


class Group(core.TyperGroup):
    """The same of commands below one name."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        show(self, ctx)


def show(command: Any, ctx: Any) -> None:
    """Print a command's page on stdout."""
    terminal = Terminal(is_json=False)
    about, _, more = (command.help or "").partition("\n\n")
    terminal.print(_flowing(about), is_flowing=True)
    if more:
        terminal.print()
        terminal.print(_flowing(more, style="dim"), is_flowing=True)
    pieces = " ".join(command.collect_usage_pieces(ctx))
    _section(terminal, "Usage", [(f"{ctx.command_path} {pieces}", "")])
    sections = _sections(command, ctx)
    names = (len(name) for lines in sections.values() for name, _ in lines)
    width = min(max(names), NAMES_WIDTH_MAX)
    for title, lines in sections.items():
        _section(terminal, title, lines, width=width)
    if command.epilog:
        examples = [line.strip() for line in command.epilog.splitlines()]
        _section(terminal, "Examples", [(line, "") for line in examples])


def _sections(command: Any, ctx: Any) -> dict[str, Lines]:
    found: dict[str, Lines] = {}
    for name, one in getattr(command, "commands", {}).items():
        if not one.hidden:
            title = getattr(one, "rich_help_panel", None) or "Commands"
            found.setdefault(title, []).append((name, _first_line(one.help)))
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is None:
            continue
        own = "Arguments" if param.param_type_name == "argument" else "Options"
        name, help = record
        name = _TYPES.sub(lambda kind: f" {_READ_AS[kind[1]]}", name)
        found.setdefault(getattr(param, "rich_help_panel", None) or own, []).append((name, help))
    return found


def _section(
    terminal: Terminal, title: str, lines: Iterable[tuple[str, str]], width: int | None = None
) -> None:
    grid = table.Table.grid(padding=(0, GAP, 0, 0))
    grid.add_column(min_width=width, max_width=width, overflow="fold", style="cyan" if width else "")
    if width:
        grid.add_column(overflow="fold")
    for name, help in lines:
        grid.add_row(text.Text(name), *([text.Text(help)] if width else []))
    terminal.print()
    terminal.print(title, style="bold")
    terminal.print(padding.Padding(grid, (0, 0, 0, MARGIN)))


def _flowing(words: str, style: str = "") -> text.Text:
    """A paragraph, to be broken where the terminal ends."""
    return text.Text("\n".join(" ".join(part.split()) for part in words.split("\n\n")), style=style)


def _first_line(help: str | None) -> str:
    return " ".join((help or "").partition("\n\n")[0].split())
