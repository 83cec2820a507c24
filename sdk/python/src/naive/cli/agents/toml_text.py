"""TOML in files: top-level keys and one table set line by line, comments kept, and the result read back."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from naive.cli.agents import agent
from naive.cli.agents.agent import CannotEdit

_HEADER = re.compile(r"^\s*\[")


def merged(text: str, *, top: Mapping[str, str], table: str, fields: Mapping[str, Any], path: Path) -> str:
    """Return `text` with the keys `top` before all tables, and `[table]` made of `fields` alone.

    Errors: CannotEdit where the file is no TOML, or would not say afterwards what is meant.
    """
    block = _block(table, fields)
    by_hand = "; ".join([*(f"{key} = {json.dumps(value)}" for key, value in top.items()), *block])
    old = _parsed(text, path, by_hand)
    lines, end = agent.lines_of(text)
    first = next((place for place, line in enumerate(lines) if _HEADER.match(line)), len(lines))
    head = _with_keys(lines[:first], top)
    tail = _with_table(lines[first:], table, block)
    if head and tail and head[-1].strip():
        head.append("")
    made = end.join([*head, *tail]) + end
    if not isinstance(old.get(table.partition(".")[0], {}), dict) or _parsed(made, path, by_hand) != _meant(
        old, top, table, fields
    ):
        raise CannotEdit(path, "is written in a way that cannot be edited line by line", by_hand)
    return made


def _with_keys(head: list[str], top: Mapping[str, str]) -> list[str]:
    head = list(head)
    while head and not head[-1].strip():
        head.pop()
    for key, value in top.items():
        line = f"{key} = {json.dumps(value)}"
        places = [place for place, old in enumerate(head) if re.match(rf"\s*{re.escape(key)}\s*=", old)]
        if places:
            head[places[0]] = line
        else:
            head.append(line)
    return head


def _with_table(tail: list[str], table: str, block: list[str]) -> list[str]:
    """Put the table in its own place, or at the end."""
    begin = next(
        (place for place, line in enumerate(tail) if line.split("#")[0].strip() == f"[{table}]"), None
    )
    if begin is None:
        while tail and not tail[-1].strip():
            tail.pop()
        return [*tail, "", *block] if tail else block
    end = next((place for place in range(begin + 1, len(tail)) if _HEADER.match(tail[place])), len(tail))
    return [*tail[:begin], *block, *([""] if end < len(tail) else []), *tail[end:]]


def _block(table: str, fields: Mapping[str, Any]) -> list[str]:
    # A JSON string of printable text is a basic string of TOML.
    return [f"[{table}]", *(f"{name} = {json.dumps(value)}" for name, value in fields.items())]


def _parsed(text: str, path: Path, by_hand: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise CannotEdit(path, f"is no TOML that can be edited ({exc})", by_hand) from exc


def _meant(
    old: dict[str, Any], top: Mapping[str, str], table: str, fields: Mapping[str, Any]
) -> dict[str, Any]:
    meant: dict[str, Any] = {**old, **top}
    parent, _, name = table.partition(".")
    meant[parent] = {**old.get(parent, {}), name: dict(fields)}
    return meant
