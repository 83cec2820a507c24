"""Prices against numbers captured from OpenRouter, and JavaScript's way to write them."""

from decimal import Decimal

import pytest

from simulator import catalogue, faults, pricing
from simulator.pricing import Tally

NUMBERS = [
    (0.0, "0"),
    (1.0, "1"),
    (100.0, "100"),
    (-1.5, "-1.5"),
    (0.1, "0.1"),
    (1e-6, "0.000001"),
    (3.9e-6, "0.0000039"),
    (9.99e-7, "9.99e-7"),
    (7.5e-7, "7.5e-7"),
    (1e-7, "1e-7"),
    (0.00012104999999999999, "0.00012104999999999999"),
    (1e20, "100000000000000000000"),
    (1e21, "1e+21"),
    (1.25e25, "1.25e+25"),
    (123456789.123, "123456789.123"),
]


@pytest.mark.parametrize(("value", "text"), NUMBERS, ids=[text for _, text in NUMBERS])
def test_doubles_are_written_as_javascript_writes_them(value: float, text: str) -> None:
    assert pricing.js_number(value) == text
    assert float(text) == value


def bill_of(model: str, text: str = "", **counts: int) -> pricing.Bill:
    return pricing.bill(catalogue.MODELS[model].tariff, Tally(**counts), faults.combine(text))


def test_captured_openai_call_costs_what_it_cost() -> None:
    bill = bill_of("openai/gpt-4o-mini", prompt=571, completion=59)
    assert bill.prompt_part == "0.00008565"
    assert bill.completion_part == "0.0000354"
    assert bill.amount == Decimal("0.00012105")


def test_captured_anthropic_call_with_cache_costs_what_it_cost() -> None:
    bill = bill_of("anthropic/claude-sonnet-4.6", prompt=3329, cached=3211, written=115)
    assert bill.amount == Decimal("0.00140355")


def test_prices_change_above_two_hundred_thousand_tokens() -> None:
    assert bill_of("anthropic/claude-sonnet-4.5", prompt=200_000, completion=10).amount == Decimal("0.60015")
    assert bill_of("anthropic/claude-sonnet-4.5", prompt=200_001, completion=10).amount == Decimal("1.200231")


def test_pictures_cost_more_than_words() -> None:
    bill = bill_of("google/gemini-2.5-flash-image", completion=1300, images=1290)
    assert bill.amount == Decimal("0.038725")


def test_own_provider_key_costs_nothing_and_says_what_it_would() -> None:
    bill = bill_of("openai/gpt-4o-mini", "byok", prompt=571, completion=59)
    assert bill.amount == 0
    assert (bill.wire, bill.byok) == ("0", True)
    assert bill.upstream == "0.00012105"


def test_server_tool_fee_is_inside_cost_and_outside_inference() -> None:
    bill = bill_of("openai/gpt-4o-mini", "server_tool_usd=0.007", prompt=571, completion=59)
    assert (bill.literal, bill.upstream, bill.byok) == ("0.00712105", "0.00012105", None)


WRITTEN = [
    ("plain", "0.00012105"),
    ("exponent", "1.2105e-4"),
    ("string", '"0.00012105"'),
    ("null", "null"),
    ("negative", "-0.00012105"),
    ("nan", "NaN"),
    ("infinity", "Infinity"),
    ("huge", "1e+30"),
]


@pytest.mark.parametrize(("style", "wire"), WRITTEN, ids=[style for style, _ in WRITTEN])
def test_cost_styles_change_the_wire_and_not_the_charge(style: str, wire: str) -> None:
    bill = bill_of("openai/gpt-4o-mini", f"cost={style}", prompt=571, completion=59)
    assert bill.wire == wire
    assert bill.amount == Decimal("0.00012105")


def test_noisy_cost_is_one_step_of_a_double_away_and_is_charged_as_written() -> None:
    bill = bill_of("openai/gpt-4o-mini", "cost=noisy", prompt=571, completion=59)
    assert bill.wire == bill.literal != "0.00012105"
    assert bill.amount == Decimal(bill.literal)
    assert abs(bill.amount - Decimal("0.00012105")) < Decimal("1e-18")


def test_whole_price_can_be_chosen_or_multiplied() -> None:
    assert bill_of("openai/gpt-4o-mini", "cost_usd=0.1", prompt=5).amount == Decimal("0.1")
    assert bill_of("openai/gpt-4o-mini", "price_factor=3", prompt=10).amount == Decimal("0.0000045")
