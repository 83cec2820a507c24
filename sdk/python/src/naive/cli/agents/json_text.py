"""JSON objects in files: fields set, everything else and its order kept."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from naive.cli.agents.agent import CannotEdit


def merged(text: str, fields: Mapping[str, Any], *, path: Path) -> str:
    """Return the object in `text` with `fields`, objects in them merged. Errors: CannotEdit for what is not JSON."""
    by_hand = json.dumps(_shown(fields))
    try:
        found = _read(text.removeprefix("\ufeff")) if text.strip() else {}
    except (ValueError, RecursionError) as exc:
        raise CannotEdit(
            path, f"is no plain JSON, of which something would be lost ({exc})", by_hand
        ) from exc
    if not isinstance(found, dict):
        raise CannotEdit(path, "is no JSON object", by_hand)
    if _holds(found, fields):
        return text
    try:
        _merge(found, fields)
    except TypeError as exc:
        raise CannotEdit(path, str(exc), by_hand) from exc
    return json.dumps(found, indent=_indent(text), ensure_ascii=False) + "\n"


def _read(text: str) -> Any:
    """Return what can be written again as it was. Errors: ValueError."""
    found = json.loads(text, object_pairs_hook=_once, parse_constant=_number, parse_float=_number)
    json.dumps(found, ensure_ascii=False).encode()  # Half of a character is no text of a file's.
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a field is there twice")
    return found


def _number(text: str) -> float:
    if not math.isfinite(found := float(text)):
        raise ValueError(f"{text} is no number")
    return found


def _holds(found: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    return all(
        isinstance(found.get(name), dict) and _holds(found[name], value)
        if isinstance(value, dict)
        else name in found and found[name] == value
        for name, value in fields.items()
    )


def _merge(found: dict[str, Any], fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        old = found.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        elif isinstance(value, dict) and old is not None:
            raise TypeError(f"its {name} is no object")
        else:
            found[name] = value


def _indent(text: str) -> int | str:
    """Return how the file is indented already."""
    for line in text.splitlines():
        margin = line[: len(line) - len(line.lstrip())]
        if margin:
            return "\t" if margin[0] == "\t" else len(margin)
    return 2


def _shown(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without their texts that are keys."""
    return {
        name: _shown(value) if isinstance(value, dict) else "YOUR KEY" if "nv_s" in str(value) else value
        for name, value in fields.items()
    }
