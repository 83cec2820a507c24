"""Which calls the clients make: call `number` of a seed is the same in every run."""

import random
from dataclasses import dataclass
from typing import Any

import orjson

MODELS = ("openai/gpt-4o-mini", "anthropic/claude-haiku-4.5", "google/gemini-2.5-flash", "openai/gpt-5-mini")
# What goes wrong upstream: faults that leave a cost, in the answer or in upstream's record only.
ANY_FAULTS = (
    "omit_usage", "omit_cost", "cost=null", "cost=exponent", "cost=string", "cost=noisy", "byok", "cache=hit",
    "server_tool_usd=0.0005", "price_factor=3", "provider=Groq", "split=7", "gzip",
    "status=400", "status=429", "status=500", "status=502,error_generation",
    "status=503,error_generation,error_billed", "html=502", "redirect=307", "close_before_headers=rst",
    "omit_cost,generation_delay_ms=2500", "omit_cost,generation_failures=2", "omit_cost,generation_delay_ms=7000",
)  # fmt: skip
STREAM_FAULTS = (
    "cut_after=0", "cut_after=3", "cut_after=2,cut_bytes=25", "cut_after=2,cut_style=fin", "usage_every_chunk",
    "midstream_error=finish", "midstream_error=usage", "midstream_error=empty", "midstream_error=string",
    "midstream_error=finish,error_billed", "no_done", "after_done", "usage_style=empty", "comments_between=2",
)  # fmt: skip
JSON_FAULTS = (
    "ok_error=top", "ok_error=choice", "ok_error=top,error_billed", "cut_bytes=40", "cut_bytes=40,cut_style=fin",
    "pad_bytes=20", "early_headers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ask:
    """One call of a client, and how that client behaves.

    Units: seconds; `leaves_after_reads` counts pieces of the answer. `retries` only with an Idempotency-Key.
    """

    number: int
    company: int
    user: int | None
    is_stream: bool
    body: bytes
    leaves_after_s: float | None
    leaves_after_reads: int | None
    leaves_by_reset: bool
    pause_between_reads_s: float
    idempotency_key: str | None
    retries: int


def ask(*, seed: int, number: int, weights: list[float], is_plain: bool = False) -> Ask:
    """Call `number` of this seed; `weights` is the share of each company, by its place in the cast.

    With `is_plain` the client stays to the end and upstream does nothing wrong.
    """
    chance = random.Random(f"{seed}:{number}")
    (company,) = chance.choices(range(len(weights)), weights)
    is_stream = chance.random() < 0.6
    leaves = 1.0 if is_plain else chance.random()
    is_slow = is_stream and not is_plain and chance.random() < 0.03
    knobs = [*([] if is_plain else _faults(chance, is_stream=is_stream)), *_pace(chance, is_stream, is_slow)]
    key = f"chaos-{seed}-{number}" if chance.random() < 0.25 else None
    return Ask(
        number=number,
        company=company,
        user=chance.randrange(8) if chance.random() < 0.5 else None,
        is_stream=is_stream,
        body=orjson.dumps(_body(seed, number, chance, is_stream=is_stream, knobs=knobs)),
        leaves_after_s=chance.uniform(0, 0.2) if leaves < 0.06 else None,
        leaves_after_reads=chance.randrange(1, 8) if is_stream and 0.06 <= leaves < 0.16 else None,
        leaves_by_reset=chance.random() < 0.5,
        pause_between_reads_s=chance.uniform(0.05, 0.2) if is_slow else 0.0,
        idempotency_key=key,
        retries=4 if key else 0,
    )


def _faults(chance: random.Random, *, is_stream: bool) -> list[str]:
    if chance.random() < 0.3:
        return [chance.choice(ANY_FAULTS)]
    return [chance.choice(STREAM_FAULTS if is_stream else JSON_FAULTS)] if chance.random() < 0.2 else []


def _body(
    seed: int, number: int, chance: random.Random, *, is_stream: bool, knobs: list[str]
) -> dict[str, Any]:
    words = chance.randrange(3, 60)
    body: dict[str, Any] = {
        "model": f"{chance.choice(MODELS)}:sim={','.join(knobs)}",
        "messages": [{"role": "user", "content": f"{words} words about number {number} of {seed}."}],
        # Reaches upstream beside the platform's own trace id: what tells us there whose call it was.
        "trace": {"chaos_call": number},
    }
    if is_stream:
        body["stream"] = True
    if chance.random() < 0.7:
        body["max_tokens"] = chance.randrange(20, 400)
    return body


def _pace(chance: random.Random, is_stream: bool, is_slow: bool) -> list[str]:
    """Answers that take their time: what is killed is to be in the middle of something."""
    if is_slow:
        return ["completion_tokens=600", "chunk_tokens=1", "chunk_delay_ms=1", "unicode"]
    if is_stream:
        return [f"first_token_ms={chance.randrange(0, 120)}", f"chunk_delay_ms={chance.randrange(2, 20)}"]
    return [f"delay_headers_ms={chance.randrange(0, 250)}"]
