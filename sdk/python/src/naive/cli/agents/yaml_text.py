"""YAML in files, as far as agents need it: top-level keys of plain values, and items of a top-level list.

There is no parser of YAML here: what is not written one value a line, as these agents document it, is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from naive.cli.agents import agent
from naive.cli.agents.agent import CannotEdit

# What may begin a line of one document whose top is a mapping in lines: a key, its value's margin or dashes, a comment.
_LINE = re.compile(
    r"""\s*(?:\#.*)?$|[ \t]|-(?:\s|$)|[^\s\#\[\]{},&*!|>%@`?:"'-][^:]*:(?:\s|$)|["'][\w.-]+["']\s*:(?:\s|$)"""
)


def with_keys(text: str, values: Mapping[str, str], *, path: Path) -> str:
    """Return `text` with these top-level keys. Errors: CannotEdit for a value of several lines, a key given twice."""
    lines, new_line = _lines(text, path, "; ".join(f"{key}: …" for key in values))
    for key, value in values.items():
        line = f"{key}: {json.dumps(value)}"
        place = _place(lines, key)
        if place is None:
            lines.append(line)
        elif _is_block(lines, place):
            raise CannotEdit(path, f"its {key} has several lines", f"{key}: …")
        else:
            lines[place] = line
            if _place(lines[place + 1 :], key) is not None:
                raise CannotEdit(path, f"its {key} is there twice", f"{key}: …")
    return new_line.join(lines) + new_line


def with_item(text: str, key: str, item: Sequence[str], *, path: Path) -> str:
    """Return `text` with an item in the list `key`, in the place of the one with the same first line.

    Shape: `item` is its lines without a margin, the first of them `- name: …`.
    Errors: CannotEdit for a list in brackets.
    """
    lines, new_line = _lines(text, path, " ".join(item))
    place = _place(lines, key)
    if place is None:
        return new_line.join([*lines, f"{key}:", *(f"  {line}" for line in item)]) + new_line
    rest = lines[place].partition(":")[2].split("#")[0].strip()
    if rest not in ("", "[]"):
        raise CannotEdit(path, f"its {key} stand in one line", " ".join(item))
    lines[place] = f"{key}:"
    end = _end(lines, place)
    margin = next((_margin(line) for line in lines[place + 1 : end] if line.lstrip().startswith("- ")), "  ")
    made = [f"{margin}{line}" for line in item]
    begin = next((at for at in range(place + 1, end) if lines[at].rstrip() == made[0]), None)
    if begin is None:
        return new_line.join([*lines[:end], *made, *lines[end:]]) + new_line
    after = next(
        (at for at in range(begin + 1, end) if lines[at].strip() and len(_margin(lines[at])) <= len(margin)),
        end,
    )
    return new_line.join([*lines[:begin], *made, *lines[after:]]) + new_line


def _lines(text: str, path: Path, by_hand: str) -> tuple[list[str], str]:
    """Return a file's lines. Errors: CannotEdit where they are not those of one mapping."""
    lines, end = agent.lines_of(text)
    told = [line for line in lines if line.strip() and not line.startswith("#")]
    body = told[1:] if told and told[0].rstrip() == "---" else told
    if (body and body[0][0] in " \t-") or not all(_LINE.match(line) for line in body):
        raise CannotEdit(path, "is no YAML of one key a line", by_hand)
    return lines, end


def _place(lines: Sequence[str], key: str) -> int | None:
    pattern = re.compile(rf"""["']?{re.escape(key)}["']?\s*:(\s|$)""")
    return next((place for place, line in enumerate(lines) if pattern.match(line)), None)


def _is_block(lines: Sequence[str], place: int) -> bool:
    value = lines[place].partition(":")[2].strip()
    return value[:1] in ("|", ">", "&", "*", "!") or _end(lines, place) > place + 1


def _end(lines: Sequence[str], place: int) -> int:
    """Return the line after a top-level key's value: its margin, or the dashes of its list, tell what belongs to it."""
    end = place + 1
    for at in range(place + 1, len(lines)):
        line = lines[at]
        if line.strip() and not line.startswith("#"):
            if not (line[0] in " \t" or line.startswith("- ") or line.rstrip() == "-"):
                break
            end = at + 1
    return end


def _margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
