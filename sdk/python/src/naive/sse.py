"""Server-sent events from bytes that may be cut anywhere. Pure: no network, no JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# An event is held until it ends; the platform sends none that is longer.
EVENT_BYTES_MAX = 32 * 1024 * 1024
_LINE_END = re.compile(rb"\r\n|\n|\r")
BOM = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """An event passed EVENT_BYTES_MAX without ending."""


@dataclass(frozen=True, slots=True)
class Event:
    """The `data` of one event; lines of it are joined by line feeds."""

    data: str


@dataclass(frozen=True, slots=True)
class Comment:
    """A line that begins with a colon: what keeps a connection alive, and our credits."""

    text: str


class Decoder:
    """Takes bytes and returns what is whole by then. Lines end in LF, CRLF or CR."""

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._event_bytes_max = event_bytes_max
        self._line = bytearray()  # What has come of the line that has not ended.
        self._ended_in_cr = False  # A line feed that comes next belongs to it.
        self._data: list[str] = []
        self._data_bytes = 0  # Of the lines in it, as they came.
        self._is_first = True

    def feed(self, chunk: bytes) -> Iterator[Event | Comment]:
        """Errors: EventTooLong; UnicodeDecodeError for what is not UTF-8; both after all that came before."""
        if self._ended_in_cr and chunk:
            self._ended_in_cr, chunk = False, chunk.removeprefix(b"\n")
        begin = 0
        for end in _LINE_END.finditer(chunk):
            line = bytes(self._line + chunk[begin : end.start()])
            self._line.clear()
            begin = end.end()
            if found := self._take(line):
                yield found
            self._check_length()
        self._ended_in_cr = chunk.endswith(b"\r")
        self._line += chunk[begin:]
        self._check_length()

    @property
    def is_between_events(self) -> bool:
        """Whether nothing is held that has begun and not ended."""
        return not self._line and not self._data

    def _check_length(self) -> None:
        if len(self._line) + self._data_bytes > self._event_bytes_max:
            raise EventTooLong(f"an event of more than {self._event_bytes_max} bytes")

    def _take(self, line: bytes) -> Event | Comment | None:
        if self._is_first:
            self._is_first, line = False, line.removeprefix(BOM)
        if not line:
            data, self._data, self._data_bytes = self._data, [], 0
            return Event("\n".join(data)) if data else None
        field, _, value = line.decode().partition(":")
        value = value.removeprefix(" ")
        if not field:
            return Comment(value)
        if field == "data":
            self._data.append(value)
            self._data_bytes += len(line)
        return None
