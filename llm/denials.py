"""Calls that were refused for want of credits, counted by this gateway: how many of them would likely have fitted."""

from dataclasses import dataclass
from decimal import Decimal

from billing.errors import InsufficientCredits
from llm import pricing


@dataclass(slots=True)
class Count:
    """Since this process began. `false` are those whose likely cost was no more than what was left."""

    refused: int = 0
    false: int = 0


count = Count()


def note(bound: pricing.Bound, refusal: InsufficientCredits, *, nanocredits_per_usd: Decimal) -> None:
    """Count a refused call. It was refused for its bound; here its likely cost is held against what was left.

    Shape: likely is the prompt at four bytes a token and the shortest answer worth having; a call without a known
    price has none, and is not called false.
    Source: docs/reconciliation.md, "Sizing the hold".
    """
    count.refused += 1
    if bound.price_known:
        likely_usd = bound.likely_usd(pricing.OUTPUT_TOKENS_LEAST * bound.choices)
        count.false += likely_usd * nanocredits_per_usd <= refusal.available_nanocredits
