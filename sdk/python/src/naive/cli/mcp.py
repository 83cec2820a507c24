"""`naive mcp`: the MCP server over stdin and stdout, which belong to its messages alone."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

import typer

from naive import errors
from naive.cli import commands, pages
from naive.cli.session import Session

app = commands.alone()

INSTALL = "pip install 'naive-sdk[mcp]'"


@app.command("mcp", cls=pages.Command)
def mcp(ctx: typer.Context) -> None:
    """Serve the tools of MCP over stdin and stdout, with the rights of your key."""
    session: Session = ctx.obj
    session.action = "mcp"
    # Whoever reads stdout waits for messages: what fails is said on stderr.
    session.terminal.is_json = False
    if find_spec("mcp") is None:
        raise errors.ConfigurationError(
            "naive mcp needs the official MCP package.",
            code="not_installed",
            details={"next_steps": [INSTALL]},
        )
    importlib.import_module("naive.mcp.stdio").run(session.async_client)
