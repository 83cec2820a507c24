"""What commands about lists have in common: one page of them, and how to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from naive.cli.answers import Answer, UsageError
from naive.cli.session import Session
from naive.cli.terminal import Column, Terminal

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="How many to show.")]
Cursor = Annotated[str | None, typer.Option(help="Where to go on: next_cursor of the page before.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
LISTED = 30


def page(found: Any, plural: str, columns: Sequence[Column[Any]], *, command: str, empty: str) -> Answer:
    """Answer with one page of a list, as the platform has it."""

    def show(terminal: Terminal) -> None:
        terminal.table(found.items, columns, empty=empty)

    result = {plural: [row.to_dict() for row in found.items], "next_cursor": found.next_cursor}
    return Answer(result, show, [f"{command} --cursor {found.next_cursor}"] if found.next_cursor else ())


def confirm(session: Session, question: str, *, yes: bool) -> None:
    """Ask before what cannot be undone. Errors: UsageError where nobody can be asked, Abort for a no."""
    if yes:
        return
    if not session.terminal.can_ask:
        raise UsageError(
            f"{question} Nobody can be asked here.", code="usage", hint="Say --yes if you mean it."
        )
    typer.confirm(question, abort=True, err=True)
