"""What a call cost and how it went: our own record, completed from upstream's where that is there."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import dict_row

from accounts import database
from accounts.errors import NotFound, Unavailable
from billing import money
from llm import upstream
from llm.errors import NotConfigured, UpstreamError

# Upstream's record is a courtesy on top of ours: worth a short wait, not a slow answer.
UPSTREAM_WAIT_S = 2.0
READERS_MAX = 8
_OURS = re.compile(r"gen_([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")
# What of upstream's record a company may see; the rest names the operator's account, app or workspace.
_UPSTREAMS_FIELDS = (
    "cache_discount", "created_at", "streamed", "cancelled", "provider_name", "latency", "moderation_latency",
    "generation_time", "finish_reason", "native_finish_reason", "service_tier", "tokens_prompt", "tokens_completion",
    "native_tokens_prompt", "native_tokens_completion", "native_tokens_completion_images", "native_tokens_reasoning",
    "native_tokens_cached", "num_media_prompt", "num_input_audio_prompt", "num_media_completion",
    "num_search_results", "num_fetches", "web_search_engine", "is_byok", "api_type", "router", "data_region",
)  # fmt: skip
_FIND = b"""
    SELECT hold_id FROM billing_settlement WHERE generation_id = %(id)s AND company_id = %(company)s
    UNION ALL
    SELECT hold_id FROM billing_open_hold WHERE company_id = %(company)s AND generation_id = %(id)s
    LIMIT 1
"""
_READ = b"SELECT * FROM llm_generation WHERE company_id = %(company)s AND hold_id = %(hold)s"
_CORRECTIONS = b"""
    SELECT number, cost_usd, charged_nanocredits, source, created_at FROM billing_correction
     WHERE company_id = %(company)s AND hold_id = %(hold)s ORDER BY number
"""


async def read(
    wanted: str, *, company_id: UUID, tenant_user_id: UUID | None, kit_id: UUID | None
) -> dict[str, Any]:
    """Return one generation of this company's, in the shape of upstream's own record.

    Shape: `wanted` is upstream's `gen-…` or our `gen_<hold uuid>`; with `tenant_user_id` or `kit_id` only that
    user's or that kit's are found.
    Units: `total_cost` and `usage` USD, `credits_used` credits, both exact; null while the cost is not known.
    Errors: NotFound for an unknown id and for another's alike.
    """
    row, corrections = await _rows(wanted, company_id)
    narrowed = {"tenant_user_id": tenant_user_id, "kit_id": kit_id}
    if row is None or any(value is not None and row[name] != value for name, value in narrowed.items()):
        raise NotFound(
            "There is no such generation.",
            hint="Use the id of an answer, or its header X-Naive-Generation-Id.",
            details={"id": wanted[:200]},
        )
    theirs = await _upstreams(row["generation_id"]) if row["generation_id"] else {}
    return {**theirs, **_ours(row), "corrections": [_correction(found) for found in corrections]}


async def _rows(wanted: str, company_id: UUID) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    parameters: dict[str, Any] = {"company": company_id, "id": wanted}
    if "\x00" in wanted:
        return None, []
    try:
        async with (
            database.pool().connection() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            ours = _OURS.fullmatch(wanted)
            if ours:
                parameters["hold"] = UUID(ours.group(1))
            else:
                found = await (await cursor.execute(_FIND, parameters)).fetchone()
                if found is None:
                    return None, []
                parameters["hold"] = found["hold_id"]
            row = await (await cursor.execute(_READ, parameters)).fetchone()
            return row, await (await cursor.execute(_CORRECTIONS, parameters)).fetchall()
    except (psycopg.Error, OSError) as exc:
        raise Unavailable("The database does not answer.", hint="Retry in a moment.") from exc


async def _upstreams(generation_id: str) -> dict[str, Any]:
    """Return what upstream tells of this generation; nothing where it does not tell in time.

    It is the operator's key that asks, so at most READERS_MAX ask at once; the rest do with our own record.
    """
    if len(_readers) >= READERS_MAX:
        return {}
    reader = object()
    _readers.add(reader)
    try:
        raw = await upstream.client().get(
            "generation", params={"id": generation_id}, timeout_s=UPSTREAM_WAIT_S
        )
        data = orjson.loads(raw).get("data")
    except (UpstreamError, NotConfigured, AttributeError, orjson.JSONDecodeError):
        return {}
    finally:
        _readers.discard(reader)
    return {name: data[name] for name in _UPSTREAMS_FIELDS if name in data} if isinstance(data, dict) else {}


_readers: set[object] = set()


def _ours(row: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = row["facts"]
    cost = _number(row["cost_usd"]) if row["cost_usd"] is not None else None
    charged = row["charged_nanocredits"]
    known = {
        "provider_name": row["provider"] or None,
        "latency": facts.get("latency_ms"),
        "generation_time": facts.get("duration_ms"),
        "finish_reason": facts.get("finish_reason"),
        "native_finish_reason": facts.get("native_finish_reason"),
        "native_tokens_prompt": facts.get("tokens_prompt"),
        "native_tokens_completion": facts.get("tokens_completion"),
        "native_tokens_reasoning": facts.get("native_tokens_reasoning"),
        "native_tokens_cached": facts.get("native_tokens_cached"),
        "is_byok": facts.get("is_byok"),
    }
    return {
        **{name: value for name, value in known.items() if value is not None},
        "id": row["generation_id"] or f"gen_{row['hold_id']}",
        "naive_generation_id": f"gen_{row['hold_id']}",
        "model": row["model"],
        "streamed": row["is_streamed"],
        "created_at": _instant(row["created_at"]),
        "settled_at": _instant(row["settled_at"]),
        "state": row["state"],
        "settlement_source": row["source"] or None,
        "total_cost": cost,
        "usage": cost,
        "credits_used": _credits(charged),
        "credits_held": _credits(row["held_nanocredits"] if charged is None else 0),
        "user_id": str(row["tenant_user_id"]),
        "account_kit_id": str(row["kit_id"]),
    }


def _correction(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "number": row["number"],
        "total_cost": _number(row["cost_usd"]),
        "credits_used": _credits(row["charged_nanocredits"]),
        "source": row["source"],
        "created_at": _instant(row["created_at"]),
    }


def _credits(nanocredits: int | None) -> orjson.Fragment | None:
    return None if nanocredits is None else orjson.Fragment(money.json_number(nanocredits))


def _number(amount: Decimal) -> orjson.Fragment:
    return orjson.Fragment(format(amount.normalize(), "f"))


def _instant(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None
