"""Amounts, counts and times as people read them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

import typer

NOTHING = "-"
MILLION = 1_000_000
# What a terminal takes for a command: C0 but for tab and line feed, DEL, C1, and marks that turn the text around.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SPANS = {"m": _MINUTE, "h": _HOUR, "d": _DAY, "w": 7 * _DAY}


def safe(text: str) -> str:
    """Return a text of somebody else's without what would act on the terminal; lines stay."""
    return _CONTROLS.sub("", text)


def escaped(json_text: str) -> str:
    """Return JSON that says the same, without what would act on the terminal."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)


def line(value: object) -> str:
    """Return a value of somebody else's as one line; `-` for nothing."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(safe(str(value)).split()) or NOTHING


def amount(value: object) -> str:
    """Return an amount with every digit that it has: `1,250.000525`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = Decimal(str(value))
    if not isinstance(value, Decimal):
        return line(value)
    text = f"{value:,f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def credits(value: object) -> str:
    return f"{amount(value)} credit{'' if value == 1 else 's'}"


def usd(value: object) -> str:
    return f"${amount(value)}"


def per_million(usd_per_token: object) -> str:
    """Return a price of USD a token, as upstream writes it, for a million of them."""
    try:
        price = Decimal(str(usd_per_token)) * MILLION
    except InvalidOperation:
        return NOTHING
    # -1 stands for a price that is not known before the call.
    return amount(price.normalize()) if price >= 0 else "varies"


def count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else line(value)


def size(tokens: object) -> str:
    """Return a number of tokens in short: 128K, 1M."""
    if not isinstance(tokens, int):
        return NOTHING
    for unit, word in ((MILLION, "M"), (1000, "K")):
        if tokens >= unit:
            return f"{tokens / unit:.4g}{word}"
    return str(tokens)


def when(at: object) -> str:
    """Return a time to the second, in UTC, as it can be sent back: `2026-11-24T02:05:00Z`."""
    if isinstance(at, datetime):
        return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return line(at)


def ago(at: object, *, now: datetime) -> str:
    """Return how long ago a time is: `5 minutes ago`."""
    if not isinstance(at, datetime):
        return line(at)
    seconds = int((now - at).total_seconds())
    if seconds < 0:
        return when(at)
    for unit, word in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= unit:
            number = seconds // unit
            return f"{number} {word}{'' if number == 1 else 's'} ago"
    return "just now"


def now() -> datetime:
    """The time. Whatever is decided by it takes it as an argument."""
    return datetime.now(UTC)  # noqa: TID251


def decimal(text: str) -> Decimal:
    """Read an amount. Errors: BadParameter."""
    try:
        found = Decimal(text)
    except InvalidOperation as exc:
        raise typer.BadParameter(f"{text!r} is no number.") from exc
    if not found.is_finite() or found < 0:
        raise typer.BadParameter(f"{text!r} is no amount.")
    return found


def identity(text: str) -> str:
    """Read an id, which becomes a part of an address. Errors: BadParameter."""
    if text.strip() in ("", ".", "..") or "/" in text:
        raise typer.BadParameter(f"{text!r} is no id.")
    return text


def span_s(text: str) -> int:
    """Read a time span, `15m`, `24h`, `30d` or `2w`, in seconds. Errors: BadParameter."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and unit in _SPANS and int(number)):
        raise typer.BadParameter(f"{text!r} is no time span; say 15m, 24h, 30d or 2w.")
    return int(number) * _SPANS[unit]
