"""What a chat completion request must look like before anything is held or sent."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts import idempotency
from accounts.errors import InvalidInput
from llm import bodies, fields

# OpenAI's own limit on `messages`.
MESSAGES_MAX = 2048
_MODELS = 'Send "model": "openai/gpt-4o-mini", or "models"; GET /v1/llm/models lists them.'


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked request: `models` are all that may run, the first one first; a preset is one of them."""

    body: bodies.Body
    models: tuple[str, ...]
    is_stream: bool

    @property
    def fields(self) -> Mapping[str, Any]:
        return self.body.fields


def read(raw: bytes) -> ChatRequest:
    """Check a request body.

    Shape: OpenRouter's chat completion body. Only what decides about money and routing is checked; every other field
    is upstream's to judge.
    Errors: InvalidInput naming the field.
    """
    body = bodies.read(raw)
    _require_prompt(body.fields)
    is_stream = fields.flag(body.fields, "stream")
    for name in ("max_tokens", "max_completion_tokens"):
        fields.whole(body.fields, name, fields.TOKENS_MAX)
    fields.whole(body.fields, "n", fields.CHOICES_MAX)
    fields.require_types(body)
    return ChatRequest(body=body, models=fields.models(body.fields, hint=_MODELS), is_stream=is_stream)


def read_key(header: str | None) -> bytes | None:
    """Return the SHA-256 of an Idempotency-Key as it was sent; None where there is no such header.

    Errors: InvalidInput naming the header.
    """
    return None if header is None else hashlib.sha256(idempotency.check(header).encode()).digest()


def read_user(header: str | None) -> str | None:
    """Return the tenant user that X-Naive-User-Id names; None where there is no such header.

    Errors: InvalidInput naming the header.
    """
    try:
        # Django reads headers as Latin-1; external ids are any text.
        return header and header.encode("latin-1").decode()
    except UnicodeDecodeError as exc:
        raise InvalidInput("The header X-Naive-User-Id is not UTF-8.", hint="Send the id as UTF-8.") from exc


def fingerprint(raw: bytes, *, route: str, user_id: UUID) -> bytes:
    """Return what tells one request from another under the same Idempotency-Key: where to, for whom, what."""
    return hashlib.sha256(b"\0".join((route.encode(), user_id.bytes, raw))).digest()


def _require_prompt(found: Mapping[str, Any]) -> None:
    messages, prompt = found.get("messages"), found.get("prompt")
    if messages is None and prompt is None:
        raise InvalidInput(
            "messages is missing.",
            hint='Send "messages": [{"role": "user", "content": "…"}], or "prompt".',
            details={"field": "messages"},
        )
    if messages is None:
        if not isinstance(prompt, str) or not prompt:
            raise fields.bad("prompt", "must be a text that is not empty")
        return
    if not isinstance(messages, list) or not messages:
        raise fields.bad("messages", "must be a list with at least one message")
    if len(messages) > MESSAGES_MAX:
        raise fields.bad(
            "messages", f"has {len(messages)} entries; {MESSAGES_MAX} are the most one call takes"
        )
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise fields.bad(f"messages[{index}]", "must be an object with role and content")
