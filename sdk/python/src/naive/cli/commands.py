"""How a function becomes a command: it is given the session, returns an answer, and says nothing by itself."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from naive.cli import answers, exits, pages
from naive.cli.answers import Answer
from naive.cli.session import Session

type Run = Callable[..., Answer]

OUTPUT = "Output"
# What every command takes beside its own options.
IsJSON = Annotated[
    bool | None,
    typer.Option("--json/--no-json", help="One JSON object, as when piped; or text.", rich_help_panel=OUTPUT),
]
IsQuiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No notes, nothing that moves.", rich_help_panel=OUTPUT)
]
_CONTEXT = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
_SHARED = (
    inspect.Parameter("is_json", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=IsJSON),
    inspect.Parameter("is_quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=IsQuiet),
)


def noun(help: str) -> typer.Typer:
    """Return the commands of a noun, which are still to be added."""
    return typer.Typer(cls=pages.Group, help=help, no_args_is_help=True, add_completion=False)


def alone() -> typer.Typer:
    """Return the place of commands that belong to no noun."""
    return typer.Typer(add_completion=False)


def command(app: typer.Typer, name: str, *, action: str, **more: Any) -> Callable[[Run], Run]:
    """Make a command of a function. `action` is what its JSON calls it, such as `users.create`."""

    def register(run: Run) -> Run:
        @functools.wraps(run)
        def invoke(ctx: typer.Context, *, is_json: bool | None, is_quiet: bool, **options: Any) -> None:
            session: Session = ctx.obj
            session.action = action
            settle(session, is_json=is_json, is_quiet=is_quiet)
            try:
                answer = run(session, **options)
                _say(session, answer)
            except BrokenPipeError:
                hush()
                raise typer.Exit(exits.PIPE_CLOSED) from None
            if answer.exit_code != exits.OK:
                raise typer.Exit(answer.exit_code)

        own = list(inspect.signature(run, eval_str=True).parameters.values())[1:]
        parameters = [_CONTEXT, *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own), *_SHARED]
        invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        invoke.__annotations__ = {one.name: one.annotation for one in parameters}
        app.command(name, cls=pages.Command, **more)(invoke)
        return run

    return register


def settle(session: Session, *, is_json: bool | None, is_quiet: bool) -> None:
    """Hear what the command line says of its output, before the command's name or after it."""
    if is_json is not None:
        session.terminal.is_json = is_json
    session.terminal.is_quiet |= is_quiet


def hush() -> None:
    """Whoever read stdout has left: what is still to be flushed goes nowhere, and nobody complains."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(session: Session, answer: Answer) -> None:
    terminal = session.terminal
    if terminal.is_json:
        sys.stdout.write(answers.written(answer, action=session.action) + "\n")
        sys.stdout.flush()
        return
    answer.show(terminal)
    sys.stdout.flush()
    for hint in answer.hints:
        terminal.note(hint)
    for step in answer.next_steps:
        terminal.note(f"→ {step}")
