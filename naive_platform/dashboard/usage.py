"""Billing, Usage: what calls came to by day, model, user, key or kit, read from the sums that settlement keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts.models import AccountKit, APIKey, TenantUser
from billing import money, usage
from billing.usage import GroupBy, Usage
from naive_platform import sheets
from naive_platform.dashboard import charts, doors, ranges, tables
from naive_platform.dashboard.charts import Chart, Series
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.ranges import Range
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table

# By the URL's word: what a group is called, and what its head says.
GROUPS: Mapping[str, str] = {
    "day": "Day",
    "model": "Model",
    "user": "User",
    "key": "API key",
    "kit": "Account Kit",
}
# So many groups are apart in the chart; what is beyond them is one.
SERIES_SHOWN = 5
_SORTS = ("group", "calls", "cost", "credits")
_HEAD = (
    *("group", "name", "calls", "voided_calls", "tokens_prompt", "tokens_completion"),
    *("cost_usd", "credits_used", "overrun_credits"),
)


@dataclass(frozen=True, slots=True)
class Total:
    """What all groups came to together."""

    calls: int
    voided_calls: int
    tokens_prompt: int
    tokens_completion: int
    cost_usd: Decimal
    charged_nanocredits: int


@doors.page("billing", route="usage")
def usage_page(request: HttpRequest, place: Place) -> HttpResponse:
    span, group_by = ranges.read(request.GET, now=timezone.now()), _group_by(request)
    found = _read(place, span, group_by)
    table = _table(request, place, found, group_by)
    context = {
        "tab": "usage",
        "range": span,
        "groups": GROUPS.items(),
        "group_by": group_by,
        "total": _total(found),
        "chart": _chart(place, span, group_by, found),
        "table": table,
    }
    return doors.render(request, place, "dashboard/billing_usage.html", context)


@doors.page("billing", route="usage")
def usage_csv(request: HttpRequest, place: Place) -> StreamingHttpResponse:
    """Every group of the page, its id beside its name."""
    span, group_by = ranges.read(request.GET, now=timezone.now()), _group_by(request)

    def batch(at: int | None) -> tuple[list[list[Any]], int | None]:
        found = _read(place, span, group_by)
        names = _names(place, group_by, [one.group for one in found])
        return [_line(one, names) for one in found], None

    return sheets.answer(name=f"usage-by-{group_by}-{span.first}-to-{span.last}.csv", head=_HEAD, batch=batch)


def _read(place: Place, span: Range, group_by: GroupBy) -> list[Usage]:
    return usage.summary(company_id=place.company_id, since=span.since, until=span.until, group_by=group_by)


def _total(found: Sequence[Usage]) -> Total:
    return Total(
        calls=sum(one.calls for one in found),
        voided_calls=sum(one.voided_calls for one in found),
        tokens_prompt=sum(one.tokens_prompt for one in found),
        tokens_completion=sum(one.tokens_completion for one in found),
        cost_usd=sum((one.cost_usd for one in found), Decimal(0)),
        charged_nanocredits=sum(one.charged_nanocredits for one in found),
    )


def _chart(place: Place, span: Range, group_by: GroupBy, found: Sequence[Usage]) -> Chart:
    """Credits over time; the dearest groups apart from each other and from the rest."""
    dearest = [] if group_by == "day" else [str(one.group) for one in found[:SERIES_SHOWN]]
    slices = usage.over_time(
        company_id=place.company_id,
        since=span.since,
        until=span.until,
        is_hourly=span.is_short,
        group_by=None if group_by == "day" else group_by,
        groups=dearest,
    )
    spent = {(one.instant, one.group): one.charged_nanocredits for one in slices}
    instants = span.instants
    shown: list[str | None] = [*dearest]
    if len(found) > len(dearest) or not shown:
        shown.append(None)
    names = _names(place, group_by, [one.group for one in found[:SERIES_SHOWN]])
    titles = {str(group): name for group, name in names.items()}
    rest = "Credits" if group_by == "day" else "Others"
    return charts.Chart(
        name="usage",
        title="Credits by hour" if span.is_short else "Credits by day",
        unit="credits",
        instants=instants,
        series=[
            Series(
                title=rest if group is None else titles.get(group, group),
                values=[
                    money.credits_from_nanocredits(spent.get((instant, group), 0)) for instant in instants
                ],
            )
            for group in shown
        ],
        is_hourly=span.is_short,
    )


def _table(request: HttpRequest, place: Place, found: Sequence[Usage], group_by: GroupBy) -> Table:
    default = "-group" if group_by == "day" else "-credits"
    sort = tables.read_sort(request.GET, _SORTS, default)
    first = tables.read_number_cursor(request.GET) or 0
    rows = _sorted(found, sort)[first : first + tables.LIMIT]
    names = _names(place, group_by, [one.group for one in rows])
    last = first + tables.LIMIT
    query = request.GET.copy()
    query.pop("cursor", None)
    return Table(
        name="usage-table",
        caption=f"Usage by {GROUPS[group_by]}",
        columns=(
            Column(
                title=GROUPS[group_by],
                kind="day" if group_by == "day" else "text",
                sort="group",
                is_title=True,
            ),
            Column(title="Calls", kind="count", sort="calls"),
            Column(title="Tokens, in → out", kind="tokens", is_hidden_narrow=True),
            Column(title="Upstream cost", kind="usd", sort="cost"),
            Column(title="Credits", kind="credits", sort="credits"),
        ),
        rows=[_row(request.GET, one, names, group_by) for one in rows],
        next_cursor=tables.cursor(last) if last < len(found) else None,
        is_first=first == 0,
        sort=sort,
        export_href=f"{reverse('dashboard-billing-usage-csv')}?{query.urlencode()}",
        empty=Empty(
            "No call was settled in this time. Choose a longer one, or make a call.",
            action="Open the playground",
            href=reverse("dashboard-playground"),
        ),
    )


def _sorted(found: Sequence[Usage], sort: str) -> list[Usage]:
    keys: Mapping[str, Any] = {
        "group": lambda one: str(one.group),
        "calls": lambda one: one.calls,
        "cost": lambda one: one.cost_usd,
        "credits": lambda one: one.charged_nanocredits,
    }
    return sorted(found, key=keys[sort.removeprefix("-")], reverse=sort.startswith("-"))


def _row(query: Mapping[str, str], one: Usage, names: Mapping[object, str], group_by: GroupBy) -> Row:
    voided = f"{one.voided_calls:,} free" if one.voided_calls else ""
    return Row(
        [
            Cell(
                one.group if group_by == "day" else names[one.group], href=_where(query, one.group, group_by)
            ),
            Cell(one.calls, note=voided),
            Cell((one.tokens_prompt, one.tokens_completion)),
            Cell(one.cost_usd),
            Cell(one.charged_nanocredits),
        ]
    )


def _where(query: Mapping[str, str], group: object, group_by: GroupBy) -> str:
    """The calls behind a row."""
    words = {name: query[name] for name in ("range", "from", "to") if name in query}
    words |= {"from": str(group), "to": str(group)} if group_by == "day" else {group_by: str(group)}
    return f"{reverse('dashboard-generations')}?{urlencode(words)}"


def _names(
    place: Place, group_by: GroupBy, groups: Sequence[datetime | date | UUID | str]
) -> dict[object, str]:
    """What people call each group; its own id where nobody gave it a name, or it is gone."""
    found: dict[object, str] = {group: str(group) for group in groups}
    wanted = [group for group in groups if isinstance(group, UUID)]
    match group_by:
        case "user":
            users = TenantUser.objects.filter(company_id=place.company_id, id__in=wanted)
            found |= {user.id: str(user.label or user.external_id or user.email or user.id) for user in users}
        case "key":
            keys = APIKey.objects.filter(company_id=place.company_id, id__in=wanted)
            found |= {key.id: str(key) for key in keys}
        case "kit":
            rows = AccountKit.objects.filter(company_id=place.company_id, id__in=wanted)
            found |= {kit.id: kit.name for kit in rows}
    return found


def _line(one: Usage, names: Mapping[object, str]) -> list[Any]:
    return [
        str(one.group),
        names[one.group],
        one.calls,
        one.voided_calls,
        one.tokens_prompt,
        one.tokens_completion,
        one.cost_usd,
        money.credits_from_nanocredits(one.charged_nanocredits),
        money.credits_from_nanocredits(one.overrun_nanocredits),
    ]


def _group_by(request: HttpRequest) -> GroupBy:
    said = request.GET.get("by", "day")
    return cast("GroupBy", said if said in GROUPS else "day")
