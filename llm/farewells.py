"""The last words of a stream that ends before its [DONE]: one in-band error that names the call."""

from typing import Any

import orjson

from accounts.errors import DomainError, Forbidden
from billing.errors import InsufficientCredits
from llm import calls, sse
from llm.errors import UpstreamError
from llm.shapes import faults

_SEE = "What was produced is charged; see /v1/llm/generation?id={id}."


def broken(call: calls.Call, failure: UpstreamError | None) -> bytes:
    """Upstream failed, or ended without an end."""
    code, message = (
        (failure.status, failure.message) if failure else (502, "Upstream ended the stream early.")
    )
    return _frame(call, code=code, error_type="provider_error", message=message)


def draining(call: calls.Call) -> bytes:
    """This gateway is going down."""
    message = "This gateway is restarting; the answer was cut."
    return _frame(call, code=503, error_type="gateway_draining", message=message)


def refused(call: calls.Call, refusal: DomainError) -> bytes:
    """The books do not cover any more of this answer."""
    if isinstance(refusal, InsufficientCredits):
        what = (
            "Top up the wallet" if refusal.limit == "wallet" else "Raise the cap, or wait for its next period"
        )
        return _frame(
            call,
            code=402,
            error_type="insufficient_credits",
            message=f"The credits ran out and the answer was cut. {what}; or send max_tokens.",
            limit=refusal.limit,
        )
    code, error_type = (403, "wallet_frozen") if isinstance(refusal, Forbidden) else (503, "unavailable")
    message = f"The answer was cut: {refusal.message} {refusal.hint or ''}".rstrip()
    return _frame(call, code=code, error_type=error_type, message=message)


def _frame(call: calls.Call, *, code: int, error_type: str, message: str, **more: Any) -> bytes:
    """Return a chunk in the shape upstream itself uses for errors in a stream (docs/upstream.md 3.4)."""
    model, dialect = next(iter(call.admission.request.models), ""), call.admission.shape.dialect
    said = f"{message} {_SEE.format(id=call.public_id)}"
    if dialect != "chat":
        return faults.frame(
            dialect, code=code, message=said, error_type=error_type, model=model, call_id=call.public_id
        )
    frame = {
        "id": call.generation_id or call.public_id,
        "object": "chat.completion.chunk",
        "model": model,
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
        "error": {
            "code": code,
            "message": said,
            "metadata": {"error_type": error_type, "generation_id": call.public_id, **more},
        },
    }
    return sse.event(orjson.dumps(frame))
