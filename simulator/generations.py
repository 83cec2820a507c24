"""Generation records: what GET /generation tells about a call, to its own key only and not at once."""

import datetime
import os
from dataclasses import dataclass, replace

import orjson

from simulator import pricing
from simulator.errors import APIError
from simulator.pricing import Bill

RECORDS_MAX = 100_000
# Longer than any two clocks and their zones are apart.
LONG_AGO_S = 3 * 86_400
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def new_id(created: int, kind: str = "gen") -> str:
    """`gen-<unix>-<20 letters and digits>`."""
    number = int.from_bytes(os.urandom(15))
    letters = []
    for _ in range(20):
        number, place = divmod(number, 62)
        letters.append(_ALPHABET[place])
    return f"{kind}-{created}-{''.join(letters)}"


def request_id(generation_id: str) -> str:
    """The request that a generation belongs to; here each request has one."""
    return f"req-{generation_id.partition('-')[2]}"


@dataclass(slots=True)
class Generation:
    """One ended generation. `cost` is the JSON number that was charged; times are seconds."""

    id: str
    key: str
    created: int
    model: str
    provider: str
    api_type: str
    streamed: bool
    cancelled: bool
    finish_reason: str | None
    bill: Bill
    elapsed_s: float
    visible_at: float
    normalized: float
    user: str | None
    origin: str
    user_agent: str | None
    failures_left: int = 0
    failure_status: int = 503
    stall_ms: int = 0
    how: str = "normal"
    changes_at: float | None = None
    looks: int = 0
    cache_source: str | None = None


def _number(text: str) -> orjson.Fragment:
    return orjson.Fragment(text.encode())


def _tokens(record: Generation) -> dict[str, object]:
    tally = record.bill.tally
    return {
        "tokens_prompt": round(tally.prompt * record.normalized),
        "tokens_completion": round(tally.completion * record.normalized),
        "native_tokens_prompt": tally.prompt,
        "native_tokens_completion": tally.completion,
        "native_tokens_completion_images": tally.images,
        "native_tokens_reasoning": tally.reasoning,
        "native_tokens_cached": tally.cached,
    }


def _cost(record: Generation, now: float) -> str:
    """What the record says it cost: the knobs let that change at the second look, or at their own time."""
    changed = record.looks > 1 if record.changes_at is None else now >= record.changes_at
    if record.how == "zero-first":
        return record.bill.literal if changed else "0"
    if record.how in ("changed", "corrected") and changed:
        return pricing.literal(2 * record.bill.amount)
    return record.bill.literal


def _another(record: Generation) -> Generation:
    """The record of some other call in its place, as far as the knob says."""
    if record.how == "other-id":
        return replace(record, id=new_id(record.created))
    if record.how == "other-model":
        names = ("anthropic/claude-haiku-4.5", "openai/gpt-4o-mini")
        return replace(record, model=names[record.model != names[1]])
    if record.how == "other-user":
        return replace(record, user="somebody-else")
    return replace(record, created=record.created - LONG_AGO_S) if record.how == "other-time" else record


def _rendered(record: Generation, now: float) -> dict[str, object]:
    text, bill = _cost(record, now), record.bill
    record = _another(record)
    created_at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    latency_ms = round(record.elapsed_s * 1000)
    return {
        "id": record.id,
        "upstream_id": f"chatcmpl-{record.id[-20:]}",
        "total_cost": _number(text),
        "usage": _number(text),
        "cache_discount": None,
        "upstream_inference_cost": _number(bill.upstream) if bill.byok else 0,
        "created_at": created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "model": record.model,
        "app_id": None,
        "streamed": record.streamed,
        "cancelled": record.cancelled,
        "provider_name": record.provider,
        "latency": latency_ms,
        "moderation_latency": None,
        "generation_time": latency_ms,
        "finish_reason": record.finish_reason,
        "native_finish_reason": record.finish_reason,
        "service_tier": None,
        **_tokens(record),
        "num_media_prompt": None,
        "num_input_audio_prompt": None,
        "num_media_completion": None,
        "num_search_results": 10 * bill.tally.searches or None,
        "num_fetches": None,
        "web_search_engine": "exa" if bill.tally.searches else None,
        "origin": record.origin,
        "is_byok": bool(bill.byok),
        "external_user": record.user,
        "api_type": record.api_type,
        "preset_id": None,
        "router": None,
        "provider_responses": None,
        "user_agent": record.user_agent,
        "http_referer": record.origin or None,
        "data_region": "global",
        "workspace_id": None,
        "request_id": request_id(record.id),
        "session_id": None,
        "response_cache_source_id": record.cache_source,
    }


class Generations:
    """The newest records, by id."""

    def __init__(self) -> None:
        self._records: dict[str, Generation] = {}

    def keep(self, record: Generation) -> None:
        self._records[record.id] = record
        if len(self._records) > RECORDS_MAX:
            del self._records[next(iter(self._records))]

    def stall_ms(self, generation_id: str) -> int:
        """How long a look at this record is to take."""
        record = self._records.get(generation_id)
        return record.stall_ms if record else 0

    def look_up(self, generation_id: str, *, key: str, now: float) -> dict[str, object]:
        """The record as its owner sees it; APIError 404 before its time and for everybody else."""
        record = self._records.get(generation_id)
        if record is None or record.key != key or now < record.visible_at:
            raise APIError(404, f"Generation {generation_id} not found")
        if record.failures_left:
            record.failures_left -= 1
            raise APIError(record.failure_status)
        record.looks += 1
        return _rendered(record, now)
