"""Our books against upstream's: what is open, by whose word calls were settled, each day's drift, what waits for a
person, and what is wrong now."""

from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from billing import alerts, anomalies, company_figures, days, economics, metrics, queues
from billing.alerts import Alert
from billing.anomalies import Anomaly
from billing.economics import Settled
from billing.metrics import Debt
from billing.models import Day
from billing.queues import Correction, Parked
from naive_platform.dashboard import doors as dashboard
from naive_platform.dashboard import ranges, tables
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table
from naive_platform.operator import doors
from naive_platform.operator.doors import Desk

ROWS = 20
type Names = dict[UUID, str]
AGES = {0: "under a minute", 60: "a minute", 600: "10 minutes", 3600: "an hour", 86_400: "a day and more"}


class ResolveForm(forms.Form):
    reason = forms.CharField(max_length=500)


@doors.page("reconciliation")
def overview(request: HttpRequest, desk: Desk) -> HttpResponse:
    range = ranges.read(request.GET, now=timezone.now())
    corrections = queues.corrections(since=range.since, until=range.until, limit=ROWS)
    parked = queues.parked(limit=ROWS)
    names = company_figures.names(
        [*(row.company_id for row in corrections), *(row.company_id for row in parked)]
    )
    context = {
        "range": range,
        "waiting": metrics.waiting(),
        "alerts": [_alert(found) for found in alerts.list_open(limit=ROWS)],
        "debt": _debt(metrics.debt()),
        "settled": _settled(economics.settled(first=range.first, last=range.last)),
        "drift": _drift(days.read(first=range.first, last=range.last)),
        "corrections": _corrections(corrections, names),
        "parked": _parked(parked, names),
    }
    return doors.render(request, desk, "operator/reconciliation.html", context)


@doors.page("reconciliation")
def queue(request: HttpRequest, desk: Desk) -> HttpResponse:
    """What waits for a person's decision."""
    found = anomalies.list_open(limit=tables.LIMIT, cursor=request.GET.get("cursor") or None)
    names = company_figures.names([one.company_id for one in found.anomalies if one.company_id])
    table = Table(
        name="anomalies",
        caption="Anomalies",
        columns=(
            Column(title="What", is_title=True),
            Column(title="Found", kind="time"),
            Column(title="Company", kind="name"),
            Column(title="Its cost would be", kind="usd"),
            Column(title="Call", kind="state"),
        ),
        rows=[_anomaly(one, names) for one in found.anomalies],
        empty=Empty("Nothing to decide: the books agree with all they were told."),
        next_cursor=found.next_cursor,
        is_first="cursor" not in request.GET,
    )
    return doors.render(request, desk, "operator/anomalies.html", {"table": table})


@doors.page("reconciliation", post=True)
def resolve(request: HttpRequest, desk: Desk, alert_id: int) -> HttpResponse:
    """An alert that a person alone can put right."""
    found = next((one for one in alerts.list_open(limit=alerts.ALERTS_MAX) if one.id == alert_id), None)
    form = ResolveForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        alerts.close(alert_id=alert_id, reason=form.cleaned_data["reason"])
        return dashboard.done(request, "Resolved.", reverse("operator-reconciliation"))
    context = {"alert": found, "form": form}
    return doors.render(
        request, desk, "operator/alert.html", context, status=400 if form.errors else 200 if found else 404
    )


def anomaly_url(kind: str, reference: str) -> str:
    return f"{reverse('operator-anomaly')}?{urlencode({'kind': kind, 'reference': reference})}"


def _alert(found: Alert) -> tuple[Alert, str]:
    """An alert, and when it is over."""
    return found, "" if found.kind in alerts.CLOSED_BY_HAND else alerts.RESOLVED_BY.get(found.kind, "")


def _debt(found: list[Debt]) -> Table:
    return Table(
        name="debt",
        caption="Open holds by age",
        columns=(
            Column(title="Older than", is_title=True),
            Column(title="Calls", kind="count"),
            Column(title="Of them parked", kind="count"),
            Column(title="Held", kind="credits"),
        ),
        rows=[
            Row(
                [
                    Cell(AGES.get(one.from_s, f"{one.from_s} s")),
                    Cell(one.calls),
                    Cell(one.parked),
                    Cell(one.held_nanocredits),
                ]
            )
            for one in found
        ],
        empty=Empty("No hold is open."),
    )


def _settled(found: list[Settled]) -> Table:
    return Table(
        name="settled",
        caption="Settled by source",
        columns=(
            Column(title="Source", is_title=True),
            Column(title="Calls", kind="count"),
            Column(title="Charged", kind="credits"),
        ),
        rows=[
            Row([Cell(one.source.replace("_", " ")), Cell(one.calls), Cell(one.charged_nanocredits)])
            for one in found
        ],
        empty=Empty("No call was settled in this time. Choose a longer one."),
    )


def _drift(found: list[Day]) -> Table:
    return Table(
        name="drift",
        caption="Drift by day",
        columns=(
            Column(title="Day", kind="day", is_title=True),
            Column(title="State", kind="state"),
            Column(title="Ours", kind="usd"),
            Column(title="Theirs", kind="usd"),
            Column(title="Difference", kind="usd"),
            Column(title="Still open", kind="usd", is_hidden_narrow=True),
            Column(title="Remarks", is_hidden_narrow=True),
        ),
        rows=[
            Row([
                Cell(day.day), Cell("closed by a person" if day.closed_by else "ok" if day.closed_at else "pending"),
                Cell(day.ours_usd), Cell(day.theirs_usd), Cell(day.difference_usd), Cell(day.gap_usd),
                Cell(day.note, note=f"closed by {day.closed_by}" if day.closed_by else ""),
            ])
            for day in found[: tables.LIMIT]
        ],
        empty=Empty("No day of this time was compared with upstream's books yet. The first is, after midnight UTC."),
    )  # fmt: skip


def _corrections(found: list[Correction], names: Names) -> Table:
    return Table(
        name="corrections",
        caption="Latest corrections",
        columns=(
            Column(title="Call", kind="code", is_title=True),
            Column(title="When", kind="time"),
            Column(title="Company", kind="name"),
            Column(title="By", kind="word", is_hidden_narrow=True),
            Column(title="Costs now", kind="usd"),
            Column(title="Charged now", kind="credits"),
        ),
        rows=[
            Row([
                Cell(f"gen_{one.hold_id}"), Cell(one.created_at), _company(one.company_id, names), Cell(one.source),
                Cell(one.cost_usd), Cell(one.charged_nanocredits),
            ])
            for one in found
        ],
        empty=Empty("No call was corrected in this time."),
    )  # fmt: skip


def _parked(found: list[Parked], names: Names) -> Table:
    return Table(
        name="parked",
        caption="Parked holds",
        columns=(
            Column(title="Call", kind="code", is_title=True),
            Column(title="Since", kind="time"),
            Column(title="Company", kind="name"),
            Column(title="Holds", kind="credits"),
            Column(title="Look-ups", kind="count"),
            Column(title="Estimate", kind="usd", is_hidden_narrow=True),
        ),
        rows=[
            Row([
                Cell(f"gen_{one.hold_id}", href=anomaly_url(*one.anomaly) if one.anomaly else ""), Cell(one.created_at),
                _company(one.company_id, names), Cell(one.amount_nanocredits), Cell(one.attempts),
                Cell(one.estimate_usd),
            ])
            for one in found
        ],
        empty=Empty("No call waits for a person."),
    )  # fmt: skip


def _company(company_id: UUID | None, names: Names) -> Cell:
    if company_id is None:
        return Cell(None)
    return Cell(names.get(company_id, str(company_id)), href=reverse("operator-company", args=[company_id]))


def _anomaly(one: Anomaly, names: Names) -> Row:
    return Row(
        cells=[
            Cell(one.kind.replace("_", " "), note=one.reference),
            Cell(one.created_at),
            _company(one.company_id, names),
            Cell(one.cost_usd),
            Cell(one.state or "no call"),
        ],
        href=anomaly_url(one.kind, one.reference),
        actions="operator/_anomaly_actions.html",
    )
