"""Chunks put together into the answer they are pieces of."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from naive import lazy

if TYPE_CHECKING:
    from naive import types
else:
    types = lazy.module("naive.types")

_WHOLE = ("id", "created", "model", "provider", "system_fingerprint", "service_tier", "usage")


class Gathered:
    """The answer so far, as JSON."""

    def __init__(self) -> None:
        self._whole: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    @property
    def text(self) -> str:
        """The first choice's text so far."""
        message = self._choices.get(0, {}).get("message", {})
        return message.get("content") or ""

    @property
    def is_finished(self) -> bool:
        """Whether each choice that began has said why it ended."""
        return bool(self._choices) and all(choice["finish_reason"] for choice in self._choices.values())

    def add(self, chunk: Mapping[str, Any]) -> None:
        self._whole |= {name: chunk[name] for name in _WHOLE if chunk.get(name) is not None}
        for piece in chunk.get("choices") or ():
            self._add_choice(piece)

    def completion(
        self, *, credits_used: Decimal | None, credits_remaining: Decimal | None, headers: Mapping[str, str]
    ) -> types.ChatCompletion:
        """Return it as the answer of `llm.chat`."""
        found = types.ChatCompletion.read(
            {
                **self._whole,
                "object": "chat.completion",
                "choices": [self._choices[index] for index in sorted(self._choices)],
                "credits_used": credits_used,
                "credits_remaining": credits_remaining,
            }
        )
        found.remember(headers)
        return found

    def _add_choice(self, piece: Mapping[str, Any]) -> None:
        index = piece.get("index") or 0
        choice = self._choices.setdefault(
            index, {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None}
        )
        for name, value in piece.items():
            if name == "delta":
                _grow(choice["message"], value or {})
            elif name != "index" and value is not None:
                choice[name] = value


def _grow(whole: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Add a delta to what is there: texts and lists go on, what has an `index` goes on with its own."""
    for name, value in delta.items():
        old = whole.get(name)
        if value is None:
            whole.setdefault(name, None)
        elif name in ("role", "id", "type") or old is None:
            whole[name] = _begun(value)
        elif isinstance(old, str) and isinstance(value, str):
            whole[name] = old + value
        elif isinstance(old, list) and isinstance(value, list):
            _lengthen(old, value)
        elif isinstance(old, dict) and isinstance(value, dict):
            _grow(old, value)
        else:
            whole[name] = value


def _begun(value: Any) -> Any:
    """Return a copy that may grow: a list's items are told apart by their `index` from the first delta on."""
    if isinstance(value, list):
        begun: list[Any] = []
        _lengthen(begun, value)
        return begun
    return dict(value) if isinstance(value, dict) else value


def _lengthen(old: list[Any], more: list[Any]) -> None:
    for item in more:
        index = item.get("index") if isinstance(item, dict) else None
        known = next((one for one in old if isinstance(one, dict) and one.get("index") == index), None)
        if index is not None and known is not None:
            _grow(known, item)
        else:
            old.append(_begun(item))
