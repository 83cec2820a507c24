"""What to do about an error: the next command to run, and the error as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from naive import errors, lazy
from naive.cli import exits, figures
from naive.cli.terminal import Terminal

if TYPE_CHECKING:
    from rich import text
else:
    text = lazy.module("rich.text")

# What is told of a 403 by its reason.
OF_REASON = {
    "model_not_allowed_by_kit": ["naive llm models", "naive account-kits list"],
    "primitive_disabled_by_kit": ["naive account-kits list"],
    "user_suspended": ["naive users update USER --status active"],
    "key_scope": ["naive whoami", "naive login"],
}


# Nouns that have a list, as actions begin.
LISTED = ("users", "account-kits", "keys")


def steps(error: errors.NaiveError, *, action: str = "", base_url: str | None = None) -> list[str]:
    """Return the commands that lead on from an error, the likeliest first."""
    at = f"naive --base-url {base_url}" if base_url else "naive"
    if known := error.details.pop("next_steps", None):
        return list(known)
    if error.code == exits.NOT_SIGNED_IN:
        return [f"{at} login", f"{at} register"]
    if isinstance(error, errors.AuthenticationError):
        return ["naive doctor", f"{at} login"]
    if isinstance(error, errors.InsufficientCreditsError):
        return _for_credits(error)
    if isinstance(error, errors.NotFoundError) and (noun := action.partition(".")[0]) in LISTED:
        return [f"naive {noun} list"]
    if isinstance(error, errors.PermissionDeniedError):
        return OF_REASON.get(error.reason or "", ["naive whoami"])
    if isinstance(error, errors.StreamInterruptedError | errors.APITimeoutError) and error.generation_id:
        return [f"naive llm generation {error.generation_id}"]
    if isinstance(error, errors.APIConnectionError | errors.InvalidResponseError):
        return ["naive doctor"]
    return []


def show(terminal: Terminal, error: errors.NaiveError, next_steps: Sequence[str]) -> None:
    """Say it on stderr: what, what next, and what support asks for."""
    terminal.complain(text.Text.assemble(("error:", "bold red"), " ", figures.safe(error.message)))
    if error.hint:
        terminal.complain(f"  {figures.safe(error.hint)}")
    for step in next_steps:
        terminal.complain(text.Text.assemble("  ", ("→", "cyan"), " ", figures.safe(step)))
    if error.request_id:
        terminal.complain(f"  {error.status} {error.code} · {error.request_id}", style="dim")


def _for_credits(error: errors.InsufficientCreditsError) -> list[str]:
    if error.limit == "key_cap":
        return ["naive keys list"]
    if error.limit == "user_cap":
        return ["naive account-kits list"]
    return ["naive billing packs", "naive billing topup small"]
