"""POST /responses: the Responses API, stateless, as JSON and as a stream."""

from collections.abc import Iterator
from typing import Any

import orjson

from simulator import answers, calls, checks, text, usage
from simulator.answers import Answer, Ask, Tool
from simulator.calls import Call, Need, Script, Work
from simulator.errors import APIError
from simulator.pricing import Bill, Tally
from simulator.traffic import Body, Reply, Request, json_reply
from simulator.world import World


def create(world: World, request: Request) -> Work:
    """POST /responses."""
    key, body = calls.read(request)
    need, prompt, last = _need(body)
    call = calls.begin(world, request, key, need)
    answer = answers.compose(_ask(body, call, prompt, last), call.faults)

    def tally(produced: int) -> Tally:
        return call.tally(completion=produced, reasoning=min(produced, len(answer.reasoning)))

    finish = "length" if answer.finish == "length" else "completed"
    work = Work(call=call, tokens=answer.tokens, tally=tally, finish=finish)
    writer = Writer(call, answer, body)
    if need.streamed:
        work.script = Script(list(writer.frames()), writer.closing, writer.failure)
    else:
        work.render = writer.rendered
    return work


def _need(body: Body) -> tuple[Need, str, str]:
    """What is asked of the catalogue, the last user words, and the kind of the last item."""
    if body.get("previous_response_id") is not None:
        raise APIError(400, "previous_response_id is not supported: this API is stateless")
    if body.get("store") is True:
        raise APIError(400, "store must be false: this API is stateless")
    checks.ranged(body, temperature=(0, 2), top_p=(0, 1))
    prompt, tokens, last = _input(body)
    tools = checks.objects(body, "tools")
    searches = sum(
        str(tool.get("type")).startswith(("openrouter:web_search", "web_search")) for tool in tools
    )
    instructions = checks.read(body.get("instructions"))[1]
    user = body.get("user")
    need = Need(
        names=calls.names_in(body),
        seed=text.seed_of(prompt),
        prompt_tokens=tokens + instructions + checks.tokens_of(tools),
        max_tokens=checks.positive(body, "max_output_tokens"),
        streamed=checks.flag(body, "stream"),
        searches=searches,
        provider=checks.section(body, "provider"),
        user=user if isinstance(user, str) else None,
        trace=checks.section(body, "trace"),
    )
    return need, prompt, last


def _input(body: Body) -> tuple[str, int, str]:
    given = body.get("input")
    if isinstance(given, str):
        return given, text.tokens_in(given) + checks.MESSAGE_TOKENS, "user"
    items = checks.objects(body, "input")
    if not items:
        raise checks.invalid("input", "a string or a list with at least one item")
    prompt, total, last = "", 0, ""
    for item in items:
        content = item.get("content", item.get("output", item.get("arguments")))
        words, tokens = checks.read(content)
        total += tokens + checks.MESSAGE_TOKENS
        last = str(item.get("role") or item.get("type"))
        if last == "user":
            prompt = words
    return prompt, total, last


def _ask(body: Body, call: Call, prompt: str, last: str) -> Ask:
    choice = body.get("tool_choice")
    offered = [tool for tool in checks.objects(body, "tools") if tool.get("type") == "function"]
    tools = tuple(Tool(str(tool.get("name", "")), tool.get("parameters")) for tool in offered)
    form = checks.section(checks.section(body, "text"), "format")
    kinds = {"json_schema": "schema", "json_object": "object"}
    wish = checks.section(body, "reasoning")
    return Ask(
        prompt=prompt,
        max_tokens=call.need.max_tokens,
        tools=tools if choice != "none" and last == "user" else (),
        forced_tool=str(choice.get("name", "")) if isinstance(choice, dict) else "",
        form=kinds.get(str(form.get("type")), "text"),
        schema=form.get("schema"),
        reasons=call.model.reasons or (bool(wish) and wish.get("effort") != "none"),
    )


class Writer:
    """The response object, whole or as the events that build it up."""

    def __init__(self, call: Call, answer: Answer, body: Body) -> None:
        self._call, self._answer, self._body = call, answer, body
        self._number = -1
        self._tail = call.id[-20:]

    def _part(self, said: str) -> Body:
        return {"type": "output_text", "text": said, "annotations": [], "logprobs": []}

    def _reasoning_item(self) -> Body:
        content = [{"type": "reasoning_text", "text": self._answer.thoughts}]
        return {"type": "reasoning", "id": f"rs_{self._tail}", "summary": [], "content": content}

    def _item(self, *, done: bool) -> Body:
        """The message or the function call; empty while it is in progress."""
        said = self._answer.text if done else ""
        status = "completed" if done else "in_progress"
        if self._answer.tool:
            identity = {"type": "function_call", "id": f"fc_{self._tail}", "call_id": f"call_{self._tail}"}
            return {**identity, "name": self._answer.tool, "arguments": said, "status": status}
        content = [self._part(said)] if done else []
        message = {"type": "message", "id": f"msg_{self._tail}", "role": "assistant"}
        return {**message, "status": status, "content": content}

    def _response(self, status: str, bill: Bill | None, error: Body | None = None) -> Body:
        answer, body, call = self._answer, self._body, self._call
        output: list[Body] = []
        if bill is not None and status != "failed":
            output = [self._reasoning_item()] if answer.reasoning else []
            output.append(self._item(done=True))
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        value: Body = {
            "id": call.id,
            "object": "response",
            "created_at": call.created,
            "model": call.model_name,
            "status": status,
            "output": output,
            "error": error,
            "incomplete_details": cut,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "metadata": body.get("metadata") or {},
            "parallel_tool_calls": body.get("parallel_tool_calls", True),
            "previous_response_id": None,
            "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
            "service_tier": None,
            "store": False,
            "temperature": body.get("temperature"),
            "text": body.get("text") or {"format": {"type": "text"}},
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools") or [],
            "top_p": body.get("top_p"),
            "truncation": body.get("truncation"),
            "user": body.get("user"),
        }
        used = None if bill is None else usage.responses(bill, call.faults)
        if used is not None:
            value["usage"] = used
        return value

    def _status(self) -> str:
        return "incomplete" if self._answer.finish == "length" else "completed"

    def rendered(self, bill: Bill) -> Reply:
        call = self._call
        value = self._response(self._status(), bill)
        if call.faults.ok_error:
            error = {"code": "server_error", "message": "Provider returned error"}
            value = self._response("failed", bill, error)
        return json_reply(value, headers=call.headers, spoilt=call.faults)

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        line = b"event: " + kind.encode() + b"\n" if self._call.faults.event_lines else b""
        data = orjson.dumps({"type": kind, "sequence_number": self._number, **fields})
        return line + b"data: " + data + b"\n\n"

    def frames(self) -> Iterator[tuple[bytes, int]]:
        """Everything up to the last delta."""
        answer, size = self._answer, max(self._call.faults.chunk_tokens, 1)
        yield self._event("response.created", response=self._response("in_progress", None)), 0
        yield self._event("response.in_progress", response=self._response("in_progress", None)), 0
        place = 0
        if answer.reasoning:
            yield from self._thoughts(size)
            place = 1
        item = self._item(done=False)
        yield self._event("response.output_item.added", output_index=place, item=item), 0
        where = {"item_id": item["id"], "output_index": place}
        if not answer.tool:
            where["content_index"] = 0
            yield self._event("response.content_part.added", **where, part=self._part("")), 0
        kind = "response.function_call_arguments.delta" if answer.tool else "response.output_text.delta"
        for start in range(0, len(answer.content), size):
            part = answer.content[start : start + size]
            extra: Body = {} if answer.tool else {"logprobs": []}
            yield self._event(kind, **where, delta="".join(part), **extra), len(part)

    def _thoughts(self, size: int) -> Iterator[tuple[bytes, int]]:
        answer, item = self._answer, self._reasoning_item()
        empty = {**item, "content": []}
        yield self._event("response.output_item.added", output_index=0, item=empty), 0
        where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        for start in range(0, len(answer.reasoning), size):
            part = answer.reasoning[start : start + size]
            yield self._event("response.reasoning_text.delta", **where, delta="".join(part)), len(part)
        yield self._event("response.reasoning_text.done", **where, text=answer.thoughts), 0
        yield self._event("response.output_item.done", output_index=0, item=item), 0

    def closing(self, bill: Bill) -> list[bytes]:
        answer, item = self._answer, self._item(done=True)
        place = 1 if answer.reasoning else 0
        where: Body = {"item_id": item["id"], "output_index": place}
        if answer.tool:
            done = self._event(
                "response.function_call_arguments.done", **where, name=answer.tool, arguments=answer.text
            )
            events = [done]
        else:
            where["content_index"] = 0
            part = self._part(answer.text)
            events = [
                self._event("response.output_text.done", **where, text=answer.text, logprobs=[]),
                self._event("response.content_part.done", **where, part=part),
            ]
        events.append(self._event("response.output_item.done", output_index=place, item=item))
        status = self._status()
        events.append(self._event(f"response.{status}", response=self._response(status, bill)))
        return events

    def failure(self, style: str, bill: Bill) -> list[bytes]:
        """`response.failed` with usage, or a bare `error` event for the styles without one."""
        error = {"code": "server_error", "message": "Provider disconnected unexpectedly"}
        if style in {"empty", "choice"}:
            return [self._event("error", **error, param=None)]
        response = self._response("failed", bill, error)
        return [self._event("response.failed", response=response, error_type="provider_unavailable")]
