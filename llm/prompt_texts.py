"""What a stored request and its answer say to a reader: the words in them, whatever their shape; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a request: who speaks, and the words; what is no text is named in brackets."""

    role: str
    text: str


def turns(request: bytes) -> list[Turn]:
    """The messages of a request, in order; none where it is cut, or has no words that we know."""
    body = _object(request)
    found = [Turn("system", text) for name in ("system", "instructions") if (text := _words(body.get(name)))]
    for name in ("messages", "input", "prompt"):
        value = body.get(name)
        for item in value if isinstance(value, list) else [value]:
            role = item.get("role") if isinstance(item, dict) else None
            text = _message(item) if isinstance(item, dict) else _words(item)
            if text:
                found.append(Turn(role if isinstance(role, str) else "user", text))
    return found


def answered(answer: bytes) -> str:
    """The words of an answer: a JSON object's, or a stream's put together; empty where none are known."""
    body = _object(answer)
    if body:
        return "\n\n".join(filter(None, _whole(body)))
    return "".join(piece for event in _events(answer) for piece in _pieces(event))


def _message(item: Mapping[str, Any]) -> str:
    calls = item.get("tool_calls")
    words = _words(item.get("content")) or _words(item)
    named = "" if not calls else f"[tool calls] {_written(calls)}"
    return "\n".join(filter(None, (words, named)))


def _written(calls: object) -> str:
    try:
        return orjson.dumps(calls).decode()
    except orjson.JSONEncodeError:
        # What a client nests deeper than can be written again; as it was sent it is read all the same.
        return "…"


def _words(value: object) -> str:
    """The text in a content: a string, a list of parts, or one part."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        # No list of parts has lists in it: one that a client nests is not followed down.
        return "\n".join(filter(None, (_words(part) for part in value if not isinstance(part, list))))
    if not isinstance(value, dict):
        return ""
    for name in ("text", "output", "refusal"):
        if isinstance(value.get(name), str):
            return str(value[name])
    kind = value.get("type")
    return f"[{kind}]" if isinstance(kind, str) else ""


def _whole(body: Mapping[str, Any]) -> Iterator[str]:
    for choice in _objects(body.get("choices")):
        message = choice.get("message")
        yield _message(message) if isinstance(message, dict) else _words(choice.get("text"))
    yield _words(body.get("content"))
    for item in _objects(body.get("output")):
        yield _words(item.get("content"))
    if isinstance(body.get("error"), dict):
        yield str(body["error"].get("message", ""))


def _pieces(event: Mapping[str, Any]) -> Iterator[str]:
    for choice in _objects(event.get("choices")):
        delta = choice.get("delta")
        said = delta.get("content") if isinstance(delta, dict) else choice.get("text")
        if isinstance(said, str):
            yield said
    delta = event.get("delta")
    if isinstance(delta, dict) and isinstance(delta.get("text"), str):
        yield delta["text"]
    elif isinstance(delta, str) and event.get("type") == "response.output_text.delta":
        yield delta


def _events(stream: bytes) -> Iterator[Mapping[str, Any]]:
    for line in stream.splitlines():
        if line.startswith(b"data:") and (found := _object(line[5:])):
            yield found


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
