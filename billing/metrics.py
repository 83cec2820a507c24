"""Figures an operator watches, read from the sums and the queues: how well holds fit, what waits, what was lost."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from billing import anomalies, statements

# The ages that open holds are counted by. Unit: seconds.
DEBT_AGES_S = (0, 60, 600, 3600, 86_400)

# A ratio per sum of an hour, weighted by the calls in it: near enough to the calls' own, and no call is read.
_FIT = """
    WITH sums AS (
        SELECT calls, held_nanocredits, charged_nanocredits, overrun_nanocredits,
               held_nanocredits / nullif(charged_nanocredits, 0) AS ratio
          FROM billing_usage WHERE hour >= %s AND hour < %s AND calls > 0
    ), placed AS (
        SELECT ratio, sum(calls) OVER (ORDER BY ratio) AS so_far, sum(calls) OVER () AS total
          FROM sums WHERE ratio IS NOT NULL
    )
    SELECT coalesce(sum(calls), 0), coalesce(sum(held_nanocredits), 0), coalesce(sum(charged_nanocredits), 0),
           coalesce(sum(overrun_nanocredits), 0),
           (SELECT min(ratio) FROM placed WHERE so_far * 2 >= total),
           (SELECT min(ratio) FROM placed WHERE so_far * 20 >= total * 19)
      FROM sums
"""
_DEBT = """
    SELECT age.from_s, count(o.hold_id), count(o.hold_id) FILTER (WHERE o.stage = 'parked'),
           coalesce(sum(o.amount_nanocredits), 0)
      FROM (SELECT from_s, lead(from_s) OVER (ORDER BY from_s) AS to_s FROM unnest(%s::integer[]) AS from_s) age
      LEFT JOIN billing_open_hold o
        ON o.created_at <= statement_timestamp() - make_interval(secs => age.from_s)
       AND (age.to_s IS NULL OR o.created_at > statement_timestamp() - make_interval(secs => age.to_s))
     GROUP BY age.from_s ORDER BY age.from_s
"""
# A call that evidence came for after all was corrected, and is not lost any more.
_UNATTRIBUTED = """
    SELECT (s.created_at AT TIME ZONE 'UTC')::date AS day, count(*), sum(h.amount_nanocredits),
           sum(h.amount_nanocredits * h.credit_value_usd / h.markup / 1000000000)
      FROM billing_settlement s JOIN billing_hold h USING (company_id, hold_id)
     WHERE s.source = 'no_evidence'
       AND s.created_at >= %s::date AT TIME ZONE 'UTC'
       AND s.created_at < (%s::date + 1) AT TIME ZONE 'UTC'
       AND NOT EXISTS (SELECT FROM billing_correction c WHERE (c.company_id, c.hold_id) = (s.company_id, s.hold_id))
     GROUP BY 1 ORDER BY 1
"""
_SETTLED = """
    SELECT source, count(*), coalesce(sum(charged_nanocredits), 0) FROM billing_settlement
     WHERE created_at >= %s AND created_at < %s GROUP BY source
"""
_WAITING = """
    SELECT (SELECT count(*) FROM billing_open_hold WHERE next_at <= statement_timestamp()),
           (SELECT coalesce(max(extract(epoch FROM statement_timestamp() - next_at)), 0) FROM billing_open_hold
             WHERE next_at <= statement_timestamp()),
           (SELECT count(*) FROM billing_open_hold WHERE stage = 'parked'),
           (SELECT count(*) FROM billing_second_look),
           (SELECT min(next_at) FROM billing_second_look),
           (SELECT count(*) FROM billing_alert WHERE resolved_at IS NULL)
"""


@dataclass(frozen=True, slots=True)
class Fit:
    """How well holds fitted what calls cost. Units: nanocredits; the ratios are held / charged, None without a charge.

    `median_ratio` and `p95_ratio` are of hours and models, weighted by their calls.
    """

    calls: int
    held_nanocredits: int
    charged_nanocredits: int
    overrun_nanocredits: int
    median_ratio: Decimal | None
    p95_ratio: Decimal | None

    @property
    def ratio(self) -> Decimal | None:
        if not self.charged_nanocredits:
            return None
        return Decimal(self.held_nanocredits) / self.charged_nanocredits


@dataclass(frozen=True, slots=True)
class Debt:
    """Calls that were not settled at this age, up to the next one; `parked` of them wait for a person."""

    from_s: int
    calls: int
    parked: int
    held_nanocredits: int


@dataclass(frozen=True, slots=True)
class Unattributed:
    """Calls of one UTC day that nobody ever heard of, given back. Units: `bound_usd` is what they can have cost."""

    day: date
    calls: int
    held_nanocredits: int
    bound_usd: Decimal


@dataclass(frozen=True, slots=True)
class Settled:
    """Calls that were settled on the word of one source, and what they were charged."""

    source: str
    calls: int
    charged_nanocredits: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the queues hold now. Units: seconds for how late the latest look-up is."""

    due: int
    late_s: int
    parked: int
    second_looks: int
    next_look_at: datetime | None
    anomalies: int
    alerts: int


def fit(*, since: datetime, until: datetime) -> Fit:
    """Return how well holds fitted the calls that were settled in these hours."""
    calls, held, charged, overrun, median, p95 = statements.row(_FIT, since, until)
    return Fit(int(calls), int(held), int(charged), int(overrun), median, p95)


def debt() -> list[Debt]:
    """Return the open holds by age, the youngest first."""
    rows = statements.rows(_DEBT, list(DEBT_AGES_S))
    return [Debt(from_s, calls, parked, int(held)) for from_s, calls, parked, held in rows]


def unattributed(*, first: date, last: date) -> list[Unattributed]:
    """Return the days on which calls were given back of which nothing was ever heard."""
    rows = statements.rows(_UNATTRIBUTED, first, last)
    return [Unattributed(day, calls, int(held), bound) for day, calls, held, bound in rows]


def settled(*, since: datetime, until: datetime) -> list[Settled]:
    """Return by whose word calls were settled in this time, which is meant to be a minute or so: each is counted."""
    rows = statements.rows(_SETTLED, since, until)
    return [Settled(source, calls, int(charged)) for source, calls, charged in rows]


def waiting() -> Waiting:
    """Return what waits for a worker, and what for a person."""
    due, late_s, parked, looks, next_look_at, alerts = statements.row(_WAITING)
    return Waiting(due, int(late_s), parked, looks, next_look_at, anomalies.count_open(), alerts)
