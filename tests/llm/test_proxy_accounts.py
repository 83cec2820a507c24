"""What a client that asks for its account is told: the company's own figures, in upstream's shapes."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from accounts import auth, keys
from accounts.auth import Principal
from accounts.errors import InvalidInput, NotFound
from accounts.models import APIKey
from billing import batches, holds, settlement
from llm.proxy import accounts
from tests import factories
from tests.billing import books
from tests.conftest import Run
from tests.factories import Cast

# As upstream's own file has them (openapi.yaml of tests/llm/openrouter_paths.txt).
KEY = {
    "label", "limit", "usage", "usage_daily", "usage_weekly", "usage_monthly", "byok_usage", "byok_usage_daily",
    "byok_usage_weekly", "byok_usage_monthly", "is_free_tier", "is_management_key", "is_provisioning_key",
    "limit_remaining", "limit_reset", "include_byok_in_limit", "creator_user_id", "rate_limit", "expires_at",
}  # fmt: skip
ACTIVITY = {
    "date", "model", "model_permaslug", "endpoint_id", "provider_name", "usage", "byok_usage_inference", "requests",
    "prompt_tokens", "completion_tokens", "reasoning_tokens",
}  # fmt: skip
GENERATION = {
    "id", "upstream_id", "total_cost", "cache_discount", "upstream_inference_cost", "created_at", "model", "app_id",
    "streamed", "cancelled", "provider_name", "latency", "moderation_latency", "generation_time", "finish_reason",
    "native_finish_reason", "service_tier", "tokens_prompt", "tokens_completion", "native_tokens_prompt",
    "native_tokens_completion", "native_tokens_completion_images", "native_tokens_reasoning", "native_tokens_cached",
    "num_media_prompt", "num_input_audio_prompt", "num_media_completion", "num_search_results", "num_fetches",
    "web_search_engine", "origin", "usage", "is_byok", "external_user", "api_type", "preset_id", "router",
    "provider_responses", "user_agent", "http_referer", "data_region", "workspace_id", "request_id", "session_id",
    "response_cache_source_id",
}  # fmt: skip
DETAILS = b'{"model": "openai/gpt-4o-mini", "tokens_prompt": 7, "tokens_completion": 3}'


@pytest.fixture
def run(run: Run) -> Iterator[Run]:
    """An event loop for one test, its batchers stopped afterwards."""
    yield run
    run(batches.stop())


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the books have a clock of their own.


def principal(run: Run, member: Cast) -> Principal:
    return run(auth.authenticate(member.authorization))


def charge(run: Run, who: Principal, member: Cast, usd: str) -> str:
    """A call of this key's that cost so much; its generation's id."""
    wallet = books.Wallet(who.company_id, who.key_id, member.tenant_user.id)
    caps = () if who.cap_period is None else (cap(who),)
    request = replace(wallet.request(books.CREDIT), kit_id=member.kit.id, caps=caps)
    run(holds.place(request))
    evidence = books.cost(usd, details=DETAILS)
    run(settlement.settle(hold=books.key(request), evidence=evidence))
    return str(evidence.generation_id)


def cap(who: Principal) -> holds.Cap:
    assert who.cap_credits is not None
    return holds.Cap(
        scope="key",
        scope_id=who.cap_scope_id,
        period="month",
        period_start=keys.cap_period_start("month", datetime.now(UTC)),  # noqa: TID251 - as above.
        limit_nanocredits=int(who.cap_credits) * books.CREDIT,
    )


def read(answer: bytes) -> Any:
    """The data, with its numbers as exact decimals."""
    found = json.loads(answer, parse_float=Decimal)
    assert set(found) == {"data"}
    return found["data"]


def test_credits_are_the_companys_at_upstreams_prices(run: Run, now: datetime) -> None:
    acme = factories.acme(credits=Decimal(20))
    who = principal(run, acme)
    # 20 credits at 0.50 USD and a markup of 1.25 buy 8 USD of upstream's.
    assert read(run(accounts.credits(who, now=now))) == {"total_credits": 8, "total_usage": 0}
    charge(run, who, acme, "0.00012104999999999999")
    found = read(run(accounts.credits(who, now=now)))
    assert found["total_usage"] == Decimal("0.00012104999999999999")
    assert found["total_credits"] - found["total_usage"] == Decimal("7.99987895")


def test_what_a_running_call_holds_is_not_taken_off(run: Run, now: datetime) -> None:
    acme = factories.acme(credits=Decimal(20))
    who = principal(run, acme)
    run(holds.place(books.Wallet(who.company_id, who.key_id).request(5 * books.CREDIT)))
    assert read(run(accounts.credits(who, now=now)))["total_credits"] == 8


def test_credits_of_a_company_without_any_are_zero(run: Run, now: datetime) -> None:
    who = principal(run, factories.initech())
    assert read(run(accounts.credits(who, now=now))) == {"total_credits": 0, "total_usage": 0}


def test_usage_of_others_is_not_counted(run: Run, now: datetime) -> None:
    acme, globex = factories.acme(), factories.globex()
    charge(run, principal(run, globex), globex, "0.3")
    assert read(run(accounts.credits(principal(run, acme), now=now)))["total_usage"] == 0


def test_key_has_upstreams_fields_and_no_limit_without_a_cap(run: Run, now: datetime) -> None:
    acme = factories.acme()
    who = principal(run, acme)
    charge(run, who, acme, "0.25")
    found = read(run(accounts.key(who, now=now)))
    assert set(found) == KEY
    assert found["label"] == f"nv_sk_live_...{acme.secret[-4:]}"
    assert (found["limit"], found["limit_remaining"], found["limit_reset"]) == (None, None, None)
    assert {found[f"usage{since}"] for since in ("", "_daily", "_weekly", "_monthly")} == {Decimal("0.25")}
    assert {found[name] for name in ("is_management_key", "is_free_tier", "is_provisioning_key")} == {False}


def test_usage_of_yesterday_is_not_todays(run: Run, now: datetime) -> None:
    acme = factories.acme()
    who = principal(run, acme)
    charge(run, who, acme, "0.25")
    found = read(run(accounts.key(who, now=now + timedelta(days=40))))
    assert [found[f"usage{since}"] for since in ("", "_daily", "_weekly", "_monthly")] == [
        Decimal("0.25"),
        0,
        0,
        0,
    ]


def test_cap_of_a_key_is_its_limit(run: Run, now: datetime) -> None:
    acme = factories.acme()
    changes = {"cap_credits": Decimal(10), "cap_period": "month"}
    keys.update(company_id=acme.company_id, key_id=acme.key.id, changes=changes, now=now)
    who = principal(run, acme)
    charge(run, who, acme, "0.4")
    found = read(run(accounts.key(who, now=now)))
    # 10 credits buy 4 USD; the call took a credit.
    assert (found["limit"], found["limit_remaining"], found["limit_reset"]) == (4, Decimal("3.6"), "monthly")


def test_successor_of_a_key_goes_on_with_its_sums(run: Run, now: datetime) -> None:
    acme = factories.acme()
    charge(run, principal(run, acme), acme, "0.25")
    successor = keys.rotate(company_id=acme.company_id, key_id=acme.key.id, now=now)
    who = run(auth.authenticate(f"Bearer {successor.secret}"))
    assert read(run(accounts.key(who, now=now)))["usage"] == Decimal("0.25")


def test_other_key_of_the_company_has_sums_of_its_own(run: Run, now: datetime) -> None:
    acme = factories.acme()
    charge(run, principal(run, acme), acme, "0.25")
    other = keys.create(
        company_id=acme.company_id, name="Other", role="member", created_by_id=acme.owner.id, now=now
    )
    who = run(auth.authenticate(f"Bearer {other.secret}"))
    assert read(run(accounts.key(who, now=now)))["usage"] == 0
    assert APIKey.objects.filter(company_id=acme.company_id).count() == 2


def test_generation_has_upstreams_fields_and_is_ones_own(run: Run) -> None:
    acme, globex = factories.acme(), factories.globex()
    generation_id = charge(run, principal(run, acme), acme, "0.25")
    found = read(run(accounts.generation(generation_id, company_id=acme.company_id)))
    assert set(found) == GENERATION
    assert (found["id"], found["total_cost"], found["usage"]) == (
        generation_id,
        Decimal("0.25"),
        Decimal("0.25"),
    )
    with pytest.raises(NotFound) as theirs:
        run(accounts.generation(generation_id, company_id=globex.company_id))
    with pytest.raises(NotFound) as unknown:
        run(accounts.generation(f"gen-{uuid4().hex}", company_id=globex.company_id))
    assert theirs.value.message == unknown.value.message
    with pytest.raises(InvalidInput, match="id"):
        run(accounts.generation("", company_id=acme.company_id))


def test_activity_tells_of_completed_days(run: Run, now: datetime) -> None:
    acme = factories.acme()
    who = principal(run, acme)
    charge(run, who, acme, "0.25")
    charge(run, who, acme, "0.05")
    assert read(run(accounts.activity({}, company_id=who.company_id, now=now))) == []
    tomorrow = now + timedelta(days=1)
    (row,) = read(run(accounts.activity({}, company_id=who.company_id, now=tomorrow)))
    assert set(row) == ACTIVITY
    assert (row["date"], row["model"], row["requests"]) == (now.date().isoformat(), "openai/gpt-4o-mini", 2)
    assert (row["usage"], row["prompt_tokens"], row["completion_tokens"]) == (Decimal("0.3"), 14, 6)
    same = read(run(accounts.activity({"date": row["date"]}, company_id=who.company_id, now=tomorrow)))
    assert same == [row]
    late = read(run(accounts.activity({}, company_id=who.company_id, now=now + timedelta(days=32))))
    assert late == []


def test_activity_of_others_is_not_told(run: Run, now: datetime) -> None:
    acme, globex = factories.acme(), factories.globex()
    charge(run, principal(run, globex), globex, "0.3")
    assert read(run(accounts.activity({}, company_id=acme.company_id, now=now + timedelta(days=1)))) == []


@pytest.mark.parametrize(
    "query",
    [
        {"date": "2026-11-3"}, {"date": "yesterday"}, {"date": ""}, {"date": "2020-01-01"}, {"date": "2999-01-01"},
        {"date": "2026-W01-1"}, {"api_key_hash": "ab"}, {"user_id": "x"}, {"group_by": "workspace"},
    ],
)  # fmt: skip
def test_activity_names_what_it_cannot_tell(query: dict[str, str], run: Run, now: datetime) -> None:
    with pytest.raises(InvalidInput, match=next(iter(query))):
        run(accounts.activity(query, company_id=uuid4(), now=now))


def test_company_that_asks_without_end_keeps_no_other_from_its_balance(run: Run, now: datetime) -> None:
    acme, greedy = factories.acme(credits=Decimal(20)), uuid4()

    async def ask(who: Principal) -> bytes:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(accounts._sums.place(greedy))
            waiting = [
                asyncio.ensure_future(accounts.activity({}, company_id=greedy, now=now)) for _ in range(9)
            ]
            await asyncio.sleep(0)
            try:
                return await asyncio.wait_for(accounts.credits(who, now=now), 5)
            finally:
                for one in waiting:
                    one.cancel()
                await asyncio.wait(waiting)

    assert read(run(ask(principal(run, acme))))["total_credits"] == 8
