"""What single tenant users and kits came to, read from the sums that settlement keeps; companies are in usage.py."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from billing import rollups, statements

_OF_USERS = " SELECT name::uuid, sum(charged_nanocredits) FROM by_user GROUP BY name"
_BY_HOUR = " SELECT instant, sum(charged_nanocredits), sum(calls)::bigint FROM by_user GROUP BY 1 ORDER BY 1"
_OF_KIT = """
    SELECT coalesce(sum(charged_nanocredits), 0), coalesce(sum(calls), 0)::bigint FROM by_kit
     WHERE name = %(kit_id)s::text
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls came to, those of one hour where `hour` says which. Units: nanocredits."""

    charged_nanocredits: int
    calls: int
    hour: datetime | None = None


def of_users(
    *, company_id: UUID, user_ids: Collection[UUID], since: datetime, until: datetime
) -> dict[UUID, int]:
    """What each of these users was charged, by calls settled from the hour of `since` to before `until`.

    Units: nanocredits; who was charged nothing is left out.
    Errors: BooksUnavailable.
    """
    if not user_ids:
        return {}
    found = statements.rows(
        rollups.by_day("user", is_some=True) + _OF_USERS,
        company_id=company_id,
        since=since,
        until=until,
        names=[str(user_id) for user_id in user_ids],
    )
    return {user_id: int(charged) for user_id, charged in found}


def by_hour(*, company_id: UUID, user_id: UUID, since: datetime, until: datetime) -> list[Spent]:
    """What one user was charged hour by hour (UTC), the oldest first; hours without a call are left out.

    Errors: BooksUnavailable.
    """
    found = statements.rows(
        rollups.of_user("user") + _BY_HOUR, company_id=company_id, since=since, until=until, user_id=user_id
    )
    return [Spent(int(charged), calls, hour) for hour, charged, calls in found]


def of_kit(*, company_id: UUID, kit_id: UUID, since: datetime, until: datetime) -> Spent:
    """What the calls under one kit came to. Errors: BooksUnavailable."""
    charged, calls = statements.row(
        rollups.by_hour("kit") + _OF_KIT, company_id=company_id, since=since, until=until, kit_id=str(kit_id)
    )
    return Spent(int(charged), calls)
