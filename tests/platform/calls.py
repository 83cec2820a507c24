"""Calls through the books for tests of pages: begun when the test likes, charged, given back, or still open."""

import re
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import orjson
from django.test import Client
from django.utils import timezone

from accounts import ids
from accounts.models import TenantUser, User
from billing import holds, money, settlement
from billing.holds import HoldRequest
from tests.factories import Cast


def call(
    member: Cast,
    *,
    model: str = "acme/model",
    cost_usd: str | None = "0",
    user: TenantUser | None = None,
    held: str = "1",
    hold_id: UUID | None = None,
    source: settlement.Source = "stream",
    latency_ms: int = 250,
) -> UUID:
    """One call through the books: charged with `cost_usd`, or still open where that is None; the id of its hold."""
    request = HoldRequest(
        hold_id=hold_id or ids.uuid7(),
        company_id=member.company_id,
        key_id=member.key.id,
        kit_id=member.kit.id,
        tenant_user_id=(user or member.tenant_user).id,
        wanted_nanocredits=money.nanocredits_from_credits(Decimal(held)),
        least_nanocredits=0,
        markup=Decimal("1.25"),
        credit_value_usd=Decimal("0.50"),
        ttl_s=900,
        details=orjson.dumps({"model": model, "models": [model], "streamed": True}),
    )
    holds.place_now(request)
    if cost_usd is not None:
        details = {"model": model, "tokens_prompt": 1234, "tokens_completion": 42, "latency_ms": latency_ms,
                   "duration_ms": 900, "provider": "Acme Cloud", "finish_reason": "stop"}  # fmt: skip
        evidence = settlement.Evidence(
            source=source,
            cost_usd=Decimal(cost_usd),
            generation_id=f"gen-{request.hold_id}",
            details=orjson.dumps(details),
        )
        assert settlement.settle_now(hold=key(member, request.hold_id), evidence=evidence).outcome == "posted"
    _leave(request.hold_id)
    return request.hold_id


def give_back(member: Cast, hold_id: UUID) -> None:
    """End an open call without a charge."""
    evidence = settlement.Evidence(source="inline", details=b"{}")
    assert settlement.void_now(hold=key(member, hold_id), evidence=evidence).outcome == "posted"


def key(member: Cast, hold_id: UUID) -> settlement.HoldKey:
    return settlement.HoldKey(
        company_id=member.company_id,
        hold_id=hold_id,
        markup=Decimal("1.25"),
        credit_value_usd=Decimal("0.50"),
    )


def begun(ago: timedelta) -> UUID:
    """The id of a hold that was placed so long ago."""
    milliseconds = int((timezone.now() - ago).timestamp() * 1000)
    return UUID(int=milliseconds << 80 | ids.uuid7().int & (1 << 80) - 1)


def _leave(hold_id: UUID) -> None:
    """Wait until its millisecond is over: what is asked for up to now has it."""
    while ids.made_at(ids.uuid7()) == ids.made_at(hold_id):
        pass


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page_of(user: User, address: str = "/dashboard/") -> str:
    answer = client_of(user).get(address)
    assert answer.status_code == 200, answer.content.decode()[:400]
    return answer.content.decode()


def figure(page: str, name: str) -> str:
    """The exact amount, or the text, under a name, as the page has it."""
    found = re.search(rf'<dt>{name}</dt>\s*<dd>(?:<data class="amount" value="([^"]+)"|([^<]+)<)', page)
    assert found, f"no figure {name}"
    return found.group(1) or found.group(2)
