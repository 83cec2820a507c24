"""The ledger as a file: the entries that the page's filters let through, the latest first."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from billing import entries, money
from billing.models import Entry
from naive_platform.dashboard import ledger_filters
from naive_platform.exports.kind import Kind, Piece, Wanted

ROWS = 1_000
# More entries take too long to be waited for, whatever the filter leaves of them.
LONG = 50_000
COLUMNS = (
    *("id", "created_at", "action", "amount", "balance_after"),
    *("reference", "corrects", "actor", "note"),
)


def prepare(company_id: UUID, query: Mapping[str, str], now: datetime) -> dict[str, str]:
    """Errors: InvalidInput."""
    return ledger_filters.words(ledger_filters.read(query, now=now))


def read(company_id: UUID, wanted: Wanted, position: str) -> Piece:
    filters = ledger_filters.fixed(wanted)
    before_seq = int(position) if position else None
    page = entries.page(
        company_id=company_id,
        limit=ROWS,
        before_seq=before_seq,
        since=filters.since,
        until=filters.until,
        actions=filters.actions,
    )
    rows = [_row(entry) for entry in page.entries]
    if page.before_seq is None:
        return Piece(rows, None, 100)
    return Piece(rows, str(page.before_seq), _percent(filters, page.entries[-1].created_at))


def is_long(company_id: UUID, wanted: Wanted) -> bool:
    filters = ledger_filters.fixed(wanted)
    return entries.count(company_id=company_id, since=filters.since, until=filters.until) > LONG


KIND = Kind(
    name="ledger",
    title="Ledger",
    route="ledger",
    columns=COLUMNS,
    prepare=prepare,
    read=read,
    is_long=is_long,
)


def _row(entry: Entry) -> list[Any]:
    return [
        entry.seq,
        entry.created_at,
        entry.action,
        money.credits_from_nanocredits(entry.amount_nanocredits),
        money.credits_from_nanocredits(entry.balance_after_nanocredits),
        entry.reference,
        entry.corrects,
        entry.actor,
        entry.note,
    ]


def _percent(filters: ledger_filters.Filters, reached: datetime) -> int:
    """How much of the time has been looked at: the latest come first."""
    behind = filters.until - reached
    return min(99, max(0, int(100 * (behind / (filters.until - filters.since)))))
