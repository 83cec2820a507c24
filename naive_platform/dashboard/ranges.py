"""The stretch of time a page speaks of, as its URL says: `range=7d`, or `from` and `to` as days."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

DEFAULT = "30d"
DAYS = {"24h": 1, "7d": 7, "30d": 30, "90d": 90}
TITLES = {"24h": "Last 24 hours", "7d": "Last 7 days", "30d": "Last 30 days", "90d": "Last 90 days"}
# A page that adds up more than this would take long; exports may.
DAYS_MAX = 366
# Years that a URL may name: none of them, nor the time before it, is beyond what can be reckoned with.
YEARS = range(2000, 3000)


@dataclass(frozen=True, slots=True)
class Range:
    """From `since` on, up to `until` and without it. `name` is the URL's word, empty for days chosen by hand."""

    since: datetime
    until: datetime
    name: str

    @property
    def title(self) -> str:
        return TITLES.get(self.name) or f"{self.first:%-d %b %Y} \N{EN DASH} {self.last:%-d %b %Y}"

    @property
    def first(self) -> date:
        return self.since.date()

    @property
    def last(self) -> date:
        """The last day that belongs to it."""
        return (self.until - timedelta(microseconds=1)).date()

    @property
    def is_short(self) -> bool:
        """Told by the hour; by the day otherwise."""
        return self.until - self.since <= timedelta(days=2)

    @property
    def instants(self) -> list[datetime]:
        """Every hour of it, or every day (UTC): when each begins, the last one too, which may not be over."""
        at = self.since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        step = timedelta(hours=1) if self.is_short else timedelta(days=1)
        at = at if self.is_short else _start(at.date())
        found = []
        while at < self.until:
            found.append(at)
            at += step
        return found

    @property
    def before(self) -> "Range":
        """The same length of time right before it."""
        return Range(since=self.since - (self.until - self.since), until=self.since, name="")

    @property
    def choices(self) -> list[tuple[str, str]]:
        return list(TITLES.items())


def read(query: Mapping[str, str], *, now: datetime, default: str = DEFAULT) -> Range:
    """The range of a page's URL; the default where it says none, or none that can be."""
    first, last = _day(query.get("from", "")), _day(query.get("to", ""))
    if first and last and first <= last and (last - first).days < DAYS_MAX:
        return Range(since=_start(first), until=_start(last + timedelta(days=1)), name="")
    name = query.get("range", default)
    name = name if name in DAYS else default
    return Range(since=now - timedelta(days=DAYS[name]), until=now, name=name)


def _day(text: str) -> date | None:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if found.year in YEARS else None


def _start(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
