"""Multipart forms on their way through: what they say is read as they pass, and nothing of them is kept."""

import re
from collections.abc import Mapping
from enum import Enum

from accounts.errors import InvalidInput
from llm import stored_files

# RFC 2046: what a boundary is made of, up to 70 of it.
_BOUNDARY = re.compile(r'(?:^|;)[ \t]*boundary=(?:"([^"\\]*)"|([^\s";]*))[ \t]*(?=;|$)', re.IGNORECASE)
_BOUNDARY_CHARACTERS = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_TOKEN = re.compile(r"[0-9A-Za-z'+_.-]+")
# A quote in a name or a file's name is written %22; parsers differ on a backslash before it.
_PARAMETER = re.compile(rb'[ \t]*;[ \t]*([\w*-]+)=(?:"((?:[^"\\]|\\[^"])*+)"|([^\s";]+))')
_DISPOSITION, _FORM_DATA = b"content-disposition", b"form-data"
_CRLF = b"\r\n"
HEAD_BYTES_MAX = 8 * 1024
# Far more than any client's fields.
PARTS_MAX = 64
# Of a field's value; a longer one is no model's name and passes unread.
VALUE_BYTES_MAX = 1024


class _State(Enum):
    PREAMBLE = 0
    HEAD = 1
    VALUE = 2
    OVER = 3


class Form:
    """Reads one form as its bytes pass: `feed` every piece before it is sent on, `finish` behind the last one.

    What it keeps is bounded: the unfinished end of a piece, one part's head, and the short values of `wanted` fields.
    """

    __slots__ = (
        "_behind",
        "_delimiter",
        "_name",
        "_parts",
        "_rest",
        "_seen",
        "_state",
        "_value",
        "_wanted",
        "fields",
    )

    def __init__(self, boundary: bytes, *, wanted: frozenset[str] = frozenset({"model", "stream"})) -> None:
        self._delimiter = _CRLF + b"--" + boundary
        self._wanted = wanted
        self._state = _State.PREAMBLE
        # The first delimiter has no line before it.
        self._rest = _CRLF
        self._parts = 0
        self._behind = 0
        self._name: str | None = None
        self._value = b""
        self._seen: set[str] = set()
        self.fields: dict[str, str] = {}

    @property
    def is_whole(self) -> bool:
        """Whether the closing delimiter has passed."""
        return self._state is _State.OVER

    def feed(self, piece: bytes) -> None:
        """Take the next bytes.

        Errors: InvalidInput where they are no form, or one of more parts and longer heads than any client sends;
        also where a field that we read is there twice.
        """
        self._rest += piece
        while self._step():
            pass

    def finish(self) -> Mapping[str, str]:
        """Return the fields that were read. Errors: InvalidInput where the form has no end."""
        if not self.is_whole:
            raise _bad("has no end")
        return self.fields

    def _step(self) -> bool:
        """Do what the bytes at hand allow; False where more are needed."""
        if self._state is _State.OVER:
            self._behind += len(self._rest)  # What follows the end belongs to nobody.
            if self._behind > HEAD_BYTES_MAX:
                raise _bad("goes on behind its end")
            self._rest = b""
            return False
        return self._head() if self._state is _State.HEAD else self._until_delimiter()

    def _until_delimiter(self) -> bool:
        at = self._rest.find(self._delimiter)
        if at < 0:
            kept = len(self._delimiter) - 1
            self._take(max(0, len(self._rest) - kept))
            self._rest = self._rest[-kept:]
            return False
        behind = at + len(self._delimiter)
        if len(self._rest) < behind + 2:
            self._take(at)
            self._rest = self._rest[at:]
            return False
        self._take(at)
        self._end_value()
        if self._rest[behind : behind + 2] == b"--":
            self._state = _State.OVER
            self._rest = self._rest[behind + 2 :]
        else:
            self._begin_head(behind)
        return True

    def _begin_head(self, behind: int) -> None:
        line, found, rest = self._rest[behind:].partition(_CRLF)
        # Space may stand behind a delimiter; anything else means that it was none, and parsers would differ on it.
        if not found and len(self._rest) - behind > HEAD_BYTES_MAX:
            raise _bad("has a delimiter without an end")
        if line.strip(b" \t" if found else b" \t\r"):
            raise _bad("has a delimiter with something behind it")
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise _bad(f"has more than {PARTS_MAX} parts")
        self._state = _State.HEAD
        self._rest = _CRLF + rest if found else self._rest[behind:]

    def _head(self) -> bool:
        at = self._rest.find(_CRLF * 2)
        if at > HEAD_BYTES_MAX or (at < 0 and len(self._rest) > HEAD_BYTES_MAX):
            raise _bad(f"has a part whose head is longer than {HEAD_BYTES_MAX} bytes")
        if at < 0:
            return False
        name, is_file = _named(self._rest[:at])
        if name in stored_files.IDS:
            raise _bad(f"names {name}, which is not offered here: send the file itself")
        if name in self._wanted:
            if name in self._seen:
                raise _bad(f"names {name} twice")
            self._seen.add(name)
        self._name = name if name in self._wanted and not is_file else None
        self._rest = self._rest[at + len(_CRLF * 2) :]
        self._state = _State.VALUE
        return True

    def _take(self, size: int) -> None:
        """Note so many bytes of the part's value, where it is a field's that we read."""
        if self._name is not None and len(self._value) <= VALUE_BYTES_MAX:
            self._value += self._rest[: min(size, VALUE_BYTES_MAX + 1)]

    def _end_value(self) -> None:
        name, value = self._name, self._value
        self._name, self._value = None, b""
        if name is None or self._state is not _State.VALUE:
            return
        if len(value) <= VALUE_BYTES_MAX:
            self.fields[name] = value.decode(errors="replace")


def _named(head: bytes) -> tuple[str, bool]:
    """Return a part's name, and whether it is a file.

    Errors: InvalidInput for a head that two parsers may read otherwise.
    """
    lines = head.split(_CRLF)[1:]
    found = [line.partition(b":")[2].strip() for line in lines if _is_disposition(line)]
    if len(found) != 1 or any(
        line.startswith((b" ", b"\t")) or b"\r" in line or b"\n" in line for line in lines
    ):
        raise _bad("has a part that does not say once what it is")
    value, at = found[0].rstrip(b" \t;"), len(_FORM_DATA)
    parameters: dict[bytes, bytes] = {}
    while match := _PARAMETER.match(value, at):
        name, at = match[1].lower(), match.end()
        if name in parameters or name == b"name*":
            raise _bad("has a part with two names")
        parameters[name] = match[2] or match[3] or b""
    if at != len(value) or not value.lower().startswith(_FORM_DATA) or b"name" not in parameters:
        raise _bad("has a part whose name cannot be read")
    return parameters[b"name"].decode(errors="replace"), bool({b"filename", b"filename*"} & parameters.keys())


def _is_disposition(line: bytes) -> bool:
    return line.partition(b":")[0].strip().lower() == _DISPOSITION


def boundary(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names.

    Errors: InvalidInput where it is not multipart/form-data with one boundary of plain characters.
    """
    kind, _, parameters = content_type.partition(";")
    found = _BOUNDARY.findall(parameters)
    named = "".join(found[0]) if len(found) == 1 else ""
    if kind.strip().lower() != "multipart/form-data" or not _BOUNDARY_CHARACTERS.fullmatch(named):
        raise InvalidInput(
            "The Content-Type names no boundary.",
            hint="Send multipart/form-data; boundary=…, as every client library does.",
            details={"header": "Content-Type"},
        )
    return named.encode("ascii")


def written(found: bytes) -> str:
    """Return the Content-Type that names a checked boundary."""
    text = found.decode("ascii")
    return (
        f"multipart/form-data; boundary={text}"
        if _TOKEN.fullmatch(text)
        else f'multipart/form-data; boundary="{text}"'
    )


def is_form(content_type: str) -> bool:
    """Whether a request is a form rather than JSON."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def _bad(what: str) -> InvalidInput:
    return InvalidInput(f"The form {what}.", hint="Send it as a client library writes it.")
