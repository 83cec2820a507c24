"""The promise: after anything, our books and upstream's agree to the last digit, and nothing is held."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
from django.db import connection

from billing import verification
from tests import factories
from tests.e2e.conftest import Platform, eventually, open_holds

MODELS = ["openai/gpt-4o-mini", "anthropic/claude-haiku-4.5", "google/gemini-2.5-flash", "openai/gpt-5-mini"]
# Every fault that leaves a plausible cost: on the wire, or in the generation record only.
FAULTS = [
    "usage_style=empty", "usage_style=null-finish", "usage_style=repeated-finish", "key_order=old", "permaslug",
    "omit_usage", "omit_cost", "cost=null", "cost=exponent", "cost=string", "cost=noisy", "byok",
    "server_tool_usd=0.0005", "usage_every_chunk", "cut_after=0", "cut_after=3", "cut_after=2,cut_bytes=25",
    "cut_after=2,cut_style=fin", "no_done", "after_done", "crlf", "split=7", "split=1", "gzip", "pad_bytes=20",
    "comments_between=2", "unicode", "midstream_error=finish", "midstream_error=usage", "midstream_error=empty",
    "midstream_error=choice", "midstream_error=string", "midstream_error=finish,error_billed",
    "status=400", "status=429", "status=500", "status=502,error_generation", "html=502", "html=503",
    "ok_error=top", "ok_error=choice",
    "delay_headers_ms=50", "early_headers", "generation_delay_ms=1500", "generation_failures=2,omit_cost", "cache=hit",
    "price_factor=3", "provider=Groq", "close_before_headers=rst", "redirect=307",
]  # fmt: skip
CALLS = 1000
CONCURRENT = 24


def cost_and_charge(company_ids: list[UUID]) -> tuple[Decimal, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(cost_usd), 0), coalesce(sum(charged_nanocredits), 0) FROM billing_settlement "
            "WHERE company_id = ANY(%s) AND kind = 'post'",
            [company_ids],
        )
        cost, charged = cursor.fetchone()
        return Decimal(cost), int(charged)


def wallet_minus_entries(company_id: UUID) -> tuple[int, int]:
    """Return (balance less the sum of its entries, held)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT w.posted_nanocredits - coalesce((SELECT sum(amount_nanocredits) FROM billing_entry e "
            "WHERE e.company_id = w.company_id), 0), w.held_nanocredits FROM billing_wallet w WHERE w.company_id = %s",
            [company_id],
        )
        difference, held = cursor.fetchone()
        return int(difference), int(held)


def worst_case_credits(platform: Platform, member: factories.Cast, body: dict[str, Any]) -> Decimal:
    answer = platform.post(member.secret, body, path="/v1/llm/estimate")
    assert answer.status_code == 200, answer.text
    return Decimal(str(answer.json()["worst_case_credits"]))


async def one_call(client: httpx.AsyncClient, secret: str, chance: random.Random) -> None:
    """Make one call of the mix: JSON or a stream, whole or left in the middle, with or without a fault."""
    model = chance.choice(MODELS)
    if chance.random() < 0.6:
        model += ":sim=" + chance.choice(FAULTS)
    stream, leaves = chance.random() < 0.6, chance.random() < 0.25
    if stream and leaves and ":sim=" not in model:
        model += ":sim=chunk_delay_ms=5"
    prompt = f"Tell me about number {chance.randrange(10**6)}."
    body = {
        "model": model,
        "stream": stream,
        "max_tokens": 200,
        "messages": [{"role": "user", "content": prompt}],
    }
    headers = {"Authorization": f"Bearer {secret}"}
    with contextlib.suppress(httpx.HTTPError):
        async with client.stream("POST", "/v1/llm/chat/completions", json=body, headers=headers) as answer:
            chunks = 0
            async for _ in answer.aiter_raw():
                chunks += 1
                if leaves and chunks >= chance.randrange(1, 6):
                    return


async def crowd(work: Callable[[], Awaitable[None]], *, times: int, at_once: int) -> None:
    gate = asyncio.Semaphore(at_once)

    async def guarded() -> None:
        async with gate:
            await work()

    await asyncio.gather(*(guarded() for _ in range(times)))


def test_thousand_mixed_calls_are_charged_exactly_what_upstream_charged(clean: Platform) -> None:
    companies = [factories.acme() for _ in range(3)]
    chance = random.Random(20261123)

    async def run() -> None:
        async with httpx.AsyncClient(base_url=clean.url, timeout=60) as client:
            await crowd(
                lambda: one_call(client, chance.choice(companies).secret, chance),
                times=CALLS,
                at_once=CONCURRENT,
            )

    asyncio.run(run())
    ids = [member.company.id for member in companies]
    eventually(lambda: sum(map(open_holds, ids)) == 0, timeout_s=90, what="every open hold settled")
    cost, charged = cost_and_charge(ids)
    assert cost == Decimal(clean.upstream.ledger()["total_usd"])
    assert cost > 0
    for member in companies:
        assert wallet_minus_entries(member.company.id) == (0, 0)
    spent = sum(factories.GRANT_NANOCREDITS - factories.balance_nanocredits(member) for member in companies)
    assert spent == charged
    for company_id in ids:
        assert verification.verify(company_id=company_id).violations == []


def test_short_wallet_lowers_max_tokens_and_says_so(clean: Platform) -> None:
    acme = factories.acme(credits=Decimal(0))
    body = {"model": "anthropic/claude-sonnet-4.6", "messages": [{"role": "user", "content": "Hi"}]}
    worst = worst_case_credits(clean, acme, body)
    factories.give(acme, credits=(worst / 1000).quantize(Decimal("0.000000001")))
    answer = clean.post(acme.secret, body)
    assert answer.status_code == 200
    lowered = int(answer.headers["x-naive-max-tokens"])
    sent = httpx.Response(200, content=clean.upstream.last_request()["body"]).json()
    assert sent["max_tokens"] == lowered
    # USD per million tokens, the dearest way to fill a prompt (a cache write for an hour) included.
    assert sent["provider"]["max_price"] == {"prompt": 6, "completion": 15}
    assert factories.balance(acme) >= 0


def test_request_that_fits_is_never_altered(clean: Platform, acme: factories.Cast) -> None:
    answer = clean.post(
        acme.secret, {"model": MODELS[0], "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    )
    assert "x-naive-max-tokens" not in answer.headers
    sent = httpx.Response(200, content=clean.upstream.last_request()["body"]).json()
    assert sent["max_tokens"] == 50
    assert "provider" not in sent
