"""Numbers of JSON without loss: floats that remember how they were written, and decimals on their way out."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID


class WrittenFloat(float):
    """A float and the text it was read from, for those fields that are money."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> WrittenFloat:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __reduce__(self) -> tuple[type[WrittenFloat], tuple[str]]:
        return WrittenFloat, (self.text,)


def read(text: str | bytes) -> Any:
    """Return the JSON in `text`. Errors: ValueError."""
    try:
        return json.loads(text, parse_float=WrittenFloat)
    except RecursionError as exc:
        raise ValueError("JSON that is nested too deeply") from exc


def exact(value: Any) -> Any:
    """Return a number of JSON as the decimal that was written; anything else as it is."""
    if isinstance(value, bool):
        return value
    if isinstance(value, WrittenFloat):
        return Decimal(value.text)
    return Decimal(str(value)) if isinstance(value, int | float) else value


def written(body: Mapping[str, Any]) -> bytes:
    """Return `body` as JSON: decimals as numbers, times in RFC 3339, models as what they were read from.

    Errors: ValueError for NaN, an infinity, a time without a zone, and a decimal of more than 15 digits.
    """
    return json.dumps(
        body, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode()


def number(value: Any) -> Any:
    """Return a decimal as the number of JSON that is written with the same digits; anything else as it is.

    Errors: ValueError for NaN, an infinity and a decimal of more digits than a number can tell.
    """
    if not isinstance(value, Decimal):
        return value
    if not value.is_finite():
        raise ValueError(f"{value} is no number of JSON")
    found = nearest(value)
    if Decimal(str(found)) != value:
        raise ValueError(f"{value}: no more than 15 digits can be told exactly")
    return found


def nearest(value: Any) -> Any:
    """Return a finite decimal as the nearest number of JSON; anything else as it is."""
    if not isinstance(value, Decimal):
        return value
    # Written out, 1e1000000 would take minutes; as a float it is an infinity.
    is_whole = value.adjusted() <= sys.float_info.max_10_exp and value == value.to_integral_value()
    return int(value) if is_whole else float(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: say which, such as datetime.UTC")
        return value.isoformat()
    if isinstance(value, UUID | date):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if hasattr(value, "to_dict"):
        return value.to_dict()
    raise TypeError(f"{type(value).__name__} is nothing that JSON can say")
