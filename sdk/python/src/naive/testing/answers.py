"""Answers in the platform's own shapes."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx

from naive import numbers

CODES = {
    400: "invalid_input",
    401: "unauthorized",
    402: "insufficient_credits",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    412: "precondition_failed",
    413: "payload_too_large",
    422: "idempotency_mismatch",
    429: "rate_limited",
    500: "internal_error",
    501: "not_configured",
    502: "provider_error",
    503: "unavailable",
    504: "provider_timeout",
}
CREATED = 1_790_000_000
# Of words, roughly; a fake has no tokenizer.
BYTES_PER_TOKEN = 4
PIECE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the model says next, and what that costs."""

    text: str
    model: str | None = None
    finish_reason: str = "stop"
    tool_calls: list[dict[str, Any]] | None = None
    cost_usd: Decimal = Decimal("0.0001")
    # Of a stream: after so many characters the connection breaks.
    cut_after: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one call cost and what is left, in credits."""

    used: Decimal
    remaining: Decimal


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Pieces of an answer as they come, and then the end or a broken connection."""

    def __init__(self, pieces: list[bytes], *, is_cut: bool = False) -> None:
        self._pieces = pieces
        self._is_cut = is_cut

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._is_cut:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def error(
    status: int,
    *,
    request_id: str,
    code: str | None = None,
    message: str | None = None,
    hint: str | None = None,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Return an error of the platform's."""
    name = code or CODES.get(status, "internal_error")
    told: dict[str, Any] = {"code": name, "message": message or f"The fake platform says {name}."}
    told |= {"hint": hint} if hint else {}
    told |= {"details": dict(details)} if details else {}
    told["request_id"] = request_id
    return answer(status, {"error": told}, request_id=request_id, headers=headers)


def answer(
    status: int, body: Mapping[str, Any], *, request_id: str, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    sent = {"content-type": "application/json", "x-request-id": request_id, **(headers or {})}
    return httpx.Response(status, content=numbers.written(body), headers=sent)


def completion(reply: Reply, asked: Mapping[str, Any], charge: Charge, call_id: str) -> dict[str, Any]:
    """Return a whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text}
    if reply.tool_calls:
        message["tool_calls"] = reply.tool_calls
    return {
        "id": call_id,
        "object": "chat.completion",
        "created": CREATED,
        "model": _model(reply, asked),
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
        "usage": usage(reply, asked),
        **reply.extra,
        "credits_used": charge.used,
        "credits_remaining": charge.remaining,
    }


def stream(reply: Reply, asked: Mapping[str, Any], charge: Charge, call_id: str) -> Body:
    """Return a stream: text in small pieces, usage in the last chunk, credits in a comment before [DONE]."""
    text = reply.text if reply.cut_after is None else reply.text[: reply.cut_after]
    head = {
        "id": call_id,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": _model(reply, asked),
    }
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": "".join(piece)} for piece in itertools.batched(text, PIECE)]
    frames = [_frame({**head, "choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    if reply.cut_after is not None:
        return Body(frames, is_cut=True)
    delta = {"tool_calls": [{"index": at, **call} for at, call in enumerate(reply.tool_calls or [])]}
    last = {"index": 0, "delta": delta if reply.tool_calls else {}, "finish_reason": reply.finish_reason}
    frames.append(_frame({**head, "choices": [last], "usage": usage(reply, asked)}))
    told = {"credits_used": charge.used, "credits_remaining": charge.remaining}
    frames += [b": " + numbers.written(told) + b"\n\n", b"data: [DONE]\n\n"]
    return Body(frames)


def usage(reply: Reply, asked: Mapping[str, Any]) -> dict[str, Any]:
    prompt = _tokens(json.dumps(asked.get("messages") or asked.get("prompt") or "", default=str))
    made = _tokens(reply.text)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": made,
        "total_tokens": prompt + made,
        "cost": reply.cost_usd,
    }


def _model(reply: Reply, asked: Mapping[str, Any]) -> str:
    return str(reply.model or asked.get("model") or (asked.get("models") or ["fake/model"])[0])


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def _frame(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + numbers.written(chunk) + b"\n\n"
