"""Parameters of `llm`: upstream's own body, and the filters of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict

from naive import lazy
from naive.options import Options

if TYPE_CHECKING:
    from naive import types
else:
    types = lazy.module("naive.types")

# What a model said goes back into the conversation as it is.
type Message = SystemMessage | UserMessage | AssistantMessage | ToolMessage | types.Message
type Content = str | Sequence[Mapping[str, Any]]


class SystemMessage(TypedDict, total=False):
    """Instructions."""

    role: Required[Literal["system", "developer"]]
    content: Required[Content]
    name: str


class UserMessage(TypedDict, total=False):
    """What is asked: a text, or parts of text, images, sound and files."""

    role: Required[Literal["user"]]
    content: Required[Content]
    name: str


class AssistantMessage(TypedDict, total=False):
    """What a model said before."""

    role: Required[Literal["assistant"]]
    content: Content | None
    name: str
    tool_calls: Sequence[Any]
    reasoning: str | None
    reasoning_details: Sequence[Mapping[str, Any]]


class ToolMessage(TypedDict, total=False):
    """What a tool answered."""

    role: Required[Literal["tool"]]
    content: Required[Content]
    tool_call_id: Required[str]


class ProviderRouting(TypedDict, total=False):
    """Which providers may serve a call, and which of them first."""

    order: Sequence[str]
    only: Sequence[str]
    ignore: Sequence[str]
    allow_fallbacks: bool
    require_parameters: bool
    data_collection: Literal["allow", "deny"]
    zdr: bool
    enforce_distillable_text: bool
    quantizations: Sequence[str]
    sort: Literal["price", "throughput", "latency"] | Mapping[str, Any]
    max_price: Mapping[str, float | Decimal]
    preferred_min_throughput: float | Mapping[str, float]
    preferred_max_latency: float | Mapping[str, float]


class ChatParams(Options, total=False):
    """A chat completion's body. What is not named here goes to upstream too, as it is given."""

    model: str
    # Fallbacks, tried in this order.
    models: Sequence[str]
    messages: Sequence[Message]
    # A text in place of `messages`.
    prompt: str
    # A system prompt, put before `messages` or `prompt` as a message of its own.
    system: str | None
    provider: ProviderRouting
    max_tokens: int
    max_completion_tokens: int
    temperature: float
    top_p: float
    top_k: int
    top_a: float
    min_p: float
    frequency_penalty: float
    presence_penalty: float
    repetition_penalty: float
    seed: int
    stop: str | Sequence[str]
    n: int
    logit_bias: Mapping[str, float]
    logprobs: bool
    top_logprobs: int
    tools: Sequence[Mapping[str, Any]]
    tool_choice: str | Mapping[str, Any]
    parallel_tool_calls: bool
    response_format: Mapping[str, Any]
    structured_outputs: bool
    reasoning: Mapping[str, Any]
    reasoning_effort: str
    verbosity: str
    modalities: Sequence[str]
    prediction: Mapping[str, Any]
    plugins: Sequence[Mapping[str, Any]]
    web_search_options: Mapping[str, Any]
    transforms: Sequence[str]
    route: str
    service_tier: str
    stream_options: Mapping[str, Any]
    usage: Mapping[str, Any]
    metadata: Mapping[str, str]
    trace: Mapping[str, Any]
    # Opaque names of your own; upstream sees none of them.
    user: str
    session_id: str
    prompt_cache_key: str


class ModelsParams(Options, total=False):
    """Which models to list."""

    provider: str
    # Takes or gives this: `image`, `audio`, `file`, …
    modality: str
    # Takes all of these.
    supported_parameters: str | Sequence[str]
    # USD a million tokens, in and out.
    max_price: float | Decimal
