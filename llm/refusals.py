"""What upstream's errors become for our client: the caller's own faults as they are, the operator's never shown."""

import re
from typing import Any

import orjson

from llm.errors import UpstreamRefused

# Faults the caller can mend keep upstream's status; the rest is ours or upstream's.
_CALLERS_FAULT = frozenset({400, 404, 408, 413, 422, 429})
_OVERLOADED = frozenset({503, 529})
_MESSAGE_CHARS_MAX = 500
# The operator's key, account ids and account pages: none of it is our client's business.
_PRIVATE = re.compile(
    r"sk-or-[\w.…-]+|\b(?:user|org|workspace)_\w{6,}|(?:https?://)?openrouter\.ai\S*|\b[0-9a-f]{32,}\b|\S+@\S+\.\w+"
    r"|\$[0-9][0-9.,]*|\b[Aa]dd (?:\d+ |more )?credits\b"
)


def read(
    status: int, raw: bytes, *, retry_after: str | None = None, maybe_charged: bool = False
) -> UpstreamRefused:
    """Return the error our client gets for an error answer of upstream's.

    Shape: upstream's envelope `{"error": {"code", "message", "metadata"}}`, or anything else (HTML, nothing).
    Source: docs/upstream.md 4; docs/product.md 7.
    """
    error = _error(raw)
    found = error.get("metadata")
    metadata: dict[str, Any] = found if isinstance(found, dict) else {}
    is_moderation = status == 403 and bool(metadata.get("reasons") or "flagged_input" in metadata)
    ours = _status(status, is_moderation=is_moderation)
    about_operator = status in (401, 402, 403) and not is_moderation
    message = "" if about_operator else _public(str(error.get("message") or ""))
    details: dict[str, Any] = {"upstream_status": status}
    if not about_operator:
        code, provider = error.get("code"), metadata.get("provider_name")
        details["upstream_code"] = (
            code if isinstance(code, int) else _public(code) if isinstance(code, str) else None
        )
        details["upstream_message"] = message or None
        details["provider"] = _public(provider) if isinstance(provider, str) else None
    if is_moderation and isinstance(metadata.get("reasons"), list):
        details["reasons"] = [_public(str(reason))[:100] for reason in metadata["reasons"][:20]]
    return UpstreamRefused(
        f"The model provider answered {status}{': ' + message if message else ''}",
        status=ours,
        retry_after=retry_after if ours in (429, 503) else None,
        maybe_charged=maybe_charged,
        hint=_hint(ours, about_operator=about_operator),
        details=details,
    )


def _status(status: int, *, is_moderation: bool) -> int:
    if status in _CALLERS_FAULT or is_moderation:
        return status
    return 503 if status in _OVERLOADED else 502


def _hint(status: int, *, about_operator: bool) -> str:
    if about_operator:
        return "This is the operator's to mend, not yours: the deployment's upstream account was refused."
    if status in (429, 503):
        return "Retry after a pause, or name a fallback in `models`."
    if status == 502:
        return "Retry, or try another model."
    return "Correct the request as the message says."


def _error(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        return error
    return {"message": error} if isinstance(error, str) else {}


def _public(message: str) -> str:
    return _PRIVATE.sub("…", message)[:_MESSAGE_CHARS_MAX]
