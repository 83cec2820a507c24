"""The audit log: who changed what, before and after, from where; narrowed by its URL, taken away as a file."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import audit
from accounts.audit import Filters, Line
from accounts.errors import InvalidInput, NotFound
from accounts.models import AuditEntry
from naive_platform.api import audit as api
from naive_platform.dashboard import doors, ranges, submissions, tables
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.ranges import Range
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table

COLUMNS = (
    Column(title="What", is_title=True),
    Column(title="When", kind="time"),
    Column(title="Who"),
    Column(title="Of what"),
    Column(title="From", kind="word", is_hidden_narrow=True),
)
FILTERS = ("action", "actor_kind", "actor_id", "target_kind", "target_id", "request_id")
WHO = {
    "key": "API key",
    "session": "user's token",
    "person": "person",
    "operator": "operator",
    "platform": "the platform",
}


class FilterForm(forms.Form):
    """What narrows the log; each is a parameter of the page's URL."""

    action = forms.CharField(required=False, max_length=64)
    actor_kind = forms.ChoiceField(
        label="Who",
        required=False,
        choices=[("", "anybody"), *((kind, WHO[kind]) for kind in AuditEntry.Actor.values)],
    )
    actor_id = forms.UUIDField(
        label="Who, by id", required=False, error_messages={"invalid": "Enter a whole id, or nothing."}
    )
    target_kind = forms.CharField(label="Of what kind", required=False, max_length=32)
    target_id = forms.CharField(label="Of what, by id", required=False, max_length=255)
    request_id = forms.CharField(label="Request id", required=False, max_length=64)

    field_order = FILTERS


@dataclass(frozen=True, slots=True)
class Change:
    """One field that an entry changed, as text; None where it was, or became, nothing."""

    name: str
    before: str | None
    after: str | None


@doors.page("audit")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    now = timezone.now()
    form, range = FilterForm(request.GET), ranges.read(request.GET, now=now)
    # What cannot be read narrows nothing, and says so at its field.
    filters = _filters(form, range)
    found = audit.page(
        company_id=place.company_id,
        filters=filters,
        limit=tables.LIMIT,
        before_id=tables.read_id_cursor(request.GET),
    )
    is_narrowed = any(form.data.get(name) for name in FILTERS)
    context = {
        "table": _table(found, is_narrowed=is_narrowed, is_first="cursor" not in request.GET),
        "form": form,
        "range": range,
        "is_narrowed": is_narrowed,
        "may_export": place.may("audit-export"),
    }
    return doors.render(
        request, place, "dashboard/audit.html", context, status=200 if form.is_valid() else 400
    )


@doors.page("audit")
def entry(request: HttpRequest, place: Place, entry_id: str) -> HttpResponse:
    absent = NotFound("This entry was not found.", hint="Open the page Audit log.")
    line = audit.get(company_id=place.company_id, entry_id=submissions.id_of(entry_id, absent))
    if line is None:
        raise absent
    context = {"line": line, "who": WHO[line.actor_kind], "changes": changes_of(line)}
    name = "_audit_entry" if doors.is_htmx(request) else "audit_entry"
    return doors.render(request, place, f"dashboard/{name}.html", context)


@doors.page("audit", route="audit-export")
def export(request: HttpRequest, place: Place) -> HttpResponse:
    """All entries that the page's URL names, as a file."""
    wanted = request.GET.get("format", "csv")
    if wanted not in api.FORMATS:
        raise InvalidInput(
            f"format: must be one of {', '.join(api.FORMATS)}.", hint="Choose a file on the page."
        )
    form = FilterForm(request.GET)
    filters = _filters(form, ranges.read(request.GET, now=timezone.now()))
    if not form.is_valid():
        raise InvalidInput("A filter cannot be read.", hint="Correct it on the page, then export again.")
    file = api.file(company_id=place.company_id, filters=filters, wanted=wanted, now=timezone.now())
    # A door gives an answer its headers, and it has them as any other.
    return cast("HttpResponse", file)


def changes_of(line: Line) -> list[Change]:
    """What an entry changed, field by field; what is nested is named by its path."""
    before, after = _flat(line.before), _flat(line.after)
    return [
        Change(name, before.get(name), after.get(name))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def _flat(text: str | None) -> dict[str, str]:
    return dict(_leaves("", json.loads(text, parse_float=_as_written))) if text else {}


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, inner)
    elif isinstance(value, str):
        yield path, value
    elif value is not None:
        yield path, json.dumps(value, ensure_ascii=False)


def _as_written(number: str) -> str:
    """A number of the log to its last digit."""
    return number


def _filters(form: FilterForm, range: Range) -> Filters:
    form.is_valid()
    given = {name: form.cleaned_data.get(name) or None for name in FILTERS}
    return Filters(**given, since=range.since, until=range.until)


def _table(found: audit.Page, *, is_narrowed: bool, is_first: bool) -> Table:
    return Table(
        name="entries",
        caption="Audit log",
        columns=COLUMNS,
        rows=[_row(line) for line in found.lines],
        empty=Empty(
            "Nothing in this time that fits. Choose a longer one, or clear the filters."
            if is_narrowed
            else "Nothing was changed in this time. Choose a longer one."
        ),
        next_cursor=tables.cursor(found.before_id) if found.before_id else None,
        is_first=is_first,
    )


def _row(line: Line) -> Row:
    url = reverse("dashboard-audit-entry", args=[line.id])
    who = WHO[line.actor_kind]
    return Row(
        (
            Cell(line.action),
            Cell(line.created_at),
            Cell(
                line.actor_label or who, note=who if line.actor_label and line.actor_kind != "person" else ""
            ),
            Cell(line.target_label or line.target_id, note=line.target_kind.replace("_", " ")),
            Cell(line.ip),
        ),
        href=url,
        drawer=url,
        id=str(line.id),
    )
