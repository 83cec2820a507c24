"""Everything that happened to one company, the latest first: what moved its credits, what it used day by day, who
changed what, and what operators noted. Four lists that are merged; reading only."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from heapq import merge
from itertools import islice
from typing import Any
from uuid import UUID

from accounts import audit, ids
from accounts.audit import Filters, Line
from billing import economics, entries
from billing.economics import Sum
from billing.models import Entry
from naive_platform.dashboard import ranges

# How far back days of usage are told.
DAYS_MAX = 730
KINDS = ("credits", "usage", "changes", "notes")
NOTED = "company.noted"
# What moved credits is told by the ledger itself.
_TOLD_BY_LEDGER = "credits."


@dataclass(frozen=True, slots=True)
class Event:
    """One line. `kind` is one of KINDS; `amount_nanocredits` where it moved credits.

    Shape: `place` is where its own list goes on after it.
    """

    at: datetime
    kind: str
    place: str
    entry: Entry | None = None
    day: Sum | None = None
    line: Line | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where each list goes on, '' at its beginning."""

    credits: str = ""
    usage: str = ""
    changes: str = ""
    notes: str = ""

    @classmethod
    def read(cls, parts: Iterable[str] | None) -> "Cursor":
        """Errors: ValueError for what no page of ours has said."""
        found = cls(*(parts or ()))
        if found.credits:
            int(found.credits)
        if found.usage and date.fromisoformat(found.usage).year not in ranges.YEARS:
            raise ValueError("no day")
        if any(text and ids.parse(text) is None for text in (found.changes, found.notes)):
            raise ValueError("no id")
        return found

    @property
    def parts(self) -> tuple[str, str, str, str]:
        return self.credits, self.usage, self.changes, self.notes


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, and where the next ones begin; None at the end."""

    events: list[Event]
    after: Cursor | None


def page(*, company_id: UUID, cursor: Cursor, limit: int, now: datetime, kind: str = "") -> Page:
    """A company's events, of one kind where it is given: at most one query for each list, each by an index.

    Errors: BooksUnavailable.
    """
    lists: dict[str, Callable[[], list[Event]]] = {
        "credits": lambda: _credits(company_id, cursor.credits, limit + 1),
        "usage": lambda: _usage(company_id, cursor.usage, limit + 1, now),
        "changes": lambda: _changes(company_id, cursor.changes, limit + 1),
        "notes": lambda: _notes(company_id, cursor.notes, limit + 1),
    }
    wanted = [read() for name, read in lists.items() if kind in ("", name)]
    # Each list keeps its own order, so that what is shown is the beginning of each.
    found = list(merge(*wanted, key=lambda event: event.at, reverse=True))
    shown = found[:limit]
    return Page(events=shown, after=_after(cursor, shown) if len(found) > limit else None)


def note_filters(company_id: UUID) -> Filters:
    return Filters(action=NOTED, target_id=str(company_id))


def _after(cursor: Cursor, shown: list[Event]) -> Cursor:
    places = {name: getattr(cursor, name) for name in KINDS}
    for event in shown:
        places[event.kind] = event.place
    return Cursor(**places)


def _credits(company_id: UUID, place: str, limit: int) -> list[Event]:
    found = entries.movements(company_id=company_id, limit=limit, before_seq=int(place) if place else None)
    return [Event(entry.created_at, "credits", str(entry.seq), entry=entry) for entry in found]


def _usage(company_id: UUID, place: str, limit: int, now: datetime) -> list[Event]:
    last = date.fromisoformat(place) - timedelta(days=1) if place else now.astimezone(UTC).date()
    days = economics.summary(
        first=last - timedelta(days=DAYS_MAX), last=last, group_by="day", company_id=company_id
    )
    return [_day(one, now) for one in islice(reversed(days), limit)]


def _day(one: Sum, now: datetime) -> Event:
    """A day is told at its end; today, now."""
    day: Any = one.group
    end = datetime.combine(day, time.max, UTC)
    return Event(min(end, now), "usage", day.isoformat(), day=one)


def _changes(company_id: UUID, place: str, limit: int) -> list[Event]:
    found = audit.page(
        company_id=company_id,
        filters=Filters(),
        limit=limit,
        before_id=ids.parse(place),
        without_actions_of=_TOLD_BY_LEDGER,
    )
    return [Event(line.created_at, "changes", str(line.id), line=line) for line in found.lines]


def _notes(company_id: UUID, place: str, limit: int) -> list[Event]:
    # They are the operator's own: of no company, so that no company reads them.
    found = audit.page(
        company_id=None, filters=note_filters(company_id), limit=limit, before_id=ids.parse(place)
    )
    return [Event(line.created_at, "notes", str(line.id), line=line) for line in found.lines]
