"""What the platform earns: revenue, what upstream charges, the margin, overruns, and what is owed to companies."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import ids
from accounts.errors import InvalidInput
from billing import company_figures, days, economics
from billing.economics import GroupBy, Sum
from naive_platform import sheets
from naive_platform.dashboard import charts, ranges, tables
from naive_platform.dashboard.charts import Chart, Series
from naive_platform.dashboard.ranges import Range
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table
from naive_platform.operator import doors
from naive_platform.operator.doors import Desk

GROUPS: dict[str, str] = {"day": "By day", "company": "By company", "model": "By model"}
SORTS = ("revenue", "cost", "margin", "overrun", "calls")
# More companies or models than this are in the file alone.
ROWS_MAX = tables.LIMIT
HEADS = (
    *("name", "calls", "revenue_credits_nano", "revenue_usd", "cost_usd", "margin_usd", "margin_percent"),
    *("overrun_usd", "unspent_credits_nano"),
)
UNSPENT = {"day": "Unspent at its end", "company": "Unspent now"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the page's URL asks for."""

    range: Range
    first: date
    last: date
    group: GroupBy
    company_id: UUID | None
    model: str | None

    @property
    def unspent_title(self) -> str:
        """What is unspent is known of all companies at the end of a day, and of each now; models owe nothing."""
        is_narrowed = self.group == "day" and (self.company_id or self.model)
        return "" if is_narrowed else UNSPENT.get(self.group, "")


@doors.page("economics")
def overview(request: HttpRequest, desk: Desk) -> HttpResponse:
    asked = read(request, now=timezone.now())
    by_day = _sums(asked, "day")
    sums = by_day if asked.group == "day" else _sums(asked, asked.group)
    names = _names(sums, asked)
    sort = tables.read_sort(request.GET, SORTS, "" if asked.group == "day" else "-revenue")
    context = {
        "range": asked.range,
        "asked": asked,
        "total": economics.total(by_day),
        "owed": economics.owed(),
        "groups": [(name, title, name == asked.group) for name, title in GROUPS.items() if not asked.model],
        "chart": _chart(by_day, asked),
        "table": _table(sums, names, _unspent(sums, asked), asked, sort, _file_url(request)),
        "company_name": names.get(asked.company_id) if asked.company_id else "",
    }
    return doors.render(request, desk, "operator/economics.html", context)


@doors.page("economics")
def export(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Every row of what the page shows, exactly, as CSV."""
    asked = read(request, now=timezone.now())

    def batch(_: object) -> tuple[list[list[Any]], None]:
        sums = _sums(asked, asked.group)
        names, unspent = _names(sums, asked), _unspent(sums, asked)
        return [_line(one, names, unspent) for one in sums], None

    name = f"economics-{asked.group}-{asked.first}-{asked.last}.csv"
    # A door gives an answer its headers, and it has them as any other.
    return cast("HttpResponse", sheets.answer(name=name, head=HEADS, batch=batch))


def read(request: HttpRequest, *, now: datetime) -> Asked:
    """Whole days (UTC): of `30d` today and the 29 before. One model is told by day: sums know no company of it.

    Errors: InvalidInput for a company that is no id.
    """
    range = ranges.read(request.GET, now=now)
    last = range.last
    first = last - timedelta(days=ranges.DAYS[range.name] - 1) if range.name else range.first
    model = request.GET.get("model") or None
    group = "day" if model else request.GET.get("by", "day")
    wanted = request.GET.get("company", "")
    company_id = ids.parse(wanted)
    if wanted and company_id is None:
        raise InvalidInput(f"company: {wanted[:40]!r} is no id.", hint="Choose a company in the list.")
    return Asked(
        range=range,
        first=first,
        last=last,
        group=cast("GroupBy", group if group in GROUPS else "day"),
        company_id=company_id,
        model=model,
    )


def _sums(asked: Asked, group: GroupBy) -> list[Sum]:
    return economics.summary(
        first=asked.first, last=asked.last, group_by=group, company_id=asked.company_id, model=asked.model
    )


def _names(sums: list[Sum], asked: Asked) -> dict[Any, str]:
    wanted = [one.group for one in sums if isinstance(one.group, UUID)]
    return dict(company_figures.names([*wanted, *([asked.company_id] if asked.company_id else [])]))


def _unspent(sums: list[Sum], asked: Asked) -> dict[Any, int]:
    """What could still be spent, nanocredits, by group."""
    if asked.group == "company":
        return dict(company_figures.balances([one.group for one in sums if isinstance(one.group, UUID)]))
    if not asked.unspent_title:
        return {}
    told = ((one.day, one.unspent_nanocredits) for one in days.read(first=asked.first, last=asked.last))
    return {day: int(amount) for day, amount in told if amount is not None}


def _chart(by_day: list[Sum], asked: Asked) -> Chart:
    found = {one.group: one for one in by_day}
    shown = [asked.first + timedelta(days=n) for n in range((asked.last - asked.first).days + 1)]
    told = [found.get(day) for day in shown]
    zero = Decimal(0)
    return charts.Chart(
        name="economics",
        title="Revenue: cost and margin, USD a day",
        unit="usd",
        instants=[datetime.combine(day, time.min, UTC) for day in shown],
        series=[
            Series("Cost upstream", [one.cost_usd if one else zero for one in told]),
            Series("Margin", [one.margin_usd if one else zero for one in told]),
        ],
    )


def _table(
    sums: list[Sum], names: dict[Any, str], unspent: dict[Any, int], asked: Asked, sort: str, file_url: str
) -> Table:
    keys: dict[str, Any] = {
        "revenue": lambda one: one.charged_nanocredits,
        "cost": lambda one: one.cost_usd,
        "margin": lambda one: one.margin_usd,
        "overrun": lambda one: one.overrun_nanocredits,
        "calls": lambda one: one.calls,
    }
    word = sort.removeprefix("-")
    title = asked.unspent_title
    unspent_column = [Column(title=title, kind="credits", is_hidden_narrow=True)] if title else []
    rows = sorted(sums, key=keys[word], reverse=sort.startswith("-")) if word else list(reversed(sums))
    return Table(
        name="economics",
        caption=GROUPS[asked.group],
        columns=(
            Column(title=asked.group.title(), kind="day" if asked.group == "day" else "text", is_title=True),
            Column(title="Calls", kind="count", sort="calls"),
            Column(title="Revenue", kind="usd", sort="revenue"),
            Column(title="Cost upstream", kind="usd", sort="cost"),
            Column(title="Margin", kind="usd", sort="margin"),
            Column(title="Overruns", kind="usd", sort="overrun", is_hidden_narrow=True),
            *unspent_column,
        ),
        rows=[_row(one, names, unspent, asked) for one in rows[:ROWS_MAX]],
        empty=Empty("No call was settled in this time. Choose a longer one."),
        sort=sort,
        export_href=file_url,
        note=f"The first {ROWS_MAX} of {len(rows):,}; the file has all of them."
        if len(rows) > ROWS_MAX
        else "",
    )


def _row(one: Sum, names: dict[Any, str], unspent: dict[Any, int], asked: Asked) -> Row:
    title, href = one.group, ""
    if isinstance(one.group, UUID):
        title, href = names.get(one.group, str(one.group)), reverse("operator-company", args=[one.group])
    elif asked.group == "model":
        href = f"?{urlencode({**_time(asked.range), 'model': one.group})}"
    percent = one.margin_percent
    return Row(
        cells=[
            Cell(title),
            Cell(one.calls),
            Cell(one.revenue_usd),
            Cell(one.cost_usd),
            Cell(one.margin_usd, note="" if percent is None else f"{percent} %"),
            Cell(one.overrun_usd),
            *([Cell(unspent.get(one.group))] if asked.unspent_title else []),
        ],
        href=href,
    )


def _time(range: Range) -> dict[str, object]:
    """The range as a URL says it."""
    return {"range": range.name} if range.name else {"from": range.first, "to": range.last}


def _line(one: Sum, names: dict[Any, str], unspent: dict[Any, int]) -> list[Any]:
    return [
        names.get(one.group, str(one.group)), one.calls, one.charged_nanocredits, one.revenue_usd, one.cost_usd,
        one.margin_usd, one.margin_percent, one.overrun_usd, unspent.get(one.group, ""),
    ]  # fmt: skip


def _file_url(request: HttpRequest) -> str:
    kept = {name: value for name, value in request.GET.items() if name not in ("cursor", "sort")}
    return f"{reverse('operator-economics-export')}?{urlencode(kept)}"
