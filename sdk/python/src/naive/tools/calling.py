"""Calls a tool over either client: its steps, one after the other, and what came of them as an outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from naive import errors
from naive.tools import refusals
from naive.tools.tool import Output, Steps, Tool

type Arguments = Mapping[str, Any] | str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call: `text` is for a model; `structured` is of the tool's output schema, None with an error."""

    text: str
    structured: dict[str, Any] | None = None

    @property
    def is_error(self) -> bool:
        return self.structured is None


def call(tool: Tool, client: Any, arguments: Arguments) -> Outcome:
    """Call a tool over `Naive`; what fails is told, not raised."""
    try:
        return _answered(finish(tool.start(client, arguments)))
    except errors.NaiveError as exc:
        return Outcome(refusals.told(exc))
    except ValueError as exc:
        return Outcome(f"Not sent: {exc}.")


async def call_async(tool: Tool, client: Any, arguments: Arguments) -> Outcome:
    """Call a tool over `AsyncNaive`; what fails is told, not raised."""
    try:
        return _answered(await finish_async(tool.start(client, arguments)))
    except errors.NaiveError as exc:
        return Outcome(refusals.told(exc))
    except ValueError as exc:
        return Outcome(f"Not sent: {exc}.")


def finish[T](steps: Steps[T]) -> T:
    """Go through the steps of a call over `Naive`. Errors: NaiveError."""
    try:
        answer = next(steps)
        while True:
            answer = steps.send(answer)
    except StopIteration as done:
        found: T = done.value
        return found


async def finish_async[T](steps: Steps[T]) -> T:
    """Go through the steps of a call over `AsyncNaive`. Errors: NaiveError."""
    try:
        asked = next(steps)
        while True:
            try:
                answer = await asked
            except errors.NaiveError as exc:
                asked = steps.throw(exc)
            else:
                asked = steps.send(answer)
    except StopIteration as done:
        found: T = done.value
        return found


def _answered(found: Output) -> Outcome:
    plain = found.plain()
    return Outcome(json.dumps(plain, ensure_ascii=False, separators=(",", ":")), plain)
