"""Exact money: one rounding, recomputable, never a float."""

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.errors import InvalidInput
from billing import money
from billing.errors import ImplausibleCost

COSTS = st.decimals(min_value=0, max_value=1000, places=20)
MARKUPS = st.decimals(min_value="0.01", max_value=100, places=4)
CREDIT_VALUES = st.decimals(min_value="0.0001", max_value=1000, places=6)
NANOCREDITS = st.integers(-(10**18), 10**18)


def exact_nanocredits(cost: Decimal, markup: Decimal, value: Decimal) -> Fraction:
    return Fraction(cost) * Fraction(markup) / Fraction(value) * 10**9


@given(COSTS, MARKUPS, CREDIT_VALUES)
@example(Decimal("0.00012104999999999999"), Decimal("1.25"), Decimal("0.50"))
@example(Decimal("1E-100"), Decimal("1.25"), Decimal("0.50"))
@example(Decimal(1), Decimal(1), Decimal(3))
def test_charge_is_the_least_whole_nanocredit_that_covers_the_cost(
    cost: Decimal, markup: Decimal, value: Decimal
) -> None:
    exact = exact_nanocredits(cost, markup, value)
    charged = money.charge_nanocredits(cost_usd=cost, markup=markup, credit_value_usd=value)
    assert 0 <= charged - exact < 1


@pytest.mark.parametrize(
    ("cost", "nanocredits"),
    [("0", 0), ("0.00021", 525_000), ("0.4", 10**9), ("0.00000000000000000001", 1), ("1000", 2500 * 10**9)],
)
def test_charge_of_known_costs(cost: str, nanocredits: int) -> None:
    charged = money.charge_nanocredits(
        cost_usd=Decimal(cost), markup=Decimal("1.25"), credit_value_usd=Decimal("0.50")
    )
    assert charged == nanocredits


def test_charge_beyond_the_books_is_refused() -> None:
    with pytest.raises(ImplausibleCost, match="beyond what the books can hold"):
        money.charge_nanocredits(
            cost_usd=Decimal(1000), markup=Decimal(1000), credit_value_usd=Decimal("0.0001")
        )


@pytest.mark.parametrize(
    "value",
    [Decimal("-0.01"), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("-Infinity"),
     Decimal("1e400"), Decimal("1000.00000000000000000001"), Decimal("1e-101"), Decimal("12." + "1" * 99),
     -1, 1001, True, 0.25, "0.5", None],
)  # fmt: skip
def test_implausible_costs_are_refused(value: object) -> None:
    with pytest.raises(ImplausibleCost):
        money.parse_cost_usd(value)


@pytest.mark.parametrize(
    "text", ["0", "-0", "0.00012104999999999999", "1E-7", "1E+2", "1000", "0." + "1" * 100]
)
def test_plausible_costs_keep_every_digit(text: str) -> None:
    assert money.parse_cost_usd(Decimal(text)) == Decimal(text)
    assert not money.parse_cost_usd(Decimal(text)).is_signed()


def test_whole_costs_are_costs() -> None:
    assert money.parse_cost_usd(0) == 0
    assert money.parse_cost_usd(1000) == 1000


@given(NANOCREDITS)
def test_json_number_is_exact_plain_and_short(nanocredits: int) -> None:
    text = money.json_number(nanocredits)
    assert json.loads(text, parse_int=Decimal, parse_float=Decimal) == Decimal(nanocredits).scaleb(-9)
    assert "e" not in text.lower()
    assert "." not in text or not text.endswith(("0", "."))


@pytest.mark.parametrize(
    ("nanocredits", "text"),
    [(525_000, "0.000525"), (20 * 10**9, "20"), (-3_500_000_000, "-3.5"), (0, "0"), (-1, "-0.000000001")],
)
def test_json_number_of_known_amounts(nanocredits: int, text: str) -> None:
    assert money.json_number(nanocredits) == text


@given(NANOCREDITS)
def test_credits_and_nanocredits_are_the_same_amount(nanocredits: int) -> None:
    assert money.nanocredits_from_credits(money.credits_from_nanocredits(nanocredits)) == nanocredits


@pytest.mark.parametrize("credits", ["0.0000000001", "NaN", "Infinity", "1e10"])
def test_credits_the_books_cannot_hold_are_refused(credits: str) -> None:
    with pytest.raises(InvalidInput):
        money.nanocredits_from_credits(Decimal(credits))
