"""Where output goes: JSON or text on stdout, notes and waiting on stderr, colour where somebody can see it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from naive import lazy
from naive.cli import figures

if TYPE_CHECKING:
    from rich import cells, console, table, text
else:
    cells = lazy.module("rich.cells")
    console = lazy.module("rich.console")
    table = lazy.module("rich.table")
    text = lazy.module("rich.text")

GAP = 2


@dataclass(frozen=True, slots=True)
class Column[T]:
    """One column of a table: its title, and what it says of a row."""

    title: str
    read: Callable[[T], str]
    is_number: bool = False
    style: str = ""


class Terminal:
    """Both ends of the process's output."""

    def __init__(self, *, is_json: bool, is_quiet: bool = False) -> None:
        self.is_json = is_json
        self.is_quiet = is_quiet
        self._consoles: dict[bool, console.Console] = {}

    @property
    def is_watched(self) -> bool:
        """Whether somebody sees notes and what moves."""
        return sys.stderr.isatty() and not self.is_quiet

    @property
    def can_ask(self) -> bool:
        return sys.stdin.isatty() and sys.stderr.isatty()

    def print(self, what: Any = "", *, style: str = "", is_flowing: bool = False) -> None:
        """Show something that rich can show on stdout; a text that does not flow can be copied as one line."""
        shown = _plain(what, style)
        is_line = isinstance(shown, text.Text) and not is_flowing
        self._console(is_error=False).print(shown, soft_wrap=is_line)

    def write(self, words: str) -> None:
        """Show a piece of somebody else's text as it comes."""
        sys.stdout.write(figures.safe(words))
        sys.stdout.flush()

    def note(self, words: str, *, style: str = "dim") -> None:
        """Say something beside the answer, where somebody sees it."""
        if self.is_watched:
            self.complain(words, style=style)

    def complain(self, words: Any, *, style: str = "") -> None:
        """Say something on stderr, whoever reads that."""
        self._console(is_error=True).print(_plain(words, style), soft_wrap=True)

    @contextlib.contextmanager
    def waiting(self, words: str) -> Iterator[Callable[[], None]]:
        """Show that something is awaited; what it yields ends the show early."""
        if not self.is_watched:
            yield lambda: None
            return
        shown = self._console(is_error=True).status(text.Text(words, style="dim"), spinner="dots")
        shown.start()
        try:
            yield shown.stop
        finally:
            shown.stop()

    def table[T](self, rows: Sequence[T], columns: Sequence[Column[T]], *, empty: str) -> None:
        """Show rows below their titles; on a terminal too narrow for that, one below the other. Nothing is cut."""
        if not rows:
            self.complain(empty)
            return
        lines = [[column.read(row) for column in columns] for row in rows]
        if _width(columns, lines) > self._console(is_error=False).width:
            self._list(columns, lines)
            return
        grid = table.Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
        for column in columns:
            justify: Any = "right" if column.is_number else "left"
            grid.add_column(column.title.upper(), justify=justify, style=column.style, no_wrap=True)
        for cells_of_line in lines:
            grid.add_row(*(text.Text(figures.safe(cell)) for cell in cells_of_line))
        self.print(grid)

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Show names and values, the values below one another."""
        width = max(len(name) for name, _ in pairs)
        for name, value in pairs:
            name = figures.safe(f"{name:<{width}}")
            self.print(text.Text.assemble((name, "dim"), " " * GAP, figures.safe(value)))

    def head(self, words: str, *more: str) -> None:
        """Show what the answer is about."""
        parts = ((f"  {figures.safe(part)}", "dim") for part in more)
        self.print(text.Text.assemble((figures.safe(words), "bold"), *parts))

    def done(self, words: str) -> None:
        """Show that something was done."""
        self.print(text.Text.assemble(("✓", "green"), f" {figures.safe(words)}"))

    def _list[T](self, columns: Sequence[Column[T]], lines: Sequence[Sequence[str]]) -> None:
        for place, cells_of_line in enumerate(lines):
            if place:
                self.print()
            self.facts([(column.title, cell) for column, cell in zip(columns, cells_of_line, strict=True)])

    def _console(self, *, is_error: bool) -> console.Console:
        if is_error not in self._consoles:
            # NO_COLOR is taken at its word and beyond: no styles at all.
            colour: Any = None if os.environ.get("NO_COLOR") else "auto"
            self._consoles[is_error] = console.Console(
                stderr=is_error, color_system=colour, highlight=False, markup=False, emoji=False
            )
        return self._consoles[is_error]


def _plain(what: Any, style: str) -> Any:
    return text.Text(figures.safe(what), style=style) if isinstance(what, str) else what


def _width[T](columns: Sequence[Column[T]], lines: Sequence[Sequence[str]]) -> int:
    titles = [column.title for column in columns]
    widest = [max(cells.cell_len(cell) for cell in column) for column in zip(titles, *lines, strict=True)]
    return sum(widest) + GAP * len(widest)
