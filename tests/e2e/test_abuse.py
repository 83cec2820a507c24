"""Ways to a free or a dear call that must not work: each was one, once."""

import json
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from accounts import keys, kits
from billing import money
from tests import factories
from tests.e2e.conftest import Platform

HI = [{"role": "user", "content": "Hi"}]


def spent_nanocredits(member: factories.Cast) -> int:
    return factories.GRANT_NANOCREDITS - factories.balance_nanocredits(member)


def owed_nanocredits(platform: Platform) -> int:
    """What the upstream's own books say, times our price."""
    return money.charge_nanocredits(
        cost_usd=Decimal(platform.upstream.ledger()["total_usd"]),
        markup=settings.MARKUP,
        credit_value_usd=settings.CREDIT_VALUE_USD,
    )


def sent(platform: Platform) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(platform.upstream.last_request()["body"])
    return found


def test_two_output_limits_are_held_for_at_the_higher(clean: Platform, acme: factories.Cast) -> None:
    model = "openai/gpt-4o:sim=completion_tokens=15000"
    body = {"model": model, "messages": HI, "max_tokens": 1, "max_completion_tokens": 15_000}
    answer = clean.post(acme.secret, body)
    assert answer.json()["credits_used"] > 0
    assert spent_nanocredits(acme) == owed_nanocredits(clean)
    held = money.nanocredits_from_credits(Decimal(answer.headers["x-naive-credits-held"]))
    assert held >= spent_nanocredits(acme)


def test_ceiling_lowers_each_output_limit_and_raises_none(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"max_tokens": 50}})
    body = {"model": "openai/gpt-4o-mini", "messages": HI, "max_tokens": 40, "max_completion_tokens": 5_000}
    clean.post(acme.secret, body)
    assert (sent(clean)["max_tokens"], sent(clean)["max_completion_tokens"]) == (40, 50)


def test_router_beside_a_dear_model_does_not_hide_its_price(clean: Platform, acme: factories.Cast) -> None:
    for beside in ({"models": ["openrouter/auto"]}, {"preset": "mine"}):
        body = {"model": "openai/o1-pro", "messages": HI, "max_tokens": 90_000, **beside}
        refused = clean.post(acme.secret, body)
        assert refused.status_code == 402, refused.text
    assert clean.upstream.accepted() == 0


@pytest.mark.parametrize("extra", [{"tools": [{"type": "openrouter:subagent"}]}, {"web_search_options": {}}])
def test_servers_own_tools_are_charged_whatever_they_cost(
    extra: dict[str, Any], clean: Platform, acme: factories.Cast
) -> None:
    body = {"model": "openai/gpt-4o-mini:sim=server_tool_usd=0.9", "messages": HI, "max_tokens": 30, **extra}
    if "web_search_options" in extra:
        body["model"] = "openai/gpt-4o-mini:sim=server_tool_usd=0.05"
    assert clean.post(acme.secret, body).json()["credits_used"] > 0
    assert spent_nanocredits(acme) == owed_nanocredits(clean)


def test_call_of_unknown_price_is_charged_in_full(clean: Platform, acme: factories.Cast) -> None:
    """Twenty times a hold that was only a guess says nothing: the wallet goes below zero and takes no more calls."""
    body = {"model": "openrouter/auto:sim=cost_usd=15", "messages": HI}
    assert clean.post(acme.secret, body).json()["credits_used"] == 37.5
    assert factories.balance(acme) == Decimal("-17.5")
    assert clean.post(acme.secret, body).status_code == 402


def test_callers_and_kits_lower_price_limit_stays(clean: Platform) -> None:
    acme = factories.acme(credits=Decimal("0.001"))
    factories.set_llm(acme, {"defaults": {"provider_required": {"max_price": {"completion": 0.3}}}})
    body = {
        "model": "openai/gpt-4o-mini",
        "messages": HI,
        "n": 2,
        "provider": {"max_price": {"prompt": 0.1, "request": 0}, "sort": "price"},
    }
    clean.post(acme.secret, body)
    assert "max_tokens" in sent(clean)
    assert sent(clean)["provider"] == {"max_price": {"completion": 0.3, "prompt": 0.15}, "sort": "price"}


def test_kit_scoped_key_reads_only_its_kits_generations(clean: Platform, acme: factories.Cast) -> None:
    answer = clean.post(acme.secret, {"model": "openai/gpt-4o-mini", "messages": HI, "max_tokens": 9})
    other = kits.create(company_id=acme.company_id, name="Other", now=timezone.now())
    scoped = keys.create(
        company_id=acme.company_id,
        name="scoped",
        role="member",
        created_by_id=acme.owner.id,
        account_kit_id=other.id,
        now=timezone.now(),
    )
    params = {"id": answer.headers["x-naive-generation-id"]}
    assert clean.get(acme.secret, "/v1/llm/generation", params=params).status_code == 200
    assert clean.get(scoped.secret, "/v1/llm/generation", params=params).status_code in (403, 404)


def test_stream_without_done_that_is_whole_ends_without_an_error(
    clean: Platform, acme: factories.Cast
) -> None:
    body = {"model": "openai/gpt-4o-mini:sim=no_done", "messages": HI, "stream": True, "max_tokens": 30}
    answer = clean.post(acme.secret, body)
    assert b'"error"' not in answer.content
    assert answer.content.rstrip().rpartition(b"\n")[2].startswith(b': {"credits_used":0.0')


def test_upstreams_own_error_in_a_stream_is_the_only_one(clean: Platform, acme: factories.Cast) -> None:
    model = "openai/gpt-4o-mini:sim=midstream_error=finish,no_done"
    answer = clean.post(acme.secret, {"model": model, "messages": HI, "stream": True})
    assert answer.content.count(b'"error":{') == 1


def test_operators_account_id_is_not_in_an_error_of_status_200(clean: Platform, acme: factories.Cast) -> None:
    for stream in (False, True):
        body = {"model": "openai/gpt-4o-mini:sim=ok_error=choice", "messages": HI, "stream": stream}
        assert "user_2" not in clean.post(acme.secret, body).text
