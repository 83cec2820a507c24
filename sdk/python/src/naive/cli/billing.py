"""`naive billing`: buy credits, and see where they went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from naive.cli import commands, figures, lists
from naive.cli.answers import Answer
from naive.cli.session import Session, given
from naive.cli.terminal import Column, Terminal

if TYPE_CHECKING:
    from naive import types

app = commands.noun("Buy credits, read the ledger.")

Action = Literal["llm_call", "credit_topup", "grant", "refund", "correction", "chargeback"]


@commands.command(app, "packs", action="billing.packs")
def packs(session: Session) -> Answer:
    """List what can be bought."""
    found = session.client.billing.packs()
    columns: list[Column[types.Pack]] = [
        Column("pack", lambda pack: figures.line(pack.id), style="cyan"),
        Column("credits", lambda pack: figures.count(pack.credits), is_number=True),
        Column("price", lambda pack: figures.usd(pack.price_usd), is_number=True),
        Column("", lambda pack: figures.line(pack.badge) if pack.badge else ""),
    ]

    def show(terminal: Terminal) -> None:
        terminal.table(found.packs, columns, empty="Nothing can be bought here; ask the operator.")

    return Answer(found, show, [f"naive billing topup {found.packs[0].id}"] if found.packs else ())


@commands.command(app, "topup", action="billing.topup")
def topup(
    session: Session,
    *,
    pack: Annotated[str, typer.Argument(help="small, medium, large or xl.")],
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> Answer:
    """Open a checkout for a pack; credits come once it is paid."""
    found = session.client.billing.topup(pack)
    if open_page:
        typer.launch(found.checkout_url)

    def show(terminal: Terminal) -> None:
        bought = f"{figures.count(found.pack.credits)} credits for {figures.usd(found.pack.price_usd)}"
        terminal.head(bought, f"until {figures.when(found.expires_at)}")
        terminal.print(figures.line(found.checkout_url))

    return Answer(found, show, ["naive status"], ["Pay on that page; credits come within seconds."])


@commands.command(app, "ledger", action="billing.ledger")
def ledger(
    session: Session,
    *,
    action: Annotated[Action | None, typer.Option(help="Only these entries.")] = None,
    limit: lists.Limit = lists.LISTED,
    cursor: lists.Cursor = None,
) -> Answer:
    """List the ledger, the newest first; it sums to the balance."""
    found = session.client.billing.ledger(**given(action=action, limit=limit, cursor=cursor))
    columns: list[Column[types.Entry]] = [
        Column("at", lambda entry: figures.when(entry.created_at)),
        Column("action", lambda entry: figures.line(entry.action)),
        Column("credits", lambda entry: figures.amount(entry.amount), is_number=True),
        Column("balance", lambda entry: figures.amount(entry.balance_after), is_number=True),
        Column("reference", lambda entry: figures.line(entry.reference), style="cyan"),
    ]
    return lists.page(found, "entries", columns, command="naive billing ledger", empty="The ledger is empty.")


@commands.command(app, "statement", action="billing.statement")
def statement(
    session: Session,
    *,
    month: Annotated[str | None, typer.Argument(help="Such as 2026-11; this one, if left out.")] = None,
) -> Answer:
    """Show a month: opening balance, what came and went, closing balance."""
    found = session.client.billing.statement(**given(month=month))
    columns: list[Column[Any]] = [
        Column("action", lambda line: figures.line(line[0])),
        Column("count", lambda line: line[1], is_number=True),
        Column("credits", lambda line: figures.amount(line[2]), is_number=True),
    ]
    lines = [(line.action, figures.count(line.count), line.amount) for line in found.lines]
    whole = [
        ("opening balance", "", found.opening_balance),
        *lines,
        ("closing balance", "", found.closing_balance),
    ]

    def show(terminal: Terminal) -> None:
        terminal.head(figures.line(found.company.name), found.month, "" if found.is_closed else "so far")
        terminal.table(whole, columns, empty="")

    return Answer(found, show)
