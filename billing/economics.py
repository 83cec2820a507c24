"""What the platform earns: charged, cost upstream, margin, overruns by day, company and model, and what it owes.

Read from daily sums and wallets alone; no call is looked at, and nothing is rounded.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal, localcontext
from typing import Any, Literal
from uuid import UUID

from django.conf import settings

from billing import money, statements

type GroupBy = Literal["day", "company", "model"]

# Sums of costs of up to 100 digits are never rounded.
_EXACT = Context(prec=400)
# Decimals of a percentage that is shown.
_PERCENT = Decimal("0.1")

# The days asked for, each from its sums where they are true, else from its hours: one statement, one instant.
_DAYS = """
    WITH days AS (
        SELECT d::date AS day, {is_summed} AS is_summed
          FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS d
          LEFT JOIN billing_summed_day s ON s.day = d::date AND NOT s.is_stale
    ), sums AS (
        SELECT c.day, c.{subject} AS subject, c.calls, c.voided_calls, c.cost_usd, c.charged_nanocredits,
               c.overrun_nanocredits
          FROM days JOIN {table} c ON c.day = days.day WHERE is_summed {one_of_sums}
         UNION ALL
        SELECT days.day, u.{subject}, u.calls, u.voided_calls, u.cost_usd, u.charged_nanocredits,
               u.overrun_nanocredits
          FROM days CROSS JOIN LATERAL (
               SELECT * FROM billing_usage h
                WHERE h.hour >= days.day::timestamp AT TIME ZONE 'UTC'
                  AND h.hour < (days.day + 1)::timestamp AT TIME ZONE 'UTC' {one_of_hours} OFFSET 0) u
         WHERE NOT is_summed
    )
"""
_AMOUNTS = """
    sum(calls)::bigint AS calls, sum(voided_calls)::bigint AS voided_calls, sum(cost_usd) AS cost_usd,
    sum(charged_nanocredits) AS charged_nanocredits, sum(overrun_nanocredits) AS overrun_nanocredits
"""
_BY_DAY = " SELECT day, {amounts} FROM sums GROUP BY day ORDER BY day"
_BY_SUBJECT = (
    " SELECT subject, {amounts} FROM sums GROUP BY subject ORDER BY sum(charged_nanocredits) DESC, subject"
)
_SETTLED = """
    WITH days AS (
        SELECT d::date AS day, s.day IS NOT NULL AS is_summed
          FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS d
          LEFT JOIN billing_summed_day s ON s.day = d::date AND NOT s.is_stale
    )
    SELECT source, sum(calls)::bigint, sum(charged_nanocredits) FROM (
    SELECT s.source, s.calls, s.charged_nanocredits
      FROM days JOIN billing_source_day s ON s.day = days.day WHERE is_summed
     UNION ALL
    SELECT s.source, s.calls, s.charged_nanocredits
      FROM days CROSS JOIN LATERAL (
           SELECT source, count(*) AS calls, sum(charged_nanocredits) AS charged_nanocredits FROM billing_settlement
            WHERE created_at >= days.day::timestamp AT TIME ZONE 'UTC'
              AND created_at < (days.day + 1)::timestamp AT TIME ZONE 'UTC' GROUP BY source) s
     WHERE NOT is_summed) settled
     GROUP BY source ORDER BY sum(calls) DESC, source
"""
_OWED = """
    SELECT coalesce(sum(posted_nanocredits) FILTER (WHERE posted_nanocredits > 0), 0),
           coalesce(-sum(posted_nanocredits) FILTER (WHERE posted_nanocredits < 0), 0),
           coalesce(sum(held_nanocredits), 0), count(*) FILTER (WHERE posted_nanocredits > 0),
           count(*) FILTER (WHERE posted_nanocredits < 0)
      FROM billing_wallet
"""


@dataclass(frozen=True, slots=True)
class Sum:
    """What the calls of a day, a company or a model come to; `group` names it, '' where it is all of them.

    Units: USD exact, nanocredits. Credits are worth settings.CREDIT_VALUE_USD, as they are today.
    """

    group: date | UUID | str
    calls: int
    voided_calls: int
    cost_usd: Decimal
    charged_nanocredits: int
    overrun_nanocredits: int

    @property
    def revenue_usd(self) -> Decimal:
        return usd_of(self.charged_nanocredits)

    @property
    def overrun_usd(self) -> Decimal:
        return usd_of(self.overrun_nanocredits)

    @property
    def margin_usd(self) -> Decimal:
        with localcontext(_EXACT):
            return self.revenue_usd - self.cost_usd

    @property
    def margin_percent(self) -> Decimal | None:
        """The margin's part of the revenue, to a tenth; None without revenue."""
        return margin_percent(revenue_usd=self.revenue_usd, cost_usd=self.cost_usd)


@dataclass(frozen=True, slots=True)
class Owed:
    """What the wallets hold now: credit not spent yet, which is owed to companies, and what companies are below zero.

    Units: nanocredits; `held` is part of what is owed.
    """

    unspent_nanocredits: int
    overdrawn_nanocredits: int
    held_nanocredits: int
    companies: int
    overdrawn_companies: int

    @property
    def unspent_usd(self) -> Decimal:
        return usd_of(self.unspent_nanocredits)

    @property
    def overdrawn_usd(self) -> Decimal:
        return usd_of(self.overdrawn_nanocredits)


@dataclass(frozen=True, slots=True)
class Settled:
    """Calls that were settled by the word of one source, and what they were charged then."""

    source: str
    calls: int
    charged_nanocredits: int


def summary(
    *, first: date, last: date, group_by: GroupBy, company_id: UUID | None = None, model: str | None = None
) -> list[Sum]:
    """What calls came to from the first day to the last, both included: of all, of one company, or of one model.

    Shape: whole days (UTC), corrections in the day in which their call was settled; by day the oldest first, else the
    dearest first.
    Errors: BooksUnavailable.
    """
    given: dict[str, object] = {"company_id": company_id, "model": model}
    conditions = [name for name, value in given.items() if value is not None]
    subject = (
        "model" if group_by == "model" or (group_by == "day" and conditions == ["model"]) else "company_id"
    )
    query = (_BY_DAY if group_by == "day" else _BY_SUBJECT).format(amounts=_AMOUNTS)
    rows = statements.rows(
        days_sql(subject=subject, conditions=conditions) + query, first=first, last=last, **given
    )
    return [_sum(row) for row in rows]


def days_sql(*, subject: str, conditions: Collection[str] = ()) -> str:
    """The head `WITH … sums AS (…)` of a statement over daily sums, with the parameters `first` and `last`.

    Shape: columns day, subject (`company_id` or `model`), calls, voided_calls, cost_usd, charged_nanocredits,
    overrun_nanocredits; `conditions` are columns that equal the parameter of their name. Sums are of companies or of
    models: where both are asked for, the hours' rows are read.
    """
    are_summed = set(conditions) <= {subject}
    found = _DAYS.format(
        subject=subject,
        table="billing_company_day" if subject == "company_id" else "billing_model_day",
        is_summed="s.day IS NOT NULL" if are_summed else "false",
        one_of_sums="".join(f" AND c.{name} = %({name})s" for name in conditions if are_summed),
        one_of_hours="".join(f" AND h.{name} = %({name})s" for name in conditions),
    )
    return found.rstrip()


def total(sums: Iterable[Sum]) -> Sum:
    """All of them in one."""
    found = list(sums)
    with localcontext(_EXACT):
        cost = sum((one.cost_usd for one in found), Decimal(0))
    return Sum(
        group="",
        calls=sum(one.calls for one in found),
        voided_calls=sum(one.voided_calls for one in found),
        cost_usd=cost,
        charged_nanocredits=sum(one.charged_nanocredits for one in found),
        overrun_nanocredits=sum(one.overrun_nanocredits for one in found),
    )


def owed() -> Owed:
    """What companies could still spend, by every wallet as it stands now. Errors: BooksUnavailable."""
    unspent, overdrawn, held, companies, below = statements.row(_OWED)
    return Owed(int(unspent), int(overdrawn), int(held), companies, below)


def settled(*, first: date, last: date) -> list[Settled]:
    """By whose word calls were settled on these days, whoever settled most first. Errors: BooksUnavailable."""
    rows = statements.rows(_SETTLED, first=first, last=last)
    return [Settled(source, calls, int(charged)) for source, calls, charged in rows]


def credit_value_usd() -> Decimal:
    """What one credit is worth today."""
    value: Decimal = settings.CREDIT_VALUE_USD
    return value


def usd_of(nanocredits: int) -> Decimal:
    """What credits are worth today, exactly. Units: nanocredits in, USD out."""
    return _EXACT.multiply(money.credits_from_nanocredits(nanocredits), credit_value_usd())


def margin_percent(*, revenue_usd: Decimal, cost_usd: Decimal) -> Decimal | None:
    """What part of the revenue is left, in percent to a tenth; None without revenue."""
    if not revenue_usd:
        return None
    with localcontext(_EXACT):
        return ((revenue_usd - cost_usd) * 100 / revenue_usd).quantize(_PERCENT)


def _sum(row: tuple[Any, ...]) -> Sum:
    group, calls, voided, cost_usd, charged, overrun = row
    return Sum(group, calls, voided, cost_usd, int(charged), int(overrun))
