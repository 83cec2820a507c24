"""Find what matters in a raw server-sent-event stream without changing a byte of it."""

import re
from dataclasses import dataclass
from enum import Enum

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|$)")
# The texts a model has made, as JSON writes them. What is escaped is longer than what it stands for, and a tokenizer
# of bytes never makes more tokens than bytes: their length bounds the tokens. Reasoning told twice counts twice.
_MADE = re.compile(
    rb'"(?:content|reasoning|text|summary|data|arguments|name|refusal|transcript|delta|thinking|partial_json)": ?'
    rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"',
    re.DOTALL,
)
# One line is buffered until it ends; a longer one is not a chat answer.
LINE_BYTES_MAX = 32 * 1024 * 1024


class LineTooLong(ValueError):
    """A line passed LINE_BYTES_MAX without ending."""


class Mark(Enum):
    """What the last line of a segment is."""

    NONE = 0
    OBJECT = 1
    DONE = 2


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes to forward. With a mark, the mark's work is done before `data` is passed on.

    `payload` is the JSON text of the marked line, without `data:`.
    """

    data: bytes
    mark: Mark = Mark.NONE
    payload: bytes = b""


class Scan:
    """Split a stream into segments at the lines a gateway must act on: objects with usage or an error, and [DONE].

    Lines may be split at any byte, end in LF, CRLF or CR, and be interleaved with comments. Every line is held back
    until it is whole: what is to be taken out of it, or put before it, is known only then. A line that is one of
    `without` is left out. Source: docs/upstream.md 3.3.
    """

    __slots__ = (
        "_ends", "_line", "_want_first", "_without", "_without_lf", "data_lines", "finish_seen", "made_bytes",
    )  # fmt: skip

    def __init__(
        self,
        *,
        want_first: bool = False,
        ends: tuple[bytes, ...] = (),
        without: frozenset[bytes] = frozenset(),
    ) -> None:
        self._ends = ends  # An object in which one of these stands is marked as well.
        self._without = without
        self._without_lf = False
        self._line = bytearray()  # The unfinished one.
        self._want_first = want_first  # The first object is marked as well, whatever it holds.
        self.data_lines = 0  # Grows with every chunk that carries data; comments do not count.
        self.made_bytes = 0  # What the model has made so far; never fewer than its tokens.
        self.finish_seen = False

    @property
    def waiting_bytes(self) -> int:
        """How much of an unfinished line is held back."""
        return len(self._line)

    def feed(self, chunk: bytes) -> list[Segment]:
        """Take the next bytes from upstream and return what can be forwarded."""
        if self._without_lf:
            self._without_lf, chunk = False, chunk.removeprefix(b"\n")
        if self._plain(chunk):
            return [Segment(chunk)]
        return self._split(chunk)

    def finish(self) -> list[Segment]:
        """Return what is still held when upstream has ended without a last line end."""
        line, self._line = bytes(self._line), bytearray()
        if not line or line.strip() in self._without:
            return []
        mark, payload = self._classify(line)
        return [Segment(line, mark, payload)]

    def _plain(self, chunk: bytes) -> bool:
        """Whether nothing in the chunk needs a look at its lines: the usual case, in a few byte searches."""
        if self._line or self._want_first or not chunk.endswith(b"\n"):
            return False
        if b'"usage"' in chunk or b"[DONE]" in chunk or b'"error"' in chunk or self.is_end(chunk):
            return False
        if any(line in chunk for line in self._without):
            return False
        if b"data:" in chunk:
            self.data_lines += 1
            self.made_bytes += sum(map(len, _MADE.findall(chunk)))
        if b'"finish_reason":"' in chunk:
            self.finish_seen = True
        return True

    def _split(self, chunk: bytes) -> list[Segment]:
        segments: list[Segment] = []
        plain: list[bytes] = []
        for match in _LINE.finditer(chunk):
            piece = match.group()
            if not piece:
                continue
            if not piece.endswith((b"\n", b"\r")):
                self._line += piece
                if len(self._line) > LINE_BYTES_MAX:
                    raise LineTooLong(f"a line of more than {LINE_BYTES_MAX} bytes")
                continue
            line = bytes(self._line) + piece if self._line else piece
            self._line = bytearray()
            if line.strip() in self._without:
                # The other half of its end may be on its way.
                self._without_lf = line.endswith(b"\r") and match.end() == len(chunk)
                continue
            mark, payload = self._classify(line)
            if mark is Mark.NONE:
                plain.append(line)
                continue
            if plain:
                segments.append(Segment(b"".join(plain)))
                plain = []
            segments.append(Segment(line, mark, payload))
        if plain:
            segments.append(Segment(b"".join(plain)))
        return segments

    def _classify(self, line: bytes) -> tuple[Mark, bytes]:
        if not line.startswith(b"data:"):
            return Mark.NONE, b""
        payload = line[5:].strip()
        if payload == b"[DONE]":
            return Mark.DONE, b""
        self.data_lines += 1
        self.made_bytes += sum(map(len, _MADE.findall(payload)))
        if self._want_first or is_telling(payload) or self.is_end(payload):
            self._want_first = False
            return Mark.OBJECT, payload
        if b'"finish_reason":"' in payload:
            self.finish_seen = True
        return Mark.NONE, b""

    def is_end(self, payload: bytes) -> bool:
        """Whether the last event of its stream may stand there, told without reading it."""
        return any(end in payload for end in self._ends)


def is_telling(payload: bytes) -> bool:
    """Whether an object may say what a call cost or that it failed, told without reading it."""
    return b'"usage"' in payload or b'"error"' in payload


def comment(text: str) -> bytes:
    """Return an SSE comment: ignored by every client, readable on the wire."""
    return b": " + text.encode() + b"\n\n"


def event(payload: bytes) -> bytes:
    """Return a data event; it first ends whatever line or event may be open."""
    return b"\n\ndata: " + payload + b"\n\n"
