"""All companies: what they have, spend and leave; searched by whatever somebody in an e-mail calls them by."""

from datetime import UTC, timedelta
from typing import cast
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import ids
from accounts.models import CompanyStatus
from billing import approvals, company_figures
from billing.company_figures import Line, Order
from naive_platform.dashboard import tables
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table
from naive_platform.operator import doors
from naive_platform.operator.doors import Desk

# What is spent is told over so many days, today among them.
DAYS = 30
COLUMNS = (
    Column(title="Company", sort="name", is_title=True),
    Column(title="Status", kind="state"),
    Column(title="Balance", kind="credits", sort="balance"),
    Column(title="Held", kind="credits", sort="held", is_hidden_narrow=True),
    Column(title="Spend, 30 days", kind="credits", sort="spend"),
    Column(title="Margin, 30 days", kind="usd", sort="margin"),
    Column(title="Since", kind="day", sort="created", is_hidden_narrow=True),
)
SORTS = [column.sort for column in COLUMNS if column.sort]


class FilterForm(forms.Form):
    """What narrows the list; each is a parameter of the page's URL."""

    search = forms.CharField(
        required=False,
        max_length=254,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Name, id, e-mail or key's last 4"}),
    )
    status = forms.ChoiceField(
        required=False,
        choices=[("", "any"), *((word, word) for word in CompanyStatus.values), ("frozen", "frozen")],
    )


@doors.page("companies")
def listed(request: HttpRequest, desk: Desk) -> HttpResponse:
    form = FilterForm(request.GET)
    said = form.cleaned_data if form.is_valid() else {}
    sort = tables.read_sort(request.GET, SORTS, "-spend")
    today = timezone.now().astimezone(UTC).date()
    found = company_figures.page(
        first=today - timedelta(days=DAYS - 1),
        last=today,
        limit=tables.LIMIT,
        order=cast("Order", sort.removeprefix("-")),
        is_descending=sort.startswith("-"),
        search=said.get("search", ""),
        status=said.get("status", ""),
        after=_after(request, cast("Order", sort.removeprefix("-"))),
    )
    table = Table(
        name="companies",
        caption="Companies",
        columns=COLUMNS,
        rows=[_row(line) for line in found.lines],
        empty=Empty(
            "No company is like that. Search for less, or clear the filters.", "All companies", request.path
        )
        if said.get("search") or said.get("status")
        else Empty("No company yet. They come by signing up."),
        next_cursor=tables.cursor(*found.after) if found.after else None,
        is_first="cursor" not in request.GET,
        sort=sort,
    )
    context = {
        "table": table,
        "form": form,
        "is_narrowed": any(said.values()),
        "requests": approvals.list_open(),
    }
    return doors.render(request, desk, "operator/companies.html", context)


def _row(line: Line) -> Row:
    percent = line.margin_percent
    return Row(
        cells=[
            Cell(line.name, note=line.slug),
            Cell(line.state),
            Cell(line.balance_nanocredits),
            Cell(line.held_nanocredits),
            Cell(line.charged_nanocredits),
            Cell(line.margin_usd, note="" if percent is None else f"{percent} %"),
            Cell(line.created_at),
        ],
        href=reverse("operator-company", args=[line.id]),
        id=str(line.id),
    )


def _after(request: HttpRequest, order: Order) -> tuple[str, UUID] | None:
    parts = tables.read_cursor(request.GET, 2)
    if parts is None:
        return None
    company_id = ids.parse(parts[1])
    if company_id is None or not company_figures.is_place(parts[0], order):
        raise tables.unknown_page()
    return parts[0], company_id
