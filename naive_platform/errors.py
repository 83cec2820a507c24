"""The one table from a domain error to its code and status, and the one shape every error is answered in."""

from collections.abc import Mapping
from typing import Any

import orjson

from accounts import errors as accounts
from accounts.errors import DomainError
from billing import errors as billing
from billing import money, packs
from llm import errors as llm

# (code, status) per class; a subclass that is not listed is answered as its nearest listed parent.
TABLE: dict[type[DomainError], tuple[str, int]] = {
    accounts.InvalidInput: ("invalid_input", 400),
    accounts.Unauthorized: ("unauthorized", 401),
    billing.InsufficientCredits: ("insufficient_credits", 402),
    accounts.Forbidden: ("forbidden", 403),
    accounts.NotFound: ("not_found", 404),
    accounts.DuplicateRecord: ("duplicate_record", 409),
    accounts.Conflict: ("conflict", 409),
    accounts.IdempotencyInProgress: ("idempotency_in_progress", 409),
    accounts.AlreadyCompleted: ("already_completed", 409),
    accounts.PreconditionFailed: ("precondition_failed", 412),
    llm.PayloadTooLarge: ("payload_too_large", 413),
    llm.UnsupportedMediaType: ("unsupported_media_type", 415),
    accounts.IdempotencyMismatch: ("idempotency_mismatch", 422),
    llm.RateLimited: ("rate_limited", 429),
    accounts.NotConfigured: ("not_configured", 501),
    llm.UpstreamTimeout: ("provider_timeout", 504),
    llm.UpstreamError: ("provider_error", 502),
    llm.GatewayFull: ("unavailable", 503),
    accounts.Unavailable: ("unavailable", 503),
}
INVALID_INPUT = ("invalid_input", 400)
FORBIDDEN = ("forbidden", 403)
NOT_FOUND = ("not_found", 404)
METHOD_NOT_ALLOWED = ("method_not_allowed", 405)
PAYLOAD_TOO_LARGE = ("payload_too_large", 413)
UNSUPPORTED_MEDIA_TYPE = ("unsupported_media_type", 415)
RATE_LIMITED = ("rate_limited", 429)
INTERNAL = ("internal_error", 500)
UNAVAILABLE = ("unavailable", 503)
# How long a client should wait where the error itself does not know. Unit: seconds.
RETRY_AFTER_S = 2
# What upstream may ask of a client through us; longer, or no plain number, is not passed on. Unit: seconds.
RETRY_AFTER_MAX_S = 3600


def classify(error: DomainError) -> tuple[str, int]:
    """Return (code, status) of an error. Errors: KeyError for a class nobody put into the table."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            code, status = TABLE[kind]
            return code, error.status if isinstance(error, llm.UpstreamError) else status
    raise KeyError(type(error).__name__)


def body(
    *,
    code: str,
    message: str,
    request_id: str,
    hint: str | None = None,
    details: Mapping[str, Any] | None = None,
    beside: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the JSON of an error, the same shape on every route; `beside` stands next to `error`."""
    error: dict[str, Any] = {"code": code, "message": message}
    if hint:
        error["hint"] = hint
    if details:
        error["details"] = details
    error["request_id"] = request_id
    return orjson.dumps({"error": error, **(beside or {})}, default=str)


def render(error: DomainError, *, request_id: str) -> tuple[int, bytes, dict[str, str]]:
    """Return (status, body, headers) of an error."""
    code, status = classify(error)
    details = dict(error.details)
    # An error after a hold was placed names the call in its own headers.
    headers = {**getattr(error, "headers", {}), "X-Request-Id": request_id}
    if isinstance(error, llm.UpstreamError):
        if error.maybe_charged:
            headers["x-should-retry"] = "false"
        if error.retry_after and _is_bearable(error.retry_after):
            headers["Retry-After"] = error.retry_after
    if code == "already_completed":
        # SDKs repeat a 409 by themselves; this one stays what it is.
        headers["x-should-retry"] = "false"
    retry_after_s = details.pop("retry_after_s", RETRY_AFTER_S)
    if (
        (status in (429, 503) or code == "idempotency_in_progress")
        and "Retry-After" not in headers
        and "x-should-retry" not in headers
    ):
        headers["Retry-After"] = str(retry_after_s)
    beside: dict[str, Any] = {}
    if isinstance(error, billing.InsufficientCredits):
        details |= {name: _credits(amount) for name, amount in error.amounts_nanocredits.items()}
        beside["packs"] = [pack_object(pack) for pack in packs.PACKS]
    text = body(
        code=code,
        message=error.message,
        hint=error.hint,
        details=details,
        request_id=request_id,
        beside=beside,
    )
    return status, text, headers


def _is_bearable(retry_after: str) -> bool:
    is_number = retry_after.isascii() and retry_after.isdigit() and len(retry_after) <= 4
    return is_number and int(retry_after) <= RETRY_AFTER_MAX_S


def _credits(nanocredits: int) -> orjson.Fragment:
    return orjson.Fragment(money.json_number(nanocredits))


def pack_object(pack: packs.Pack) -> dict[str, Any]:
    """Return what a client reads of a pack."""
    price = orjson.Fragment(str(pack.price_usd))
    return {
        "id": pack.id,
        "name": pack.name,
        "credits": pack.credits,
        "price_usd": price,
        "badge": pack.badge,
    }
