"""Exact credits and dollars: integers and `Decimal`, one rounding per call; nothing here knows a table."""

from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

from accounts.errors import InvalidInput
from billing.errors import ImplausibleCost

NANOCREDITS_PER_CREDIT = 10**9
COST_USD_MAX = 1000
# OpenRouter writes 20 decimals; PostgreSQL's numeric and the exact products below have room for this many.
COST_DIGITS_MAX = 100
# One movement; far inside the range of a bigint, so that no sum of a few overflows.
MOVEMENT_NANOCREDITS_MAX = 10**18

# Every product and quotient here is exact: what would be rounded raises instead.
_EXACT = Context(prec=400, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])


def parse_cost_usd(value: object) -> Decimal:
    """The cost upstream reported, checked to be an amount of money one call can cost.

    Units: USD, 0 <= cost <= 1000, at most 100 digits, none of them changed.
    Errors: ImplausibleCost for anything else: negative, NaN, infinite, a float, a string, a boolean.
    Source: docs/books.md, "Exact numbers".
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise ImplausibleCost(f"A cost is a number read as Decimal, not {type(value).__name__}.")
    if not value.is_finite():
        raise ImplausibleCost(f"A cost of {value} USD is no amount of money.")
    if not 0 <= value <= COST_USD_MAX:
        raise ImplausibleCost(f"A cost of {value:.6E} USD is outside 0 to {COST_USD_MAX} USD.")
    _, digits, exponent = value.as_tuple()
    if len(digits) > COST_DIGITS_MAX or int(exponent) < -COST_DIGITS_MAX:
        raise ImplausibleCost(f"A cost with more than {COST_DIGITS_MAX} digits cannot be kept exactly.")
    return value.copy_abs()


def charge_nanocredits(*, cost_usd: Decimal, markup: Decimal, credit_value_usd: Decimal) -> int:
    """What a call costs its company: cost x markup / credit value, rounded up once to a whole nanocredit.

    Units: USD in, nanocredits out; never less than exact, never a whole nanocredit more.
    Errors: ImplausibleCost when the result is no movement the books can hold.
    Source: docs/books.md, "Exact numbers"; PostgreSQL checks it again in billing_settle.
    """
    exact = _EXACT.multiply(_EXACT.multiply(cost_usd, markup), Decimal(NANOCREDITS_PER_CREDIT))
    whole, rest = _EXACT.divmod(exact, credit_value_usd)
    charged = int(whole) + (1 if rest else 0)
    if not 0 <= charged <= MOVEMENT_NANOCREDITS_MAX:
        raise ImplausibleCost(f"A charge of {charged} nanocredits is beyond what the books can hold.")
    return charged


def credits_from_nanocredits(nanocredits: int) -> Decimal:
    """The same amount in credits, exactly."""
    return _EXACT.scaleb(Decimal(nanocredits), -9)


def nanocredits_from_credits(credits: Decimal) -> int:
    """The same amount in nanocredits, exactly.

    Errors: InvalidInput when it is no number, finer than a nanocredit or beyond the books' range.
    """
    if not credits.is_finite() or credits.copy_abs() > MOVEMENT_NANOCREDITS_MAX // NANOCREDITS_PER_CREDIT:
        raise InvalidInput(f"{credits} is no amount of credits.")
    nanocredits = _EXACT.multiply(credits, Decimal(NANOCREDITS_PER_CREDIT))
    if nanocredits != nanocredits.to_integral_value():
        raise InvalidInput(f"{credits} credits is finer than a nanocredit (9 decimals).")
    return int(nanocredits)


def json_number(nanocredits: int) -> str:
    """The amount in credits as a JSON number: exact, plain, no trailing zeros (`0.000525`, `20`, `-3.5`)."""
    whole, rest = divmod(abs(nanocredits), NANOCREDITS_PER_CREDIT)
    sign = "-" if nanocredits < 0 else ""
    return f"{sign}{whole}.{rest:09d}".rstrip("0") if rest else f"{sign}{whole}"


def usd_from_cents(cents: int) -> str:
    """An amount of whole cents as it is written, such as `23.00`."""
    return f"{cents // 100}.{cents % 100:02d}"
