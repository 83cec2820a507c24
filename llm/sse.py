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
_DONE_FORMS = (b"data: [DONE]", b"data:[DONE]")
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

    Lines may be split at any byte, end in LF, CRLF or CR, and be interleaved with comments. Only the beginning of a
    possible `data: [DONE]` is held back, so that something can still be put before it; and a line of up to
    `whole_bytes` until it is whole: what is to be taken out of it may be cut in two. Source: docs/upstream.md 3.3.
    """

    __slots__ = (
        "_ends", "_held", "_line", "_want_first", "_whole_bytes", "data_lines", "finish_seen", "made_bytes",
    )  # fmt: skip

    def __init__(
        self, *, want_first: bool = False, ends: tuple[bytes, ...] = (), whole_bytes: int = 0
    ) -> None:
        self._ends = ends  # An object in which one of these stands is marked as well.
        self._whole_bytes = whole_bytes
        self._line: list[bytes] = []  # The unfinished line, already forwarded unless held.
        self._held = b""
        self._want_first = want_first  # The first object is marked as well, whatever it holds.
        self.data_lines = 0  # Grows with every chunk that carries data; comments do not count.
        self.made_bytes = 0  # What the model has made so far; never fewer than its tokens.
        self.finish_seen = False

    def feed(self, chunk: bytes) -> list[Segment]:
        """Take the next bytes from upstream and return what can be forwarded."""
        if self._plain(chunk):
            return [Segment(chunk)]
        return self._split(chunk)

    def finish(self) -> list[Segment]:
        """Return what is still held when upstream has ended without a last line end."""
        line, held = b"".join(self._line), self._held
        self._line, self._held = [], b""
        if not line:
            return []
        mark, payload = self._classify(line)
        return [Segment(held, mark, payload)]

    def _plain(self, chunk: bytes) -> bool:
        """Whether nothing in the chunk needs a look at its lines: the usual case, in a few byte searches."""
        if self._line or self._want_first or not chunk.endswith(b"\n"):
            return False
        if b'"usage"' in chunk or b"[DONE]" in chunk or b'"error"' in chunk or self.is_end(chunk):
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
                self._keep(piece, plain)
                continue
            line = b"".join((*self._line, piece))
            self._line = []
            data, self._held = self._held + piece, b""
            mark, payload = self._classify(line)
            if mark is Mark.NONE:
                plain.append(data)
                continue
            if plain:
                segments.append(Segment(b"".join(plain)))
                plain = []
            segments.append(Segment(data, mark, payload))
        if plain:
            segments.append(Segment(b"".join(plain)))
        return segments

    def _keep(self, piece: bytes, plain: list[bytes]) -> None:
        """Remember the beginning of a line; hold it back only while it may become [DONE]."""
        self._line.append(piece)
        size = sum(map(len, self._line))
        if size > LINE_BYTES_MAX:
            raise LineTooLong(f"a line of more than {LINE_BYTES_MAX} bytes")
        self._held += piece
        if size == len(self._held) <= self._whole_bytes:
            return
        line = b"".join(self._line) if len(self._held) <= len(_DONE_FORMS[0]) else b""
        if not (line and line == self._held and any(form.startswith(line) for form in _DONE_FORMS)):
            plain.append(self._held)
            self._held = b""

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
