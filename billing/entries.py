"""A company's entries, page by page, and what a month of them adds up to; reading only."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from billing import statements
from billing.models import Entry

# The last entry, no later than one that is named, and the last of those before an instant: by halves, since entries are
# written in order of time.
_REACH = """
    WITH RECURSIVE reach(last) AS (
        SELECT least(coalesce(max(seq), 0), %s) FROM billing_entry WHERE company_id = %s
    ), halves(least, most) AS (
        SELECT 0::bigint, last FROM reach
         UNION ALL
        SELECT CASE WHEN e.created_at < %s THEN h.middle ELSE h.least END,
               CASE WHEN e.created_at < %s THEN h.most ELSE h.middle - 1 END
          FROM (SELECT least, most, (least + most + 1) / 2 AS middle FROM halves WHERE least < most) h
          JOIN billing_entry e ON (e.company_id, e.seq) = (%s, h.middle)
    )
    SELECT last, least FROM reach, halves WHERE least = most
"""
_SEQ_MAX = 2**63 - 1
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# The balance at each of some instants, found as above.
_BALANCES = """
    SELECT coalesce(e.balance_after_nanocredits, 0)
      FROM unnest(%s::timestamptz[]) WITH ORDINALITY AS wanted(instant, place)
      LEFT JOIN LATERAL (
        WITH RECURSIVE halves(least, most) AS (
            SELECT 0::bigint, coalesce(max(seq), 0) FROM billing_entry WHERE company_id = %s
             UNION ALL
            SELECT CASE WHEN m.created_at < wanted.instant THEN h.middle ELSE h.least END,
                   CASE WHEN m.created_at < wanted.instant THEN h.most ELSE h.middle - 1 END
              FROM (SELECT least, most, (least + most + 1) / 2 AS middle FROM halves WHERE least < most) h
              JOIN billing_entry m ON (m.company_id, m.seq) = (%s, h.middle)
        ) SELECT least FROM halves WHERE least = most) last ON true
      LEFT JOIN billing_entry e ON (e.company_id, e.seq) = (%s, last.least)
     ORDER BY wanted.place
"""
_BALANCES_AFTER = (
    "SELECT seq, balance_after_nanocredits FROM billing_entry WHERE company_id = %s AND seq = ANY (%s)"
)
# Everything but the calls, which may be millions: they are what is left of the difference. Served by the unique index.
_BY_ACTION = """
    SELECT action, count(*), sum(amount_nanocredits)::bigint FROM billing_entry
     WHERE company_id = %s AND action = ANY (%s) AND seq > %s AND seq <= %s GROUP BY action ORDER BY action
"""
_MOVEMENTS = """
    WITH others AS MATERIALIZED (
        SELECT seq FROM billing_entry WHERE company_id = %s AND action = ANY (%s) AND seq < %s)
    SELECT seq FROM others ORDER BY seq DESC LIMIT %s
"""

# Which user an entry is about stands on its call, one look each: 20,000 take 0.2 to 0.4 s, and a page has 50 ms.
LOOKED_AT_MAX = 2_500
# An entry of a call has the call's id in its own name, one that corrects or refunds it in the name of the other.
_OF_USER = r"""
    EXISTS (SELECT FROM billing_hold h
             WHERE h.company_id = %s AND h.tenant_user_id = %s
               AND h.hold_id = substring(CASE WHEN starts_with(corrects, 'gen_') THEN corrects ELSE reference END
                                         FROM '^gen_([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})')::uuid)
"""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a company's entries; the next ones are before `before_seq`, and there are none where that is None."""

    entries: list[Entry]
    before_seq: int | None


@dataclass(frozen=True, slots=True)
class Sum:
    """What the entries of one action add up to. Units: nanocredits."""

    action: str
    count: int
    amount_nanocredits: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """What moved a company's balance in some time; `opening + sums = closing`, exactly. Units: nanocredits."""

    opening_nanocredits: int
    closing_nanocredits: int
    sums: list[Sum]


@dataclass(frozen=True, slots=True)
class Month:
    """A company's month: opening balance, what moved it, closing balance; `opening + sums = closing`, exactly.

    Units: nanocredits. The instants are UTC; `is_closed` once the month is over.
    """

    starts_at: datetime
    ends_at: datetime
    is_closed: bool
    opening_nanocredits: int
    closing_nanocredits: int
    sums: list[Sum]


def page(
    *,
    company_id: UUID,
    limit: int,
    before_seq: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    actions: Collection[str] = (),
    tenant_user_id: UUID | None = None,
) -> Page:
    """A company's entries, the latest first.

    Shape: those before `before_seq`, written at `since` or later and before `until`, of these actions, and about a call
    of this tenant user, each where it is given. A page of one user may be short, or empty, and not be the last.
    Errors: BooksUnavailable.
    """
    most = _SEQ_MAX if before_seq is None else before_seq - 1
    if until is not None:
        _, most = _reach(company_id, until, most=most)
    last, least = _reach(company_id, since or _BEGINNING, most=most)
    floor = least
    rows = Entry.objects.filter(company_id=company_id)
    if actions:
        rows = rows.filter(action__in=actions)
    if tenant_user_id is not None:
        of_user = RawSQL(_OF_USER, [company_id, tenant_user_id], output_field=BooleanField())  # noqa: S611
        rows, floor = rows.filter(of_user), max(least, last - LOOKED_AT_MAX)
    found = list(rows.filter(seq__gt=floor, seq__lte=last).order_by("-seq")[: limit + 1])
    if len(found) > limit:
        return Page(entries=found[:limit], before_seq=found[limit - 1].seq)
    return Page(entries=found, before_seq=floor + 1 if floor > least else None)


def movements(*, company_id: UUID, limit: int, before_seq: int | None = None) -> list[Entry]:
    """What moved a company's credits beside its calls, the latest first: found by the unique index, past no call.

    Errors: BooksUnavailable.
    """
    others = [action for action in Entry.Action.values if action != Entry.Action.LLM_CALL]
    before = _SEQ_MAX if before_seq is None else before_seq
    seqs = RawSQL(_MOVEMENTS, [company_id, others, before, limit])  # noqa: S611 - a constant.
    return list(Entry.objects.filter(company_id=company_id, seq__in=seqs).order_by("-seq"))


def month(*, company_id: UUID, first_day: date, now: datetime) -> Month:
    """What a month's entries add up to, by action.

    Shape: a month's closing balance is the next one's opening balance; the running month goes up to now.
    Errors: BooksUnavailable.
    """
    starts_at, ends_at = month_of(first_day)
    found = stretch(company_id=company_id, since=starts_at, until=ends_at)
    return Month(
        starts_at=starts_at,
        ends_at=ends_at,
        is_closed=ends_at <= now,
        opening_nanocredits=found.opening_nanocredits,
        closing_nanocredits=found.closing_nanocredits,
        sums=found.sums,
    )


def stretch(*, company_id: UUID, since: datetime, until: datetime) -> Stretch:
    """What the entries from `since` to before `until` add up to, by action. Errors: BooksUnavailable."""
    last, first_seq = _reach(company_id, since)
    _, last_seq = _reach(company_id, until, most=last)
    balances = dict(statements.rows(_BALANCES_AFTER, company_id, [first_seq, last_seq]))
    opening, closing = int(balances.get(first_seq, 0)), int(balances.get(last_seq, 0))
    others = [action for action in Entry.Action.values if action != Entry.Action.LLM_CALL]
    sums = [Sum(*row) for row in statements.rows(_BY_ACTION, company_id, others, first_seq, last_seq)]
    calls = last_seq - first_seq - sum(found.count for found in sums)
    if calls:
        charged = closing - opening - sum(found.amount_nanocredits for found in sums)
        sums.insert(0, Sum(action=Entry.Action.LLM_CALL.value, count=calls, amount_nanocredits=charged))
    return Stretch(opening_nanocredits=opening, closing_nanocredits=closing, sums=sums)


def count(*, company_id: UUID, since: datetime, until: datetime) -> int:
    """How many entries were written from `since` to before `until`; none of them is looked at.

    Errors: BooksUnavailable.
    """
    last, first_seq = _reach(company_id, since)
    return _reach(company_id, until, most=last)[1] - first_seq


def balances_before(*, company_id: UUID, instants: Sequence[datetime]) -> list[int]:
    """The balance that stood before each instant, in their order; one query. Units: nanocredits.

    Errors: BooksUnavailable.
    """
    rows = statements.rows(_BALANCES, list(instants), company_id, company_id, company_id)
    return [int(balance) for (balance,) in rows]


def first_at(*, company_id: UUID) -> datetime | None:
    """When a company's first entry was written; None where there is none. Errors: BooksUnavailable."""
    rows = statements.rows(
        "SELECT created_at FROM billing_entry WHERE company_id = %s AND seq = 1", company_id
    )
    return rows[0][0] if rows else None


def month_of(day: date) -> tuple[datetime, datetime]:
    """When the month of a day begins, and when the next one does."""
    starts_at = datetime(day.year, day.month, 1, tzinfo=UTC)
    return starts_at, datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)


def _reach(company_id: UUID, instant: datetime, *, most: int = _SEQ_MAX) -> tuple[int, int]:
    """The last entry, `most` at most, and the last of those before an instant; 0 where there is none."""
    last, before = statements.row(_REACH, most, company_id, instant, instant, company_id)
    return int(last), int(before)
