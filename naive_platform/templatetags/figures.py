"""How amounts are written on pages: every digit is there, what matters most is seen first."""

from decimal import Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing import money

register = template.Library()

# Decimals of a credit that are read at a glance; the digits after them are set smaller.
GLANCE_DECIMALS = 2
CENT_DECIMALS = 2


@register.filter
def credits(nanocredits: int) -> SafeString:
    """Write nanocredits as credits, exactly and grouped: `1,019.99` large, then `9475` small.

    Nothing is ever rounded up: the large digits of a balance alone are its floor. Below zero shorter digits would
    be more than there is, so all of them are large.
    """
    number = money.json_number(nanocredits)
    whole, _, decimals = number.removeprefix("-").partition(".")
    glance = GLANCE_DECIMALS if nanocredits >= 0 else max(GLANCE_DECIMALS, len(decimals))
    return format_html(
        '<data class="amount" value="{}">{}{}.{}<span class="fine">{}</span></data>',
        number,
        "\N{MINUS SIGN}" if nanocredits < 0 else "",
        count(int(whole)),
        decimals[:glance].ljust(glance, "0"),
        decimals[glance:],
    )


@register.filter
def usd(amount: Decimal) -> SafeString:
    """Write an amount of USD to the last digit upstream sent, cents at least, no exponent: `$0.00021`, `$0.50`."""
    return _usd(amount, glance=None)


@register.filter
def usd_glance(amount: Decimal) -> SafeString:
    """As `usd`, for a figure: dollars and cents large, what is finer small; below zero all of it large."""
    return _usd(amount, glance=CENT_DECIMALS if amount >= 0 else None)


@register.filter
def count(number: int) -> str:
    """Write a count with its thousands apart: `12,345`."""
    return f"{number:,}"


def _usd(amount: Decimal, *, glance: int | None) -> SafeString:
    """`glance` is how many decimals are large, None all of them."""
    whole, _, decimals = format(abs(amount), "f").partition(".")
    decimals = decimals.rstrip("0").ljust(CENT_DECIMALS, "0")
    large = decimals[:glance]
    fine = decimals[len(large) :]
    return format_html(
        '<data class="amount" value="{}{}.{}">{}${}.{}{}</data>',
        *("-" if amount < 0 else "", whole, decimals),
        *("\N{MINUS SIGN}" if amount < 0 else "", count(int(whole)), large),
        format_html('<span class="fine">{}</span>', fine) if fine else "",
    )
