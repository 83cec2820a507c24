"""`naive` itself: what there is, each loaded when it is called for, and the options before a command."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer import core, main

from naive.cli import commands, pages

MODELS, COMPANY, MACHINE = "Models", "Your company", "This machine"
# Name → module, heading and what it is for: `naive --help` loads none of them.
NOUNS: dict[str, tuple[str, str, str]] = {
    "llm": ("llm", MODELS, "Chat with models, list them, see what calls cost."),
    "mcp": ("mcp", MODELS, "Serve the tools of MCP over stdin and stdout."),
    "status": ("status", COMPANY, "Show the company and its credits."),
    "usage": ("usage", COMPANY, "Show what was spent."),
    "billing": ("billing", COMPANY, "Buy credits, read the ledger."),
    "users": ("users", COMPANY, "Manage your tenant users."),
    "account-kits": ("account_kits", COMPANY, "Manage what users may do."),
    "keys": ("keys", COMPANY, "Manage API keys."),
    "register": ("sign_in", MACHINE, "Found a company and sign in to it."),
    "login": ("sign_in", MACHINE, "Sign in."),
    "whoami": ("sign_in", MACHINE, "Show who you are here."),
    "use": ("sign_in", MACHINE, "Go on in another of your companies."),
    "logout": ("sign_in", MACHINE, "Forget the keys kept here."),
    "setup": ("setup", MACHINE, "Let a coding agent call models through Naive."),
    "doctor": ("doctor", MACHINE, "Find out what is amiss, and what to do."),
}
EPILOG = """naive register
naive llm chat -m anthropic/claude-sonnet-4.6 "Write a haiku about Paris"
git diff | naive llm chat -m openai/gpt-5.2 "Review this" | jq -r .result.text"""


class Nouns(pages.Group):
    """The commands as their names and lines of help; one that is chosen becomes itself."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, (_, panel, help) in NOUNS.items():
            self.commands[name] = core.TyperCommand(name, help=help, rich_help_panel=panel, callback=None)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)
        if name is None or found is None:
            return name, found, rest
        module = importlib.import_module(f"naive.cli.{NOUNS[name][0]}")
        loaded: Any = main.get_command(module.app)
        # A noun, or one of several commands that live together.
        loaded = getattr(loaded, "commands", {}).get(name, loaded)
        loaded.name = name
        return name, loaded, rest


app = typer.Typer(
    cls=Nouns,
    help="Naive: 300+ models behind one key, billed in credits, apart for each of your users.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(is_asked: bool) -> None:  # noqa: FBT001, typer's own call
    if is_asked:
        typer.echo(f"naive {importlib.import_module('naive.calls').version()}")
        raise typer.Exit


@app.callback()
def naive(
    ctx: typer.Context,
    *,
    base_url: Annotated[
        str | None, typer.Option(help="The platform's address; NAIVE_BASE_URL, if left out.")
    ] = None,
    is_json: commands.IsJSON = None,
    is_quiet: commands.IsQuiet = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    ctx.obj.asked_base_url = base_url
    commands.settle(ctx.obj, is_json=is_json, is_quiet=is_quiet)
