"""What an agent's set-up is made of: files, before and after. Pure but for reading them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from naive import errors
from naive.cli import files

PROXY = "/v1/proxy/openrouter"
HIDDEN = "…"
# What looks like somebody's key, and what a name says is one.
_KEY = re.compile(r"\bnv_(?:sk_live|sess)_[0-9A-Za-z]+|\b(?:sk|pk|gsk|xai|ghp|AIza)[-_][0-9A-Za-z_-]{8,}")
_NAMED = re.compile(
    r"""(?i)([\w.-]*(?:api[-_]?key|token|secret|password)["']?\s*[:=]\s*["']?)([^\s"',{}$]{4,})"""
)
# All values of a file that has nothing but keys: after a colon in JSON, after `=` elsewhere.
_VALUE = re.compile(r"""(?m)(:\s*"|^[^=\n#]+=)([^"\n]+)""")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an agent is to use."""

    base_url: str
    api_key: str
    model: str

    @property
    def proxy(self) -> str:
        """The base URL for clients that add `chat/completions` or `responses` to it."""
        return self.base_url + PROXY

    @property
    def anthropic(self) -> str:
        """The base URL for clients that add `v1/messages` to it."""
        return f"{self.base_url}{PROXY}/api"


@dataclass(frozen=True, slots=True)
class Change:
    """One file: `before` is None where there is none; `is_secret` where it holds keys and nothing else."""

    path: Path
    before: str | None
    after: str
    is_secret: bool = False

    def shown(self, text: str, key: str) -> str:
        """Return a text of the file's without any key: neither ours nor one that stood there."""
        text = text.replace(key, HIDDEN) if key else text
        if self.is_secret:
            return _VALUE.sub(rf"\1{HIDDEN}", text)
        return _NAMED.sub(rf"\1{HIDDEN}", _KEY.sub(HIDDEN, text))


@dataclass(frozen=True, slots=True)
class Agent:
    """A coding agent: `plan` says what its files are to become."""

    title: str
    model: str
    start: str
    plan: Callable[[Wanted], list[Change]]
    hints: tuple[str, ...] = ()


class CannotEdit(errors.ConfigurationError):
    """A file is written in a way that cannot be changed without losing something of it."""

    def __init__(self, path: Path, why: str, add: str) -> None:
        super().__init__(
            f"{path}: {why}; nothing was changed.", code="cannot_edit", hint=f"Add by hand: {add}"
        )


def current(path: Path) -> str | None:
    """Return a file's text, None where there is none. Errors: CannotEdit."""
    try:
        return files.read(path)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise CannotEdit(
            path, f"cannot be read ({type(exc).__name__})", "nothing; look at the file first"
        ) from exc


def lines_of(text: str) -> tuple[list[str], str]:
    """Return a file's lines, and what ends them; what Python alone takes for a line's end stays in its line."""
    end = "\r\n" if "\r\n" in text else "\n"
    text = text.replace("\r\n", "\n").removesuffix("\n")
    return text.split("\n") if text else [], end


def edit(path: Path, change: Callable[[str], str], *, is_secret: bool = False) -> Change:
    """Return what `change` makes of a file; of nothing where there is none."""
    before = current(path)
    return Change(path, before, change(before or ""), is_secret=is_secret)
