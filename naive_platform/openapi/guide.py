"""/llms.txt: the whole API on one page of plain text, made from the document."""

from collections.abc import Iterator, Mapping
from typing import Any

from naive_platform.openapi import names

_HEAD = """\
# Naive

> {title} is a REST API to 300+ language models through one key and one wallet per company. Companies make API keys,
> account kits (policies) and tenant users, call models for them, and are charged in credits exactly what a call cost
> times a small markup. Clients of OpenAI, OpenRouter and Anthropic work unchanged through the proxy.

- Base URL: {base_url}
- Auth: header `Authorization: Bearer nv_sk_live_…` (a session token `nv_sess_…` opens the llm routes of its own user)
- OpenAPI 3.1: {base_url}/v1/openapi.json; for people: {base_url}/docs
- OpenAI SDK: base_url = {base_url}/v1/proxy/openrouter (or {base_url}/v1/llm for what kits allow)
- Anthropic SDK: base_url = {base_url}/v1/proxy/openrouter/api
- MCP, streamable HTTP: {base_url}/mcp, with the same header
- For whom: header `X-Naive-User-Id: <id>` or `ext:<your own id>`, or the path /v1/users/<id>/llm/…
- Money: JSON numbers of credits. Lists: `limit`, `cursor` → `next_cursor`. Retry safely: header `Idempotency-Key`.
"""
_ERRORS = """\
## Errors

Every error is {"error": {"code", "message", "hint"?, "details"?, "request_id"}}. Read `hint`: it says what to do next.
"""


def render(document: Mapping[str, Any], *, base_url: str) -> str:
    """The text. Shape: `base_url` without a slash at its end."""
    head = _HEAD.format(title=document["info"]["title"], base_url=base_url)
    return "\n".join([head, *_routes(document), _ERRORS, *_errors(document), ""])


def by_tag(document: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """What there is under each tag: method, path and summary of every operation."""
    found: dict[str, list[dict[str, str]]] = {name: [] for name in names.TAGS}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            row = {"method": method.upper(), "path": path, "summary": operation["summary"]}
            found[operation["tags"][0]].append(row)
    return found


def _routes(document: Mapping[str, Any]) -> Iterator[str]:
    for tag, rows in by_tag(document).items():
        yield f"## {tag}\n\n{names.TAGS[tag]}\n"
        yield from (f"- {row['method']} {row['path']}: {row['summary']}" for row in rows)
        yield ""


def _errors(document: Mapping[str, Any]) -> Iterator[str]:
    said: dict[str, str] = {}
    for name, response in document["components"]["responses"].items():
        status, *codes = name.removesuffix(".proxied").split("-")
        for code, words in zip(codes, response["description"].split(" Or: "), strict=True):
            said.setdefault(f"{status} {code}", words)
    yield from (f"- {name}: {words}" for name, words in sorted(said.items()))
