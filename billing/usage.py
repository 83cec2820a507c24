"""What calls add up to, read from the sums that settlement keeps; nothing here looks at a single call."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from accounts.errors import InvalidInput
from billing import statements

type GroupBy = Literal["hour", "day", "model", "user", "key", "kit"]

# The groups that `group` names: instants and dates in UTC, ids as they are, '' for all in one.
_GROUPS: dict[GroupBy | None, str] = {
    None: "''",
    "hour": "hour",
    "day": "(hour AT TIME ZONE 'UTC')::date",
    "model": "model",
    "user": "tenant_user_id",
    "key": "key_id",
    "kit": "kit_id",
}
_SUMMARY = """
    SELECT {group} AS name, sum(calls)::bigint, sum(voided_calls)::bigint, sum(tokens_prompt)::bigint,
           sum(tokens_completion)::bigint, sum(cost_usd), sum(charged_nanocredits), sum(held_nanocredits),
           sum(overrun_nanocredits)
      FROM billing_usage
     WHERE company_id = %s AND hour >= date_trunc('hour', %s::timestamptz, 'UTC') AND hour < %s
       AND (%s::uuid IS NULL OR tenant_user_id = %s)
     GROUP BY 1 ORDER BY {order}
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
        raise InvalidInput(f"Usage cannot be grouped by {group_by!r}.", hint=f"One of {', '.join(_known())}.")
    order = "1" if group_by in (None, "hour", "day") else "sum(charged_nanocredits) DESC, 1"
    found = statements.rows(
        _SUMMARY.format(group=_GROUPS[group_by], order=order),
        company_id, since, until, tenant_user_id, tenant_user_id,
    )  # fmt: skip
    return [
        Usage(group, calls, voided, prompt, completion, cost_usd, int(charged), int(held), int(overrun))
        for group, calls, voided, prompt, completion, cost_usd, charged, held, overrun in found
    ]


def _known() -> list[str]:
    return [name for name in _GROUPS if name]
