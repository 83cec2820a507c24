"""A record as a line, and log files of children: put aside at start, quoted when one dies, errors relayed."""

import json
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

# As logging, our JSON, libraries' consoles, Celery and Python's own last words write an error.
_ERROR = re.compile(
    r"\b(ERROR|CRITICAL)\b|\[(error|critical)\s*\]|\"level\": ?\"(error|critical)\"|^Traceback "
)
# What belongs to the line before: a traceback's frames and its closing line.
_GOES_ON = re.compile(r"^\s|^Traceback |^[\w.]+(Error|Exception|Warning|Group)\b|^$")
LINES_AT_ONCE = 40


# What opens something, should it ever come into a record, in a path for example: only its kind is written.
_SECRET = re.compile(r"(nv_(?:sk|sess)_|sk-or-|sk_(?:live|test)_|whsec_)[0-9A-Za-z_-]{8,}")
# Control characters, and those that turn or break a line for whoever looks at it.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class LineFormatter(logging.Formatter):
    """`2026-01-01T00:00:00.000Z ERROR billing.holds: what happened`; only a traceback takes lines of its own."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return _masked(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        # What a client sent may be in it: it is not to write lines that look like ours, nor to a terminal.
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        return _UNSEEN.sub(_escaped, super().formatMessage(record) + fields)


class JSONFormatter(logging.Formatter):
    """One JSON object a record, for machines: `time`, `level`, `logger`, `message`, a call's fields, a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        found = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        return _masked(_written(found)).replace("\x7f", "\\u007f")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = getattr(record, "fields", {})
    return found


def _written(found: dict[str, Any]) -> str:
    """Write JSON in ASCII: every control character, and whatever else a terminal might obey, is escaped."""
    try:
        text = orjson.dumps(found, default=str).decode()
    except TypeError:  # Half a character, or what else only the other one writes.
        text = "\x80"
    # A line a call: nearly all are ASCII as they are, and orjson takes a tenth of the time.
    return text if text.isascii() else json.dumps(found, default=str, separators=(",", ":"))


def _masked(text: str) -> str:
    has_secret = "nv_s" in text or "sk-or-" in text or "sk_" in text or "whsec_" in text
    return _SECRET.sub(r"\1…", text) if has_secret else text


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return {10: "\\n", 13: "\\r"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def rotate(log: Path) -> None:
    """Put the last run's log aside as `<name>.log.1`."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size:
        log.replace(log.with_name(log.name + ".1"))


def last_lines(log: Path, *, count: int = 15) -> str:
    """The end of a log, indented for the terminal."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-count:]
    except OSError:
        return ""
    return "".join(f"\n  | {line}" for line in lines)


class Relay:
    """Reads on in a log and says what in it is an error."""

    def __init__(self, name: str, log: Path, *, say: Callable[[str], None]) -> None:
        self._name, self._log, self._say = name, log, say
        self._offset = 0
        self._within = False

    def pump(self) -> None:
        """Say the errors that were written since the last time; whole lines only."""
        with self._log.open("rb") as file:
            file.seek(self._offset)
            fresh = file.read()
        fresh = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(fresh)
        told = [line for line in fresh.decode(errors="replace").splitlines() if self._tells(line)]
        for line in told[:LINES_AT_ONCE]:
            for spoken in _spoken(line):
                self._say(f"{self._name} | {spoken}")
        if len(told) > LINES_AT_ONCE:
            self._say(f"{self._name} | … {len(told) - LINES_AT_ONCE} lines more in {self._log}")

    def _tells(self, line: str) -> bool:
        self._within = bool(_ERROR.search(line)) or (self._within and bool(_GOES_ON.search(line)))
        return self._within


def _spoken(line: str) -> list[str]:
    """A record in JSON as a person reads it; any other line as it is."""
    try:
        found = json.loads(line) if line.startswith("{") else None
        head = "{time} {level} {logger}: {message}".format(**found) if found else line
    except (ValueError, KeyError):
        return [line]
    more = str(found.get("exception", "")).splitlines() if found else []
    return [_UNSEEN.sub(_escaped, text) for text in (head, *more)]
