"""POST /chat/completions and the legacy /completions, as JSON and as a stream."""

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from simulator import answers, calls, checks, errors, text, usage
from simulator.answers import Answer, Ask, Tool
from simulator.calls import Call, Need, Script, Work
from simulator.errors import APIError
from simulator.pricing import Bill, Tally
from simulator.traffic import Body, Reply, Request, json_reply
from simulator.world import World

ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
_NEW_KEYS = ("id", "object", "created", "model", "provider")
_OLD_KEYS = ("id", "provider", "model", "object", "created")
_ERROR_KEYS = ("id", "provider", "error", "model", "object", "created", "choices", "usage")
MIDSTREAM_MESSAGE = "Token limit reached"


def create(world: World, request: Request) -> Work:
    """POST /chat/completions."""
    key, body = calls.read(request)
    need, prompt = _need(body)
    call = calls.begin(world, request, key, need)
    answer = answers.compose(_ask(body, call, prompt), call.faults)
    return _work(call, answer, body)


def complete(world: World, request: Request) -> Work:
    """POST /completions, which answers with text instead of messages."""
    key, body = calls.read(request)
    if body.get("prompt") is None:
        raise APIError(400, 'Input required: specify "prompt"')
    need, prompt = _need({**body, "messages": None})
    call = calls.begin(world, request, key, need)
    answer = answers.compose(_ask(body, call, prompt), call.faults)
    return _work(call, answer, body, legacy=True)


def _need(body: Body) -> tuple[Need, str]:
    """Checks the body; what it asks of the catalogue, and the words of the last user message."""
    checks.ranged(body, temperature=(0, 2), top_p=(0, 1), frequency_penalty=(-2, 2), presence_penalty=(-2, 2))
    max_tokens = checks.positive(body, "max_completion_tokens", "max_tokens")
    prompt, tokens = _prompt(body)
    tools = checks.objects(body, "tools")
    searches = sum(
        str(tool.get("type")).startswith(("openrouter:web_search", "web_search")) for tool in tools
    )
    searches += any(plugin.get("id") == "web" for plugin in checks.objects(body, "plugins"))
    names = calls.names_in(body)
    searches += any(name.partition(":sim=")[0].endswith(":online") for name in names)
    user = body.get("user")
    need = Need(
        names=names,
        seed=text.seed_of(prompt),
        prompt_tokens=tokens + checks.tokens_of(tools),
        max_tokens=max_tokens,
        streamed=checks.flag(body, "stream"),
        searches=searches,
        provider=checks.section(body, "provider"),
        user=user if isinstance(user, str) else None,
        trace=checks.section(body, "trace"),
    )
    return need, prompt


def _prompt(body: Body) -> tuple[str, int]:
    """The last user words, and the tokens of the whole prompt."""
    if body.get("messages") is None:
        if body.get("prompt") is None:
            raise APIError(400, 'Input required: specify "prompt" or "messages"')
        return checks.read(body["prompt"])
    messages = checks.objects(body, "messages")
    if not messages:
        raise checks.invalid("messages", "a list with at least one message")
    last, total = "", 3
    for number, message in enumerate(messages):
        role = message.get("role")
        if role not in ROLES:
            raise checks.invalid(f"messages[{number}].role", "one of " + ", ".join(sorted(ROLES)))
        words, tokens = checks.read(message.get("content"))
        total += tokens + checks.MESSAGE_TOKENS
        if message.get("tool_calls"):
            total += checks.tokens_of(checks.objects(message, "tool_calls"))
        if role == "user":
            last = words
    return last, total


def _reasoning(body: Body, call: Call) -> tuple[bool, bool]:
    """Whether the model reasons, and whether the answer shows it."""
    wish = checks.section(body, "reasoning")
    effort = body.get("reasoning_effort") or wish.get("effort")
    wanted = bool(wish) or body.get("include_reasoning") is True or effort is not None
    off = effort == "none" or wish.get("enabled") is False
    hidden = wish.get("exclude") is True or body.get("include_reasoning") is False
    return call.model.reasons or (wanted and not off), not hidden


def _tools(body: Body) -> tuple[tuple[Tool, ...], str]:
    """The functions to call now, if any, and the one that is forced."""
    choice = body.get("tool_choice")
    messages = body.get("messages") or [{}]
    if choice == "none" or messages[-1].get("role") != "user":
        return (), ""
    functions = [checks.section(tool, "function") for tool in checks.objects(body, "tools")]
    found = tuple(Tool(str(f.get("name", "")), f.get("parameters")) for f in functions if f.get("name"))
    forced = choice.get("function", {}).get("name", "") if isinstance(choice, dict) else ""
    if forced and forced not in {tool.name for tool in found}:
        raise APIError(400, f"Tool choice '{forced}' not found in 'tools' parameter.")
    return found, forced


def _form(body: Body) -> tuple[str, Any]:
    wish = checks.section(body, "response_format")
    kind = wish.get("type", "text")
    if kind == "json_schema":
        return "schema", checks.section(wish, "json_schema").get("schema", {})
    return ("object", None) if kind == "json_object" else ("text", None)


def _ask(body: Body, call: Call, prompt: str) -> Ask:
    tools, forced = _tools(body)
    form, schema = _form(body)
    reasons, shown = _reasoning(body, call)
    return Ask(
        prompt=prompt,
        max_tokens=call.need.max_tokens,
        stop=checks.texts(body, "stop", most=4),
        tools=tools,
        forced_tool=forced,
        form=form,
        schema=schema,
        reasons=reasons,
        shows_reasoning=shown,
        pictures="image" in checks.texts(body, "modalities") and "image" in call.model.outputs,
    )


def _work(call: Call, answer: Answer, body: Body, *, legacy: bool = False) -> Work:
    def tally(produced: int) -> Tally:
        pictures = answer.picture_tokens if produced == answer.tokens else 0
        reasoning = min(produced, len(answer.reasoning))
        return call.tally(completion=produced, reasoning=reasoning, images=pictures)

    work = Work(call=call, tokens=answer.tokens, tally=tally, finish=answer.finish)
    if call.need.streamed:
        writer = StreamWriter(call, answer, tally, legacy=legacy, body=body)
        work.script = Script(list(writer.frames()), writer.closing, writer.failure)
    else:
        work.render = lambda bill: _rendered(call, answer, bill, legacy=legacy)
    return work


def _native(finish: str | None) -> str | None:
    return {"tool_calls": "completed", "length": "max_output_tokens"}.get(finish or "", finish)


def _call_id(call: Call) -> str:
    return f"call_{call.id[-20:]}"


def _annotation(title: str) -> Body:
    citation = {
        "url": "https://example.com/",
        "title": title,
        "content": "",
        "start_index": 0,
        "end_index": 0,
    }
    return {"type": "url_citation", "url_citation": citation}


def picture() -> Body:
    url = f"data:image/png;base64,{answers.PIXEL_BASE64}"
    return {"type": "image_url", "image_url": {"url": url}, "index": 0}


def _details(thoughts: str) -> list[Body]:
    return [{"type": "reasoning.text", "text": thoughts, "format": "unknown", "index": 0}]


def _message(call: Call, answer: Answer) -> Body:
    shown = bool(answer.reasoning) and answer.shows_reasoning
    message: Body = {
        "role": "assistant",
        "content": None if answer.tool else answer.text,
        "refusal": None,
        "reasoning": answer.thoughts if shown else None,
    }
    if shown:
        message["reasoning_details"] = _details(answer.thoughts)
    if answer.tool:
        function = {"name": answer.tool, "arguments": answer.text}
        message["tool_calls"] = [{"index": 0, "id": _call_id(call), "type": "function", "function": function}]
    if call.need.searches:
        message["annotations"] = [_annotation(call.model.id)]
    if answer.pictures:
        message["images"] = [picture() for _ in range(answer.pictures)]
    return message


def _choice(call: Call, answer: Answer, *, legacy: bool) -> Body:
    finish = {"finish_reason": answer.finish, "native_finish_reason": _native(answer.finish), "index": 0}
    if legacy:
        return {"text": answer.text, "logprobs": None, **finish, "reasoning": answer.thoughts or None}
    return {"logprobs": None, **finish, "message": _message(call, answer)}


def _common(call: Call, kind: str) -> Body:
    values = {
        "id": call.id,
        "object": kind,
        "created": call.created,
        "model": call.model_name,
        "provider": call.endpoint.provider.name,
    }
    order = _OLD_KEYS if call.faults.key_order == "old" else _NEW_KEYS
    return {name: values[name] for name in order}


def metadata(call: Call) -> Body:
    """`openrouter_metadata`, for callers that ask for it by header."""
    if call.request.header("x-openrouter-metadata").lower() != "enabled":
        return {}
    about = {"requested": list(call.need.names), "served_by": call.endpoint.provider.name}
    return {"openrouter_metadata": {**about, "attempts": [*call.previous_errors, {"status": 200}]}}


def _rendered(call: Call, answer: Answer, bill: Bill, *, legacy: bool) -> Reply:
    """The JSON answer, or the error with status 200 that a knob wants."""
    failure = {
        "code": 502,
        "message": "Provider returned error",
        "metadata": {"error_type": "provider_unavailable"},
    }
    if call.faults.ok_error == "top":
        value: Body = {"error": failure, "user_id": errors.USER_ID}
        return json_reply(value, headers=call.headers, spoilt=call.faults)
    choice = _choice(call, answer, legacy=legacy)
    if call.faults.ok_error == "choice":
        choice |= {"error": failure, "finish_reason": "error", "native_finish_reason": None}
    value = {
        **_common(call, "text_completion" if legacy else "chat.completion"),
        "system_fingerprint": None,
        "service_tier": None,
        "choices": [choice],
    }
    used = usage.chat(bill, call.faults)
    if used is not None:
        value["usage"] = used
    return json_reply({**value, **metadata(call)}, headers=call.headers, spoilt=call.faults)


class StreamWriter:
    """The frames of one streamed chat or legacy completion."""

    def __init__(
        self, call: Call, answer: Answer, tally: Callable[[int], Tally], *, legacy: bool, body: Body
    ) -> None:
        self._call, self._answer, self._tally, self._legacy = call, answer, tally, legacy
        kind = "text_completion" if legacy else "chat.completion.chunk"
        self._head = b"data: " + orjson.dumps(_common(call, kind))[:-1]
        debug = body.get("debug")
        self._echo = body if isinstance(debug, dict) and debug.get("echo_upstream_body") else None

    def _frame(self, choices: bytes, rest: bytes = b"") -> bytes:
        return b'%b,"choices":[%b]%b}\n\n' % (self._head, choices, rest)

    def _chunk(self, delta: Body, finish: str | None = None) -> bytes:
        """One choice; `delta` becomes text in the legacy API."""
        tail: Body = {"finish_reason": finish, "native_finish_reason": _native(finish)}
        if self._legacy:
            said = delta.get("content", "")
            return orjson.dumps({"index": 0, "text": said, "logprobs": None, **tail})
        return orjson.dumps({"index": 0, "delta": delta, **tail})

    def _delta(self, said: str) -> Body:
        if not self._answer.tool:
            return {"content": said, "role": "assistant"}
        part = {"index": 0, "type": "function", "function": {"arguments": said}}
        return {"content": None, "role": "assistant", "tool_calls": [part]}

    def _deltas(self) -> Iterator[tuple[Body, int]]:
        """Deltas in order, each with the tokens it brings."""
        answer, size = self._answer, max(self._call.faults.chunk_tokens, 1)
        for start in range(0, len(answer.reasoning), size):
            part = answer.reasoning[start : start + size]
            said = "".join(part)
            delta: Body = {"role": "assistant", "content": ""}
            if answer.shows_reasoning:
                delta |= {"reasoning": said, "reasoning_details": _details(said)}
            yield delta, len(part)
        if answer.tool:
            function = {"name": answer.tool, "arguments": ""}
            opening = {"index": 0, "id": _call_id(self._call), "type": "function", "function": function}
            yield {"role": "assistant", "content": None, "tool_calls": [opening]}, 0
        for start in range(0, len(answer.content), size):
            part = answer.content[start : start + size]
            yield self._delta("".join(part)), len(part)
        if answer.pictures:
            pictures = [picture() for _ in range(answer.pictures)]
            yield {"role": "assistant", "content": "", "images": pictures}, answer.picture_tokens
        if self._call.need.searches:
            notes = [_annotation(self._call.model.id)]
            yield {"role": "assistant", "content": "", "annotations": notes}, 0

    def frames(self) -> Iterator[tuple[bytes, int]]:
        produced = 0
        if self._echo is not None:
            yield self._frame(b"", b',"debug":' + orjson.dumps({"echo_upstream_body": self._echo})), 0
        for delta, tokens in self._deltas():
            produced += tokens
            rest = b""
            if self._call.faults.usage_every_chunk:
                rest = self._used(self._call.bill(self._tally(produced)))
            yield self._frame(self._chunk(delta), rest), tokens

    def _used(self, bill: Bill) -> bytes:
        used = usage.chat(bill, self._call.faults)
        return b"" if used is None else b',"usage":' + orjson.dumps(used)

    def closing(self, bill: Bill) -> list[bytes]:
        """The finish frame and the usage frame in the shape that `usage_style` names."""
        style, finish = self._call.faults.usage_style, self._answer.finish
        empty: Body = {"content": "", "role": "assistant"}
        last = self._chunk(empty, finish)
        used = self._used(bill)
        frames = [self._frame(last)]
        if used:
            extra = metadata(self._call)
            used += b"," + orjson.dumps(extra)[1:-1] if extra else b""
            choices = {"empty": b"", "null-finish": self._chunk(empty)}.get(style, last)
            frames.append(self._frame(choices, used))
        return frames

    def failure(self, style: str, bill: Bill) -> list[bytes]:
        """The one frame that ends a stream in an error, in the styles of upstream.md 3.4."""
        error: Body = {"code": 502, "message": "Provider disconnected unexpectedly"}
        error["metadata"] = {"error_type": "provider_unavailable"}
        empty: Body = {"content": "", "role": "assistant"}
        if style == "usage":
            return [self._token_limit(bill)]
        if style == "string":
            error["code"] = "server_error"
        if style == "choice":
            choice = {"index": 0, "delta": empty, "finish_reason": "error", "error": error}
            return [self._frame(orjson.dumps(choice))]
        choices = b"" if style == "empty" else self._chunk(empty, "error")
        return [self._frame(choices, b',"error":' + orjson.dumps(error))]

    def _token_limit(self, bill: Bill) -> bytes:
        """As captured: error first, finish_reason null, a whole usage in the same frame."""
        values = {
            **_common(self._call, "chat.completion.chunk"),
            "error": {"code": 400, "message": MIDSTREAM_MESSAGE},
            "choices": [orjson.Fragment(self._chunk({"role": "assistant", "content": ""}))],
            "usage": usage.chat(bill, self._call.faults),
        }
        return b"data: " + orjson.dumps({name: values[name] for name in _ERROR_KEYS}) + b"\n\n"
