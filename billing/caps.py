"""What is used of spend caps in the periods that run now; who may spend more is decided where calls are held."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from accounts import keys
from billing.models import Budget


@dataclass(frozen=True, slots=True)
class Cap:
    """Whose cap, and over which period (`day`, `week`, `month`, `total`): of keys by their family."""

    scope_id: UUID
    period: str


@dataclass(frozen=True, slots=True)
class Used:
    """What calls have cost in the period, and what is held for those still running; together they count."""

    spent_nanocredits: int
    held_nanocredits: int


NOTHING = Used(spent_nanocredits=0, held_nanocredits=0)


def used(*, company_id: UUID, caps: Collection[Cap], now: datetime, scope: str = "key") -> dict[Cap, Used]:
    """What is used of each cap: one query, none where there is no cap."""
    if not caps:
        return {}
    # The period's first day is that of the budget's row, so that last month's row is not taken for this one's.
    wanted = Q()
    for period in {cap.period for cap in caps}:
        scope_ids = [cap.scope_id for cap in caps if cap.period == period]
        wanted |= Q(period=period, period_start=keys.cap_period_start(period, now), scope_id__in=scope_ids)
    rows = Budget.objects.filter(wanted, company_id=company_id, scope=scope)
    found = {Cap(row.scope_id, row.period): Used(row.spent_nanocredits, row.held_nanocredits) for row in rows}
    return {cap: found.get(cap, NOTHING) for cap in caps}
