"""The four shapes that answer in text: how each is read, and what it says in the words of a chat completion."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llm import bodies, fields, pricing, requests
from llm.shapes.request import Request

PROMPTS_MAX = 2048
# What in any shape means the same as in a chat completion.
_COMMON = ("model", "models", "plugins", "service_tier", "web_search_options", "modalities")
# Tools that the client runs itself; upstream only hands their calls over.
_CLIENTS_TOOLS = frozenset({"function", "custom", "computer_use_preview", "local_shell", "apply_patch"})
_CLIENTS_TOOL_BEGINNINGS = ("bash_", "text_editor_", "computer_", "memory_")
_WEB_BEGINNING = "web_search_"
# Kinds of content by what a chat completion calls them; what has no entry is text, and counts by its bytes.
_PARTS = {
    "image": "image_url",
    "input_image": "image_url",
    "image_url": "image_url",
    "computer_screenshot": "image_url",
    "document": "file",
    "file": "file",
    "input_file": "file",
    "video_url": "video_url",
    "input_video": "input_video",
    "input_audio": "input_audio",
    "audio": "input_audio",
}
# How deep content is looked into: an item, its content, a tool's result in it, that one's content, and one to spare.
_DEPTH_MAX = 5


def read_chat(raw: bytes) -> Request:
    """Read POST chat/completions. Errors: InvalidInput naming the field."""
    found = requests.read(raw)
    return Request(body=found.body, models=found.models, is_stream=found.is_stream, words=found.fields)


def read_completion(raw: bytes) -> Request:
    """Read POST completions: one prompt or several, as text or as tokens.

    Errors: InvalidInput naming the field.
    """
    body, _ = _read(raw)
    prompts = _prompts(body.fields.get("prompt"))
    choices = fields.whole(body.fields, "n", fields.CHOICES_MAX) or 1
    each = max(choices, fields.whole(body.fields, "best_of", fields.CHOICES_MAX) or 1)
    most = fields.whole(body.fields, "max_tokens", fields.TOKENS_MAX)
    # All that decides whether what is made is seen; but the chat's other ceiling is none here.
    counted = {name: value for name, value in body.fields.items() if name != "max_completion_tokens"}
    return Request(
        body=body,
        models=fields.models(body.fields),
        is_stream=fields.flag(body.fields, "stream"),
        words={**counted, "n": each * prompts, "max_tokens": most},
        # The bound counts one prompt up to the model's context; several are longer than that together. And of what
        # is made to be chosen from, only the chosen is seen.
        is_unpriced=prompts > 1 or each > choices,
    )


def read_response(raw: bytes) -> Request:
    """Read POST responses. Errors: InvalidInput naming the field."""
    body, common = _read(raw)
    found = body.fields
    given = found.get("input")
    if not isinstance(given, str | list) or not given:
        raise fields.bad("input", "must be a text or a list of items")
    words = {
        **common,
        "messages": _messages(given if isinstance(given, list) else ()),
        "tools": _tools(found),
        "max_tokens": fields.whole(found, "max_output_tokens", fields.TOKENS_MAX),
    }
    return Request(
        body=body,
        models=fields.models(found),
        is_stream=fields.flag(found, "stream"),
        words=words,
        # A stored prompt is longer than its name; a background call is answered before it has run.
        is_unpriced=found.get("prompt") is not None or fields.flag(found, "background"),
    )


def read_message(raw: bytes) -> Request:
    """Read POST messages, Anthropic's. Errors: InvalidInput naming the field."""
    body, common = _read(raw)
    found = body.fields
    listed = fields.listed(found, "messages")
    if not listed or len(listed) > 100_000:
        raise fields.bad("messages", "must be a list with at least one message")
    for index, message in enumerate(listed):
        if not isinstance(message, dict):
            raise fields.bad(f"messages[{index}]", "must be an object with role and content")
    _require_user(body)
    most = fields.whole(found, "max_tokens", fields.TOKENS_MAX)
    thinking = found.get("thinking")
    budget = fields.whole(thinking, "budget_tokens", fields.TOKENS_MAX) if isinstance(thinking, dict) else 0
    words = {
        **common,
        "messages": _messages(listed),
        "tools": _tools(found),
        "max_tokens": most,
    }
    return Request(
        body=body,
        models=fields.models(found, also=_fallbacks(found)),
        is_stream=fields.flag(found, "stream"),
        words=words,
        # The fast mode of a model has a price of its own, which the catalogue does not list.
        is_unpriced=any(found.get(name) is not None for name in ("mcp_servers", "container"))
        or found.get("speed") not in (None, "standard"),
        # Anthropic refuses a ceiling that its thinking alone would fill.
        least_tokens=(budget or 0) + pricing.OUTPUT_TOKENS_LEAST,
    )


def _read(raw: bytes) -> tuple[bodies.Body, dict[str, Any]]:
    body = bodies.read(raw)
    fields.require_types(body)
    return body, {name: body.fields[name] for name in _COMMON if body.fields.get(name) is not None}


def _require_user(body: bodies.Body) -> None:
    """Refuse metadata in which nobody could say whom the call is for."""
    fields.require_object(body, "metadata")
    user = (body.fields.get("metadata") or {}).get("user_id")
    if user is not None and not isinstance(user, str):
        raise fields.bad("metadata.user_id", "must be a string")


def _prompts(given: object) -> int:
    """Return how many prompts there are: a text, its tokens, or a list of either."""
    if isinstance(given, str) and given:
        return 1
    if not isinstance(given, list) or not given or len(given) > 1_000_000:
        raise fields.bad("prompt", "must be a text, a list of texts, or tokens")
    if all(isinstance(one, int) and not isinstance(one, bool) for one in given):
        return 1
    if len(given) > PROMPTS_MAX or not all(isinstance(one, str | list) for one in given):
        raise fields.bad("prompt", f"must be a text, tokens, or a list of at most {PROMPTS_MAX} of them")
    return len(given)


def _fallbacks(found: Mapping[str, Any]) -> dict[str, object]:
    """Return the models that Anthropic's own field for it names."""
    named: dict[str, object] = {}
    for index, fallback in enumerate(fields.listed(found, "fallbacks")):
        if not isinstance(fallback, dict):
            raise fields.bad(f"fallbacks[{index}]", "must be an object with model")
        named[f"fallbacks[{index}].model"] = fallback.get("model")
    if len(named) > fields.MODELS_MAX:
        raise fields.bad("fallbacks", f"has more than {fields.MODELS_MAX} entries")
    return named


def _messages(listed: Iterable[Any]) -> list[dict[str, Any]]:
    """Return one message per item, with those parts that are not billed by the bytes of their text."""
    return [{"content": list(_parts(item, _DEPTH_MAX))} for item in listed]


def _parts(item: object, depth: int) -> Iterator[dict[str, Any]]:
    if isinstance(item, list):
        for one in item:
            if not isinstance(one, list):  # No shape has lists in lists.
                yield from _parts(one, depth)
    elif isinstance(item, dict) and depth:
        kind = _PARTS.get(str(item.get("type")))
        # Looked into whatever it calls itself: upstream may go by its content where we go by its type.
        for name in ("content", "output"):
            yield from _parts(item.get(name), depth - 1)
        if kind is None:
            return
        if kind == "image_url":
            yield {"type": kind, "image_url": {"url": _image(item)}}
        else:
            yield {"type": kind}


def _image(item: Mapping[str, Any]) -> str:
    """Return an image as a URL; what is inline as the data URL of the same length."""
    source, url = item.get("source"), item.get("image_url")
    if isinstance(source, dict):
        data = source.get("data")
        # As long as it stands in the body, so that what is taken off the bytes of text is what is there.
        return f"data:{data[5:]}" if isinstance(data, str) else ""
    url = url.get("url") if isinstance(url, dict) else url
    return url if isinstance(url, str) else ""


def _tools(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"type": _tool(one)} for one in fields.listed(found, "tools")]


def _tool(tool: object) -> str:
    """Return a tool's kind as a chat completion calls it; Anthropic's own have a date in their names."""
    kind = str(tool.get("type") or "function") if isinstance(tool, dict) else ""
    if kind in _CLIENTS_TOOLS or kind.startswith(_CLIENTS_TOOL_BEGINNINGS):
        return "function"
    return "web_search" if kind.startswith(_WEB_BEGINNING) else kind
