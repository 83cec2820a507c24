"""Sums of calls by the day, taken once it is over, anew when something was written into it.

Whoever reads takes the sums of the days that are summed and the hours' rows of all others, in one statement, so that
no number is ever old: of all companies by billing/economics.py, of one by billing/rollups.py.
"""

import logging
from datetime import UTC, date, datetime, timedelta

from django.db import connection, transaction

from billing import rollups
from billing.report_models import SummedDay

log = logging.getLogger(__name__)

# Whoever settled just before midnight has committed by then. Unit: seconds.
SETTLING_S = 600
# Days that are looked at; what is older was summed long ago, or is read from the hours' rows.
DAYS_BACK_MAX = 400
# Days in one run of the task, each in its own transaction of some 0.3 s.
DAYS_AT_ONCE_MAX = 120

_DUE = """
    SELECT d::date FROM generate_series(%s::date, %s::date, interval '1 day') AS d
      LEFT JOIN billing_summed_day s ON s.day = d::date
     WHERE s.day IS NULL OR s.is_stale ORDER BY d DESC LIMIT %s
"""
# A correction that touches this day holds this row until it has committed, or waits here for our commit.
_LOCK = """
    INSERT INTO billing_summed_day AS s (day, summed_at, is_stale) VALUES (%(day)s, statement_timestamp(), false)
        ON CONFLICT (day) DO UPDATE SET summed_at = excluded.summed_at, is_stale = false
"""
_HOURS = """
      FROM billing_usage
     WHERE hour >= %(day)s::date::timestamp AT TIME ZONE 'UTC'
       AND hour < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'
"""
_AMOUNTS = "sum(calls), sum(voided_calls), sum(cost_usd), sum(charged_nanocredits), sum(overrun_nanocredits)"
_COLUMNS = "calls, voided_calls, cost_usd, charged_nanocredits, overrun_nanocredits"
_SUMS = ", ".join(f"sum({amount})" for amount in rollups.AMOUNTS.split(", "))
_AXES = ", ".join(f"('{axis}', {column}::text)" for axis, column in rollups.AXES.items())
_BY_AXIS = f"""
      FROM (SELECT * {_HOURS} OFFSET 0) h CROSS JOIN LATERAL (VALUES {_AXES}) a (axis, name)
     GROUP BY company_id, axis, name ORDER BY company_id, axis, name
"""
_TAKE = (
    "DELETE FROM billing_company_day WHERE day = %(day)s",
    f"INSERT INTO billing_company_day (day, company_id, {_COLUMNS})"
    f" SELECT %(day)s::date, company_id, {_AMOUNTS} {_HOURS} GROUP BY company_id",
    "DELETE FROM billing_usage_day WHERE day = %(day)s",
    f"INSERT INTO billing_usage_day (day, company_id, axis, name, {rollups.AMOUNTS})"
    f" SELECT %(day)s::date, company_id, axis, name, {_SUMS} {_BY_AXIS}",
    "DELETE FROM billing_model_day WHERE day = %(day)s",
    f"INSERT INTO billing_model_day (day, model, {_COLUMNS})"
    f" SELECT %(day)s::date, model, {_AMOUNTS} {_HOURS} GROUP BY model",
    "DELETE FROM billing_source_day WHERE day = %(day)s",
    """
    INSERT INTO billing_source_day (day, source, calls, charged_nanocredits)
    SELECT %(day)s::date, source, count(*), sum(charged_nanocredits) FROM billing_settlement
     WHERE created_at >= %(day)s::date::timestamp AT TIME ZONE 'UTC'
       AND created_at < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC' GROUP BY source
    """,
)


def due(*, now: datetime) -> list[date]:
    """Return the days that are over and have no sums, or stale ones; the latest first."""
    last = (now - timedelta(seconds=SETTLING_S)).astimezone(UTC).date() - timedelta(days=1)
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [last - timedelta(days=DAYS_BACK_MAX), last, DAYS_AT_ONCE_MAX])
        return [day for (day,) in cursor.fetchall()]


def take(*, now: datetime) -> int:
    """Take the sums of every day that is due; says of how many. Safe to run twice, and beside itself."""
    days = due(now=now)
    for day in days:
        take_day(day=day)
    if days:
        log.info("Sums taken of %d days, %s to %s", len(days), days[-1], days[0])
    return len(days)


@transaction.atomic
def take_day(*, day: date) -> None:
    """Take the sums of one day that is over."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, {"day": day})
        for statement in _TAKE:
            cursor.execute(statement, {"day": day})


def is_taken(*, day: date) -> bool:
    """Whether this day's sums are there and true."""
    return SummedDay.objects.filter(day=day, is_stale=False).exists()
