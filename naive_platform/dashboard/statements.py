"""Billing, Statements: a company's months, and one of them as a page, as CSV and as PDF."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts.errors import NotFound
from accounts.models import Company
from billing import entries, money, usage
from billing.entries import Month
from billing.usage import Usage
from naive_platform import sheets
from naive_platform.dashboard import doors, statement_pdf
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.ledger_filters import ACTIONS
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table

# Months in the list; what is older is there by its address.
MONTHS_SHOWN = 48
MODELS_SHOWN = 50
_MONTH = re.compile(r"20\d{2}-(0[1-9]|1[0-2])")
_HEAD = ("section", "name", "count", "amount_credits", "cost_usd")


@dataclass(frozen=True, slots=True)
class Statement:
    """One month of one company. `as_of` is how far it goes: the month's end, or now while it runs."""

    company: Company
    month: Month
    models: list[Usage]
    as_of: datetime

    @property
    def name(self) -> str:
        return f"{self.month.starts_at:%Y-%m}"


@doors.page("billing", route="statement")
def statements_page(request: HttpRequest, place: Place) -> HttpResponse:
    context = {"tab": "statements", "table": _months(place, now=timezone.now())}
    return doors.render(request, place, "dashboard/billing_statements.html", context)


@doors.page("billing", route="statement")
def statement_page(request: HttpRequest, place: Place, month: str) -> HttpResponse:
    found = read(place, month=month, now=timezone.now())
    context = {
        "tab": "statements",
        "statement": found,
        "lines": [(ACTIONS[line.action], line) for line in found.month.sums],
        "table": _models(found),
    }
    return doors.render(request, place, "dashboard/statement.html", context)


@doors.page("billing", route="statement")
def statement_csv(request: HttpRequest, place: Place, month: str) -> StreamingHttpResponse:
    found = read(place, month=month, now=timezone.now())

    def batch(_: object) -> tuple[list[list[Any]], None]:
        return _lines(found), None

    return sheets.answer(name=f"statement-{found.company.slug}-{found.name}.csv", head=_HEAD, batch=batch)


@doors.page("billing", route="statement")
def statement_pdf_file(request: HttpRequest, place: Place, month: str) -> HttpResponse:
    found = read(place, month=month, now=timezone.now())
    file = statement_pdf.write(
        company=found.company, month=found.month, models=found.models, as_of=found.as_of
    )
    answer = HttpResponse(file, content_type="application/pdf")
    answer["Content-Disposition"] = f'attachment; filename="statement-{found.company.slug}-{found.name}.pdf"'
    return answer


def read(place: Place, *, month: str, now: datetime) -> Statement:
    """A month as the ledger has it, and what its calls came to by model. Errors: NotFound for no month of theirs."""
    first_day = date(int(month[:4]), int(month[5:]), 1) if _MONTH.fullmatch(month) else None
    if first_day is None or first_day > now.date():
        raise NotFound(f"There is no statement of {month[:20]!r}.", hint="Choose a month of the list.")
    found = entries.month(company_id=place.company_id, first_day=first_day, now=now)
    models = usage.summary(
        company_id=place.company_id, since=found.starts_at, until=found.ends_at, group_by="model"
    )
    return Statement(
        company=place.company,
        month=found,
        models=models,
        as_of=min(now, found.ends_at),
    )


def _months(place: Place, *, now: datetime) -> Table:
    """The company's months, the latest first, each with how it began and ended."""
    began_at = entries.first_at(company_id=place.company_id)
    starts = [] if began_at is None else _starts(began_at, now)
    balances = entries.balances_before(
        company_id=place.company_id, instants=[*starts, entries.month_of(now.date())[1]]
    )
    rows = [
        _month_row(
            start, opening=balances[place_], closing=balances[place_ + 1], is_closed=start != starts[-1]
        )
        for place_, start in enumerate(starts)
    ]
    return Table(
        name="statements",
        caption="Statements",
        columns=(
            Column(title="Month", is_title=True),
            Column(title="State", kind="state"),
            Column(title="Opening balance", kind="credits"),
            Column(title="Moved", kind="credits"),
            Column(title="Closing balance", kind="credits"),
        ),
        rows=rows[::-1],
        empty=Empty("There is no month yet: the first entry of the ledger begins one."),
    )


def _starts(began_at: datetime, now: datetime) -> list[datetime]:
    """The first instant of each month since then, the oldest first, MONTHS_SHOWN at most."""
    found, at = [], entries.month_of(began_at.date())[0]
    while at <= now:
        found.append(at)
        at = entries.month_of(at.date())[1]
    return found[-MONTHS_SHOWN:]


def _month_row(start: datetime, *, opening: int, closing: int, is_closed: bool) -> Row:
    name = f"{start:%Y-%m}"
    files = {kind: reverse(f"dashboard-billing-statement-{kind}", args=[name]) for kind in ("csv", "pdf")}
    return Row(
        [
            Cell(f"{start:%B %Y}"),
            Cell("final" if is_closed else "running"),
            Cell(opening),
            Cell(closing - opening),
            Cell(closing),
        ],
        href=reverse("dashboard-billing-statement", args=[name]),
        id=name,
        actions="dashboard/_statement_files.html",
        context={"month": f"{start:%B %Y}", **files},
    )


def _models(found: Statement) -> Table:
    beyond = len(found.models) - MODELS_SHOWN
    return Table(
        name="statement-models",
        caption="Usage by model",
        columns=(
            Column(title="Model", is_title=True),
            Column(title="Calls", kind="count"),
            Column(title="Tokens, in → out", kind="tokens", is_hidden_narrow=True),
            Column(title="Upstream cost", kind="usd"),
            Column(title="Credits", kind="credits"),
        ),
        rows=[
            Row(
                [
                    Cell(one.group),
                    Cell(one.calls),
                    Cell((one.tokens_prompt, one.tokens_completion)),
                    Cell(one.cost_usd),
                    Cell(one.charged_nanocredits),
                ]
            )
            for one in found.models[:MODELS_SHOWN]
        ],
        empty=Empty("No call was settled in this month."),
        note=f"{beyond} more models are in the CSV." if beyond > 0 else "",
    )


def _lines(found: Statement) -> list[list[Any]]:
    month, credits = found.month, money.credits_from_nanocredits
    return [
        ["company", found.company.name, "", "", ""],
        ["month", found.name, "", "", ""],
        ["as of", found.as_of, "", "", ""],
        ["balance", "opening", "", credits(month.opening_nanocredits), ""],
        *(["entries", line.action, line.count, credits(line.amount_nanocredits), ""] for line in month.sums),
        ["balance", "closing", "", credits(month.closing_nanocredits), ""],
        *(
            ["usage", one.group, one.calls, -credits(one.charged_nanocredits), one.cost_usd]
            for one in found.models
        ),
    ]
