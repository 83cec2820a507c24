"""Errors in the dialect of each shape: upstream's without the operator's account in them, and our own."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from llm import sse

type Dialect = Literal["chat", "responses", "messages", "images"]

# An error is some hundred bytes; one longer than this is not looked through but replaced.
FAULT_BYTES_MAX = 1024 * 1024
# Whoever is named so stands for the operator; the value goes, the name stays.
_PRIVATE_NAMES = frozenset({
    "user_id", "creator_user_id", "org_id", "organization", "organization_id", "workspace", "workspace_id",
    "account_id", "api_key", "api_key_hash", "key_hash", "key_label", "label", "balance", "remedy_hint",
})  # fmt: skip
# An answer repeats these of its request, and what we send in them is an opaque name of our own.
_REPEATED_NAMES = frozenset({"user", "session_id", "prompt_cache_key", "safety_identifier"})
_OPAQUE = re.compile(rb'"[0-9a-f]{32}"')
_PRIVATE_BEGINNING = "x-ratelimit"
# Keys, account ids, digests and addresses. Errors repeat what a client sent: every search here must be linear in it, so
# runs are looked at from their beginning only.
_SECRET = re.compile(
    # `user_location` is a field of a request; an id has a figure or a capital in it.
    r"sk-or-[\w.…-]+|\b(?:user|org|workspace)_(?=\w*[0-9A-Z])\w{6,}|\b[0-9a-fA-F]{32,}\b"
    r"|(?<![\w.+-])[\w.+-]++@[\w-]+\.[\w.-]*\w|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
)
# The operator's pages and purse; plain names of hosts stay, they are on every page of upstream's edge.
_PURSE = re.compile(
    r"(?<![\w.-])(?:https?://)?[\w.-]*?openrouter\.ai/[^\s\"'<>)]*|\$[0-9][0-9.,]*"
    r"|\badd (?:\$?\d+ |more )?credits\b(?:(?!https?://|openrouter)[^.!])*",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    rb'(?P<text>"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z))(?P<colon>[ \t\r\n]*:)?'
    rb"|(?P<scalar>-?[0-9][0-9.eE+-]*|true|false)|(?P<open>[{\[])",
    re.DOTALL,
)
_GONE = "…"
_OPERATORS = "The deployment's upstream account was refused. This is the operator's to mend, not yours."


@dataclass(frozen=True, slots=True)
class Fault:
    """An error answer as the client gets it; `is_ours` where nothing of upstream's is left in it."""

    status: int
    body: bytes
    is_ours: bool


def answer(status: int, raw: bytes | None, *, dialect: Dialect) -> Fault:
    """Return what a client gets for an error answer of upstream's.

    Shape: the same status and, but for the operator's data, the same bytes. What says that the operator's own key or
    account was refused (401, 402, 403 that is no moderation), and a redirect, become 502 in the shape's dialect. What
    could not be read (`raw` is None) or is too long to be looked through goes, and its status stays.
    Source: docs/product.md 7, its last paragraph; docs/upstream.md 4.
    """
    if status < 400 or (status in (401, 402, 403) and not _is_moderation(status, raw)):
        message = _OPERATORS if status >= 400 else f"The model provider answered {status}."
        return Fault(
            502, body(dialect, code=502, message=message, error_type="provider_unavailable"), is_ours=True
        )
    if raw is None or len(raw) > FAULT_BYTES_MAX:
        message = f"The model provider answered {status}."
        return Fault(status, body(dialect, code=status, message=message, error_type="unmapped"), is_ours=True)
    return Fault(status, scrub(raw), is_ours=False)


def scrub(raw: bytes) -> bytes:
    """Return an error's bytes without what names the operator: account, key, limits, links. All others as they came.

    Shape: JSON, or lines of an event stream that hold it: each text is read as JSON reads it, escapes included, and
    written anew only where something was taken out of it. Anything else (HTML): keys and ids alone are taken out.
    """
    if not _holds_json(raw):
        return _SECRET.sub("?", raw.decode("latin-1")).encode("latin-1")
    pieces: list[bytes] = []
    at = 0
    name: str | None = None
    for match in _TOKEN.finditer(raw):
        text: bytes | None = match["text"]
        if text is not None and match["colon"] is not None:
            name = _decoded(text)
            continue
        if match["open"] is None and _is_private(name):
            replaced: bytes | None = b"null"
        elif text is None or (name in _REPEATED_NAMES and _OPAQUE.fullmatch(text)):
            replaced = None
        else:
            replaced = _rewritten(text)
        name = None
        if replaced is not None:
            pieces += [raw[at : match.start()], replaced]
            at = match.end()
    return b"".join((*pieces, raw[at:])) if pieces else raw


def body(dialect: Dialect, *, code: int, message: str, error_type: str, **more: Any) -> bytes:
    """Return an error of ours as upstream would write it where this shape is answered."""
    return orjson.dumps(_error(dialect, code=code, message=message, error_type=error_type, **more))


def frame(dialect: Dialect, *, code: int, message: str, error_type: str, model: str, call_id: str) -> bytes:
    """Return the last words of a stream that ends before its end, as an event of the shape's own.

    Shape: it first ends whatever line or event may be open.
    """
    about = {"generation_id": call_id}
    found = _error(dialect, code=code, message=message, error_type=error_type, **about)
    if dialect == "messages":
        return b"\n\nevent: error\ndata: " + orjson.dumps(found) + b"\n\n"
    if dialect == "responses":
        inner = {"code": str(code), "message": message, "param": None}
        found = {"type": "error", **inner, "error": inner, "error_type": error_type, **about}
    elif dialect == "images":
        found = {"type": "error", "error": {"code": str(code), "message": message, **about}}
    else:
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        found = {
            "id": call_id,
            "object": "chat.completion.chunk",
            "model": model,
            "choices": [choice],
            **found,
        }
    return sse.event(orjson.dumps(found))


def _error(dialect: Dialect, *, code: int, message: str, error_type: str, **more: Any) -> dict[str, Any]:
    if dialect == "messages":
        kind = "overloaded_error" if code in (503, 529) else "api_error"
        inner = {"type": kind, "message": message, "error_type": error_type}
        return {"type": "error", "error": inner, "request_id": more.get("generation_id")}
    found = {"code": code, "message": message, "metadata": {"error_type": error_type, **more}}
    return {"error": found, "error_type": error_type} if dialect == "responses" else {"error": found}


def _is_moderation(status: int, raw: bytes | None) -> bool:
    """Whether a 403 is about what the caller sent."""
    try:
        found = orjson.loads(raw) if status == 403 and raw else None
    except orjson.JSONDecodeError:
        return False
    error = found.get("error") if isinstance(found, dict) else None
    metadata = error.get("metadata") if isinstance(error, dict) else None
    about = metadata if isinstance(metadata, dict) else {}
    # Where each dialect says it: chat, messages, responses.
    kinds = [place.get("error_type") for place in (about, error, found) if isinstance(place, dict)]
    return bool(about.get("reasons")) or "flagged_input" in about or "content_policy_violation" in kinds


def _holds_json(raw: bytes) -> bool:
    found = raw.lstrip(b" \t\r\n\xef\xbb\xbf")
    return found.startswith((b"{", b"[", b"data:", b"event:", b":"))


def _is_private(name: str | None) -> bool:
    lowered = (name or "").lower()
    return lowered in _PRIVATE_NAMES or lowered.startswith(_PRIVATE_BEGINNING)


def _rewritten(token: bytes) -> bytes | None:
    """Return a text without what is private in it; None where nothing is."""
    text = _decoded(token)
    if text is None:
        return None
    public = _PURSE.sub(_GONE, _SECRET.sub(_GONE, text))
    return None if public == text else orjson.dumps(public)


def _decoded(token: bytes) -> str | None:
    try:
        found = orjson.loads(token)
    except orjson.JSONDecodeError:
        return token[1:-1].decode("utf-8", errors="replace")
    return found if isinstance(found, str) else None
