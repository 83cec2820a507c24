"""Who changed what, over all companies and the operator's own; and whether the books hold: checks and anchors."""

from datetime import timedelta
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import audit, ids
from accounts.audit import Filters, Line
from accounts.errors import NotFound
from billing import company_figures, days, verifications
from billing.models import Day
from naive_platform.dashboard import audit as log
from naive_platform.dashboard import doors as dashboard
from naive_platform.dashboard import ranges, tables
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table
from naive_platform.operator import doors
from naive_platform.operator.doors import Desk

# Days whose anchors are shown.
ANCHORS = 14
OWN = "operator"


class FilterForm(log.FilterForm):
    """The company's own filters, and of which company."""

    company = forms.CharField(label="Company, id (or operator)", required=False, max_length=40)

    field_order = ["company", *log.FILTERS]  # type: ignore[assignment]


@doors.page("audit")
def listed(request: HttpRequest, desk: Desk) -> HttpResponse:
    form, range = FilterForm(request.GET), ranges.read(request.GET, now=timezone.now())
    form.is_valid()
    given = {name: form.cleaned_data.get(name) or None for name in log.FILTERS}
    filters = Filters(**given, since=range.since, until=range.until)
    found = _page(form, filters, tables.read_id_cursor(request.GET))
    names = company_figures.names([line.company_id for line in found.lines if line.company_id])
    is_narrowed = any(request.GET.get(name) for name in form.fields)
    context = {
        "table": _table(found, names, is_narrowed=is_narrowed, is_first="cursor" not in request.GET),
        "form": form,
        "range": range,
        "is_narrowed": is_narrowed,
    }
    return doors.render(request, desk, "operator/audit.html", context, status=400 if form.errors else 200)


@doors.page("audit")
def entry(request: HttpRequest, desk: Desk, company: str, entry_id: UUID) -> HttpResponse:
    company_id = ids.parse(company)
    line = audit.get(company_id=company_id, entry_id=entry_id) if company_id or company == OWN else None
    if line is None:
        raise NotFound("This entry was not found.", hint="Open the page Audit.")
    context = {
        "line": line,
        "who": log.WHO[line.actor_kind],
        "changes": log.changes_of(line),
        "company_id": company_id,
        "name": company_figures.names([company_id]).get(company_id, "") if company_id else "",
    }
    return doors.render(request, desk, "operator/audit_entry.html", context)


@doors.page("audit")
def books(request: HttpRequest, desk: Desk) -> HttpResponse:
    """When the books were checked, what was found, and what each day's anchor was."""
    now = timezone.now()
    anchored = days.read(first=(now - timedelta(days=ANCHORS)).date(), last=now.date())
    latest = verifications.latest()
    context = {
        "checks": latest,
        "last": next((one for one in latest if one.ended_at), None),
        "waiting": next(
            (one for one in latest if not one.ended_at and now - one.asked_at < verifications.WAITS), None
        ),
        "anchors": _anchors([day for day in anchored if day.anchor]),
    }
    return doors.render(request, desk, "operator/books.html", context)


@doors.page("audit", only_post=True)
def verify(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Have a worker check the books."""
    _, is_new = verifications.ask(asked_by=desk.person.email, now=timezone.now())
    said = (
        "A worker checks the books now; look again in a moment."
        if is_new
        else "A check is under way already."
    )
    return dashboard.done(request, said, reverse("operator-books"))


def _page(form: FilterForm, filters: Filters, before_id: UUID | None) -> audit.Page:
    wanted = form.cleaned_data.get("company", "")
    company_id = ids.parse(wanted)
    if not wanted:
        return audit.everything(filters=filters, limit=tables.LIMIT, before_id=before_id)
    if company_id is None and wanted != OWN:
        form.add_error("company", "Give a company's whole id, or the word operator.")
        return audit.Page(lines=[], before_id=None)
    return audit.page(company_id=company_id, filters=filters, limit=tables.LIMIT, before_id=before_id)


def _table(found: audit.Page, names: dict[UUID, str], *, is_narrowed: bool, is_first: bool) -> Table:
    return Table(
        name="entries",
        caption="Audit log",
        columns=(
            Column(title="What", is_title=True),
            Column(title="When", kind="time"),
            Column(title="Company", kind="name"),
            Column(title="Who", kind="name"),
            Column(title="Of what", kind="name"),
            Column(title="Reason", is_hidden_narrow=True),
        ),
        rows=[_row(line, names) for line in found.lines],
        empty=Empty(
            "Nothing in this time that fits. Choose a longer one, or clear the filters."
            if is_narrowed
            else "Nothing was changed in this time. Choose a longer one."
        ),
        next_cursor=tables.cursor(found.before_id) if found.before_id else None,
        is_first=is_first,
    )


def _row(line: Line, names: dict[UUID, str]) -> Row:
    who, of = log.WHO[line.actor_kind], line.company_id
    return Row(
        cells=[
            Cell(line.action),
            Cell(line.created_at),
            Cell(names.get(of, str(of)), href=reverse("operator-company", args=[of]))
            if of
            else Cell("the operator's own"),
            Cell(
                line.actor_label or who, note=who if line.actor_label and line.actor_kind != "person" else ""
            ),
            Cell(line.target_label or line.target_id, note=line.target_kind.replace("_", " ")),
            Cell(line.reason),
        ],
        href=reverse("operator-audit-entry", args=[of or OWN, line.id]),
        id=str(line.id),
    )


def _anchors(found: list[Day]) -> Table:
    return Table(
        name="anchors",
        caption="Anchors",
        columns=(
            Column(title="Day", kind="day", is_title=True),
            Column(title="Companies", kind="count"),
            Column(title="Anchor", kind="code"),
            Column(title="Written", kind="time", is_hidden_narrow=True),
        ),
        rows=[
            Row([Cell(day.day), Cell(day.anchor_companies), Cell(day.anchor), Cell(day.read_at)])
            for day in found
        ],
        empty=Empty("No day is anchored yet. The first is, after midnight UTC."),
    )
