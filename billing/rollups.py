"""The SQL by which a company's sums are read: a day that is over from its sums, everything else from its hours' rows.

One statement sees both at one instant, so that no number is ever old, and all of them agree to the last nanocredit.
"""

from typing import Literal

type Axis = Literal["model", "user", "key", "kit"]

# What calls are told apart by, and the column of the hours' rows that says it.
AXES: dict[Axis, str] = {"model": "model", "user": "tenant_user_id", "key": "key_id", "kit": "kit_id"}
# The axis with the fewest rows, for whoever wants all of them in one.
FEWEST: Axis = "kit"
AMOUNTS = (
    "calls, voided_calls, tokens_prompt, tokens_completion, cost_usd, charged_nanocredits, held_nanocredits,"
    " overrun_nanocredits"
)

# The hours from `since` to before `until`, cut at midnight (UTC); a piece that is a whole day may have its sums.
_DAYS = """
    days AS (
        SELECT piece.*, s.day IS NOT NULL AND is_whole AS is_summed
          FROM (SELECT (d AT TIME ZONE 'UTC')::date AS day, greatest(d, asked.since) AS since,
                       least(d + interval '24 hours', asked.until) AS until,
                       d >= asked.since AND d + interval '24 hours' <= asked.until AS is_whole
                  FROM (SELECT date_trunc('hour', %(since)s::timestamptz, 'UTC') AS since,
                               %(until)s::timestamptz AS until) asked,
                       generate_series(date_trunc('day', asked.since, 'UTC'), asked.until, interval '24 hours') AS d
               ) piece
          LEFT JOIN billing_summed_day s ON s.day = piece.day AND NOT s.is_stale
    )
"""
# OFFSET 0 keeps each day a look of its own into an index, however few rows PostgreSQL believes there to be.
_ROWS = """
    SELECT days.day::timestamp AT TIME ZONE 'UTC' AS instant, found.* FROM days CROSS JOIN LATERAL (
        SELECT name, {amounts} FROM billing_usage_day c
         WHERE c.day = days.day AND c.company_id = %(company_id)s AND c.axis = '{axis}' {named} OFFSET 0) found
     WHERE is_summed
     UNION ALL
    SELECT days.day::timestamp AT TIME ZONE 'UTC', found.* FROM days CROSS JOIN LATERAL (
        SELECT {column}::text COLLATE "C" AS name, {amounts} FROM billing_usage h
         WHERE h.company_id = %(company_id)s AND h.hour >= days.since AND h.hour < days.until {is_one_of}
        OFFSET 0) found
     WHERE NOT is_summed
"""
_HOURS = """
    SELECT hour AS instant, {column}::text COLLATE "C" AS name, {amounts} FROM billing_usage
     WHERE company_id = %(company_id)s AND hour >= date_trunc('hour', %(since)s::timestamptz, 'UTC')
       AND hour < %(until)s
"""
# The key of the hours' rows has the user after the hour: a look for each hour finds one user's among thousands.
_OF_USER = """
    SELECT found.* FROM generate_series(date_trunc('hour', %(since)s::timestamptz, 'UTC'), %(until)s,
                                        interval '1 hour') AS each_hour CROSS JOIN LATERAL (
        SELECT hour AS instant, {column}::text COLLATE "C" AS name, {amounts} FROM billing_usage
         WHERE company_id = %(company_id)s AND hour = each_hour AND hour < %(until)s
           AND tenant_user_id = %(user_id)s OFFSET 0) found
"""


def by_day(*axes: Axis, is_some: bool = False) -> str:
    """The head `WITH … by_model AS (…)` of a statement over days, with a `by_` for each of these axes.

    Shape: columns instant (the day's midnight, UTC), name (a model, or an id as text) and AMOUNTS, several rows of one
    name in a day; the parameters are company_id, since, until, and with `is_some` the `names` that are read alone.
    """
    parts = [
        f"by_{axis} AS ({_ROWS.format(amounts=AMOUNTS, axis=axis, column=AXES[axis], **_some(axis, is_some))})"
        for axis in axes
    ]
    return "WITH " + ", ".join([_DAYS.strip(), *parts])


def by_hour(*axes: Axis) -> str:
    """As `by_day`, but `instant` is the hour; for a few days."""
    parts = [f"by_{axis} AS ({_HOURS.format(amounts=AMOUNTS, column=AXES[axis])})" for axis in axes]
    return "WITH " + ", ".join(parts)


def of_user(axis: Axis) -> str:
    """As `by_hour`, for one user's calls over any time; one more parameter is user_id."""
    return f"WITH by_{axis} AS ({_OF_USER.format(amounts=AMOUNTS, column=AXES[axis])})"


def _some(axis: Axis, is_some: bool) -> dict[str, str]:  # noqa: FBT001
    if not is_some:
        return {"named": "", "is_one_of": ""}
    cast = "text[]" if axis == "model" else "uuid[]"
    return {
        "named": "AND c.name = ANY (%(names)s::text[])",
        "is_one_of": f"AND h.{AXES[axis]} = ANY (%(names)s::{cast})",
    }
