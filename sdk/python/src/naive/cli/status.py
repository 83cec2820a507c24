"""`naive status`: the company and its credits."""

from __future__ import annotations

from naive.cli import commands, figures
from naive.cli.answers import Answer
from naive.cli.session import Session
from naive.cli.terminal import Terminal

app = commands.alone()
# Credits below which it is time to say so.
LOW = 5


@commands.command(app, "status", action="status")
def status(session: Session) -> Answer:
    """Show the company and its credits."""
    found = session.client.status()
    credits = found.credits

    def show(terminal: Terminal) -> None:
        terminal.head(figures.line(found.company.name), found.company.status, session.base_url)
        terminal.facts(
            [
                ("available", figures.credits(credits.available)),
                ("balance", figures.amount(credits.balance)),
                ("held", figures.amount(credits.held)),
                ("role", found.agent.role),
                ("company", found.company.id),
                ("key", figures.line(found.agent.key_id)),
            ]
        )

    hints = ["The wallet is frozen: no new calls. The operator can thaw it."] if credits.is_frozen else []
    return Answer(found, show, ["naive billing packs"] if credits.available < LOW else (), hints)
