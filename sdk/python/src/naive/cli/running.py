"""Runs a command line: whatever happens becomes an answer, one readable error, and an exit code."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from typing import Any

import typer

from naive import errors
from naive.cli import advice, answers, commands, exits, root
from naive.cli.session import Session


def run(arguments: Sequence[str]) -> int:
    """Run `naive` with these arguments and return its exit code; nothing is raised."""
    for stream in (sys.stdout, sys.stderr):
        # What this terminal's encoding lacks is shown as `?`.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    session = Session(is_json=_asks_for_json(arguments))
    try:
        return _ran(session, arguments)
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        commands.hush()
        return exits.PIPE_CLOSED


def command() -> Any:
    """Return `naive` with all that typer adds to a program: it completes shells' words, too."""
    return typer.main.get_command(root.app)


def _ran(session: Session, arguments: Sequence[str]) -> int:
    try:
        code = command().main(list(arguments), prog_name="naive", standalone_mode=False, obj=session)
        return code if isinstance(code, int) else exits.OK
    except errors.NaiveError as exc:
        code = exits.USAGE if isinstance(exc, answers.UsageError) else exits.code(exc)
        return _refuse(session, exc, code)
    except BrokenPipeError:
        raise
    except typer.Abort:
        # A question that was answered with Ctrl-C or Ctrl-D.
        return exits.INTERRUPTED
    except typer.TyperException as exc:
        return _misused(session, exc)
    except OSError as exc:
        # A disk that is full, a folder that is somebody else's.
        return _refuse(session, errors.ConfigurationError(str(exc), code="io_error"), exits.ERROR)


def _misused(session: Session, exc: typer.TyperException) -> int:
    """Say what is wrong with the command line itself; where nothing was asked, show what there is."""
    ctx: Any = getattr(exc, "ctx", None)
    if type(exc).__name__ == "NoArgsIsHelpError":
        if exc.message:
            sys.stdout.write(exc.message + "\n")
        return exits.OK
    path = ctx.command_path if ctx else "naive"
    # Pydantic, which typer asks about values, says this before every message.
    message = exc.format_message().replace("Value error, ", "")
    known = [option for one in ctx.command.get_params(ctx) for option in one.opts] if ctx else []
    meant = difflib.get_close_matches(getattr(exc, "option_name", ""), known)
    hint = f"Did you mean {', '.join(meant)}?" if meant else None
    error = answers.UsageError(message, code="usage", hint=hint)
    return _refuse(session, error, exits.USAGE, steps=[f"{path} --help"])


def _refuse(session: Session, error: errors.NaiveError, code: int, steps: Sequence[str] | None = None) -> int:
    terminal = session.terminal
    steps = _next(session, error) if steps is None else steps
    if terminal.is_json:
        told = answers.refused(error, action=session.action, next_steps=steps, exit_code=code)
        sys.stdout.write(told + "\n")
        sys.stdout.flush()
        return code
    advice.show(terminal, error, steps)
    return code


def _next(session: Session, error: errors.NaiveError) -> list[str]:
    return advice.steps(error, action=session.action, base_url=session.asked_base_url)


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Before anything is parsed, which may fail: as it was asked for, else whether nobody watches."""
    options = list(arguments[: list(arguments).index("--")]) if "--" in arguments else list(arguments)
    if "--json" in options or "--no-json" in options:
        return "--json" in options
    return not sys.stdout.isatty()
