"""What a command answers, and the one JSON object that it is where nobody looks at a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from naive import errors, numbers
from naive.cli import exits, figures

if TYPE_CHECKING:
    from naive.cli.terminal import Terminal


@dataclass(frozen=True, slots=True)
class Answer:
    """`result` is for programs, `show` for people; `next_steps` are commands, `hints` sentences."""

    result: Any
    show: Callable[[Terminal], None]
    next_steps: Sequence[str] = ()
    hints: Sequence[str] = ()
    exit_code: int = exits.OK


class UsageError(errors.NaiveError):
    """The command was not given what it needs; nothing was sent."""


def written(answer: Answer, *, action: str) -> str:
    return _json(
        {
            "success": answer.exit_code == exits.OK,
            "action": action,
            "result": answer.result,
            "next_steps": list(answer.next_steps),
            "hints": list(answer.hints),
        }
    )


def refused(error: errors.NaiveError, *, action: str, next_steps: Sequence[str], exit_code: int) -> str:
    """Return an error as the same object, with `error` beside an empty result."""
    return _json(
        {
            "success": False,
            "action": action,
            "result": None,
            "error": {
                "code": error.code,
                "message": error.message,
                "status": error.status,
                "details": error.details,
                "request_id": error.request_id,
                "exit_code": exit_code,
            },
            "next_steps": list(next_steps),
            "hints": [error.hint] if error.hint else [],
        }
    )


def _json(found: Mapping[str, Any]) -> str:
    return figures.escaped(json.dumps(found, default=_plain, ensure_ascii=False, indent=2))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return numbers.nearest(value)
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return str(value)
