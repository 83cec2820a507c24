"""API keys: which are good, which are broke, and what GET /key, /credits and /activity say of them."""

import datetime
import hashlib
from decimal import Decimal

import orjson

from simulator import pricing
from simulator.errors import USER_ID, APIError
from simulator.ledger import Row
from simulator.traffic import Body, Reply, Request, json_reply
from simulator.world import World

# How many completed UTC days GET /activity knows.
ACTIVITY_DAYS = 30
_FIRST_DAY = datetime.date(1970, 1, 1)
GOOD, BAD = "sk-or-v1-", "sk-or-v1-bad"
BROKE, CAPPED, MANAGEMENT = "sk-or-v1-broke", "sk-or-v1-capped", "sk-or-v1-mgmt"


def authenticate(request: Request) -> str:
    """The bearer key of a request; APIError 401 when there is none or it is unknown."""
    value = request.header("authorization")
    if not value and request.path.endswith("/messages"):
        value = f"Bearer {request.header('x-api-key')}" if request.header("x-api-key") else ""
    if not value:
        raise APIError(401, "No cookie auth credentials found", known_user=False)
    scheme, _, key = value.partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise APIError(401, "No auth credentials found", known_user=False)
    if not key.startswith(GOOD) or key.startswith(BAD):
        raise APIError(401, "User not found.", known_user=False)
    return key


def require_funds(key: str, max_tokens: int | None) -> None:
    """APIError 402 for a broke account, 403 for a key at its cap."""
    if key.startswith(CAPPED):
        message = "Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys"
        raise APIError(403, message)
    if not key.startswith(BROKE):
        return
    metadata: Body = {"provider_name": None, "previous_errors": [], "limit_source": "openrouter_credits"}
    if max_tokens is None:
        raise APIError(402, metadata=metadata)
    message = (
        "This request requires more credits, or fewer max_tokens. "
        f"You requested up to {max_tokens} tokens, but can only afford 0. To increase, visit "
        "https://openrouter.ai/settings/credits and upgrade to a paid account"
    )
    raise APIError(402, message, metadata=metadata)


def show(world: World, request: Request) -> Reply:
    """GET /key and its old alias /auth/key."""
    key = authenticate(request)
    today = world.today()
    since = {
        "": _FIRST_DAY,
        "_daily": today,
        "_weekly": today - datetime.timedelta(days=today.weekday()),
        "_monthly": today.replace(day=1),
    }
    spent = {name: world.ledger.usage_between(key, first, today) for name, first in since.items()}
    limit = 0 if key.startswith((BROKE, CAPPED)) else None
    management = key.startswith(MANAGEMENT)
    return json_reply(
        {
            "data": {
                "label": f"{key[:12]}...{key[-3:]}",
                "limit": limit,
                "limit_remaining": limit,
                "limit_reset": None,
                "include_byok_in_limit": False,
                **{f"usage{name}": _exact(charged) for name, (charged, _) in spent.items()},
                **{f"byok_usage{name}": _exact(byok) for name, (_, byok) in spent.items()},
                "is_free_tier": False,
                "is_management_key": management,
                "is_provisioning_key": management,
                "creator_user_id": USER_ID,
                "expires_at": None,
                "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated."},
            }
        }
    )


def credits(world: World, request: Request) -> Reply:
    """GET /credits, for management keys only."""
    key = authenticate(request)
    if not key.startswith(MANAGEMENT):
        raise APIError(403)
    spent = world.ledger.total()
    return json_reply({"data": {"total_credits": 100_000, "total_usage": _exact(spent)}})


def activity(world: World, request: Request) -> Reply:
    """GET /activity, for management keys: completed UTC days; `?date=` and `?api_key_hash=` narrow them."""
    key = authenticate(request)
    if not key.startswith(MANAGEMENT):
        raise APIError(403)
    last = world.today() - datetime.timedelta(days=1)
    first = world.today() - datetime.timedelta(days=ACTIVITY_DAYS)
    wanted = request.query.get("date")
    if wanted is not None:
        try:
            day = datetime.date.fromisoformat(wanted)
        except ValueError as exc:
            raise APIError(400, "Invalid date format. Date must be in YYYY-MM-DD format") from exc
        if not first <= day <= last:
            raise APIError(400, "Date must be within the last 30 (completed) UTC days")
        first = last = day
    named = request.query.get("api_key_hash")
    hashes = {hashlib.sha256(name.encode()).hexdigest(): name for name in world.ledger.accounts}
    rows = world.ledger.days(first, last, key=hashes.get(named, "") if named else None)
    return json_reply({"data": [_activity_row(row) for row in rows]})


def _activity_row(row: Row) -> Body:
    place = f"{row.provider}|{row.permaslug}".encode()
    return {
        "date": row.date.isoformat(),
        "model": row.model,
        "model_permaslug": row.permaslug,
        "endpoint_id": hashlib.sha256(place).hexdigest()[:32],
        "provider_name": row.provider,
        "usage": _exact(row.usage_usd),
        "byok_usage_inference": _exact(row.byok_usd),
        "requests": row.requests,
        "prompt_tokens": row.prompt,
        "completion_tokens": row.completion,
        "reasoning_tokens": row.reasoning,
    }


def _exact(amount: Decimal) -> orjson.Fragment:
    """A sum as a JSON number to its last digit: what upstream would print of it is a double near by."""
    return orjson.Fragment(pricing.plain(amount).encode())
