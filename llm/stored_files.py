"""What upstream keeps for the deployment between calls (files, stores, containers): no request reaches any of it.

It belongs to the operator's account, and so to every company at once. What a request brings along itself, or names by
a URL, is its own.
"""

import json
from collections.abc import Iterator
from typing import Any

from accounts.errors import InvalidInput
from llm import bodies

# Lists, reads and edits files in the workspace of the key that asks.
TOOL = "openrouter:files"
# Without one of these a body has nothing of the kind, unless letters of it are escaped, which nobody needs to do. Plain
# searches: one for all of them at once takes seconds where these take a tenth of one, and all others wait for it.
_WORDS = (
    b"openrouter:", b"file_id", b"container", b"vector_store", b"skill_id", b"previous_response_id", b"conversation",
    b"item_reference", rb"\u003a", rb"\u004", rb"\u005", rb"\u006", rb"\u007",
)  # fmt: skip
# What names something stored, by an id or a list of them.
IDS = frozenset({"file_id", "file_ids", "container_id", "vector_store_id", "vector_store_ids"})
# Parts of an answer that a client sends back as they came: they tell what a model used, and upstream loads none of it.
_TOLD = frozenset({
    "file_citation", "container_file_citation", "file_path", "code_interpreter_call", "code_execution_output",
    "bash_code_execution_output", "file_search_call",
})  # fmt: skip
# Whole conversations and answers by their id.
_KEPT = ("previous_response_id", "conversation")
# The client's own: its notes, and schemas of what its tools take.
_OWN = frozenset({"metadata", "trace"})
_SCHEMAS = frozenset({"input_schema", "json_schema", "schema"})
_SCHEMAS_OF_FUNCTIONS = frozenset({"function", "parameters"})
_USES = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


class _Pairs(tuple[tuple[str, Any], ...]):
    """An object as it was written: a name that stands twice is there twice, since nobody knows which one counts."""

    __slots__ = ()

    def all(self, name: str) -> list[Any]:
        return [found for key, found in self if key == name]


def require_none(body: bodies.Body) -> None:
    """Refuse a request that names what upstream stores in the deployment's account, wherever in it that stands.

    Errors: InvalidInput naming the field: the tool that lists and edits files; files, vector stores, containers,
    own skills, conversations and earlier responses by their id.
    """
    lowered = body.raw.lower()
    if not any(word in lowered for word in _WORDS):
        return
    try:
        found = json.loads(body.raw, object_pairs_hook=_Pairs, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput("The body cannot be read.", hint="Send plainer JSON.") from exc
    for name, value in found:
        if name in _KEPT and value is not None:
            raise _bad(name, "is not offered here: upstream keeps no conversations; send the messages again")
    left: list[Any] = [_Pairs(pair for pair in found if pair[0] not in _OWN)]
    while left:
        one = left.pop()
        if isinstance(one, _Pairs):
            _require_own(one)
            left += _inside(one)
        elif isinstance(one, list):
            left += one


def _require_own(one: _Pairs) -> None:
    """Refuse one object that names what is stored."""
    kinds = one.all("type")
    for named in (*kinds, *one.all("id")):
        if isinstance(named, str) and named.strip().lower().startswith(TOOL):
            raise _bad("tools", f"must not have {TOOL}: its files are not your company's alone")
    if "item_reference" in kinds:
        raise _bad("item_reference", "is not offered here: upstream keeps no items; send the item itself")
    is_told = len(kinds) == 1 and isinstance(kinds[0], str) and kinds[0] in _TOLD
    for name, value in one:
        if name in IDS and not is_told and _names_one(value):
            raise _bad(name, "is not offered here: send the file itself, or its URL")
        if name == "container" and _is_kept(value):
            raise _bad(name, "must not be one that is there already: it is not your company's alone")
        if name == "skill_id" and kinds != ["anthropic"] and _names_one(value):
            raise _bad(name, "must be one of the vendor's own")


def _is_kept(container: object) -> bool:
    """Whether a container is named by its id; one that is made for the call is the call's own."""
    ids = container.all("id") if isinstance(container, _Pairs) else [container]
    return any(_names_one(found) for found in ids)


def _names_one(value: object) -> bool:
    """Whether an id, or a list of them, stands there; a schema's `{"type": …}` is none."""
    return bool(value) and isinstance(value, str | list)


def _inside(one: _Pairs) -> Iterator[Any]:
    kinds = one.all("type")
    # What a model handed to a client's own tool is the client's.
    skipped = _SCHEMAS | ({"input"} if kinds and all(kind in _USES for kind in map(str, kinds)) else set())
    skipped |= _SCHEMAS_OF_FUNCTIONS if kinds == ["function"] else set()
    return (value for name, value in one if name not in skipped)


def _bad(field: str, rule: str) -> InvalidInput:
    return InvalidInput(f"{field} {rule}.", hint=f"Leave {field} out.", details={"field": field})
