"""How amounts are written on pages."""

from decimal import Decimal

import pytest

from naive_platform.templatetags import figures


@pytest.mark.parametrize(
    ("nanocredits", "number", "shown"),
    [
        (0, "0", "0.00"),
        (20_000_000_000, "20", "20.00"),
        (525_000, "0.000525", "0.000525"),
        (19_999_999_999, "19.999999999", "19.999999999"),
        (1_234_567_890_000_000, "1234567.89", "1,234,567.89"),
        (-3_500_000_000, "-3.5", "\N{MINUS SIGN}3.50"),
        (-1, "-0.000000001", "\N{MINUS SIGN}0.000000001"),
        (9_223_372_036_854_775_807, "9223372036.854775807", "9,223,372,036.854775807"),
    ],
)
def test_credits_are_exact_and_grouped(nanocredits: int, number: str, shown: str) -> None:
    written = figures.credits(nanocredits)

    assert f'value="{number}"' in written
    assert _text(written) == shown


def test_large_digits_of_a_balance_are_its_floor() -> None:
    large, small = figures.credits(19_999_999_999).split('<span class="fine">')

    assert large.endswith(">19.99")
    assert small.startswith("9999999<")


@pytest.mark.parametrize(
    ("nanocredits", "large"),
    [(-5_000_000, "0.005"), (-1, "0.000000001"), (-3_456_000_000, "3.456"), (-3_500_000_000, "3.50")],
)
def test_large_digits_of_a_debt_are_all_of_it(nanocredits: int, large: str) -> None:
    shown, small = figures.credits(nanocredits).split('<span class="fine">')

    assert shown.endswith(f">\N{MINUS SIGN}{large}")
    assert small.startswith("</span>")


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (Decimal("0.00012104999999999999"), "$0.00012104999999999999"),
        (Decimal("0.000210000000000000000000000000"), "$0.00021"),
        (Decimal("1E-7"), "$0.0000001"),
        (Decimal("0E-30"), "$0.00"),
        (Decimal("0.5"), "$0.50"),
        (Decimal("1E+3"), "$1,000.00"),
        (Decimal("-0.0625"), "\N{MINUS SIGN}$0.0625"),
    ],
)
def test_usd_is_written_to_its_last_digit(amount: Decimal, shown: str) -> None:
    assert _text(figures.usd(amount)) == shown


def test_counts_have_their_thousands_apart() -> None:
    assert figures.count(1234567) == "1,234,567"


def _text(written: str) -> str:
    return written.split(">", 1)[1].replace('<span class="fine">', "").split("</", 1)[0]
