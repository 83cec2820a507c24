"""`naive llm`: chat with models, list them, and see what calls cost or would cost."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from naive.cli import commands, figures, models
from naive.cli.answers import Answer, UsageError
from naive.cli.session import Session, given
from naive.cli.terminal import Column, Terminal

if TYPE_CHECKING:
    from naive import types

app = commands.noun("Chat with models, list them, and see what calls cost.")

# Shown where nobody asked for more.
LISTED = 50

Prompt = Annotated[
    str | None, typer.Argument(help="What to ask. What is piped in is added to it.", show_default=False)
]
ModelID = Annotated[
    str, typer.Option("--model", "-m", help="Such as anthropic/claude-sonnet-4.6.", show_default=False)
]
System = Annotated[str | None, typer.Option("--system", "-s", help="A system prompt.")]
Fallbacks = Annotated[
    list[str] | None,
    typer.Option("--fallback", help="A model to try where the one before it fails; repeatable."),
]
Temperature = Annotated[float | None, typer.Option(min=0, max=2, help="0 is the most predictable.")]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="Most tokens of the answer.")]
User = Annotated[
    str | None,
    typer.Option(
        "--user",
        "-u",
        help="The tenant user it is for: an id or ext:<external_id>.",
        metavar="text",
        parser=figures.identity,
        show_default=False,
    ),
]
IsStream = Annotated[
    bool | None,
    typer.Option("--stream/--no-stream", help="Show the answer as it comes.", show_default="on a terminal"),
]


@commands.command(app, "chat", action="llm.chat")
def chat(
    session: Session,
    *,
    prompt: Prompt = None,
    model: ModelID,
    system: System = None,
    fallback: Fallbacks = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    user: User = None,
    stream: IsStream = None,
) -> Answer:
    """Ask a model.

    The answer is streamed on a terminal; piped, it is one JSON object with `result.text`.
    """
    body = _body(prompt, model, system, fallback, temperature=temperature, max_tokens=max_tokens)
    llm = session.of(user).llm
    is_live = not session.terminal.is_json
    with models.suggested(llm, [model, *(fallback or [])]):
        if stream is False or (stream is None and session.terminal.is_json):
            with session.terminal.waiting(model):
                completion = llm.chat(**body)
        else:
            completion = _streamed(session.terminal, llm, body, is_live=is_live)
            return Answer(_result(completion), lambda terminal: _say_cost(terminal, completion))
    return Answer(_result(completion), lambda terminal: _show(terminal, completion))


@commands.command(app, "models", action="llm.models")
def list_models(
    session: Session,
    *,
    search: Annotated[
        str | None, typer.Argument(help="Words of the id or the name.", show_default=False)
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Such as anthropic.")] = None,
    modality: Annotated[str | None, typer.Option(help="Takes or gives this: image, audio, file.")] = None,
    max_price: Annotated[
        str | None, typer.Option(help="Most USD a million tokens, in and out.", parser=figures.decimal)
    ] = None,
    user: User = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many to show.")] = LISTED,
) -> Answer:
    """List the models that may be called, with prices. Free."""
    wanted = given(provider=provider, modality=modality, max_price=max_price)
    with session.terminal.waiting("models"):
        found = session.of(user).llm.models(search, **wanted)
    shown = found.models[:limit]
    hints = [f"{len(shown)} of {found.count} models; a search word or --limit shows others."]
    result = {"count": found.count, "models": [row.to_dict() for row in shown]}
    steps = [f'naive llm chat -m {shown[0].id} "Hello"'] if shown else []
    return Answer(
        result, lambda terminal: _table(terminal, shown), steps, hints if found.count > len(shown) else ()
    )


@commands.command(app, "generation", action="llm.generation")
def generation(
    session: Session,
    *,
    id: Annotated[str, typer.Argument(help="gen-… of the answer, or the platform's own gen_….")],
) -> Answer:
    """Show what became of a call, and what it cost. Free."""
    found = session.client.llm.generation(id)

    def show(terminal: Terminal) -> None:
        terminal.head(found.id, found.state)
        terminal.facts(
            [
                ("model", figures.line(found.model)),
                (
                    "tokens",
                    f"{figures.count(found.tokens_prompt)} in, {figures.count(found.tokens_completion)} out",
                ),
                ("charged", _or_pending(found.credits_used)),
                ("cost", figures.usd(found.total_cost) if found.total_cost is not None else "not known yet"),
                ("held", figures.credits(found.credits_held)),
                ("user", figures.line(found.user_id)),
                ("at", figures.when(found.created_at)),
                *(
                    (f"correction {one.number}", figures.credits(one.credits_used))
                    for one in found.corrections
                ),
            ]
        )

    return Answer(found, show)


@commands.command(app, "estimate", action="llm.estimate")
def estimate(
    session: Session,
    *,
    prompt: Prompt = None,
    model: ModelID,
    system: System = None,
    fallback: Fallbacks = None,
    max_tokens: MaxTokens = None,
    user: User = None,
) -> Answer:
    """Say whether a call would be allowed now, and what it may cost at most. Nothing is sent to a model. Free."""
    body = _body(prompt, model, system, fallback, max_tokens=max_tokens)
    llm = session.of(user).llm
    with models.suggested(llm, [model, *(fallback or [])]):
        found = llm.estimate(**body)
    return Answer(found, lambda terminal: _show_estimate(terminal, found))


def _body(
    prompt: str | None, model: str, system: str | None, fallback: list[str] | None, **more: Any
) -> dict[str, Any]:
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": _question(prompt)})
    return given(model=model, models=[model, *fallback] if fallback else None, messages=messages, **more)


def _question(prompt: str | None) -> str:
    """Return the prompt and, below it, what was piped in. Errors: UsageError where there is neither."""
    piped = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    parts = [part for part in (prompt, piped) if part and part.strip()]
    if not parts:
        raise UsageError(
            "There is nothing to ask.",
            code="usage",
            hint="Give a prompt, or pipe one in.",
            details={"next_steps": ['naive llm chat -m openai/gpt-5.2 "Hello"']},
        )
    return "\n\n".join(parts)


def _streamed(terminal: Terminal, llm: Any, body: dict[str, Any], *, is_live: bool) -> types.ChatCompletion:
    with contextlib.ExitStack() as stack:
        stop_waiting = stack.enter_context(terminal.waiting(body["model"]))
        stream = stack.enter_context(llm.stream(**body))
        ended_in = "\n"
        try:
            for piece in stream.text:
                stop_waiting()
                ended_in = piece
                if is_live:
                    terminal.write(piece)
        finally:
            if is_live and not ended_in.endswith("\n"):
                terminal.write("\n")
        completion: types.ChatCompletion = stream.final_completion()
        return completion


def _result(completion: types.ChatCompletion) -> dict[str, Any]:
    """The answer as it came, with its text where a program looks first."""
    return {"text": completion.text, **completion.to_dict(), "generation_id": completion.generation_id}


def _show(terminal: Terminal, completion: types.ChatCompletion) -> None:
    terminal.write(completion.text.rstrip("\n") + "\n")
    _say_cost(terminal, completion)


def _say_cost(terminal: Terminal, completion: types.ChatCompletion) -> None:
    usage = completion.usage
    parts = [figures.line(completion.model)]
    if usage:
        parts.append(
            f"{figures.count(usage.prompt_tokens)} + {figures.count(usage.completion_tokens)} tokens"
        )
    parts.append(_or_pending(completion.credits_used))
    if completion.credits_remaining is not None:
        parts.append(f"{figures.amount(completion.credits_remaining)} left")
    terminal.note(f"\n{' · '.join(parts)}\n{figures.line(completion.id)}")
    if completion.max_tokens_lowered_to:
        terminal.note(
            f"max_tokens was lowered to {completion.max_tokens_lowered_to}: more was not affordable."
        )
    for choice in completion.choices:
        if choice.finish_reason == "length":
            terminal.note("The answer was cut at its most tokens; --max-tokens allows more.", style="yellow")


def _or_pending(credits_used: object) -> str:
    return "not charged yet" if credits_used is None else figures.credits(credits_used)


def _table(terminal: Terminal, rows: list[types.ListedModel]) -> None:
    columns: list[Column[Any]] = [
        Column("model", lambda row: figures.line(row.id), style="cyan"),
        Column("context", lambda row: figures.size(row.context_length), is_number=True),
        Column("$/M in", lambda row: figures.per_million((row.pricing or {}).get("prompt")), is_number=True),
        Column(
            "$/M out", lambda row: figures.per_million((row.pricing or {}).get("completion")), is_number=True
        ),
    ]
    terminal.table(rows, columns, empty="No model is called that. Try fewer words: naive llm models")


def _show_estimate(terminal: Terminal, found: types.Estimate) -> None:
    if found.allowed:
        terminal.done(f"Allowed by account kit {figures.line(found.account_kit.name)}")
    else:
        terminal.print(f"✗ Would be refused: {figures.line(found.refusal and found.refusal.message)}")
    pairs = [
        ("at most", None if found.worst_case_credits is None else figures.credits(found.worst_case_credits)),
        ("held", None if found.hold_credits is None else figures.credits(found.hold_credits)),
        ("at least", None if found.least_credits is None else figures.credits(found.least_credits)),
        ("prompt tokens", found.prompt_tokens_max and f"at most {figures.count(found.prompt_tokens_max)}"),
        ("answer tokens", found.output_tokens_max and f"at most {figures.count(found.output_tokens_max)}"),
        ("max_tokens", found.max_tokens and f"would be lowered to {figures.count(found.max_tokens)}"),
    ]
    known = [(name, str(value)) for name, value in pairs if value]
    if known:
        terminal.facts(known)
    if found.price_known is False:
        terminal.note("The price is not known beforehand: a default is held.")
