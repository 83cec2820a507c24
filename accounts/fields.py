"""Checks of single values that came from outside; every message begins with the path of the value."""

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from accounts import ids
from accounts.errors import InvalidInput

# Digits a binary64 carries both ways unchanged, so that a JSON number survives a parser that makes floats.
EXACT_DIGITS_MAX = 15
CREDIT_DECIMALS_MAX = 9
# Of objects and lists inside each other; what writes our answers follows 254.
DEPTH_MAX = 64
# As much of a stranger's own word as an error says back.
SHOWN_LENGTH_MAX = 100

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# U+0000 as json.dumps writes it; PostgreSQL's jsonb refuses it.
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def refuse(path: str, rule: str) -> InvalidInput:
    """The error that says what `path` must be; the caller raises it."""
    return InvalidInput(f"{path}: {rule}", details={"field": path})


def text(path: str, value: object, *, length_max: int, may_be_empty: bool = False) -> str:
    """One line of text without control characters, its outer spaces dropped."""
    if not isinstance(value, str):
        raise refuse(path, f"must be a string, not {_kind(value)}.")
    stripped = value.strip()
    if not stripped and not may_be_empty:
        raise refuse(path, "must not be empty.")
    if len(stripped) > length_max:
        raise refuse(path, f"must have at most {length_max} characters, not {len(stripped)}.")
    if _CONTROL.search(stripped) or not _is_utf8(stripped):
        raise refuse(path, "must not hold control characters.")
    return stripped


def choice(path: str, value: object, choices: Iterable[str]) -> str:
    """One of a few words."""
    known = list(choices)
    if not isinstance(value, str) or value not in known:
        raise refuse(path, f"must be one of {', '.join(known)}.")
    return value


def boolean(path: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise refuse(path, f"must be true or false, not {_kind(value)}.")
    return value


def whole_number(path: str, value: object, *, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise refuse(path, f"must be a whole number from {least} to {most}.")
    return value


def amount(path: str, value: object, *, most: Decimal) -> Decimal:
    """An exact amount of credits or USD, from 0 to `most`, with at most 9 decimals.

    Shape: a JSON number or a string that spells one; a float stands for its shortest spelling.
    Errors: InvalidInput, NaN and infinities included.
    """
    found = _decimal(value)
    if found is None or not 0 <= found <= most:
        raise refuse(path, f"must be a number from 0 to {most}.")
    digits = found.normalize().as_tuple()
    if isinstance(digits.exponent, int) and -digits.exponent > CREDIT_DECIMALS_MAX:
        raise refuse(path, f"must have at most {CREDIT_DECIMALS_MAX} decimals.")
    if len(digits.digits) > EXACT_DIGITS_MAX:
        raise refuse(path, f"must have at most {EXACT_DIGITS_MAX} digits.")
    return found


def uuid(path: str, value: object) -> UUID:
    found = value if isinstance(value, UUID) else ids.parse(value) if isinstance(value, str) else None
    if found is None:
        raise refuse(path, "must be a UUID.")
    return found


def mapping(path: str, value: object) -> Mapping[str, Any]:
    """A JSON object that was read already, as it is."""
    if not isinstance(value, Mapping):
        raise refuse(path, f"must be an object, not {_kind(value)}.")
    return value


def json_object(path: str, value: object, *, bytes_max: int) -> dict[str, Any]:
    """A copy of a JSON object that PostgreSQL can keep, of at most `bytes_max` bytes when written compactly.

    A Decimal becomes the JSON number it spells; one with more digits than a number carries is refused.
    """
    try:
        written = json.dumps(
            dict(mapping(path, value)),
            allow_nan=False,
            ensure_ascii=False,
            separators=(",", ":"),
            default=_number,
        )
        size = len(written.encode())
        copy: dict[str, Any] = json.loads(written, parse_int=_whole)
    except (ValueError, TypeError, RecursionError) as exc:
        rule = "no NaN, no infinity, no lone surrogate, no cycle, no number of more than 15 digits or 64 bits"
        raise refuse(path, f"must be plain JSON: {rule}.") from exc
    if _is_deeper(copy, DEPTH_MAX):
        raise refuse(path, f"must have at most {DEPTH_MAX} levels.")
    if _ESCAPED_NUL.search(written):
        raise refuse(path, "must not hold U+0000.")
    if size > bytes_max:
        raise refuse(path, f"must take at most {bytes_max} bytes as JSON, not {size}.")
    return copy


def known_keys(path: str, value: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse a misspelt key, which would otherwise be a rule that never applies."""
    names = list(known)
    for key in value:
        if key not in names:
            shown = key[:SHOWN_LENGTH_MAX]
            raise refuse(f"{path}.{shown}", f"is not known here; known: {', '.join(names)}.")


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        found = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _whole(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError("more than other programs read")
    return value


def _is_deeper(value: object, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (levels == 0 or any(_is_deeper(each, levels - 1) for each in inner))


def _number(value: object) -> object:
    if not isinstance(value, Decimal):
        raise TypeError(type(value).__name__)
    number = json.loads(str(value))
    if Decimal(repr(number)) != value:
        raise ValueError("a JSON number does not carry it unchanged")
    return number


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "a string", int: "a number", float: "a number", list: "an array"}
    return names.get(type(value), "an object" if isinstance(value, Mapping) else type(value).__name__)
