"""Companies with what they have, spend and leave: the operator's list, searched and in any order; reading only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from uuid import UUID

from accounts import ids
from billing import economics, statements

type Order = Literal["name", "created", "balance", "held", "spend", "margin"]

SEARCH_LENGTH_MAX = 254
# A key's last characters, as a key is told from another.
LAST_CHARS = 4

# The margin is what credits are worth less what upstream charged.
_ORDERS: dict[Order, str] = {
    "name": "lower(name)",
    "created": "created_at",
    "balance": "balance",
    "held": "held",
    "spend": "charged",
    "margin": "margin_usd",
}
_TYPES: dict[Order, str] = {
    "name": "text",
    "created": "timestamptz",
    "balance": "bigint",
    "held": "bigint",
    "spend": "numeric",
    "margin": "numeric",
}
_LIST = """
    {days}, spent AS (
        SELECT subject AS company_id, sum(calls)::bigint AS calls, sum(cost_usd) AS cost_usd,
               sum(charged_nanocredits) AS charged FROM sums GROUP BY subject
    ), listed AS (
        SELECT c.id, c.name, c.slug, c.status, c.created_at, coalesce(w.posted_nanocredits, 0) AS balance,
               coalesce(w.held_nanocredits, 0) AS held, coalesce(w.frozen, false) AS frozen,
               coalesce(s.calls, 0) AS calls, coalesce(s.charged, 0) AS charged, coalesce(s.cost_usd, 0) AS cost_usd,
               coalesce(s.charged, 0) * %(credit_value_usd)s::numeric / 1000000000 - coalesce(s.cost_usd, 0)
                   AS margin_usd
          FROM accounts_company c LEFT JOIN billing_wallet w ON w.company_id = c.id
          LEFT JOIN spent s ON s.company_id = c.id
         WHERE (%(status)s = '' OR c.status = %(status)s OR %(status)s = 'frozen' AND w.frozen) {search}
    )
    SELECT id, name, slug, status, created_at, balance, held, frozen, calls, charged, cost_usd, ({order})::text AS place
      FROM listed {after} ORDER BY {order} {direction}, id {direction} LIMIT %(limit)s
"""
_SEARCH = """
    AND (c.name ILIKE %(like)s OR c.slug ILIKE %(like)s
         OR c.id IN (SELECT m.company_id FROM accounts_membership m JOIN accounts_user u ON u.id = m.user_id
                      WHERE lower(u.email) LIKE lower(%(like)s))
         OR c.id IN (SELECT k.company_id FROM accounts_apikey k WHERE k.last_4 = %(last_4)s))
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One company. Units: nanocredits and USD; what was spent is of the days asked for."""

    id: UUID
    name: str
    slug: str
    status: str
    created_at: datetime
    balance_nanocredits: int
    held_nanocredits: int
    is_frozen: bool
    calls: int
    charged_nanocredits: int
    cost_usd: Decimal

    @property
    def state(self) -> str:
        return "frozen" if self.is_frozen and self.status == "active" else self.status

    @property
    def margin_usd(self) -> Decimal:
        return self.spent.margin_usd

    @property
    def margin_percent(self) -> Decimal | None:
        return self.spent.margin_percent

    @property
    def spent(self) -> economics.Sum:
        return economics.Sum(self.id, self.calls, 0, self.cost_usd, self.charged_nanocredits, 0)


@dataclass(frozen=True, slots=True)
class Page:
    """Some companies; the next ones come after `after`, (their place in the order, id), None at the end."""

    lines: list[Line]
    after: tuple[str, UUID] | None


def page(
    *,
    first: date,
    last: date,
    limit: int,
    order: Order = "spend",
    is_descending: bool = True,
    search: str = "",
    status: str = "",
    after: tuple[str, UUID] | None = None,
) -> Page:
    """Companies in an order of theirs, with what they spent from the first day to the last, both included.

    Shape: `search` is part of a name, a slug or a member's address, a whole id, or a key's last 4; `status` one of a
    company's, or `frozen`; `after` as the page before said. One query, over wallets and daily sums.
    Errors: BooksUnavailable.
    """
    words, parameters = _searched(search)
    direction = "DESC" if is_descending else "ASC"
    sign = "<" if is_descending else ">"
    place = f"WHERE ({_ORDERS[order]}, id) {sign} (%(place)s::{_TYPES[order]}, %(id)s)" if after else ""
    query = _LIST.format(
        days=economics.days_sql(subject="company_id"),
        search=words,
        order=_ORDERS[order],
        direction=direction,
        after=place,
    )
    rows = statements.rows(
        query,
        **parameters,
        first=first,
        last=last,
        status=status,
        limit=limit + 1,
        credit_value_usd=economics.credit_value_usd(),
        place=after[0] if after else None,
        id=after[1] if after else None,
    )
    lines = [_line(row) for row in rows[:limit]]
    return Page(lines=lines, after=(rows[limit - 1][-1], rows[limit - 1][0]) if len(rows) > limit else None)


def is_place(text: str, order: Order) -> bool:
    """Whether a page in this order could have ended there, as `after` says it."""
    try:
        match _TYPES[order]:
            case "bigint":
                return -(2**63) <= int(text) < 2**63
            case "numeric":
                return Decimal(text).is_finite()
            case "timestamptz":
                return datetime.fromisoformat(text).tzinfo is not None
    except (ValueError, InvalidOperation):
        return False
    return "\x00" not in text


def names(company_ids: Sequence[UUID]) -> dict[UUID, str]:
    """What these companies are called; who is not there has no name."""
    if not company_ids:
        return {}
    rows = statements.rows(
        "SELECT id, name FROM accounts_company WHERE id = ANY (%s)", list(set(company_ids))
    )
    return dict(rows)


def balances(company_ids: Sequence[UUID]) -> dict[UUID, int]:
    """What these companies have now, below zero too. Units: nanocredits."""
    rows = statements.rows(
        "SELECT company_id, posted_nanocredits FROM billing_wallet WHERE company_id = ANY (%s)",
        list(company_ids),
    )
    return dict(rows)


def _searched(search: str) -> tuple[str, dict[str, object]]:
    wanted = search.strip()[:SEARCH_LENGTH_MAX].replace("\x00", "")
    if not wanted:
        return "", {}
    company_id = ids.parse(wanted)
    if company_id is not None:
        return "AND c.id = %(company_id)s", {"company_id": company_id}
    escaped = wanted.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    last_4 = wanted.lstrip("….")[-LAST_CHARS:] if len(wanted.lstrip("….")) == LAST_CHARS else ""
    return _SEARCH, {"like": f"%{escaped}%", "last_4": last_4}


def _line(row: tuple[Any, ...]) -> Line:
    return Line(*(*row[:9], int(row[9]), row[10]))
