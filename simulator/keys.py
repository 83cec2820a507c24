"""API keys: which are good, which are broke, and what GET /key and /credits say of them."""

from simulator import pricing
from simulator.errors import USER_ID, APIError
from simulator.traffic import Body, Reply, Request, json_reply
from simulator.world import World

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
    usage = pricing.number(world.ledger.usage(key))
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
                "usage": usage,
                "usage_daily": usage,
                "usage_weekly": usage,
                "usage_monthly": usage,
                "byok_usage": 0,
                "byok_usage_daily": 0,
                "byok_usage_weekly": 0,
                "byok_usage_monthly": 0,
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
    return json_reply({"data": {"total_credits": 100_000, "total_usage": pricing.number(spent)}})
