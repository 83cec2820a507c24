"""Read a JSON request body and splice fields into it; every byte that is not ours to change stays as it came."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from accounts.errors import InvalidInput

# Strings are skipped whole (possessive, so that no backtracking stack grows with them); the rest is structure.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOP_TOKEN = re.compile(_STRING + rb"|[{}\[\],:]", re.DOTALL)
_NESTED_TOKEN = re.compile(_STRING + rb"|[{}\[\]]", re.DOTALL)
_SPACE = b" \t\r\n"
# Up to here a body is checked by searching it for its own names; that grows with names times bytes.
SMALL_BYTES = 64 * 1024
FIELDS_MAX = 100
CONTAINERS_MAX = 200_000
PARTS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON object: its bytes and its fields."""

    raw: bytes
    fields: dict[str, Any]

    def inner(self, name: str) -> "Body":
        """Return the object that stands in a field, with its own bytes; an empty one where there is none.

        Errors: InvalidInput where it names a field twice.
        """
        if not self.fields.get(name):
            return Body(raw=b"{}", fields={})
        start, end = _spans(self.raw)[name]
        return read(self.raw[start:end])

    def splice(self, changes: Mapping[str, Any]) -> bytes:
        """Return the bytes with these top-level fields replaced, or added at the end; all others untouched."""
        spans = _spans(self.raw) if any(name in self.fields for name in changes) else {}
        pieces, at = [], 0
        for (start, end), name in sorted((spans[name], name) for name in changes if name in spans):
            pieces += [self.raw[at:start], _json(changes[name])]
            at = end
        close = self.raw.rindex(b"}")
        pieces.append(self.raw[at:close])
        comma = b"," if self.fields else b""
        for name, value in changes.items():
            if name not in spans:
                pieces += [comma, orjson.dumps(name), b":", _json(value)]
                comma = b","
        pieces.append(self.raw[close:])
        return b"".join(pieces)


def read(raw: bytes) -> Body:
    """Read a request body.

    Errors: InvalidInput where it is not one JSON object in UTF-8, is made of more parts than any chat, or names a
    top-level field twice (we would price one and upstream run the other).
    """
    if len(raw) > SMALL_BYTES:
        _require_simple(raw)
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise InvalidInput(
            f"The body is not valid JSON: {exc}.", hint="Send a JSON object in UTF-8."
        ) from exc
    if not isinstance(fields, dict):
        raise InvalidInput("The body is not a JSON object.", hint='Send {"model": …, "messages": […]}.')
    if len(fields) > FIELDS_MAX:
        raise InvalidInput(
            f"The body has {len(fields)} fields; {FIELDS_MAX} are the most.", hint="Send fewer."
        )
    if len(raw) > SMALL_BYTES or not _names_are_single(raw, fields):
        _spans(raw)
    return Body(raw=raw, fields=fields)


def _require_simple(raw: bytes) -> None:
    """Refuse what would keep the event loop from every other call while it is parsed: text is cheap, parts are not."""
    if (
        raw.count(b"{") + raw.count(b"[") > CONTAINERS_MAX
        or max(raw.count(b'"'), raw.count(b",")) > PARTS_MAX
    ):
        raise InvalidInput(
            "The body is made of too many parts.",
            hint=f"Send at most {CONTAINERS_MAX} objects and lists, and {PARTS_MAX // 2} texts.",
        )


def _json(value: Any) -> bytes:
    return orjson.dumps(value, default=_decimal)


def _decimal(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value.normalize(), "f"))
    raise TypeError(f"{type(value).__name__} is not JSON")


def _names_are_single(raw: bytes, fields: dict[str, Any]) -> bool:
    """Whether no field can stand twice, told without reading the structure: the usual case."""
    if b"\\u" in raw:
        return False
    for name in fields:
        quoted = b'"' + name.encode() + b'"'
        if raw.find(quoted, raw.find(quoted) + 1) >= 0:
            return False
    return True


def _spans(raw: bytes) -> dict[str, tuple[int, int]]:
    """Return where each top-level value stands. The text is known to be a valid JSON object.

    Errors: InvalidInput where a name stands twice.
    """
    spans: dict[str, tuple[int, int]] = {}
    at = raw.index(b"{") + 1
    while match := _TOP_TOKEN.search(raw, at):
        if match.group() == b"}":
            return spans
        key = match.group()
        colon = raw.index(b":", match.end())
        end = _value_end(raw, colon + 1)
        _note(spans, orjson.loads(key), raw, colon + 1, end)
        at = end + (raw[end] == ord(","))
    return spans


def _value_end(raw: bytes, at: int) -> int:
    """Return the index of the `,` or `}` behind the value that begins at `at`."""
    while True:
        match = _TOP_TOKEN.search(raw, at)
        if match is None:  # Cannot be: the text was read as JSON before.
            raise InvalidInput("The body is not valid JSON.")
        token = match.group()
        if token in (b",", b"}"):
            return match.start()
        at = _container_end(raw, match.end()) if token in (b"{", b"[") else match.end()


def _container_end(raw: bytes, at: int) -> int:
    depth = 1
    for match in _NESTED_TOKEN.finditer(raw, at):
        token = match.group()
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return match.end()
    return len(raw)


def _note(spans: dict[str, tuple[int, int]], name: str, raw: bytes, start: int, end: int) -> None:
    if name in spans:
        raise InvalidInput(
            f'The body names "{name}" twice.', hint="Send each field once.", details={"field": name}
        )
    while raw[start] in _SPACE:
        start += 1
    while raw[end - 1] in _SPACE:
        end -= 1
    spans[name] = (start, end)
