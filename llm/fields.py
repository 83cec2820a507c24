"""Checks on the fields of a JSON request that decide about money and routing; every other field is upstream's."""

from collections.abc import Mapping
from typing import Any

from accounts.errors import InvalidInput
from llm import bodies, stored_files

MODELS_MAX = 16
MODEL_CHARS_MAX = 256
# More output than any model gives; a larger number is a mistake, not a wish.
TOKENS_MAX = 10_000_000
CHOICES_MAX = 128
# What goes upstream under an opaque name of the company's (llm/edits.py).
NAMES = ("user", "session_id", "prompt_cache_key", "safety_identifier")


def models(
    fields: Mapping[str, Any],
    *,
    also: Mapping[str, object] | None = None,
    hint: str = 'Send "model"; GET models lists them.',
) -> tuple[str, ...]:
    """Return every model that may run, the first one first; a preset is one of them.

    Shape: `model`, each of `models`, `preset`, and what a shape names elsewhere: `also` is field → model.
    Errors: InvalidInput naming the field; where no model is named at all, with `hint`.
    """
    fallbacks = listed(fields, "models", "must be a list of model ids")
    if len(fallbacks) > MODELS_MAX:
        raise bad("models", f"has {len(fallbacks)} entries; {MODELS_MAX} are the most one call takes")
    named: dict[str, object] = {}
    if fields.get("model") is not None:
        named["model"] = fields["model"]
    named |= {f"models[{index}]": found for index, found in enumerate(fallbacks)} | dict(also or {})
    if not named:
        raise InvalidInput("model is missing.", hint=hint, details={"field": "model"})
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


def listed(fields: Mapping[str, Any], name: str, rule: str = "must be a list") -> list[Any]:
    """Return a list, empty where it is absent. Errors: InvalidInput naming the field."""
    found = fields.get(name)
    if found is not None and not isinstance(found, list):
        raise bad(name, rule)
    return found or []


def require_types(body: bodies.Body) -> None:
    """Refuse what the platform itself reads or rewrites in any request, where it is not what it must be.

    Errors: InvalidInput naming the field; also where `provider` or `trace` name a field of theirs twice, and for
    what upstream stores in the deployment's account (llm/stored_files.py).
    """
    fields = body.fields
    for name in ("provider", "trace"):
        require_object(body, name)
    for name in (*NAMES, "service_tier"):
        if fields.get(name) is not None and not isinstance(fields[name], str):
            raise bad(name, "must be a string")
    for name in ("tools", "plugins"):
        listed(fields, name)
    stored_files.require_none(body)


def require_object(body: bodies.Body, name: str) -> None:
    """Refuse a field that is no object, or one that names a field of its own twice. Errors: InvalidInput."""
    if body.fields.get(name) is not None and not isinstance(body.fields[name], dict):
        raise bad(name, "must be an object")
    body.inner(name)


def bad(field: str, rule: str) -> InvalidInput:
    """Return the error that names a field and the rule it breaks."""
    return InvalidInput(f"{field} {rule}.", hint=f"Correct {field} and send again.", details={"field": field})
