"""POST /messages: the Anthropic Messages API, as JSON and as an event stream."""

from collections.abc import Iterator
from typing import Any

import orjson

from simulator import answers, calls, checks, text, usage
from simulator.answers import Answer, Ask, Tool
from simulator.calls import Call, Need, Script, Work
from simulator.pricing import Bill, Tally
from simulator.traffic import Body, Reply, Request, json_reply
from simulator.world import World

_STOP_REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "stop": "end_turn"}
_DONE = b"event: data\ndata: [DONE]\n\n"


def create(world: World, request: Request) -> Work:
    """POST /messages."""
    key, body = calls.read(request)
    need, prompt, answers_tool = _need(body)
    call = calls.begin(world, request, key, need)
    answer = answers.compose(_ask(body, call, prompt, answers_tool=answers_tool), call.faults)

    def tally(produced: int) -> Tally:
        return call.tally(completion=produced, reasoning=min(produced, len(answer.reasoning)))

    work = Work(call=call, tokens=answer.tokens, tally=tally, finish=answer.finish)
    writer = Writer(call, answer)
    if need.streamed:
        work.script = Script(list(writer.frames()), writer.closing, writer.failure, done=_DONE)
    else:
        work.render = writer.rendered
    return work


def _need(body: Body) -> tuple[Need, str, bool]:
    """What is asked of the catalogue, the last user words, and whether they answer a tool call."""
    checks.ranged(body, temperature=(0, 1), top_p=(0, 1))
    max_tokens = checks.positive(body, "max_tokens")
    if max_tokens is None:
        raise checks.invalid("max_tokens", "a positive integer")
    messages = checks.objects(body, "messages")
    if not messages:
        raise checks.invalid("messages", "a list with at least one message")
    prompt, total, answers_tool = "", checks.read(body.get("system"))[1], False
    for number, message in enumerate(messages):
        if message.get("role") not in {"user", "assistant"}:
            raise checks.invalid(f"messages[{number}].role", "user or assistant")
        content = message.get("content")
        words, tokens = checks.read(content)
        total += tokens + checks.MESSAGE_TOKENS
        parts = content if isinstance(content, list) else []
        answers_tool = any(isinstance(part, dict) and part.get("type") == "tool_result" for part in parts)
        if message["role"] == "user":
            prompt = words
    tools = checks.objects(body, "tools")
    user = checks.section(body, "metadata").get("user_id")
    need = Need(
        names=calls.names_in(body),
        seed=text.seed_of(prompt),
        prompt_tokens=total + checks.tokens_of(tools),
        max_tokens=max_tokens,
        streamed=checks.flag(body, "stream"),
        searches=sum(str(tool.get("type")).startswith("web_search") for tool in tools),
        provider=checks.section(body, "provider"),
        user=user if isinstance(user, str) else None,
        trace=checks.section(body, "trace"),
    )
    return need, prompt, answers_tool


def _ask(body: Body, call: Call, prompt: str, *, answers_tool: bool) -> Ask:
    choice = checks.section(body, "tool_choice")
    offered = [tool for tool in checks.objects(body, "tools") if "input_schema" in tool]
    tools = tuple(Tool(str(tool.get("name", "")), tool["input_schema"]) for tool in offered)
    thinking = checks.section(body, "thinking").get("type")
    last_role = body["messages"][-1]["role"]
    calls_tool = choice.get("type") != "none" and last_role == "user" and not answers_tool
    return Ask(
        prompt=prompt,
        max_tokens=call.need.max_tokens,
        stop=checks.texts(body, "stop_sequences"),
        tools=tools if calls_tool else (),
        forced_tool=str(choice.get("name", "")),
        reasons=call.model.reasons or thinking in {"enabled", "adaptive"},
    )


class Writer:
    """The message object, whole or as Anthropic's events."""

    def __init__(self, call: Call, answer: Answer) -> None:
        self._call, self._answer = call, answer
        self._tail = call.id[-20:]

    def _stop(self) -> Body:
        reason = _STOP_REASONS.get(self._answer.finish, "end_turn")
        if self._answer.stopped_at is not None:
            reason = "stop_sequence"
        return {"stop_reason": reason, "stop_sequence": self._answer.stopped_at}

    def _message(self, content: list[Body], used: Body | None) -> Body:
        value: Body = {
            "id": f"msg_{self._tail}",
            "type": "message",
            "role": "assistant",
            "model": self._call.model_name,
            "provider": self._call.endpoint.provider.name,
            "content": content,
        }
        return value if used is None else {**value, "usage": used}

    def _tool_use(self, arguments: Any) -> Body:
        return {
            "type": "tool_use",
            "id": f"toolu_{self._tail}",
            "name": self._answer.tool,
            "input": arguments,
        }

    def rendered(self, bill: Bill) -> Reply:
        answer, call = self._answer, self._call
        if call.faults.ok_error:
            error = {"type": "api_error", "message": "Provider returned error", "error_type": "server"}
            value: Body = {"type": "error", "error": error, "request_id": call.id}
            return json_reply(value, headers=call.headers, spoilt=call.faults)
        content: list[Body] = []
        if answer.reasoning:
            content.append({"type": "thinking", "thinking": answer.thoughts, "signature": "simulated"})
        if answer.tool:
            # Cut arguments are no JSON; Anthropic shows them as an empty object.
            content.append(self._tool_use({} if answer.finish == "length" else orjson.loads(answer.text)))
        else:
            content.append({"type": "text", "text": answer.text, "citations": None})
        value = self._message(content, usage.messages(bill, call.faults)) | self._stop()
        return json_reply(value, headers=call.headers, spoilt=call.faults)

    @staticmethod
    def _event(kind: str, **fields: Any) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))

    def frames(self) -> Iterator[tuple[bytes, int]]:
        answer = self._answer
        empty = {"input_tokens": 0, "output_tokens": 0}
        opening = self._message([], empty) | {"stop_reason": None, "stop_sequence": None}
        yield self._event("message_start", message=opening), 0
        index = 0
        if answer.reasoning:
            block: Body = {"type": "thinking", "thinking": "", "signature": ""}
            yield from self._block(index, block, answer.reasoning, ("thinking_delta", "thinking"))
            yield self._event("content_block_stop", index=index), 0
            index = 1
        if answer.tool:
            block, names = self._tool_use({}), ("input_json_delta", "partial_json")
        else:
            block, names = {"type": "text", "text": ""}, ("text_delta", "text")
        yield from self._block(index, block, answer.content, names)

    def _block(
        self, index: int, block: Body, tokens: tuple[str, ...], names: tuple[str, str]
    ) -> Iterator[tuple[bytes, int]]:
        kind, field = names
        size = max(self._call.faults.chunk_tokens, 1)
        yield self._event("content_block_start", index=index, content_block=block), 0
        yield self._event("ping"), 0
        for start in range(0, len(tokens), size):
            part = tokens[start : start + size]
            delta = {"type": kind, field: "".join(part)}
            yield self._event("content_block_delta", index=index, delta=delta), len(part)

    def closing(self, bill: Bill) -> list[bytes]:
        used = usage.messages(bill, self._call.faults)
        fields: Body = {"delta": self._stop()} if used is None else {"delta": self._stop(), "usage": used}
        return [
            self._event("content_block_stop", index=1 if self._answer.reasoning else 0),
            self._event("message_delta", **fields),
            self._event("message_stop"),
        ]

    def failure(self, _style: str, _bill: Bill) -> list[bytes]:
        error = {"type": "overloaded_error", "message": "Overloaded", "error_type": "provider_overloaded"}
        return [self._event("error", error=error, request_id=self._call.id)]
