"""Refusals for want of credits: which of them the call's likely cost would not have deserved."""

from decimal import Decimal

import pytest

from billing.errors import InsufficientCredits
from llm import denials, pricing
from tests.llm.test_pricing import bound, price

# A credit of half a dollar at a markup of a quarter.
PER_USD = Decimal("2.5") * 10**9


def refused(found: pricing.Bound, *, available: int) -> tuple[int, int]:
    """What the refusal added to (refused, false)."""
    before = denials.count.refused, denials.count.false
    refusal = InsufficientCredits(
        "Too little.", limit="wallet", required_nanocredits=0, available_nanocredits=available,
        balance_nanocredits=available, held_nanocredits=0,
    )  # fmt: skip
    denials.note(found, refusal, nanocredits_per_usd=PER_USD)
    return denials.count.refused - before[0], denials.count.false - before[1]


def likely_nanocredits(found: pricing.Bound) -> int:
    return int(found.likely_usd(pricing.OUTPUT_TOKENS_LEAST * found.choices) * PER_USD)


def test_refusal_is_false_where_the_likely_cost_would_have_fitted() -> None:
    found = bound(body_bytes=4000)
    least = int(found.least_usd * PER_USD)
    assert likely_nanocredits(found) < least
    assert refused(found, available=likely_nanocredits(found)) == (1, 1)
    assert refused(found, available=least - 1) == (1, 1)


def test_refusal_is_right_where_even_the_likely_cost_would_not_have_fitted() -> None:
    found = bound(body_bytes=4000)
    assert refused(found, available=likely_nanocredits(found) - 1) == (1, 0)
    assert refused(found, available=-1) == (1, 0)


@pytest.mark.parametrize("unknown", [pricing.UNKNOWN, bound(price(), None)])
def test_call_without_a_price_is_not_called_false(unknown: pricing.Bound) -> None:
    assert refused(unknown, available=10**12) == (1, 0)


def test_choices_are_all_paid_for() -> None:
    three = bound(n=3)
    assert refused(three, available=likely_nanocredits(bound())) == (1, 0)
