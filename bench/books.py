"""Holds and settlements and nothing else, as fast as one process brings them; runs inside `manage.py shell`."""

import asyncio
import json
import random
import time
from decimal import Decimal
from uuid import UUID, uuid4

from accounts import ids
from billing import batches, holds, ledger, settlement
from billing.holds import HoldRequest
from billing.settlement import Evidence, HoldKey

# Of each company; a pair costs it 0.00035 credits.
GRANT_NANOCREDITS = 100_000 * 10**9
HOLD_NANOCREDITS = 10**7
IN_FLIGHT = 256
WARM_UP_S = 1.0
MARKUP, CREDIT_VALUE_USD = Decimal("1.25"), Decimal("0.50")
# What the gateway writes down of such a call.
HOLD_DETAILS = json.dumps(
    {
        "model": "openai/gpt-5-mini",
        "models": ["openai/gpt-5-mini"],
        "user": "0123456789abcdef0123456789abcdef",
        "streamed": False,
        "prompt_tokens_bound": 400,
        "output_tokens_bound": 400,
    }
).encode()
DETAILS = json.dumps(
    {
        "model": "openai/gpt-5-mini",
        "provider": "OpenAI",
        "finish_reason": "stop",
        "tokens_prompt": 60,
        "tokens_completion": 40,
        "latency_ms": 700,
        "duration_ms": 2100,
    }
).encode()


def work(*, companies: int, seconds: float, cost_usd: str) -> None:
    """Place and settle for so long; say "begin" when it begins, then the figures as one line of JSON."""
    company_ids = [uuid4() for _ in range(companies)]
    for company_id in company_ids:
        ledger.open_wallet(company_id=company_id)
        ledger.post(
            company_id=company_id, amount_nanocredits=GRANT_NANOCREDITS, action="grant", reference="bench"
        )
    asyncio.run(_work(company_ids, seconds, Decimal(cost_usd)))


async def _work(company_ids: list[UUID], seconds: float, cost_usd: Decimal) -> None:
    warm_up = await _pairs(company_ids, WARM_UP_S, cost_usd)
    print("begin", flush=True)
    begun = time.monotonic()
    measured = await _pairs(company_ids, seconds, cost_usd)
    elapsed_s = time.monotonic() - begun
    print(
        json.dumps({"pairs": measured, "elapsed_s": elapsed_s, "pairs_in_all": warm_up + measured}),
        flush=True,
    )
    await batches.stop()


async def _pairs(company_ids: list[UUID], seconds: float, cost_usd: Decimal) -> int:
    until = time.monotonic() + seconds
    return sum(await asyncio.gather(*(_one_by_one(company_ids, until, cost_usd) for _ in range(IN_FLIGHT))))


async def _one_by_one(company_ids: list[UUID], until: float, cost_usd: Decimal) -> int:
    done = 0
    while time.monotonic() < until:
        await _pair(random.choice(company_ids), cost_usd)  # noqa: S311 - no secret.
        done += 1
    return done


async def _pair(company_id: UUID, cost_usd: Decimal) -> None:
    """One call as the books see it: the same functions, in the same order, as the gateway's."""
    request = HoldRequest(
        hold_id=ids.uuid7(),
        company_id=company_id,
        key_id=company_id,
        kit_id=company_id,
        tenant_user_id=company_id,
        wanted_nanocredits=HOLD_NANOCREDITS,
        least_nanocredits=HOLD_NANOCREDITS,
        markup=MARKUP,
        credit_value_usd=CREDIT_VALUE_USD,
        ttl_s=900,
        details=HOLD_DETAILS,
    )
    await holds.place(request)
    key = HoldKey(
        company_id=company_id,
        hold_id=request.hold_id,
        markup=MARKUP,
        credit_value_usd=CREDIT_VALUE_USD,
    )
    evidence = Evidence(
        source="inline", cost_usd=cost_usd, generation_id=f"gen-{request.hold_id.hex}", details=DETAILS
    )
    ended = await settlement.settle(hold=key, evidence=evidence)
    if ended.outcome != "posted":
        raise RuntimeError(f"Hold {request.hold_id} was {ended.outcome}.")
