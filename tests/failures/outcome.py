"""What must be true after every failure: upstream's books and ours agree to the last digit, and nothing is held."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing import money
from billing.settlement import HoldKey
from tests import factories
from tests.e2e.conftest import Platform, eventually, open_holds

ENDINGS = """
    SELECT s.hold_id::text, s.kind, coalesce(c.source, s.source), coalesce(c.cost_usd, s.cost_usd, 0),
           coalesce(c.charged_nanocredits, s.charged_nanocredits), h.markup, h.credit_value_usd
      FROM billing_settlement s JOIN billing_hold h USING (company_id, hold_id)
      LEFT JOIN LATERAL (SELECT * FROM billing_correction c WHERE (c.company_id, c.hold_id) = (s.company_id, s.hold_id)
                          ORDER BY c.number DESC LIMIT 1) c ON true
     WHERE s.company_id = %s ORDER BY h.created_at
"""


@dataclass(frozen=True, slots=True)
class Ending:
    """How one call stands: its settlement, or its last correction."""

    hold_id: str
    kind: str
    source: str
    cost_usd: Decimal
    charged_nanocredits: int
    markup: Decimal
    credit_value_usd: Decimal

    def key(self, member: factories.Cast) -> HoldKey:
        return HoldKey(
            company_id=member.company_id,
            hold_id=UUID(self.hold_id),
            markup=self.markup,
            credit_value_usd=self.credit_value_usd,
        )


def rows(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def endings(member: factories.Cast) -> list[Ending]:
    """The member's ended calls, oldest first."""
    return [Ending(*row) for row in rows(ENDINGS, member.company.id)]


def sources(member: factories.Cast) -> list[str]:
    """On whose word each of the member's calls stands."""
    return [ending.source for ending in endings(member)]


def spent_nanocredits(member: factories.Cast) -> int:
    return factories.GRANT_NANOCREDITS - factories.balance_nanocredits(member)


def all_is_paid(platform: Platform, *members: factories.Cast, timeout_s: float = 20.0) -> Decimal:
    """Wait until no call is open; then what they cost must be what upstream charged. Returns that, in USD."""
    ids = [member.company.id for member in members]
    eventually(lambda: not sum(map(open_holds, ids)), timeout_s=timeout_s, what="every call is settled")
    for member in members:
        books_are_right(member)
    cost = sum((ending.cost_usd for member in members for ending in endings(member)), Decimal(0))
    assert cost == Decimal(platform.upstream.ledger()["total_usd"])
    return cost


def books_are_right(member: factories.Cast) -> None:
    """Nothing is held, no rule of the books is broken, and each charge is its cost times our price."""
    ended = endings(member)
    for ending in ended:
        assert ending.charged_nanocredits == money.charge_nanocredits(
            cost_usd=ending.cost_usd, markup=ending.markup, credit_value_usd=ending.credit_value_usd
        ), ending
    assert spent_nanocredits(member) == sum(ending.charged_nanocredits for ending in ended)
    assert held_nanocredits(member) == 0
    assert violations(member) == []


def open_key(member: factories.Cast) -> HoldKey:
    """What settlement needs to know of the member's one open call."""
    ((hold_id, markup, credit_value),) = rows(
        "SELECT h.hold_id, h.markup, h.credit_value_usd"
        " FROM billing_open_hold JOIN billing_hold h USING (company_id, hold_id)"
        " WHERE h.company_id = %s",
        member.company.id,
    )
    return HoldKey(
        company_id=member.company_id, hold_id=hold_id, markup=markup, credit_value_usd=credit_value
    )


def held_nanocredits(member: factories.Cast) -> int:
    ((held,),) = rows("SELECT held_nanocredits FROM billing_wallet WHERE company_id = %s", member.company.id)
    return int(held)


def violations(member: factories.Cast) -> list[tuple[Any, ...]]:
    return rows("SELECT * FROM billing_violations WHERE company_id = %s", member.company.id)


def anomalies(member: factories.Cast) -> list[str]:
    found = rows(
        "SELECT kind FROM billing_anomaly WHERE company_id = %s ORDER BY created_at", member.company.id
    )
    return [kind for (kind,) in found]


def holds(member: factories.Cast) -> int:
    ((count,),) = rows("SELECT count(*) FROM billing_hold WHERE company_id = %s", member.company.id)
    return int(count)


def stages(member: factories.Cast) -> list[str]:
    """Of the member's open calls, oldest first."""
    found = rows(
        "SELECT stage FROM billing_open_hold WHERE company_id = %s ORDER BY created_at", member.company.id
    )
    return [stage for (stage,) in found]
