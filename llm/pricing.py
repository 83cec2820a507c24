"""What a call can cost at most: token bounds and prices in, USD out. Estimates only; upstream's word is the charge."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

# Tokens a chat template may add around a message or a tool beside its own text.
TOKENS_PER_ITEM = 16
# No catalogued vision model bills an image higher than this at its highest detail.
TOKENS_PER_IMAGE = 6000
# A web search costs beside the tokens; ten at $0.007 fit.
WEB_SEARCH_ALLOWANCE_USD = Decimal("0.07")
_WEB_KINDS = frozenset(
    {"web", "web_search", "web_search_preview", "web_search_preview_2025_03_11", "web_search_2025_08_26"}
    | {"openrouter:web_search"}
)
_FREE_PLUGINS = frozenset({"response-healing", "context-compression", "moderation"})
OUTPUT_FIELDS = ("max_completion_tokens", "max_tokens")
# `service_tier: priority` and its synonyms bill up to this many times the list price.
PRIORITY_FACTOR = Decimal(2)
_PRIORITY_TIERS = frozenset({"priority", "fast"})
# Less output than this is no answer; a wallet that cannot cover it gets a 402 instead.
OUTPUT_TOKENS_LEAST = 16
# Where the catalogue names no limit for a model's output.
OUTPUT_TOKENS_UNKNOWN = 128_000
# What a stream without `max_tokens` holds for at first, and each time more (money.md 2.4). Unit: output tokens.
SLICE_TOKENS = 1024
# What a request may hold for its whole output to be seen in the stream, piece by piece as it is made. Not among them:
# tools and schemas, whose arguments many providers send in one piece when all of them are made; predictions, of which
# what was wrong is charged unseen; and whatever upstream hands to a provider without our knowing it.
_COUNTED_FIELDS = frozenset({
    "cache_control", "frequency_penalty", "include_reasoning", "logprobs", "max_completion_tokens", "max_tokens",
    "messages", "metadata", "min_p", "modalities", "model", "models", "n", "parallel_tool_calls", "presence_penalty",
    "prompt", "prompt_cache_key", "provider", "reasoning", "reasoning_effort", "repetition_penalty", "route",
    "safety_identifier", "seed", "service_tier", "session_id", "stop", "store", "stream", "stream_options",
    "temperature", "tool_choice", "tools", "top_a", "top_k", "top_logprobs", "top_p", "trace", "transforms", "usage",
    "user", "verbosity",
})  # fmt: skip
_REASONING_OFF = ({"enabled": False}, {"effort": "none"}, {"enabled": False, "effort": "none"})
_UNCOUNTED_VARIANTS = frozenset({"online", "thinking"})
# About what a token of prose has. For guesses only: a bound counts a token for every byte.
BYTES_PER_TOKEN = 4
_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Price:
    """List price of a model. Units: USD per token, per request, per image, per token of sound, per second of film;
    tokens for limits.

    `prompt` and `completion` are the dearest way to bring a token in and out, `listed_…` the ordinary one.
    `shows_output`: unless asked to think, the model answers in text alone, so that all it makes is seen in a stream.
    """

    prompt: Decimal
    completion: Decimal
    listed_prompt: Decimal
    listed_completion: Decimal
    request: Decimal
    image: Decimal
    audio: Decimal
    long_prompt: tuple[
        tuple[int, Decimal, Decimal], ...
    ]  # (over this many prompt tokens, prompt, completion)
    context_tokens: int
    output_tokens_max: int
    shows_output: bool
    second: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Bound:
    """The most a call can cost. Units: USD, tokens.

    `fixed_usd` is prompt, request fee, images and tools; the rest grows with each output token of each choice.
    Where `price_known` is false, something upstream alone decides about may run (a router, a preset, a server tool):
    the figures then cover the rest and are no bound.
    `shows_output`: every token that is charged as output is seen in a stream when it is made.
    The `likely_…` are no bounds.
    """

    price_known: bool
    fixed_usd: Decimal
    output_usd_per_token: Decimal
    prompt_usd_per_token: Decimal
    prompt_tokens: int
    output_tokens: int
    choices: int = 1
    shows_output: bool = False
    likely_fixed_usd: Decimal = Decimal(0)
    likely_output_usd_per_token: Decimal = Decimal(0)

    def cost_usd(self, output_tokens: int | None = None) -> Decimal:
        """Return the worst-case cost with that many output tokens a choice; all that may come where None."""
        tokens = self.output_tokens if output_tokens is None else output_tokens
        return self.fixed_usd + tokens * self.output_usd_per_token * self.choices

    @property
    def least_usd(self) -> Decimal:
        """The worst-case cost of the shortest answer worth having."""
        return self.cost_usd(min(self.output_tokens, OUTPUT_TOKENS_LEAST))

    def likely_usd(self, output_tokens: int) -> Decimal:
        """Return about what a call has cost that brought so many output tokens, in all its choices together."""
        return self.likely_fixed_usd + output_tokens * self.likely_output_usd_per_token

    def output_tokens_for(self, cost_usd: Decimal) -> int:
        """Return how many output tokens a choice that much money covers at the worst, never more than can come."""
        if self.output_usd_per_token == 0:
            return self.output_tokens
        tokens = (cost_usd - self.fixed_usd) / (self.output_usd_per_token * self.choices)
        return max(0, min(self.output_tokens, int(tokens.to_integral_value(rounding=ROUND_FLOOR))))

    def max_price(self) -> dict[str, Decimal]:
        """Return `provider.max_price` for this bound: USD per million tokens, the dearest price counted with."""
        return {
            "prompt": self.prompt_usd_per_token * _MILLION,
            "completion": self.output_usd_per_token * _MILLION,
        }


UNKNOWN = Bound(
    price_known=False,
    fixed_usd=Decimal(0),
    output_usd_per_token=Decimal(0),
    prompt_usd_per_token=Decimal(0),
    prompt_tokens=0,
    output_tokens=0,
)


def read_price(model: Mapping[str, Any]) -> Price | None:
    """Read a catalogue entry's price; None where it is dynamic (`-1`), absent or not a number.

    Shape: a `Model` object of upstream's GET /models. Source: docs/upstream.md 6.
    """
    listed = model.get("pricing")
    if not isinstance(listed, Mapping):
        return None
    try:
        prompt, completion = Decimal(str(listed["prompt"])), Decimal(str(listed["completion"]))
        dearest_in = max(_listed(listed, "input_cache_write"), _listed(listed, "input_cache_write_1h"))
        # Reasoning, images and sound come out as completion tokens at prices of their own.
        dearest_out = max(
            _listed(listed, name) for name in ("internal_reasoning", "image_output", "audio_output")
        )
        request, image, audio = (_listed(listed, name) for name in ("request", "image", "audio"))
        longer = tuple(_override(entry, prompt, completion) for entry in listed.get("overrides") or ())
        second = _second(model.get("pricing_skus"))
    except (KeyError, ArithmeticError, TypeError, ValueError, AttributeError):
        return None
    figures = (prompt, completion, dearest_in, dearest_out, request, image, audio, second)
    if not all(figure.is_finite() and figure >= 0 for figure in figures):
        return None
    context = _positive(model.get("context_length")) or OUTPUT_TOKENS_UNKNOWN
    top = model.get("top_provider")
    output = _positive(top.get("max_completion_tokens")) if isinstance(top, Mapping) else None
    return Price(
        prompt=max(prompt, dearest_in),
        completion=max(completion, dearest_out),
        listed_prompt=prompt,
        listed_completion=completion,
        request=request,
        image=image,
        audio=audio,
        long_prompt=longer,
        context_tokens=context,
        output_tokens_max=output or context,
        shows_output=_answers_in_text(model) and not _thinks_unasked(model),
        second=second,
    )


def bound(fields: Mapping[str, Any], *, body_bytes: int, prices: Iterable[Price | None]) -> Bound:
    """Return the most a chat call can cost at the dearest of its candidate models.

    Shape: `fields` is the request, already validated; one price for each model that may run, None where it is dynamic.
    Errors: none; what cannot be priced makes the bound unknown, over the figures of what can.
    Source: docs/reconciliation.md, "Sizing the hold".
    """
    candidates = list(prices)
    known = [price for price in candidates if price is not None]
    if not known:
        return UNKNOWN
    content, first = _content(fields), known[0]
    context = max(price.context_tokens for price in known)
    text_bytes = body_bytes - content.image_bytes
    text = text_bytes + TOKENS_PER_ITEM * (content.items + 1)
    prompt_tokens = context if content.has_file else min(context, text + TOKENS_PER_IMAGE * content.images)
    output_tokens = min(max(price.output_tokens_max for price in known), requested_output(fields) or context)
    factor = PRIORITY_FACTOR if fields.get("service_tier") in _PRIORITY_TIERS else Decimal(1)
    per_prompt = max(_at_length(price, prompt_tokens)[0] for price in known) * factor
    if content.has_audio:
        per_prompt = max(per_prompt, *(price.audio for price in known))
    fees = max(price.request + content.images * price.image for price in known)
    return Bound(
        price_known=len(known) == len(candidates) and not _runs_unpriced_tools(fields),
        fixed_usd=prompt_tokens * per_prompt
        + fees
        + (WEB_SEARCH_ALLOWANCE_USD if _searches_web(fields) else 0),
        output_usd_per_token=max(_at_length(price, prompt_tokens)[1] for price in known) * factor,
        prompt_usd_per_token=per_prompt,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        choices=fields.get("n") or 1,
        shows_output=all(price.shows_output for price in known) and _is_counted(fields),
        likely_fixed_usd=text_bytes // BYTES_PER_TOKEN * first.listed_prompt + first.request,
        likely_output_usd_per_token=first.listed_completion,
    )


def requested_output(fields: Mapping[str, Any]) -> int | None:
    """Return the caller's own ceiling on output tokens; the higher where both names are used, as either may count."""
    asked = [fields[name] for name in OUTPUT_FIELDS if fields.get(name) is not None]
    return max(asked) if asked else None


@dataclass(slots=True)
class _Content:
    items: int = 0
    images: int = 0
    image_bytes: int = 0
    has_file: bool = False
    has_audio: bool = False


def _content(fields: Mapping[str, Any]) -> _Content:
    """Count what in a request is billed otherwise than by the bytes of its text."""
    found = _Content()
    for name in ("messages", "tools"):
        listed = fields.get(name)
        found.items += len(listed) if isinstance(listed, list) else 0
    for message in fields.get("messages") or ():
        parts = message.get("content") if isinstance(message, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                _count_part(part, found)
    return found


def _count_part(part: dict[str, Any], found: _Content) -> None:
    found.items += 1
    kind = part.get("type")
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        found.images += 1
        if isinstance(url, str) and url.startswith("data:"):
            found.image_bytes += len(url)
    elif kind in ("file", "video_url", "input_video"):
        # What a document holds once it is read may be more than its own, compressed, bytes.
        found.has_file = True
    elif kind == "input_audio":
        found.has_audio = True


def _searches_web(fields: Mapping[str, Any]) -> bool:
    if "online" in _variants(fields) or fields.get("web_search_options") is not None:
        return True
    return any(
        kind in _WEB_KINDS for kind in (*_kinds(fields, "tools", "type"), *_kinds(fields, "plugins", "id"))
    )


def _runs_unpriced_tools(fields: Mapping[str, Any]) -> bool:
    """Whether upstream may run something by itself that has no price we know: a subagent, a sandbox, OCR."""
    tools = (
        kind for kind in _kinds(fields, "tools", "type") if kind != "function" and kind not in _WEB_KINDS
    )
    plugins = (kind for kind in _kinds(fields, "plugins", "id") if kind not in _WEB_KINDS | _FREE_PLUGINS)
    return any(True for _ in (*tools, *plugins))


def _answers_in_text(model: Mapping[str, Any]) -> bool:
    architecture = model.get("architecture")
    outputs = architecture.get("output_modalities") if isinstance(architecture, Mapping) else None
    return outputs is None or outputs == ["text"]


def _thinks_unasked(model: Mapping[str, Any]) -> bool:
    """Whether a model may reason though nobody asked; providers show as much of that as they like."""
    reasoning = model.get("reasoning")
    if isinstance(reasoning, Mapping):
        return reasoning.get("mandatory") is True or reasoning.get("default_enabled") is True
    # Entries of before there was `reasoning` tell only that the model can.
    return "reasoning" in (model.get("supported_parameters") or ())


def _is_counted(fields: Mapping[str, Any]) -> bool:
    """Whether all that a request makes a model bring is seen while it comes; in doubt it is not."""
    sent = {name: value for name, value in fields.items() if value is not None and value != []}
    off = sent.get("reasoning", _REASONING_OFF[0]), sent.get("reasoning_effort", "none")
    return (
        sent.keys() <= _COUNTED_FIELDS
        and ("tools" not in sent or sent.get("tool_choice") == "none")
        and off[0] in _REASONING_OFF
        and off[1] == "none"
        and sent.get("include_reasoning", False) is False
        and sent.get("modalities", ["text"]) == ["text"]
        and not _UNCOUNTED_VARIANTS & _variants(fields)
    )


def _variants(fields: Mapping[str, Any]) -> set[str]:
    """Return what follows a colon in any of the models' ids."""
    models = [fields.get("model"), *(fields.get("models") or ())]
    return {name for model in models if isinstance(model, str) for name in model.split(":")[1:]}


def _kinds(fields: Mapping[str, Any], name: str, key: str) -> list[str]:
    listed = fields.get(name)
    entries = listed if isinstance(listed, list) else []
    return [str(entry.get(key)) if isinstance(entry, dict) else "" for entry in entries]


def _listed(listed: Mapping[str, Any], name: str) -> Decimal:
    return Decimal(str(listed.get(name) or 0))


def _second(skus: object) -> Decimal:
    """Return the dearest price of a second of film: films are listed by what they show, in dollars or in cents."""
    named = skus if isinstance(skus, Mapping) else {}
    found = [
        Decimal(str(price)) / (100 if str(name).startswith("cents_") else 1)
        for name, price in named.items()
        if "second" in str(name)
    ]
    return max(found, default=Decimal(0))


def _at_length(price: Price, prompt_tokens: int) -> tuple[Decimal, Decimal]:
    """Return (prompt, completion) price per token for a prompt that may be that long."""
    reached = [(prompt, completion) for over, prompt, completion in price.long_prompt if prompt_tokens > over]
    tiers = [(price.prompt, price.completion), *reached]
    return max(tier[0] for tier in tiers), max(tier[1] for tier in tiers)


def _override(entry: Mapping[str, Any], prompt: Decimal, completion: Decimal) -> tuple[int, Decimal, Decimal]:
    writes = [Decimal(str(entry.get(name) or 0)) for name in ("input_cache_write", "input_cache_write_1h")]
    return (
        int(entry.get("min_prompt_tokens") or 0),
        max(Decimal(str(entry.get("prompt", prompt))), *writes),
        Decimal(str(entry.get("completion", completion))),
    )


def _positive(found: object) -> int | None:
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None
