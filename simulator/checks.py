"""Reading request bodies: fields of the right type or a 400, and the text and tokens of contents."""

from collections.abc import Iterable
from typing import Any

import orjson

from simulator import text
from simulator.errors import APIError
from simulator.traffic import Body, Request

# What a part that is not text counts as, in tokens.
_PART_TOKENS = {
    "image_url": 765,
    "input_image": 765,
    "image": 765,
    "file": 1000,
    "input_file": 1000,
    "document": 1000,
}
_OTHER_PART_TOKENS = 400
MESSAGE_TOKENS = 4


def invalid(name: str, wanted: str) -> APIError:
    return APIError(400, f"Invalid input: {name} must be {wanted}")


def json_object(request: Request) -> Body:
    """The body as a JSON object; APIError 400 for anything else."""
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError as exc:
        raise APIError(400, "Invalid JSON in request body") from exc
    if not isinstance(body, dict):
        raise invalid("body", "an object")
    return body


def positive(body: Body, *names: str) -> int | None:
    """The first of the named whole numbers that is there."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise invalid(name, "a positive integer")
        return value
    return None


def ranged(body: Body, **ranges: tuple[float, float]) -> None:
    for name, (low, high) in ranges.items():
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise invalid(name, f"a number from {low:g} to {high:g}")


def flag(body: Body, name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(name, "a boolean")
    return bool(value)


def texts(body: Body, name: str, *, most: int = 1_000_000) -> tuple[str, ...]:
    """A field that is one string or a list of strings."""
    value = body.get(name)
    if value is None:
        return ()
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found) or len(found) > most:
        raise invalid(name, "a string or a short list of strings")
    return tuple(found)


def objects(body: Body, name: str) -> list[Body]:
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid(name, "a list of objects")
    return value


def section(body: Body, name: str) -> Body:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(name, "an object")
    return value


def read(content: Any) -> tuple[str, int]:
    """The words of a message's content in any of the APIs, and how many tokens it counts as."""
    if isinstance(content, str):
        return content, text.tokens_in(content)
    if not isinstance(content, list):
        return "", 0
    said, tokens = [], 0
    for part in content:
        words, count = _part(part)
        if words:
            said.append(words)
        tokens += count
    return "\n".join(said), tokens


def _part(part: Any) -> tuple[str, int]:
    if isinstance(part, str):
        return part, text.tokens_in(part)
    if not isinstance(part, dict):
        return "", 0
    if isinstance(part.get("text"), str):
        return part["text"], text.tokens_in(part["text"])
    if "content" in part:
        return read(part["content"])
    return "", _PART_TOKENS.get(str(part.get("type")), _OTHER_PART_TOKENS)


def tokens_of(values: Iterable[Any]) -> int:
    """Tokens of structures that travel as JSON, such as tool definitions."""
    return sum(len(orjson.dumps(value)) // text.CHARACTERS_PER_TOKEN for value in values)
