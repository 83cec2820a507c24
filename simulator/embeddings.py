"""POST /embeddings and POST /rerank."""

import base64
import hashlib
import struct
from typing import Any

from simulator import calls, checks, text, usage
from simulator.calls import Call, Need, Work
from simulator.errors import APIError
from simulator.pricing import Bill
from simulator.traffic import Body, Reply, Request, json_reply
from simulator.world import World

DIMENSIONS, DIMENSIONS_MAX = 1536, 4096
INPUTS_MAX = 2048


def create(world: World, request: Request) -> Work:
    """POST /embeddings."""
    key, body = calls.read(request)
    inputs = _inputs(body.get("input"))
    tokens = sum(count for _, count in inputs)
    size = checks.positive(body, "dimensions") or DIMENSIONS
    packed = body.get("encoding_format") == "base64"
    if size > DIMENSIONS_MAX or body.get("encoding_format") not in {None, "float", "base64"}:
        raise checks.invalid("dimensions or encoding_format", "one that the model offers")
    call = calls.begin(world, request, key, _need(body, tokens, "embeddings", "embeddings"))

    def render(bill: Bill) -> Reply:
        rows = [
            {"object": "embedding", "embedding": _vector(seed, size, packed=packed), "index": number}
            for number, (seed, _) in enumerate(inputs)
        ]
        count = bill.tally.prompt
        value: Body = {"object": "list", "data": rows, "model": call.model_name, "id": f"embd-{call.id[4:]}"}
        return _reply(call, value, usage.units(bill, call.faults, prompt_tokens=count, total_tokens=count))

    return Work(call=call, tokens=0, tally=lambda produced: call.tally(completion=produced), render=render)


def rerank(world: World, request: Request) -> Work:
    """POST /rerank: documents in the order of the words they share with the query."""
    key, body = calls.read(request)
    query, documents = body.get("query"), body.get("documents")
    if not isinstance(query, str) or not isinstance(documents, list) or not documents:
        raise checks.invalid("query and documents", "a string and a list with at least one document")
    passages = [item if isinstance(item, str) else checks.read([item])[0] for item in documents]
    tokens = text.tokens_in(query) * len(passages) + sum(map(text.tokens_in, passages))
    top = checks.positive(body, "top_n") or len(passages)
    call = calls.begin(world, request, key, _need(body, tokens, "rerank", "rerank"))

    def render(bill: Bill) -> Reply:
        wanted = {word.lower() for word in query.split()}
        scored = sorted(
            ((_overlap(wanted, passage), number) for number, passage in enumerate(passages)),
            key=lambda pair: (-pair[0], pair[1]),
        )
        results = [
            {"index": number, "relevance_score": score, "document": {"text": passages[number]}}
            for score, number in scored[:top]
        ]
        value: Body = {"id": call.id, "model": call.model_name, "results": results}
        value["provider"] = call.endpoint.provider.name
        return _reply(call, value, usage.units(bill, call.faults, search_units=1, total_tokens=tokens))

    return Work(call=call, tokens=0, tally=lambda produced: call.tally(completion=produced), render=render)


def _need(body: Body, tokens: int, output: str, api: str) -> Need:
    if not isinstance(body.get("model"), str):
        raise checks.invalid("model", "a string")
    user = body.get("user")
    return Need(
        names=(body["model"],),
        seed=0,
        prompt_tokens=tokens,
        output=output,
        api=api,
        provider=checks.section(body, "provider"),
        user=user if isinstance(user, str) else None,
        trace=checks.section(body, "trace"),
    )


def _reply(call: Call, value: Body, used: Body | None) -> Reply:
    if used is not None:
        value["usage"] = used
    if call.faults.ok_error:
        value = {"error": {"code": 502, "message": "Provider returned error"}}
    return json_reply(value, headers=call.headers, spoilt=call.faults)


def _inputs(given: Any) -> list[tuple[str, int]]:
    """Each input as what its vector is made from and its tokens: text, token ids or content parts."""
    if isinstance(given, str):
        rows: list[Any] = [given]
    elif isinstance(given, list) and given and isinstance(given[0], int):
        rows = [given]
    else:
        rows = given if isinstance(given, list) else []
    if not rows or len(rows) > INPUTS_MAX:
        raise APIError(400, "Invalid input: input must be a string or a list of up to 2048 inputs")
    return [_one(row) for row in rows]


def _one(row: Any) -> tuple[str, int]:
    if isinstance(row, list) and all(isinstance(item, int) for item in row):
        return " ".join(map(str, row)), len(row)
    words, tokens = checks.read(row.get("content") if isinstance(row, dict) else row)
    return words, max(tokens, 1)


def _vector(seed: str, size: int, *, packed: bool) -> list[float] | str:
    """A unit-sized pseudo-random vector of a text: the same text, the same vector."""
    raw = hashlib.shake_128(seed.encode(errors="replace")).digest(2 * size)
    scale = 32_768 * size**0.5 / 1.732
    values = [round(value / scale, 7) for value in struct.unpack(f"<{size}h", raw)]
    return base64.b64encode(struct.pack(f"<{size}f", *values)).decode() if packed else values


def _overlap(wanted: set[str], passage: str) -> float:
    words = {word.lower().strip(".,;:!?") for word in passage.split()}
    return round(len(wanted & words) / max(len(wanted), 1), 4)
