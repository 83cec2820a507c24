"""Answers of `llm`: completions, chunks of them, models, estimates, generations."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from naive.types.model import Model, Money


class FunctionCall(Model):
    name: str | None = None
    arguments: str | None = None


class ToolCall(Model):
    """A call of one of the caller's tools; in a chunk, a piece of it."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: FunctionCall = Field(default_factory=FunctionCall)


class Message(Model):
    """What the model said."""

    role: str = "assistant"
    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    tool_calls: list[ToolCall] | None = None
    annotations: list[dict[str, Any]] | None = None
    images: list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """The text alone, of a content in parts too."""
        if isinstance(self.content, list):
            parts = (part.get("text") for part in self.content if isinstance(part, dict))
            return "".join(text for text in parts if isinstance(text, str))
        return self.content if isinstance(self.content, str) else ""


class Choice(Model):
    index: int = 0
    message: Message = Field(default_factory=Message)
    finish_reason: str | None = None
    # Where `finish_reason` is `error`: what the provider said.
    error: dict[str, Any] | None = None
    native_finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class ChatUsage(Model):
    """Tokens, and what upstream charged, in USD."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cost: Money | None = None
    cost_details: dict[str, Any] | None = None
    prompt_tokens_details: dict[str, Any] | None = None
    completion_tokens_details: dict[str, Any] | None = None


class ChatCompletion(Model):
    """A whole answer, and what it cost in credits; null where that is not known yet."""

    id: str | None = None
    object: str = "chat.completion"
    created: int | None = None
    model: str | None = None
    provider: str | None = None
    choices: list[Choice] = Field(default_factory=list)
    usage: ChatUsage | None = None
    credits_used: Money | None = None
    credits_remaining: Money | None = None

    @property
    def message(self) -> Message:
        """The first choice's; an empty one where the answer has none."""
        first = self.choices[0] if isinstance(self.choices, list) and self.choices else None
        message = first.message if isinstance(first, Choice) else None
        return message if isinstance(message, Message) else Message()

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.message.text

    @property
    def generation_id(self) -> str | None:
        """The platform's own id of the call, which `llm.generation` takes as well as `id`."""
        return self._headers.get("x-naive-generation-id") or self.id

    @property
    def max_tokens_lowered_to(self) -> int | None:
        """What the platform lowered `max_tokens` to, where credits or the kit allowed no more."""
        told = self._headers.get("x-naive-max-tokens")
        return int(told) if told else None


class Delta(Model):
    """What a chunk adds to the message."""

    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    tool_calls: list[ToolCall] | None = None


class ChunkChoice(Model):
    index: int = 0
    delta: Delta = Field(default_factory=Delta)
    finish_reason: str | None = None
    # Where `finish_reason` is `error`: what the provider said.
    error: dict[str, Any] | None = None
    native_finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class ChatChunk(Model):
    """A piece of an answer; the last one carries `usage`."""

    id: str | None = None
    object: str = "chat.completion.chunk"
    created: int | None = None
    model: str | None = None
    provider: str | None = None
    choices: list[ChunkChoice] = Field(default_factory=list)
    usage: ChatUsage | None = None

    @property
    def text(self) -> str:
        """What it adds to the first choice's text."""
        pieces = (choice.delta.content for choice in self.choices if choice.index == 0)
        return "".join(piece for piece in pieces if isinstance(piece, str))


class ListedModel(Model):
    """A model in short; `pricing` is USD a token, as texts."""

    id: str
    name: str | None = None
    context_length: int | None = None
    pricing: dict[str, Any] | None = None


class ModelList(Model):
    """The models that may be called: in short, and in `data` all that upstream says of them."""

    count: int
    models: list[ListedModel]
    data: list[dict[str, Any]]


class NamedKit(Model):
    id: str
    name: str


class Refusal(Model):
    """Why a call would be refused."""

    message: str
    details: dict[str, Any] = Field(default_factory=dict)


class Estimate(Model):
    """What the gate would say of a call now. Where the kit refuses, only the first four fields are there."""

    allowed: bool
    account_kit: NamedKit
    user_id: str
    refusal: Refusal | None = None
    models: list[str] = Field(default_factory=list)
    price_known: bool | None = None
    prompt_tokens_max: int | None = None
    output_tokens_max: int | None = None
    max_tokens: int | None = None
    worst_case_cost_usd: Money | None = None
    worst_case_credits: Money | None = None
    least_credits: Money | None = None
    hold_credits: Money | None = None
    hold_grows: bool | None = None


class Correction(Model):
    """A later entry for a call that was settled otherwise at first."""

    number: int
    total_cost: Money
    credits_used: Money
    source: str
    created_at: datetime


class Generation(Model):
    """The platform's record of one call, completed from upstream's once that is there."""

    id: str
    naive_generation_id: str
    model: str
    streamed: bool
    state: Literal["held", "dispatched", "settled", "voided", "parked"]
    created_at: datetime | None
    settled_at: datetime | None
    settlement_source: str | None
    total_cost: Money | None
    usage: Money | None
    credits_used: Money | None
    credits_held: Money
    user_id: str
    account_kit_id: str
    corrections: list[Correction]
    tokens_prompt: int | None = None
    tokens_completion: int | None = None

    @classmethod
    def read(cls, data: Any) -> Generation:
        return cls.model_validate(data["data"])
