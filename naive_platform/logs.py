"""A record as a line, and log files of children: put aside at start, quoted when one dies, errors relayed."""

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

# As logging, structlog's console, its JSON, Celery and Python's own last words write an error.
_ERROR = re.compile(
    r"\b(ERROR|CRITICAL)\b|\[(error|critical)\s*\]|\"level\": ?\"(error|critical)\"|^Traceback "
)
# What belongs to the line before: a traceback's frames and its closing line.
_GOES_ON = re.compile(r"^\s|^Traceback |^[\w.]+(Error|Exception|Warning|Group)\b|^$")
LINES_AT_ONCE = 40


class LineFormatter(logging.Formatter):
    """`2026-01-01T00:00:00.000Z ERROR billing.holds: what happened`; only a traceback takes lines of its own."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        # What a client sent may be in it: it is not to write lines that look like ours.
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")


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
            self._say(f"{self._name} | {line}")
        if len(told) > LINES_AT_ONCE:
            self._say(f"{self._name} | … {len(told) - LINES_AT_ONCE} lines more in {self._log}")

    def _tells(self, line: str) -> bool:
        self._within = bool(_ERROR.search(line)) or (self._within and bool(_GOES_ON.search(line)))
        return self._within
