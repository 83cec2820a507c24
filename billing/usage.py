"""What calls add up to, read from the sums that settlement keeps; nothing here looks at a single call."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from accounts.errors import InvalidInput
from billing import rollups, statements
from billing.rollups import Axis

type GroupBy = Literal["hour", "day", "model", "user", "key", "kit"]

# What each group is read by, and its name: instants and dates in UTC, ids as they are, '' for all in one.
_GROUPS: dict[GroupBy | None, tuple[Axis, str]] = {
    None: (rollups.FEWEST, "''"),
    "hour": (rollups.FEWEST, "instant"),
    "day": (rollups.FEWEST, "(instant AT TIME ZONE 'UTC')::date"),
    "model": ("model", "name"),
    "user": ("user", "name::uuid"),
    "key": ("key", "name::uuid"),
    "kit": ("kit", "name::uuid"),
}
_SUMMARY = """
    {rows}
    SELECT {group} AS found, sum(calls)::bigint, sum(voided_calls)::bigint, sum(tokens_prompt)::bigint,
           sum(tokens_completion)::bigint, sum(cost_usd), sum(charged_nanocredits), sum(held_nanocredits),
           sum(overrun_nanocredits)
      FROM by_{axis} GROUP BY {by} ORDER BY {order}
"""
# By the hour or the day, and of each which of the named groups; everything else in one, without a name.
_OVER_TIME = """
    {rows}
    SELECT instant, CASE WHEN name = ANY (%(groups)s::text[]) THEN name END, sum(charged_nanocredits),
           sum(calls)::bigint
      FROM by_{axis} GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the calls of one group came to; `group` is an instant, a date, a model, an id, or '' for all of them.

    Units: USD exact, nanocredits; what was given back counts in `voided_calls` alone. `held` is what the calls had
    held when they were settled, `overrun` how far they were charged above it.
    """

    group: datetime | date | UUID | str
    calls: int
    voided_calls: int
    tokens_prompt: int
    tokens_completion: int
    cost_usd: Decimal
    charged_nanocredits: int
    held_nanocredits: int
    overrun_nanocredits: int


def summary(
    *,
    company_id: UUID,
    since: datetime,
    until: datetime,
    group_by: GroupBy | None = None,
    tenant_user_id: UUID | None = None,
) -> list[Usage]:
    """What a company's calls came to that were settled from the hour of `since` to before `until`.

    Shape: whole hours (UTC); by time oldest first, else the dearest first. None for `group_by` is one row, or none
    where nothing was settled. Corrections are in the hour in which their call was settled.
    Errors: BooksUnavailable; InvalidInput for a group nobody knows.
    """
    if group_by not in _GROUPS:
        raise _unknown(group_by)
    axis, group = _GROUPS[group_by]
    if tenant_user_id is not None:
        rows = rollups.of_user(axis)
    else:
        rows = rollups.by_hour(axis) if group_by == "hour" else rollups.by_day(axis)
    order = "1" if group_by in (None, "hour", "day") else "sum(charged_nanocredits) DESC, 1"
    found = statements.rows(
        _SUMMARY.format(rows=rows, group=group, axis=axis, by=_by(group), order=order),
        company_id=company_id,
        since=since,
        until=until,
        user_id=tenant_user_id,
    )
    return [
        Usage(group, calls, voided, prompt, completion, cost_usd, int(charged), int(held), int(overrun))
        for group, calls, voided, prompt, completion, cost_usd, charged, held, overrun in found
    ]


@dataclass(frozen=True, slots=True)
class Slice:
    """What one group came to in one hour or day; `group` is None for all that were not named. Units: nanocredits."""

    instant: datetime
    group: str | None
    charged_nanocredits: int
    calls: int


def over_time(
    *,
    company_id: UUID,
    since: datetime,
    until: datetime,
    is_hourly: bool = False,
    group_by: GroupBy | None = None,
    groups: Sequence[str] = (),
) -> list[Slice]:
    """What calls came to hour by hour or day by day (UTC), those of each of `groups` apart; the oldest first.

    Shape: as `summary` for which calls; an instant at which nothing was settled is left out.
    Errors: BooksUnavailable; InvalidInput for a group nobody knows.
    """
    if group_by not in _GROUPS:
        raise _unknown(group_by)
    axis, _ = _GROUPS[group_by]
    rows = rollups.by_hour(axis) if is_hourly else rollups.by_day(axis)
    found = statements.rows(
        _OVER_TIME.format(rows=rows, axis=axis),
        company_id=company_id,
        since=since,
        until=until,
        groups=list(groups),
    )
    return [Slice(instant, name, int(charged), calls) for instant, name, charged, calls in found]


def _by(group: str) -> str:
    # A hundred thousand rows: an id is grouped as the text that it is in them, and read once it is one of few.
    return "name" if group.startswith("name") else "1"


def _unknown(group_by: object) -> InvalidInput:
    return InvalidInput(f"Usage cannot be grouped by {group_by!r}.", hint=f"One of {', '.join(_known())}.")


def _known() -> list[str]:
    return [name for name in _GROUPS if name]
