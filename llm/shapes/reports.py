"""Where each shape's answer says what it cost, which call it was and whether it failed."""

import re
from collections.abc import Callable
from typing import Any

from llm import metering
from llm.metering import Report

# Ids that name a generation of upstream's; others (`msg_`, `embd-`, `resp_`) cannot be looked up.
GENERATION_BEGINNING = "gen-"
# From here on an answer is read without its vectors and pictures.
THICK_BYTES = 64 * 1024
# Runs of numbers, and of base64 between quotes, as a data URL too. Between two texts stands a colon or a comma, which
# base64 has not.
_NUMBERS = rb"\[[-+0-9.eE, \t\r\n]{256,}+"
_BASE64 = rb'"(?:data:[a-z0-9/.+-]{1,64};base64,)?[A-Za-z0-9+/=_-]{1024,}+'
_THICK = re.compile(_NUMBERS + rb"\]|" + _BASE64 + b'"')


# The same where its end is still to come.
_OPEN = re.compile(rb"(?:" + _BASE64 + rb"|" + _NUMBERS + rb")\Z")
# How much of an answer is thinned at once, what of it may go on in the next piece, and what is kept in all.
STEP_BYTES = 256 * 1024
OPEN_BYTES = 4096
GIST_BYTES_MAX = 8 * 1024 * 1024


class Gist:
    """What is left of a long JSON answer without its vectors and pictures, read as it passes."""

    __slots__ = ("_kept", "_open", "_size")

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._open = b""
        self._size = 0

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._open += piece
        if len(self._open) < STEP_BYTES:
            return
        self._open = _OPEN.sub(_begun, _thinned(self._open))
        done = self._open[:-OPEN_BYTES]
        self._size += len(done)
        self._open = self._open[-OPEN_BYTES:]
        if self._size <= GIST_BYTES_MAX:
            self._kept.append(done)

    def whole(self) -> bytes:
        """Return what is left, which is JSON where the answer is; nothing where even that is too long."""
        return b"".join((*self._kept, self._open)) if self._size <= GIST_BYTES_MAX else b""


class ObjectReport(Report):
    """A JSON answer that is no list of choices: its usage is upstream's final word."""

    __slots__ = ()

    @property
    def generation_id(self) -> str | None:
        found = self.body.get("generation_id") or self.body.get("id")
        return _generation(found)

    def is_last(self, *, finish_seen: bool) -> bool:
        return True

    def facts(self) -> dict[str, Any]:
        return _facts(self.body, self.usage)


class ResponseReport(ObjectReport):
    """POST responses: the response object, or an event that carries it."""

    __slots__ = ()

    @property
    def _response(self) -> dict[str, Any]:
        return _inner(self.body, "response")

    @property
    def error(self) -> dict[str, Any] | None:
        if self.body.get("type") in ("error", "response.error"):
            # The bare event has its message beside its type.
            return _error(self.body.get("error") or self.body)
        return _error(self.body.get("error") or self._response.get("error"))

    @property
    def generation_id(self) -> str | None:
        return _generation(self._response.get("id"))

    def facts(self) -> dict[str, Any]:
        found = _facts(self._response, self.usage)
        status = metering.text(self._response.get("status"))
        return found | ({"finish_reason": status} if status else {})


class MessageReport(ObjectReport):
    """POST messages: the message, or one of Anthropic's events."""

    __slots__ = ()

    @property
    def generation_id(self) -> str | None:
        return _generation(_inner(self.body, "message").get("id") or self.body.get("request_id"))

    def is_last(self, *, finish_seen: bool) -> bool:
        # What begins a message counts what went in; what it costs in all comes with its end.
        return self.body.get("type") != "message_start"

    def facts(self) -> dict[str, Any]:
        message, usage = _inner(self.body, "message"), self.usage or {}
        found = _facts(message, self.usage)
        names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        counts = [usage[name] for name in names if _is_count(usage.get(name))]
        if counts:
            # Anthropic counts what was cached beside the rest, not inside.
            found |= {"tokens_prompt": sum(counts)}
        delta = self.body.get("delta")
        reason = (delta if isinstance(delta, dict) else message).get("stop_reason")
        return metering.storable(found | {"finish_reason": reason})


class JobReport(ObjectReport):
    """POST videos and GET videos/{id}: a job, whose cost is there once it is completed."""

    __slots__ = ()

    @property
    def generation_id(self) -> str | None:
        # A job's own id is no generation's.
        return _generation(self.body.get("generation_id"))


type Reader = Callable[[bytes], Report | None]


def read_chat(payload: bytes) -> Report | None:
    """Read a chat or text completion or one of its chunks: `usage` stands at the top. As `read_object`."""
    return metering.read(payload)


def read_object(payload: bytes) -> Report | None:
    """Read an answer with `usage` at its top: embeddings, rerank, images, transcriptions, and their events.

    Shape: None where it is not one JSON object; `cost_usd` is None where upstream gave no number. Exact decimals.
    Source: docs/upstream.md 1a, 3.2.
    """
    return _read(payload, ObjectReport, ())


def read_response(payload: bytes) -> Report | None:
    """Read a response or one of its events: `usage` stands at the top or in `response`. As `read_object`."""
    return _read(payload, ResponseReport, ("response",))


def read_message(payload: bytes) -> Report | None:
    """Read a message or one of its events: `usage` stands at the top or in `message`. As `read_object`."""
    return _read(payload, MessageReport, ("message",))


def read_job(payload: bytes) -> Report | None:
    """Read a job: as `read_object`."""
    return _read(payload, JobReport, ())


def job(report: Report) -> str | None:
    """Return the id of the job that an answer tells of; None where it names none that could be asked for again."""
    return metering.text(report.body.get("id"))


def _read(payload: bytes, kind: type[Report], inside: tuple[str, ...]) -> Report | None:
    found = metering.read(_thinned(payload) if len(payload) > THICK_BYTES else payload)
    if found is None:
        return None
    usage = found.usage
    for name in inside:
        deeper = _inner(found.body, name).get("usage") if usage is None else None
        usage = deeper if isinstance(deeper, dict) else usage
    return kind(body=found.body, usage=usage, cost_usd=metering.cost_of(usage))


def _thinned(payload: bytes) -> bytes:
    """Return an answer without its vectors and pictures, which say nothing of its cost and take seconds to read."""
    return _THICK.sub(lambda match: b"[]" if match.group().startswith(b"[") else b'""', payload)


def _begun(match: re.Match[bytes]) -> bytes:
    """Return the beginning of a text or a list that goes on: whatever follows, it is JSON again."""
    found = match.group()
    # What follows the last comma may be half a number, and a number must stand before that comma.
    if found.startswith(b'"'):
        return b'"'
    return b"[1" + found[found.rindex(b",") :] if b"," in found else found


def _inner(body: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what an event carries, or the object itself where it stands alone."""
    found = body.get(name)
    return found if isinstance(found, dict) else body


def _facts(body: dict[str, Any], usage: dict[str, Any] | None) -> dict[str, Any]:
    counts = usage or {}
    found: dict[str, Any] = {name: body.get(name) for name in ("model", "provider")}
    # The same counts under the names of either vendor; a rerank has only a total.
    found["tokens_prompt"] = _first(counts, "prompt_tokens", "input_tokens", "total_tokens")
    found["tokens_completion"] = _first(counts, "completion_tokens", "output_tokens")
    for name, inner in (("reasoning", "reasoning_tokens"), ("cached", "cached_tokens")):
        sides = ("output", "completion") if name == "reasoning" else ("input", "prompt")
        details = [_at(counts, f"{side}_tokens_details", inner) for side in sides]
        found[f"native_tokens_{name}"] = next((count for count in details if count is not None), None)
    found["is_byok"] = counts.get("is_byok")
    found["units"] = _first(counts, "search_units", "seconds")
    return metering.storable(found)


def _first(counts: dict[str, Any], *names: str) -> int | None:
    return next((counts[name] for name in names if _is_count(counts.get(name))), None)


def _at(counts: dict[str, Any], name: str, inner: str) -> Any:
    found = counts.get(name)
    return found.get(inner) if isinstance(found, dict) else None


def _is_count(found: object) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and found >= 0


def _generation(found: object) -> str | None:
    named = metering.text(found)
    return named if named and named.startswith(GENERATION_BEGINNING) else None


def _error(found: object) -> dict[str, Any] | None:
    return found if isinstance(found, dict) else {"message": str(found)} if found else None
