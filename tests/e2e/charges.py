"""What a company paid, held against the upstream's own books: call by call, to the nanocredit."""

from decimal import Decimal

import httpx

from billing import money
from tests import factories
from tests.e2e.conftest import NO_TLS, Platform, eventually, open_holds

ENTRIES_MAX = 1000


def require_each_charged(platform: Platform, member: factories.Cast, *, calls: int) -> None:
    """Nothing is held, and the company paid for exactly `calls` calls what upstream's books say of each.

    Only `member` may have asked anything since the books were at zero.
    """
    eventually(lambda: open_holds(member.company.id) == 0, what="every call is settled")
    books = httpx.get(f"{platform.upstream.url}/__sim/ledger?entries={ENTRIES_MAX}", verify=NO_TLS).json()
    costs_usd = [Decimal(entry["usd"]) for entry in books["entries"]]
    charged_for = [cost_usd for cost_usd in costs_usd if cost_usd]
    assert len(charged_for) == calls, costs_usd
    # Each call is rounded up to a whole nanocredit for itself.
    expected = sum(
        money.charge_nanocredits(cost_usd=cost, markup=Decimal("1.25"), credit_value_usd=Decimal("0.50"))
        for cost in charged_for
    )
    assert factories.GRANT_NANOCREDITS - factories.balance_nanocredits(member) == expected, costs_usd
