"""What the gateway would write down of the demo's calls: what is held for each, and how it was answered."""

from decimal import Decimal

import orjson
from django.conf import settings

from accounts import ids, keys
from accounts.models import APIKey, TenantUser
from billing import money
from billing.holds import Cap, HoldRequest
from billing.settlement import Evidence, HoldKey, Source
from naive_platform.demo_data import calls, company
from naive_platform.demo_data.calls import Call
from naive_platform.demo_data.company import Cast


def request(call: Call, cast: Cast) -> HoldRequest:
    """Ask for what the call could cost, all of it or nothing."""
    user, api_key = cast.users[call.external_id], cast.keys[call.key]
    wanted = money.charge_nanocredits(
        cost_usd=call.bound_usd, markup=settings.MARKUP, credit_value_usd=settings.CREDIT_VALUE_USD
    )
    return HoldRequest(
        hold_id=ids.uuid7(call.at),
        company_id=cast.company_id,
        key_id=api_key.id,
        kit_id=cast.kits[call.kit],
        tenant_user_id=user.id,
        wanted_nanocredits=wanted,
        least_nanocredits=wanted,
        markup=settings.MARKUP,
        credit_value_usd=settings.CREDIT_VALUE_USD,
        ttl_s=settings.HOLD_TTL_S,
        details=_asked(call),
        caps=_caps(api_key, user, call),
    )


def refused(call: Call) -> Evidence:
    """Upstream said no before any model ran."""
    timing = {"latency_ms": call.latency_ms, "duration_ms": call.duration_ms}
    return Evidence(source="inline", details=orjson.dumps(timing))


def answered(call: Call, placed: HoldRequest, *, source: Source, cost_usd: Decimal | None) -> Evidence:
    """Upstream's answer with its cost, or with another one that it names."""
    return Evidence(
        source=source,
        cost_usd=call.cost_usd if cost_usd is None else cost_usd,
        generation_id=generation_id(placed),
        details=_told(call),
    )


def key(placed: HoldRequest) -> HoldKey:
    return HoldKey(
        company_id=placed.company_id,
        hold_id=placed.hold_id,
        markup=placed.markup,
        credit_value_usd=placed.credit_value_usd,
    )


def generation_id(placed: HoldRequest) -> str:
    return f"gen-{int(ids.made_at(placed.hold_id).timestamp())}-{placed.hold_id.hex[-20:]}"


def _caps(api_key: APIKey, user: TenantUser, call: Call) -> tuple[Cap, ...]:
    """The spending limits that this call counts against: its key's, and what the Free kit gives a user a month."""
    found = []
    if api_key.cap_credits is not None:
        limit = money.nanocredits_from_credits(api_key.cap_credits)
        start = keys.cap_period_start("month", call.at)
        found.append(Cap("key", api_key.family_id, "month", start, limit))
    if call.kit == "Free":
        limit = money.nanocredits_from_credits(company.FREE_CREDITS)
        found.append(Cap("user", user.id, "month", keys.cap_period_start("month", call.at), limit))
    return tuple(found)


def _asked(call: Call) -> bytes:
    """What the gateway writes down of a call before it is sent."""
    return orjson.dumps(
        {
            "model": call.model.id,
            "models": [call.model.id],
            "shape": "chat",
            "streamed": call.is_streamed,
            "prompt_tokens_bound": call.prompt * 4,
            "output_tokens_bound": max(1024, call.completion * 2),
        }
    )


def _told(call: Call) -> bytes:
    """What it writes down of the answer."""
    return orjson.dumps(
        {
            "model": call.model.id,
            "provider": call.model.provider,
            "finish_reason": "length" if call.completion >= calls.COMPLETION_MAX else "stop",
            "tokens_prompt": call.prompt,
            "tokens_completion": call.completion,
            "native_tokens_cached": call.cached,
            "is_byok": False,
            "latency_ms": call.latency_ms,
            "duration_ms": call.duration_ms,
        }
    )
