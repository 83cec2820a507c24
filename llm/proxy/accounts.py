"""What upstream tells of an account, told of the company instead: from our own records, in upstream's own shapes.

Dollars here are upstream's: what the company's credits buy at upstream's prices. A client that adds up `usage.cost`,
or takes the price list, comes to the same figures; so a credit is worth credit value ÷ markup.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any, LiteralString
from uuid import UUID

import orjson
import psycopg
from django.conf import settings
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from accounts import database, keys, tokens
from accounts.auth import Principal
from accounts.errors import InvalidInput, Unavailable
from billing import money
from llm import generations
from llm.shares import Shares

# How many completed days upstream tells of.
ACTIVITY_DAYS = 30
ACTIVITY_ROWS_MAX = 10_000
# Sums that may be reckoned at once in one process: they share the pool with everybody's keys.
SUMS_MAX = 2
# And of one company's: others want to see their balance, too.
COMPANY_SUMS_MAX = 1
# What is left is rounded down, a tenth of a billionth of a dollar at most.
_USD_DIGITS = Decimal("1e-10")
_RESETS = {"day": "daily", "week": "weekly", "month": "monthly"}
_WALLET: LiteralString = "SELECT posted_nanocredits FROM billing_wallet WHERE company_id = %(company)s"
_KEY: LiteralString = """
    SELECT k.last_4, b.spent_nanocredits
      FROM accounts_apikey k
      LEFT JOIN billing_budget b ON (b.company_id, b.scope, b.scope_id, b.period, b.period_start)
                                  = (k.company_id, 'key', %(family)s, %(period)s, %(period_start)s)
     WHERE k.company_id = %(company)s AND k.id = %(key)s
"""
# A key and its successors are one key to their cap, and so in their sums. Rows come by the hour; a day begins at one.
_USAGE: LiteralString = """
    SELECT coalesce(sum(cost_usd), 0),
           coalesce(sum(cost_usd) FILTER (WHERE hour >= %(day)s), 0),
           coalesce(sum(cost_usd) FILTER (WHERE hour >= %(week)s), 0),
           coalesce(sum(cost_usd) FILTER (WHERE hour >= %(month)s), 0)
      FROM billing_usage
     WHERE company_id = %(company)s
       AND (%(family)s::uuid IS NULL OR key_id IN (
            SELECT id FROM accounts_apikey WHERE company_id = %(company)s AND family_id = %(family)s))
"""
_ACTIVITY: LiteralString = """
    SELECT (hour AT TIME ZONE 'UTC')::date AS day, model, sum(calls)::bigint, sum(cost_usd),
           sum(tokens_prompt)::bigint, sum(tokens_completion)::bigint
      FROM billing_usage
     WHERE company_id = %(company)s AND hour >= %(first)s AND hour < %(end)s
     GROUP BY 1, 2 HAVING sum(calls) > 0 ORDER BY 1 DESC, 4 DESC, 2 LIMIT %(most)s
"""
_GENERATION = (
    "id", "upstream_id", "total_cost", "cache_discount", "upstream_inference_cost", "created_at", "model", "app_id",
    "streamed", "cancelled", "provider_name", "latency", "moderation_latency", "generation_time", "finish_reason",
    "native_finish_reason", "service_tier", "tokens_prompt", "tokens_completion", "native_tokens_prompt",
    "native_tokens_completion", "native_tokens_completion_images", "native_tokens_reasoning", "native_tokens_cached",
    "num_media_prompt", "num_input_audio_prompt", "num_media_completion", "num_search_results", "num_fetches",
    "web_search_engine", "origin", "usage", "is_byok", "external_user", "api_type", "preset_id", "router",
    "provider_responses", "user_agent", "http_referer", "data_region", "workspace_id", "request_id", "session_id",
    "response_cache_source_id",
)  # fmt: skip
# Where upstream promises a value and we have none.
_GENERATION_DEFAULTS: dict[str, Any] = {"origin": "", "is_byok": False, "data_region": "global"}


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent in all and in the current UTC day, week (from Monday) and month. Units: USD, upstream's."""

    total: Decimal
    daily: Decimal
    weekly: Decimal
    monthly: Decimal


async def key(principal: Principal, *, now: datetime) -> bytes:
    """Answer GET key and auth/key.

    Shape: `{"data": {…}}` as upstream's. `limit` is the key's cap, null without one: the wallet is then the only
    limit, and `credits` tells what is in it.
    Units: USD at upstream's prices.
    Errors: Unavailable.
    """
    period = principal.cap_period
    parameters = {
        "company": principal.company_id,
        "key": principal.key_id,
        "family": principal.cap_scope_id,
        "period": period,
        "period_start": keys.cap_period_start(period, now) if period else None,
    }
    rows, spent = await _read(_KEY, parameters, spent_since=now)
    last_4, spent_nanocredits = rows[0] if rows else ("", None)
    return _answer(_key(principal, last_4=last_4, spent_nanocredits=spent_nanocredits or 0, spent=spent))


async def credits(principal: Principal, *, now: datetime) -> bytes:
    """Answer GET credits.

    Shape: `total_credits` less `total_usage` is the company's balance, to the tenth decimal rounded down; what calls
    that are still running hold is not taken off it.
    Units: USD at upstream's prices.
    Errors: Unavailable.
    """
    rows, spent = await _read(_WALLET, {"company": principal.company_id, "family": None}, spent_since=now)
    posted_nanocredits = rows[0][0] if rows else 0
    left_usd = _usd(posted_nanocredits, principal.markup)
    return _answer({"total_credits": _number(spent.total + left_usd), "total_usage": _number(spent.total)})


async def generation(wanted: str, *, company_id: UUID) -> bytes:
    """Answer GET generation for one of this company's own calls.

    Shape: every field of upstream's and no other; null where we do not know.
    Units: `total_cost` and `usage` USD, as upstream charged it; 0 while it is not known.
    Errors: InvalidInput without an id; NotFound for an unknown id and for another's alike; Unavailable.
    """
    if not wanted:
        raise InvalidInput("id is missing.", hint="Send ?id= with an answer's id.", details={"field": "id"})
    found = await generations.read(wanted, company_id=company_id, tenant_user_id=None, kit_id=None)
    return _answer(_generation(found))


async def activity(query: Mapping[str, str], *, company_id: UUID, now: datetime) -> bytes:
    """Answer GET activity: the last completed days, by day and model.

    Shape: `query` may hold `date`. We do not keep which endpoint served a call: one row stands for all of a model's.
    Units: USD at upstream's prices.
    Errors: InvalidInput for a date outside these days and for filters that name something of upstream's; Unavailable.
    """
    first, last = _days(query, now)
    parameters = {
        "company": company_id,
        "first": datetime(first.year, first.month, first.day, tzinfo=UTC),
        "end": datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1),
        "most": ACTIVITY_ROWS_MAX,
    }
    async with _connection(company_id) as connection:
        rows = await _rows(connection, _ACTIVITY, parameters)
    return _answer([_activity(row) for row in rows])


def _key(principal: Principal, *, last_4: str, spent_nanocredits: int, spent: Spent) -> dict[str, Any]:
    limit, left = None, None
    if principal.cap_credits is not None:
        capped = money.nanocredits_from_credits(principal.cap_credits)
        limit = _number(_usd(capped, principal.markup))
        left = _number(_usd(max(0, capped - spent_nanocredits), principal.markup))
    expires_at = principal.expires_at
    return {
        "label": f"{tokens.KEY_PREFIX}...{last_4}",
        "limit": limit,
        "limit_remaining": left,
        "limit_reset": _RESETS.get(principal.cap_period or ""),
        "include_byok_in_limit": False,
        "usage": _number(spent.total),
        "usage_daily": _number(spent.daily),
        "usage_weekly": _number(spent.weekly),
        "usage_monthly": _number(spent.monthly),
        **{f"byok_usage{since}": 0 for since in ("", "_daily", "_weekly", "_monthly")},
        "is_free_tier": False,
        "is_management_key": False,
        "is_provisioning_key": False,
        "creator_user_id": None,
        "expires_at": _instant(expires_at) if expires_at else None,
        "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated."},
    }


def _generation(found: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {name: found.get(name) for name in _GENERATION} | {
        name: found.get(name) or default for name, default in _GENERATION_DEFAULTS.items()
    }
    cost = found.get("total_cost")
    return shown | {"total_cost": 0 if cost is None else cost, "usage": 0 if cost is None else cost}


def _activity(row: Sequence[Any]) -> dict[str, Any]:
    day, model, calls, cost_usd, prompt, completion = row
    return {
        "date": day.isoformat(),
        "model": model,
        "model_permaslug": model,
        "endpoint_id": hashlib.sha256(model.encode()).hexdigest()[:32],
        "provider_name": "",
        "usage": _number(cost_usd),
        "byok_usage_inference": 0,
        "requests": calls,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "reasoning_tokens": 0,
    }


def _days(query: Mapping[str, str], now: datetime) -> tuple[date, date]:
    """Return the first and the last day that are asked for."""
    theirs = [name for name in query if name != "date"]
    if theirs:
        raise InvalidInput(
            f"{theirs[0]} is not offered here: activity is the whole company's.",
            hint="Leave it out; GET /v1/usage groups by key and user.",
            details={"field": theirs[0]},
        )
    today = now.astimezone(UTC).date()
    first, last = today - timedelta(days=ACTIVITY_DAYS), today - timedelta(days=1)
    if "date" not in query:
        return first, last
    try:
        wanted = date.fromisoformat(query["date"]) if len(query["date"]) == len("2026-01-31") else None
    except ValueError:
        wanted = None
    if wanted is None or not first <= wanted <= last:
        raise InvalidInput(
            f"date must be one of the last {ACTIVITY_DAYS} completed UTC days, as YYYY-MM-DD.",
            hint=f"From {first} to {last}.",
            details={"field": "date"},
        )
    return wanted, wanted


async def _read(
    statement: LiteralString, parameters: Mapping[str, Any], *, spent_since: datetime
) -> tuple[list[TupleRow], Spent]:
    """Return the rows, and what the key or the whole company spent, as they stood at one moment."""
    today = spent_since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = {
        "day": today,
        "week": today - timedelta(days=today.weekday()),
        "month": today.replace(day=1),
    }
    async with _connection(parameters["company"]) as connection, connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        rows = await _rows(connection, statement, parameters)
        sums = await _rows(connection, _USAGE, {**parameters, **since})
    return rows, Spent(*sums[0])


async def _rows(
    connection: AsyncConnection[TupleRow], statement: LiteralString, parameters: Mapping[str, Any]
) -> list[TupleRow]:
    return await (await connection.execute(statement, parameters)).fetchall()


@asynccontextmanager
async def _connection(company_id: UUID) -> AsyncIterator[AsyncConnection[TupleRow]]:
    """A connection of the pool for one sum."""
    try:
        async with _sums.place(company_id), database.pool().connection() as connection:
            yield connection
    except (psycopg.Error, OSError) as exc:
        raise Unavailable("The database does not answer.", hint="Retry in a moment.") from exc


_sums = Shares(most=SUMS_MAX, company_most=COMPANY_SUMS_MAX)


def _usd(nanocredits: int, markup: Decimal) -> Decimal:
    """Return what so many credits buy at upstream's prices."""
    credits_usd = money.credits_from_nanocredits(nanocredits) * settings.CREDIT_VALUE_USD
    return (credits_usd / markup).quantize(_USD_DIGITS, rounding=ROUND_FLOOR)


def _answer(data: Any) -> bytes:
    return orjson.dumps({"data": data})


def _number(amount: Decimal) -> orjson.Fragment:
    text = format(amount, "f")
    return orjson.Fragment(text.rstrip("0").rstrip(".") if "." in text else text)


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
