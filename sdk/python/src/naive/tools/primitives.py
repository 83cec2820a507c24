"""The two tools of the agent toolset: find what Naive can do, and do it."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import Field

from naive.tools import llm
from naive.tools.tool import Input, Mistake, Output, Steps, Tool

# By primitive and method. The user is the client's own, never the model's to choose.
METHODS: dict[tuple[str, str], Tool] = {
    ("llm", "chat"): dataclasses.replace(llm.CHAT, input=llm.Chat),
    ("llm", "models"): dataclasses.replace(llm.MODELS, input=llm.ModelQuery),
}


class Search(Input):
    """What to look for."""

    query: str = Field(
        "", description="Words of what you want to do, such as `chat model`. Empty: everything."
    )


class Method(Output):
    """One thing that can be run."""

    primitive: str
    method: str
    description: str
    arguments: dict[str, Any] = Field(description="JSON Schema of `arguments`.")

    @property
    def words(self) -> str:
        return f"{self.primitive} {self.method} {self.description}".lower()


class Methods(Output):
    """What was found."""

    methods: list[Method]
    hint: str | None = None


class Run(Input):
    """What to run, and with what."""

    primitive: str = Field(description="Such as `llm`.")
    method: str = Field(description="Such as `chat` or `models`.")
    arguments: dict[str, Any] | None = Field(None, description="The method's own arguments.")


class Result(Output):
    """What the method answered."""

    result: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        return self.result


def search(client: Any, given: Search) -> Steps[Methods]:
    # Known here: nothing is asked.
    yield from ()
    words = given.query.lower().split()
    found = [method for method in _all() if all(word in method.words for word in words)]
    if found:
        return Methods(methods=found)
    return Methods(methods=_all(), hint="Nothing has all of these words; this is everything there is.")


def run(client: Any, given: Run) -> Steps[Result]:
    tool = METHODS.get((given.primitive, given.method))
    if tool is None:
        raise Unknown(f"Unknown Naive primitive method: '{given.primitive}.{given.method}'")
    answer = yield from tool.start(client, given.arguments)
    return Result(result=answer.plain())


class Unknown(Mistake):
    """No such primitive, or none of its methods; told as it is."""


def _all() -> list[Method]:
    return [
        Method(
            primitive=primitive, method=method, description=tool.description, arguments=tool.input_schema()
        )
        for (primitive, method), tool in METHODS.items()
    ]


SEARCH = Tool(
    name="naive_search_primitives",
    title="Find what Naive can do",
    description="Find what Naive can do for you, and the arguments it takes. Then call naive_run_primitive.",
    input=Search,
    output=Methods,
    run=search,
    is_read_only=True,
    is_idempotent=True,
    is_open_world=False,
)
RUN = Tool(
    name="naive_run_primitive",
    title="Run a primitive",
    description=(
        "Run one method of a Naive primitive: `llm.chat` (arguments {model, messages} or {model, prompt}) calls a "
        "language model, `llm.models` lists models and prices. Costs credits where a model is called."
    ),
    input=Run,
    output=Result,
    run=run,
    is_read_only=False,
    is_idempotent=False,
    is_open_world=True,
)
