"""What a chat completion request must look like before anything is held or sent."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts import idempotency
from accounts.errors import InvalidInput
from llm import bodies

# OpenAI's own limit on `messages`.
MESSAGES_MAX = 2048
MODELS_MAX = 16
MODEL_CHARS_MAX = 256
# More output than any model gives; a larger number is a mistake, not a wish.
TOKENS_MAX = 10_000_000
CHOICES_MAX = 128
# Lists, reads and edits files in the workspace of the key that asks: the operator's, and so every company's.
FILES_TOOL = "openrouter:files"
_FILE_PARTS = frozenset({"file", "input_file", "input_image", "image", "document", "container_upload"})
# Without one of these in its bytes a body has nothing of that kind; escapes may stand for any of them.
_OF_STORED_FILES = (b"openrouter:", b"file_id", b"\\u")


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
    fields = body.fields
    _require_prompt(fields)
    stream = fields.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise _bad("stream", "must be true or false")
    for name in ("max_tokens", "max_completion_tokens"):
        _require_whole(fields, name, TOKENS_MAX)
    _require_whole(fields, "n", CHOICES_MAX)
    for name in ("provider", "trace"):
        if fields.get(name) is not None and not isinstance(fields[name], dict):
            raise _bad(name, "must be an object")
        body.inner(name)
    for name in ("user", "session_id", "prompt_cache_key"):
        if fields.get(name) is not None and not isinstance(fields[name], str):
            raise _bad(name, "must be a string")
    for name in ("tools", "plugins"):
        if fields.get(name) is not None and not isinstance(fields[name], list):
            raise _bad(name, "must be a list")
    _require_no_stored_files(body)
    return ChatRequest(body=body, models=_models(fields), is_stream=stream is True)


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


def _require_prompt(fields: Mapping[str, Any]) -> None:
    messages, prompt = fields.get("messages"), fields.get("prompt")
    if messages is None and prompt is None:
        raise InvalidInput(
            "messages is missing.",
            hint='Send "messages": [{"role": "user", "content": "…"}], or "prompt".',
            details={"field": "messages"},
        )
    if messages is None:
        if not isinstance(prompt, str) or not prompt:
            raise _bad("prompt", "must be a text that is not empty")
        return
    if not isinstance(messages, list) or not messages:
        raise _bad("messages", "must be a list with at least one message")
    if len(messages) > MESSAGES_MAX:
        raise _bad("messages", f"has {len(messages)} entries; {MESSAGES_MAX} are the most one call takes")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _bad(f"messages[{index}]", "must be an object with role and content")


def _require_no_stored_files(body: bodies.Body) -> None:
    """Refuse what reads or writes upstream's stored files, wherever it stands in a request."""
    if not any(word in body.raw for word in _OF_STORED_FILES):
        return
    left: list[Any] = [body.fields]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            _require_no_stored_file(one)
            # What a model handed to a client's own tool is the client's.
            left += [found for name, found in one.items() if (one.get("type"), name) != ("tool_use", "input")]
        elif isinstance(one, list):
            left += one


def _require_no_stored_file(one: Mapping[str, Any]) -> None:
    kind = one.get("type")
    if FILES_TOOL in (kind, one.get("id")):
        raise _bad("tools", f"must not have {FILES_TOOL}: its files are not your company's alone")
    if not isinstance(kind, str) or kind not in _FILE_PARTS:
        return
    places = [one, one.get("file"), one.get("source")]
    if any(isinstance(place, dict) and isinstance(place.get("file_id"), str) for place in places):
        raise _bad("file_id", "is not offered here: send the file itself, or its URL")


def _models(fields: Mapping[str, Any]) -> tuple[str, ...]:
    model, fallbacks = fields.get("model"), fields.get("models")
    if fallbacks is not None and not isinstance(fallbacks, list):
        raise _bad("models", "must be a list of model ids")
    if len(fallbacks or ()) > MODELS_MAX:
        raise _bad("models", f"has {len(fallbacks or ())} entries; {MODELS_MAX} are the most one call takes")
    named = [("model", model)] if model is not None else []
    named += [(f"models[{index}]", found) for index, found in enumerate(fallbacks or ())]
    if not named:
        raise InvalidInput(
            "model is missing.",
            hint='Send "model": "openai/gpt-4o-mini", or "models"; GET /v1/llm/models lists them.',
            details={"field": "model"},
        )
    for field, found in named:
        _check_model(field, found)
    preset = fields.get("preset")
    if preset is not None:
        named.append(("preset", f"@preset/{preset}" if isinstance(preset, str) else preset))
        _check_model("preset", named[-1][1])
    return tuple(dict.fromkeys(found for _, found in named))


def _check_model(field: str, found: object) -> None:
    if not isinstance(found, str) or not found or found != found.strip():
        raise _bad(field, "must be a model id such as openai/gpt-4o-mini, without spaces around it")
    if len(found) > MODEL_CHARS_MAX or not found.isprintable():
        raise _bad(field, f"must be a printable model id of at most {MODEL_CHARS_MAX} characters")


def _require_whole(fields: Mapping[str, Any], name: str, most: int) -> None:
    found = fields.get(name)
    if found is None:
        return
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= most:
        raise _bad(name, f"must be a whole number from 1 to {most}")


def _bad(field: str, rule: str) -> InvalidInput:
    return InvalidInput(f"{field} {rule}.", hint=f"Correct {field} and send again.", details={"field": field})
