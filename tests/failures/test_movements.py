"""Credits that come and go beside the calls: refunds, disputes, top-ups told twice, and a wallet that runs dry."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import get_args

import httpx
import pytest
from django.utils import timezone

from accounts.errors import Conflict, Forbidden
from billing import ledger, money, movements
from billing.models import Entry
from billing.payment_models import FakeEvent
from billing.payments import configured, fake, stripe_news
from tests import factories
from tests.e2e.conftest import NO_TLS, Platform, eventually
from tests.failures import outcome
from tests.failures.streams import Client, body

PACK_CREDITS = 20
RUNNING = "chunk_delay_ms=30,completion_tokens=60,provider=OpenAI"


def refund(acme: factories.Cast, credits: Decimal, *, reference: str = "ticket-1") -> ledger.Posted:
    """Give a part of the member's one call back, as an operator does."""
    (call,) = outcome.endings(acme)
    return movements.post(
        company_id=acme.company_id, action="refund", credits=credits, actor="user:operator", reason="It was bad",
        reference=reference, corrects=f"gen_{call.hold_id}", now=timezone.now(),
    )  # fmt: skip


def test_row_38_refund_is_an_entry_that_names_its_call_and_moves_once(
    clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, body())
    outcome.all_is_paid(clean, acme)
    spent = outcome.spent_nanocredits(acme)
    half = money.credits_from_nanocredits(spent // 2)
    assert [refund(acme, half).is_new for _ in range(2)] == [True, False]
    assert outcome.spent_nanocredits(acme) == spent - spent // 2
    entry = Entry.objects.get(company_id=acme.company.id, action="refund")
    assert (entry.actor, entry.corrects) == ("user:operator", f"gen_{outcome.endings(acme)[0].hold_id}")
    assert outcome.violations(acme) == []


def test_row_38_refund_above_what_the_call_cost_or_above_the_limit_is_refused(
    clean: Platform, acme: factories.Cast
) -> None:
    clean.post(acme.secret, body())
    outcome.all_is_paid(clean, acme)
    whole = money.credits_from_nanocredits(outcome.spent_nanocredits(acme))
    with pytest.raises(Conflict):
        refund(acme, whole + Decimal("0.000000001"))
    with pytest.raises(Forbidden, match="second person"):
        refund(acme, Decimal(200_001))
    assert outcome.all_is_paid(clean, acme) > 0


def bought(platform: Platform, member: factories.Cast) -> str:
    """Open a checkout for twenty credits; returns its session."""
    answer = platform.post(member.secret, {"pack_id": "small"}, path="/v1/billing/topup")
    assert answer.status_code == 201, answer.text
    session: str = answer.json()["session_id"]
    return session


def tell(platform: Platform, event: FakeEvent) -> str:
    """Deliver an event to the platform's webhook as the payment provider does; returns what came of it."""
    content = event.body.encode()
    signature = stripe_news.sign(content, secret=configured.fake_secret(), at=timezone.now())
    headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
    answer = httpx.post(
        f"{platform.url}/v1/payments/stripe", content=content, headers=headers, timeout=30, verify=NO_TLS
    )
    assert answer.status_code == 200, answer.text
    told: str = answer.json()["outcome"]
    return told


def test_row_39_dispute_freezes_the_wallet_and_what_runs_is_settled(clean: Platform) -> None:
    broke = factories.initech()
    session = bought(clean, broke)
    tell(clean, fake.pay(session, now=timezone.now()))
    with Client(clean.url, broke, body(RUNNING, stream=True, max_tokens=100)) as client:
        client.read_frames(2)
        tell(clean, fake.dispute(session, now=timezone.now()))
        refused = clean.post(broke.secret, body())
        assert b"data: [DONE]" in client.read_all()
    assert refused.json()["error"]["details"]["reason"] == "wallet_frozen"
    (call,) = outcome.endings(broke)
    assert call.cost_usd == Decimal(clean.upstream.ledger()["total_usd"]) > 0
    tell(clean, fake.close_dispute(session, is_won=False, now=timezone.now()))
    assert factories.balance_nanocredits(broke) == -call.charged_nanocredits
    assert outcome.held_nanocredits(broke) == 0
    assert outcome.violations(broke) == []


def test_row_40_payment_told_twenty_times_at_once_is_credited_once(platform: Platform) -> None:
    broke = factories.initech()
    event = fake.pay(bought(platform, broke), now=timezone.now())
    with ThreadPoolExecutor(8) as provider:
        told = list(provider.map(lambda _: tell(platform, event), range(20)))
    assert sorted(told) == ["applied"] + ["stale"] * 19
    assert factories.balance(broke) == PACK_CREDITS
    assert outcome.violations(broke) == []


@pytest.mark.parametrize("seed", range(3))
def test_row_40_news_in_any_order_come_to_the_same(seed: int, platform: Platform) -> None:
    broke = factories.initech()
    session = bought(platform, broke)
    events = [
        fake.pay(session, now=timezone.now()),
        fake.refund(session, amount_cents=400, now=timezone.now()),
        fake.refund(session, amount_cents=100, now=timezone.now()),
    ]
    for event in random.Random(seed).sample(events * 2, 6):
        tell(platform, event)
    assert factories.balance(broke) == PACK_CREDITS // 2
    assert outcome.violations(broke) == []


def test_row_41_credits_never_expire_and_what_takes_them_leaves_a_running_call_its_hold(
    clean: Platform, acme: factories.Cast
) -> None:
    """There is no expiring credit, hence no order to burn them in; only a person takes credits away."""
    assert set(get_args(ledger.Action.__value__)) == {
        "credit_topup",
        "grant",
        "refund",
        "correction",
        "chargeback",
    }
    with Client(clean.url, acme, body(RUNNING, stream=True, max_tokens=100)) as client:
        client.read_frames(2)
        held, balance = outcome.held_nanocredits(acme), factories.balance_nanocredits(acme)
        ledger.post(
            company_id=acme.company_id,
            amount_nanocredits=-balance,
            action="correction",
            reference="promo-is-over",
        )
        assert outcome.held_nanocredits(acme) == held > 0
        assert clean.post(acme.secret, body()).status_code == 402
        assert b"data: [DONE]" in client.read_all()
    (call,) = outcome.endings(acme)
    assert call.cost_usd == Decimal(clean.upstream.ledger()["total_usd"]) > 0
    assert factories.balance_nanocredits(acme) == -call.charged_nanocredits
    assert outcome.held_nanocredits(acme) == 0
    assert outcome.violations(acme) == []


def test_row_42_concurrent_calls_never_overdraw_the_wallet(clean: Platform) -> None:
    """Fifty at once on a wallet that covers seven: at most seven reach upstream, none passes below zero."""
    acme = factories.acme(credits=Decimal(0))
    request = body(model="anthropic/claude-sonnet-4.6", faults="delay_headers_ms=1000", max_tokens=1000)
    estimate = clean.post(acme.secret, request, path="/v1/llm/estimate").json()
    granted = Decimal(str(estimate["worst_case_credits"])) * 7
    factories.give(acme, credits=granted)

    async def run() -> list[int]:
        async with httpx.AsyncClient(base_url=clean.url, timeout=60, verify=NO_TLS) as client:
            headers = {"Authorization": acme.authorization}
            calls = [
                client.post("/v1/llm/chat/completions", json=request, headers=headers) for _ in range(50)
            ]
            return [answer.status_code for answer in await asyncio.gather(*calls)]

    statuses = asyncio.run(run())
    assert (statuses.count(200), statuses.count(402)) == (7, 43)
    assert clean.upstream.ledger()["calls"] == 7
    eventually(lambda: outcome.held_nanocredits(acme) == 0, what="nothing is held")
    assert 0 <= factories.balance(acme) < granted
    assert outcome.violations(acme) == []
