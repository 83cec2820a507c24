"""Bounds: never below what a call can cost, and exact."""

from decimal import Decimal
from typing import Any

import pytest

from llm import pricing

ENTRY: dict[str, Any] = {
    "id": "anthropic/claude-sonnet-4.5",
    "context_length": 1_000_000,
    "top_provider": {"max_completion_tokens": 64_000},
    "pricing": {
        "prompt": "0.000003",
        "completion": "0.000015",
        "overrides": [{"min_prompt_tokens": 200_000, "prompt": "0.000006", "completion": "0.0000225"}],
    },
}
MESSAGE = {"role": "user", "content": "Hi"}


def price(**changes: Any) -> pricing.Price:
    found = pricing.read_price({**ENTRY, "pricing": {**ENTRY["pricing"], **changes}})
    assert found is not None
    return found


def bound(*prices: pricing.Price | None, body_bytes: int = 1000, **fields: Any) -> pricing.Bound:
    request = {"messages": [MESSAGE], "max_tokens": 100, **fields}
    return pricing.bound(request, body_bytes=body_bytes, prices=prices or (price(),))


def test_bound_is_bytes_times_price_plus_output() -> None:
    found = bound()
    assert found.prompt_tokens == 1000 + 2 * pricing.TOKENS_PER_ITEM
    assert found.cost_usd() == found.prompt_tokens * Decimal("0.000003") + 100 * Decimal("0.000015")


def test_dearest_candidate_counts() -> None:
    assert bound(price(), price(completion="0.001")).output_usd_per_token == Decimal("0.001")


def test_cache_writes_are_counted_as_prompt() -> None:
    assert bound(price(input_cache_write="0.00001")).prompt_usd_per_token == Decimal("0.00001")


def test_long_prompt_is_priced_at_its_tier() -> None:
    assert bound(body_bytes=300_000).prompt_usd_per_token == Decimal("0.000006")
    assert bound(body_bytes=100_000).prompt_usd_per_token == Decimal("0.000003")


def test_missing_max_tokens_means_all_the_model_can() -> None:
    assert bound(max_tokens=None).output_tokens == 64_000


def test_higher_of_both_ceilings_counts() -> None:
    """Upstream may honour either name; a hold for the lower one would give the difference away."""
    assert bound(max_tokens=1, max_completion_tokens=20_000).output_tokens == 20_000


def test_choices_multiply_output_and_not_its_price() -> None:
    three = bound(n=3)
    assert three.cost_usd() - three.fixed_usd == 3 * (bound().cost_usd() - bound().fixed_usd)
    assert three.max_price() == bound().max_price()
    assert three.cost_usd(three.output_tokens_for(Decimal("0.01"))) <= Decimal("0.01")


@pytest.mark.parametrize("kind", ["internal_reasoning", "image_output", "audio_output"])
def test_dearest_kind_of_output_counts(kind: str) -> None:
    assert bound(price(**{kind: "0.001"})).output_usd_per_token == Decimal("0.001")


def test_sound_is_priced_as_sound() -> None:
    spoken = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA"}}]}]
    assert bound(price(audio="0.001"), messages=spoken).prompt_usd_per_token == Decimal("0.001")
    assert bound(price(audio="0.001")).prompt_usd_per_token == Decimal("0.000003")


def test_prompt_never_passes_the_context() -> None:
    assert bound(body_bytes=30_000_000).prompt_tokens == 1_000_000


def test_inline_image_counts_as_tokens_not_as_bytes() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 500_000}}
    found = bound(body_bytes=501_000, messages=[{"role": "user", "content": [part]}])
    assert pricing.TOKENS_PER_IMAGE <= found.prompt_tokens < 20_000


@pytest.mark.parametrize("data", ["https://example.com/a.pdf", "data:application/pdf;base64,AAAA"])
def test_file_may_fill_the_context(data: str) -> None:
    part = {"type": "file", "file": {"file_data": data}}
    assert bound(messages=[{"role": "user", "content": [part]}]).prompt_tokens == 1_000_000


@pytest.mark.parametrize(
    "fields",
    [
        {"plugins": [{"id": "web"}]},
        {"model": "a/b:online"},
        {"model": "a/b:online:nitro"},
        {"models": ["a/b:online"]},
        {"tools": [{"type": "openrouter:web_search"}]},
        {"web_search_options": {}},
    ],
)
def test_web_search_is_allowed_for(fields: dict[str, Any]) -> None:
    assert bound(**fields).fixed_usd >= bound().fixed_usd + pricing.WEB_SEARCH_ALLOWANCE_USD / 2
    assert bound(**fields).price_known


@pytest.mark.parametrize(
    "fields", [{"tools": [{"type": "openrouter:subagent"}]}, {"tools": [7]}, {"plugins": [{"id": "fusion"}]}]
)
def test_tool_without_a_price_makes_the_bound_no_bound(fields: dict[str, Any]) -> None:
    assert not bound(**fields).price_known


def test_function_tools_cost_nothing_beside_their_text() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert bound(tools=tools).price_known
    assert bound(tools=tools).prompt_tokens == bound().prompt_tokens + pricing.TOKENS_PER_ITEM


def test_priority_tier_is_allowed_for() -> None:
    assert bound(service_tier="priority").cost_usd() == 2 * bound().cost_usd()


def test_one_unknown_price_makes_the_bound_unknown_and_keeps_the_rest() -> None:
    """A dear model beside a router is still held for: its price is known."""
    found = bound(price(), None)
    assert not found.price_known
    assert found.cost_usd() == bound().cost_usd()
    assert not pricing.bound({}, body_bytes=1, prices=()).price_known


@pytest.mark.parametrize("prompt", ["-1", "NaN", "Infinity", "free", None])
def test_price_that_is_no_price_is_unknown(prompt: Any) -> None:
    assert pricing.read_price({**ENTRY, "pricing": {"prompt": prompt, "completion": "0"}}) is None


def test_override_that_is_no_number_makes_the_price_unknown() -> None:
    assert (
        pricing.read_price(
            {**ENTRY, "pricing": {**ENTRY["pricing"], "overrides": [{"min_prompt_tokens": "lots"}]}}
        )
        is None
    )


@pytest.mark.parametrize("entry", [{}, {"pricing": None}, {"pricing": {"prompt": "0"}}, {"pricing": []}])
def test_entry_without_price_is_unknown(entry: dict[str, Any]) -> None:
    assert pricing.read_price(entry) is None


def test_affordable_output_never_costs_more_than_it_may() -> None:
    found = bound(max_tokens=10_000)
    for cents in range(1, 40):
        money_usd = Decimal(cents) / 1000
        tokens = found.output_tokens_for(money_usd)
        assert tokens == 0 or found.cost_usd(tokens) <= money_usd
        assert tokens == found.output_tokens or found.cost_usd(tokens + 1) > money_usd


def test_free_output_is_not_limited_by_money() -> None:
    assert bound(price(completion="0")).output_tokens_for(Decimal(0)) == 100


def test_max_price_is_per_million_tokens() -> None:
    assert bound().max_price() == {"prompt": Decimal(3), "completion": Decimal(15)}


def test_likely_cost_is_the_list_price_of_what_was_seen() -> None:
    """Four bytes a token, no allowance, no dearest tier: a guess, for calls nobody has a record of."""
    found = bound(price(input_cache_write="0.1", internal_reasoning="0.1"), body_bytes=4000)
    assert found.likely_usd(0) == 1000 * Decimal("0.000003")
    assert found.likely_usd(10) - found.likely_usd(0) == 10 * Decimal("0.000015")


def listed(**changes: Any) -> pricing.Price:
    found = pricing.read_price({**ENTRY, **changes})
    assert found is not None
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"reasoning": {"mandatory": True}},
        {"reasoning": {"mandatory": False, "default_enabled": True}},
        {"supported_parameters": ["max_tokens", "reasoning"]},
        {"architecture": {"output_modalities": ["text", "image"]}},
    ],
)
def test_model_whose_output_need_not_be_seen_is_told_apart(changes: dict[str, Any]) -> None:
    assert not bound(listed(**changes)).shows_output
    assert bound(listed(reasoning={"mandatory": False}, supported_parameters=["reasoning"])).shows_output
    assert not bound(listed(), listed(**changes)).shows_output


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning": {"effort": "low"}},
        {"reasoning": {"exclude": True}},
        {"reasoning_effort": "high"},
        {"include_reasoning": True},
        {"include_reasoning": 1},
        {"modalities": ["text", "image"]},
        # Off and on in one wish: upstream may take either.
        {"reasoning": {"effort": "none", "max_tokens": 30_000}},
        {"reasoning": {"enabled": False, "effort": "high"}},
        {"reasoning": {}},
        {"reasoning": "high"},
        {"model": "anthropic/claude-sonnet-4.5:thinking"},
        {"models": ["a/b", "anthropic/claude-sonnet-4.5:thinking"]},
        # Arguments come in one piece when all of them are made.
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"},
        {"functions": [{"name": "f"}]},
        {"response_format": {"type": "json_schema"}},
        # What was predicted wrongly is charged and not seen.
        {"prediction": {"type": "content", "content": "…"}},
        {"logit_bias": {"100257": 100}},
        # Providers' own names for what we do not know.
        {"thinking": {"type": "enabled", "budget_tokens": 30_000}},
        {"chat_template_kwargs": {"enable_thinking": True}},
    ],
    ids=str,
)
def test_request_for_more_than_text_is_told_apart(fields: dict[str, Any]) -> None:
    assert not bound(**fields).shows_output


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"reasoning": {"enabled": False}},
        {"reasoning": {"effort": "none"}},
        {"reasoning_effort": "none"},
        {"include_reasoning": False, "modalities": ["text"], "reasoning": None},
        {"temperature": 0, "stop": ["x"], "n": 3, "stream_options": {"include_usage": True}},
        {"tools": []},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none"},
        {"thinking": None},
    ],
    ids=str,
)
def test_plain_text_is_seen(fields: dict[str, Any]) -> None:
    assert bound(**fields).shows_output
