"""Checks on the fields of a JSON request that decide about money and routing; every other field is upstream's."""

from collections.abc import Mapping
from typing import Any

from accounts.errors import InvalidInput
from llm import bodies
from llm.requests import MODEL_CHARS_MAX, MODELS_MAX

FILES_TOOL = "openrouter:files"
_FILE_PARTS = frozenset({"file", "input_file", "input_image", "image", "document", "container_upload"})
# Without one of these in its bytes a body has nothing of that kind; escapes may stand for any of them.
_OF_STORED_FILES = (b"openrouter:", b"file_id", b"\\u")


def models(fields: Mapping[str, Any], *, also: Mapping[str, object] | None = None) -> tuple[str, ...]:
    """Return every model that may run, the first one first; a preset is one of them.

    Shape: `model`, each of `models`, `preset`, and what a shape names elsewhere: `also` is field → model.
    Errors: InvalidInput naming the field; where no model is named at all.
    """
    listed = fields.get("models")
    if listed is not None and not isinstance(listed, list):
        raise bad("models", "must be a list of model ids")
    if len(listed or ()) > MODELS_MAX:
        raise bad("models", f"has {len(listed or ())} entries; {MODELS_MAX} are the most one call takes")
    named: dict[str, object] = {}
    if fields.get("model") is not None:
        named["model"] = fields["model"]
    named |= {f"models[{index}]": found for index, found in enumerate(listed or ())} | dict(also or {})
    if not named:
        raise InvalidInput(
            "model is missing.",
            hint='Send "model"; GET models lists them.',
            details={"field": "model"},
        )
    preset = fields.get("preset")
    if preset is not None:
        named["preset"] = f"@preset/{preset}" if isinstance(preset, str) else preset
    return tuple(dict.fromkeys(model(field, found) for field, found in named.items()))


def model(field: str, found: object) -> str:
    """Return a model's id. Errors: InvalidInput naming the field."""
    if not isinstance(found, str) or not found or found != found.strip():
        raise bad(field, "must be a model id such as openai/gpt-4o-mini, without spaces around it")
    if len(found) > MODEL_CHARS_MAX or not found.isprintable():
        raise bad(field, f"must be a printable model id of at most {MODEL_CHARS_MAX} characters")
    return found


def flag(fields: Mapping[str, Any], name: str) -> bool:
    """Return a switch, off where it is absent. Errors: InvalidInput for anything but true, false and null."""
    found = fields.get(name)
    if found is not None and not isinstance(found, bool):
        raise bad(name, "must be true or false")
    return found is True


def whole(fields: Mapping[str, Any], name: str, most: int, *, least: int = 1) -> int | None:
    """Return a whole number, None where it is absent. Errors: InvalidInput naming the field."""
    found = fields.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
        raise bad(name, f"must be a whole number from {least} to {most}")
    return found


def text(fields: Mapping[str, Any], name: str) -> str:
    """Return a text that must be there. Errors: InvalidInput naming the field."""
    found = fields.get(name)
    if not isinstance(found, str) or not found:
        raise bad(name, "must be a text that is not empty")
    return found


def listed(fields: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list, empty where it is absent. Errors: InvalidInput naming the field."""
    found = fields.get(name)
    if found is not None and not isinstance(found, list):
        raise bad(name, "must be a list")
    return found or []


def require_types(body: bodies.Body) -> None:
    """Refuse what the platform itself reads or rewrites in any request, where it is not what it must be.

    Errors: InvalidInput naming the field; also where `provider` or `trace` name a field of theirs twice.
    """
    fields = body.fields
    for name in ("provider", "trace"):
        if fields.get(name) is not None and not isinstance(fields[name], dict):
            raise bad(name, "must be an object")
        body.inner(name)
    for name in ("user", "session_id", "prompt_cache_key"):
        if fields.get(name) is not None and not isinstance(fields[name], str):
            raise bad(name, "must be a string")
    for name in ("tools", "plugins"):
        listed(fields, name)
    require_no_stored_files(body)


def require_no_stored_files(body: bodies.Body) -> None:
    """Refuse what reads or writes upstream's stored files: those are the deployment's, and so every company's at once.

    Errors: InvalidInput for the tool that lists and edits them, wherever it stands, and for content named by `file_id`.
    """
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
    if kind == FILES_TOOL or one.get("id") == FILES_TOOL:
        raise bad("tools", f"must not have {FILES_TOOL}: its files are not your company's alone")
    if kind not in _FILE_PARTS:
        return
    places = [one, one.get("file"), one.get("source")]
    if any(isinstance(place, dict) and isinstance(place.get("file_id"), str) for place in places):
        raise bad("file_id", "is not offered here: send the file itself, or its URL")


def bad(field: str, rule: str) -> InvalidInput:
    """Return the error that names a field and the rule it breaks."""
    return InvalidInput(f"{field} {rule}.", hint=f"Correct {field} and send again.", details={"field": field})
