"""What a model answers: prose, a tool call or a structured value, cut where the request wants it cut."""

from dataclasses import dataclass
from typing import Any

import orjson

from simulator import schemas, text
from simulator.faults import Faults

IMAGE_TOKENS = 1290
# One grey pixel, as every generated picture looks.
PIXEL_BASE64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the caller offers."""

    name: str
    schema: Any


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request wants, whatever API it came through."""

    prompt: str = ""
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    forced_tool: str = ""
    # `text`, `object` (any JSON object) or `schema`.
    form: str = "text"
    schema: Any = None
    reasons: bool = False
    shows_reasoning: bool = True
    pictures: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Tokens in the order they are produced: reasoning, content (or a tool's arguments), pictures."""

    reasoning: tuple[str, ...]
    content: tuple[str, ...]
    tool: str = ""
    finish: str = "stop"
    stopped_at: str | None = None
    pictures: int = 0
    shows_reasoning: bool = True

    @property
    def picture_tokens(self) -> int:
        return self.pictures * IMAGE_TOKENS

    @property
    def tokens(self) -> int:
        return len(self.reasoning) + len(self.content) + self.picture_tokens

    @property
    def text(self) -> str:
        return "".join(self.content)

    @property
    def thoughts(self) -> str:
        return "".join(self.reasoning)


def _hint(prompt: str) -> str:
    """The word for free strings: a name in the prompt if there is one."""
    words = text.keywords(prompt)
    names = [word for word in words if word[0].isupper()]
    return (names or words or ["example"])[-1]


def _chosen(ask: Ask) -> Tool:
    """The forced tool, else the one whose name the prompt mentions, else the first."""
    lowered = ask.prompt.lower()
    for tool in ask.tools:
        if tool.name == ask.forced_tool:
            return tool
    for tool in ask.tools:
        if any(len(part) > 3 and part in lowered for part in tool.name.lower().split("_")):
            return tool
    return ask.tools[0]


def _parameters(tool: Tool) -> Any:
    """A tool's schema; arguments are an object even where it forgets to say so."""
    return {"type": "object", **tool.schema} if isinstance(tool.schema, dict) else {"type": "object"}


def _structured(value: Any) -> list[str]:
    return text.pieces(orjson.dumps(value).decode())


def _stopped(content: list[str], stops: tuple[str, ...]) -> tuple[list[str], str | None]:
    """The content up to the earliest stop sequence, and that sequence."""
    whole = "".join(content)
    found = [(whole.find(stop), stop) for stop in stops if stop and stop in whole]
    if not found:
        return content, None
    place, stop = min(found)
    return text.pieces(whole[:place]), stop


def _content(ask: Ask, faults: Faults) -> list[str]:
    if ask.form == "schema":
        return _structured(schemas.instance(ask.schema, _hint(ask.prompt)))
    if ask.form == "object":
        return _structured({"answer": text.subject_of(ask.prompt), "keywords": text.keywords(ask.prompt)})
    return text.answer(ask.prompt, unicode=faults.unicode, exact_tokens=faults.completion_tokens)


def compose(ask: Ask, faults: Faults) -> Answer:
    """The answer to a request, the same for the same request."""
    reasoning = text.thoughts(ask.prompt) if ask.reasons else []
    stopped_at, tool, finish = None, "", "stop"
    if ask.tools:
        chosen = _chosen(ask)
        tool, finish = chosen.name, "tool_calls"
        content = _structured(schemas.instance(_parameters(chosen), _hint(ask.prompt)))
    else:
        content, stopped_at = _stopped(_content(ask, faults), ask.stop)
    if ask.max_tokens is not None and len(reasoning) + len(content) > ask.max_tokens:
        reasoning = reasoning[: ask.max_tokens]
        content = content[: ask.max_tokens - len(reasoning)]
        finish, stopped_at = "length", None
    return Answer(
        reasoning=tuple(reasoning),
        content=tuple(content),
        tool=tool,
        finish=finish,
        stopped_at=stopped_at,
        pictures=int(ask.pictures and finish != "length"),
        shows_reasoning=ask.shows_reasoning,
    )
