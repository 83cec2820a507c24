"""`naive usage`: what was spent, and on what."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from naive.cli import commands, figures
from naive.cli.answers import Answer
from naive.cli.session import Session, given
from naive.cli.terminal import Column, Terminal

if TYPE_CHECKING:
    from naive import types

app = commands.alone()

GroupBy = Literal["hour", "day", "model", "user", "key", "kit"]

DAYS = 30
BAR = 16
Days = Annotated[int, typer.Option(min=1, max=366, help="How far back.")]
By = Annotated[GroupBy, typer.Option("--by", "-b", help="What to add up by.")]


@commands.command(app, "usage", action="usage")
def usage(
    session: Session,
    *,
    days: Days = DAYS,
    by: By = "model",
    user: Annotated[str | None, typer.Option("--user", "-u", help="Of one tenant user.")] = None,
) -> Answer:
    """Show what was spent, by model, day, user, key or kit."""
    return answer(session.client.usage(**given(days=days, group_by=by, user_id=user, limit=1)), by=by)


def answer(found: types.Usage, *, by: GroupBy) -> Answer:
    """Answer with sums; the entries themselves are the ledger's to show."""
    result = {
        name: value for name, value in found.to_dict().items() if name not in ("transactions", "next_cursor")
    }
    return Answer(result, lambda terminal: _show(terminal, found, by=by), ["naive billing ledger"])


def _show(terminal: Terminal, found: types.Usage, *, by: GroupBy) -> None:
    summary = found.summary
    terminal.head(
        figures.credits(summary.credits_used), f"in {summary.days} days", f"{summary.calls:,} calls"
    )
    terminal.print(f"{figures.amount(found.balance)} left, {figures.amount(found.held)} of it held")
    if not summary.groups:
        return
    groups = list(summary.groups)
    if by not in ("hour", "day"):
        groups.sort(key=lambda group: -group.credits_used)
    most = max(group.credits_used for group in groups)
    columns: list[Column[Any]] = [
        Column(by, lambda group: figures.line(group.group), style="cyan"),
        Column("calls", lambda group: figures.count(group.calls), is_number=True),
        Column("tokens in", lambda group: figures.count(group.tokens_prompt), is_number=True),
        Column("tokens out", lambda group: figures.count(group.tokens_completion), is_number=True),
        Column("credits", lambda group: figures.amount(group.credits_used), is_number=True),
        Column("", lambda group: _bar(group.credits_used, most), style="cyan"),
    ]
    terminal.print()
    terminal.table(groups, columns, empty="")


def _bar(part: Decimal, most: Decimal) -> str:
    return "█" * max(1, int(BAR * part / most)) if part > 0 else ""
