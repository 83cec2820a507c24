"""The price list: models.psv as Model objects of GET /models, and model ids as callers write them."""

import datetime
import functools
import pathlib
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from simulator import pricing, providers
from simulator.errors import APIError
from simulator.pricing import Tariff
from simulator.providers import Endpoint

_FILE = pathlib.Path(__file__).with_name("models.psv")
_MILLION = Decimal(1_000_000)
_MODALITIES = {
    "t": "text", "i": "image", "f": "file", "a": "audio", "v": "video",
    "s": "speech", "e": "embeddings", "k": "rerank", "x": "transcription",
}  # fmt: skip
_TOKENIZERS = {
    "openai": "GPT", "anthropic": "Claude", "google": "Gemini", "meta-llama": "Llama3", "qwen": "Qwen",
    "deepseek": "DeepSeek", "mistralai": "Mistral", "x-ai": "Grok", "cohere": "Cohere", "amazon": "Nova",
    "openrouter": "Router",
}  # fmt: skip
_AUTHORS = {
    "openai": "OpenAI", "anthropic": "Anthropic", "google": "Google", "meta-llama": "Meta", "qwen": "Qwen",
    "mistralai": "Mistral", "deepseek": "DeepSeek", "x-ai": "xAI", "z-ai": "Z.AI", "minimax": "MiniMax",
    "moonshotai": "MoonshotAI", "nvidia": "NVIDIA", "ai21": "AI21", "xiaomi": "Xiaomi", "openrouter": "",
}  # fmt: skip
# Suffixes any model takes; `:free` and the listed ones exist only where the list has them.
_SUFFIXES = {"nitro", "floor", "online", "exacto", "thinking", "extended", "batch"}
_AUTO = ("openai/gpt-5-mini", "google/gemini-2.5-flash", "anthropic/claude-haiku-4.5")
_ROUTERS = {
    "openrouter/auto": _AUTO,
    "openrouter/auto-beta": _AUTO,
    "openrouter/fusion": ("anthropic/claude-opus-4.8", "openai/gpt-5.4"),
    "openrouter/pareto-code": ("qwen/qwen3-coder", "anthropic/claude-sonnet-4.6"),
    "openrouter/bodybuilder": ("openai/gpt-4o-mini",),
    "openrouter/free": ("openai/gpt-oss-20b:free", "qwen/qwen3-coder:free"),
    "~anthropic/claude-opus-latest": ("anthropic/claude-opus-4.8",),
    "~anthropic/claude-sonnet-latest": ("anthropic/claude-sonnet-5",),
    "~openai/gpt-mini-latest": ("openai/gpt-5.4-mini",),
    "~google/gemini-flash-latest": ("google/gemini-3-flash-preview",),
}
DEFAULT = "openrouter/auto"


@dataclass(frozen=True, slots=True)
class Model:
    """One row of the price list; `listing` is the object that GET /models shows."""

    id: str
    canonical_slug: str
    context_length: int
    max_completion_tokens: int | None
    tariff: Tariff
    outputs: tuple[str, ...]
    reasons: bool
    endpoints: tuple[Endpoint, ...]
    listing: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of models.psv, still text."""

    id: str
    title: str
    created: str
    context: str
    max_out: str
    prompt: str
    completion: str
    cache_read: str
    cache_write: str
    io: str
    flags: str
    long: str
    more: str

    @property
    def author(self) -> str:
        return self.id.partition("/")[0]


def _per_token(per_million: str) -> str:
    return per_million if per_million == "-1" else pricing.plain(Decimal(per_million) / _MILLION)


def _pricing(row: Row) -> dict[str, Any]:
    prices: dict[str, Any] = {"prompt": _per_token(row.prompt), "completion": _per_token(row.completion)}
    prices |= dict(pair.split("=") for pair in row.more.split(",") if pair)
    if row.cache_read:
        prices["input_cache_read"] = _per_token(row.cache_read)
    if row.cache_write:
        prices["input_cache_write"] = _per_token(row.cache_write)
    if row.cache_write and row.author.endswith("anthropic"):
        prices["input_cache_write_1h"] = _per_token(str(2 * Decimal(row.prompt)))
    if row.long:
        tokens, _, tail = row.long.partition(":")
        names = ("prompt", "completion", "input_cache_read", "input_cache_write")
        found = {name: _per_token(price) for name, price in zip(names, tail.split("/"), strict=True) if price}
        prices["overrides"] = [{"min_prompt_tokens": int(tokens), **found}]
    return prices


def _canonical(row: Row) -> str:
    if "p" in row.flags:
        return row.id
    base, _, variant = row.id.partition(":")
    # anthropic/claude-opus-4.8 is listed as anthropic/claude-4.8-opus-20260528.
    base = re.sub(r"/claude-(opus|sonnet|haiku)-([\d.]+)$", r"/claude-\2-\1", base)
    dated = f"{base}-{row.created.replace('-', '')}"
    return f"{dated}:{variant}" if variant else dated


def _parameters(flags: str) -> list[str]:
    found = {
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "stop",
        "seed",
        "frequency_penalty",
    }
    found |= {"presence_penalty"}
    if "t" in flags:
        found |= {"tools", "tool_choice"}
    if "s" in flags:
        found |= {"response_format", "structured_outputs"}
    if "r" in flags or "R" in flags:
        found |= {"reasoning", "include_reasoning"}
    return sorted(found)


def _architecture(row: Row) -> dict[str, Any]:
    inputs, outputs = ([_MODALITIES[letter] for letter in side] for side in row.io.split(">"))
    return {
        "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}",
        "input_modalities": inputs,
        "output_modalities": outputs,
        "tokenizer": _TOKENIZERS.get(row.author.lstrip("~"), "Other"),
        "instruct_type": None,
    }


def _listing(row: Row) -> dict[str, Any]:
    author = row.author.lstrip("~")
    maker = _AUTHORS.get(author, author.replace("-", " ").title())
    midnight = datetime.datetime.fromisoformat(row.created).replace(tzinfo=datetime.UTC)
    slug = _canonical(row)
    open_weights = author in {"meta-llama", "qwen", "deepseek", "nvidia", "z-ai", "allenai", "nousresearch"}
    entry: dict[str, Any] = {
        "id": row.id,
        "canonical_slug": slug,
        "hugging_face_id": row.id.partition(":")[0] if open_weights else None,
        "name": f"{maker}: {row.title}" if maker else row.title,
        "created": int(midnight.timestamp()),
        "description": f"{row.title} by {maker or 'OpenRouter'}, as the simulator offers it.",
        "context_length": int(row.context),
        "architecture": _architecture(row),
        "pricing": _pricing(row),
        "top_provider": {
            "context_length": int(row.context),
            "max_completion_tokens": int(row.max_out) if row.max_out else None,
            "is_moderated": "m" in row.flags,
        },
        "per_request_limits": None,
        "supported_parameters": _parameters(row.flags),
        "default_parameters": dict.fromkeys(
            ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "repetition_penalty")
        ),
        "supported_voices": ["alloy", "nova"] if row.io.endswith(">s") else None,
        "knowledge_cutoff": None,
        "expiration_date": None,
        "links": {"details": f"/api/v1/models/{slug}/endpoints"},
    }
    if "r" in row.flags or "R" in row.flags:
        efforts = ["high", "medium", "low"]
        mandatory = "R" in row.flags
        entry["reasoning"] = {
            "mandatory": mandatory,
            "supported_efforts": efforts,
            "default_effort": "medium",
        }
    if row.id.startswith("~"):
        entry["alias_target"] = _ROUTERS[row.id][0]
    return entry


def _model(row: Row) -> Model:
    listing = _listing(row)
    return Model(
        id=row.id,
        canonical_slug=listing["canonical_slug"],
        context_length=int(row.context) or 1_000_000,
        max_completion_tokens=int(row.max_out) if row.max_out else None,
        tariff=pricing.tariff(listing["pricing"]),
        outputs=tuple(listing["architecture"]["output_modalities"]),
        reasons="R" in row.flags,
        endpoints=providers.endpoints(row.author, row.id),
        listing=listing,
    )


def _rows() -> list[Row]:
    rows = []
    for line in _FILE.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        row = Row(*line.split("|"))
        rows.append(row)
        fields = {name: getattr(row, name) for name in Row.__slots__}
        if "F" in row.flags:
            free = {
                "prompt": "0",
                "completion": "0",
                "cache_read": "",
                "cache_write": "",
                "long": "",
                "more": "",
            }
            rows.append(Row(**{**fields, **free, "id": f"{row.id}:free", "title": f"{row.title} (free)"}))
        for flag, suffix in (("T", "thinking"), ("X", "exacto")):
            if flag in row.flags:
                flags = row.flags.replace("r", "R") if flag == "T" else row.flags
                own = {"id": f"{row.id}:{suffix}", "title": f"{row.title} ({suffix})", "flags": flags}
                rows.append(Row(**{**fields, **own}))
    return rows


MODELS: dict[str, Model] = {row.id: _model(row) for row in _rows()}
_BY_SLUG = {model.canonical_slug: model for model in reversed(MODELS.values())}


def _unknown(name: str) -> APIError:
    return APIError(400, f"{name} is not a valid model ID")


@functools.lru_cache(maxsize=4096)
def resolve(name: str, seed: int = 0) -> Model:
    """The concrete model behind an id as a caller writes it: slug, alias, router, preset or variant.

    Errors: APIError 400 for an id nobody lists, 404 for a `:free` variant without an endpoint.
    """
    base = name.partition("@preset/")[0] or DEFAULT if "@preset/" in name else name
    if base in _ROUTERS:
        choices = _ROUTERS[base]
        return MODELS[choices[seed % len(choices)]]
    found = MODELS.get(base) or _BY_SLUG.get(base)
    if found:
        return found
    plain_name, mark, suffix = base.rpartition(":")
    if mark and (plain_name in MODELS or plain_name in _ROUTERS):
        if suffix == "free":
            raise APIError(404, f"No endpoints found for {base}.")
        if suffix in _SUFFIXES:
            return resolve(plain_name, seed)
    raise _unknown(name)


def listed(name: str) -> Model:
    """A row of the list itself, routers and aliases included; APIError 404 when there is none."""
    found = MODELS.get(name) or _BY_SLUG.get(name)
    if found is None:
        raise APIError(404, "Resource not found")
    return found
