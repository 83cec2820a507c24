"""The tools of the primitive `llm`: chat, models, estimate."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from naive import numbers, types
from naive.tools.tool import Amount, ForUser, Input, Output, Standing, Steps, Tool

LISTED = 10
LISTED_MAX = 50
MILLION = 1_000_000


class Chat(Input):
    """A chat completion's body. What else upstream takes goes on to it, as over REST."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    model: str = Field(min_length=1, description="Model id with its provider, such as `openai/gpt-4o-mini`.")
    prompt: str | None = Field(None, min_length=1, description="What to ask. Either this or `messages`.")
    messages: list[dict[str, Any]] | None = Field(
        None, min_length=1, description="Chat messages: `[{role, content}]`. Either this or `prompt`."
    )
    system: str | None = Field(None, description="A system prompt, put before the rest.")
    models: list[str] | None = Field(
        None, description="Fallback models, tried in order when `model` is unavailable."
    )
    max_tokens: int | None = Field(None, ge=1, description="Most tokens of the answer; fewer may cost less.")
    temperature: float | None = Field(None, ge=0, le=2, description="0 is the most predictable.")

    @model_validator(mode="after")
    def _is_one_question(self) -> Chat:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        more = self.model_extra or {}
        if more.get("stream"):
            raise ValueError("a tool answers in one piece: leave stream out")
        if "user_id" in more:
            raise ValueError("whose calls these are is settled: leave user_id out")
        return self

    def call(self) -> dict[str, Any]:
        """Return what the client's `chat` and `estimate` take.

        What is not known here goes into the body and nowhere else: a model is not to set headers or time limits.
        """
        given = self.model_dump(exclude_none=True, include=set(Chat.model_fields))
        return {**given, "extra_body": self.model_extra or {}}


class ChatForUser(Chat, ForUser):
    """A chat completion, for a user."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Reply(Output):
    """A model's answer and what it cost."""

    text: str
    model: str | None = None
    finish_reason: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    generation_id: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    max_tokens_lowered_to: int | None = Field(None, description="Where credits or the kit allowed no more.")
    credits_used: Amount | None = None
    credits_remaining: Amount | None = None


class ModelQuery(Input):
    """Which models to list."""

    search: str | None = Field(None, description="Words of the model's id or name.")
    provider: str | None = Field(None, description="Provider, such as `anthropic`.")
    max_price: float | None = Field(
        None, ge=0, description="Most USD per million tokens, for input and for output."
    )
    modality: str | None = Field(None, description="Takes or makes this: `image`, `audio`, `file`.")
    limit: int = Field(LISTED, ge=1, le=LISTED_MAX, description="How many to list at most.")


class ModelQueryForUser(ModelQuery, ForUser):
    """Which models of a user to list."""


class Model(Output):
    """One model and its price; null where that is not known beforehand."""

    id: str
    name: str | None = None
    context_length: int | None = None
    input_usd_per_million: Amount | None = None
    output_usd_per_million: Amount | None = None


class Models(Output):
    """The first models, and how many more there are."""

    models: list[Model]
    count: int
    more: str | None = None


class Estimate(Output):
    """Whether a call would be allowed now, and what it may cost at worst."""

    allowed: bool
    account_kit: str | None = None
    worst_case_credits: Amount | None = None
    hold_credits: Amount | None = None
    least_credits: Amount | None = None
    max_tokens_lowered_to: int | None = Field(None, description="Where credits or the kit allow no more.")
    price_known: bool | None = None
    refusal: str | None = Field(None, description="Why it would be refused.")
    limit: str | None = Field(None, description="Which limit: wallet, key_cap or user_cap.")
    available_credits: Amount | None = Field(None, description="What is left of that limit.")


def chat(client: Any, given: Chat) -> Steps[Reply]:
    answer: types.ChatCompletion = yield given.scoped(client).llm.chat(**given.call())
    calls, usage = answer.message.tool_calls, answer.usage or types.ChatUsage()
    return Reply(
        text=answer.text,
        model=answer.model,
        finish_reason=answer.choices[0].finish_reason if answer.choices else None,
        tool_calls=None if calls is None else [call.to_dict() for call in calls],
        generation_id=answer.id,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        max_tokens_lowered_to=answer.max_tokens_lowered_to,
        credits_used=answer.credits_used,
        credits_remaining=answer.credits_remaining,
    )


def models(client: Any, given: ModelQuery) -> Steps[Models]:
    wanted = given.given()
    limit = wanted.pop("limit")
    listed: types.ModelList = yield given.scoped(client).llm.models(**wanted)
    return Models(
        models=[_model(one) for one in listed.models[:limit]],
        count=listed.count,
        more=_more(listed.count - limit),
    )


def estimate(client: Any, given: Chat) -> Steps[Estimate]:
    found: types.Estimate = yield given.scoped(client).llm.estimate(**given.call())
    details = found.refusal.details if found.refusal else {}
    return Estimate(
        allowed=found.allowed,
        account_kit=found.account_kit.name,
        worst_case_credits=found.worst_case_credits,
        hold_credits=found.hold_credits,
        least_credits=found.least_credits,
        max_tokens_lowered_to=found.max_tokens,
        price_known=found.price_known,
        refusal=found.refusal.message if found.refusal else None,
        limit=details.get("limit"),
        available_credits=numbers.exact(details.get("available")),
    )


def _model(listed: types.ListedModel) -> Model:
    pricing = listed.pricing or {}
    return Model(
        id=listed.id,
        name=listed.name,
        context_length=listed.context_length,
        input_usd_per_million=_per_million(pricing.get("prompt")),
        output_usd_per_million=_per_million(pricing.get("completion")),
    )


def _per_million(usd_per_token: Any) -> Decimal | None:
    """Return a price as people compare it; None for one that is not fixed, which upstream lists as -1."""
    try:
        price = Decimal(str(usd_per_token))
    except InvalidOperation:
        return None
    return price * MILLION if price.is_finite() and price >= 0 else None


def _more(left: int) -> str | None:
    return f"{left} more: narrow them with search, provider or max_price." if left > 0 else None


def _may_read(standing: Standing) -> bool:
    return standing.may_call_models


def _may_call(standing: Standing) -> bool:
    return standing.may_call_models and standing.may_write


CHAT = Tool(
    name="naive_llm_chat",
    title="Call a language model",
    description=(
        "Ask any of 300+ language models and get its answer and what it cost in credits. Give `prompt`, or "
        "`messages`. What else OpenRouter's chat completions take (provider, response_format, tools, …) is passed on."
    ),
    input=ChatForUser,
    output=Reply,
    run=chat,
    is_read_only=False,
    is_idempotent=False,
    is_open_world=True,
    is_for=_may_call,
)
MODELS = Tool(
    name="naive_llm_models",
    title="List language models",
    description="List the models that may be called, with prices. Free. Narrow by search, provider or max_price.",
    input=ModelQueryForUser,
    output=Models,
    run=models,
    is_read_only=True,
    is_idempotent=True,
    is_open_world=False,
    is_for=_may_read,
)
ESTIMATE = Tool(
    name="naive_llm_estimate",
    title="Estimate a call's cost",
    description=(
        "Say whether a chat completion would be allowed now and what it may cost at worst, before it is made. Free. "
        "Takes what naive_llm_chat takes."
    ),
    input=ChatForUser,
    output=Estimate,
    run=estimate,
    is_read_only=True,
    is_idempotent=True,
    is_open_world=False,
    is_for=_may_read,
)
