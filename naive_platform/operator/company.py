"""One company: how it stands, everything that happened to it, and what an operator may do about it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import audit
from accounts.errors import InvalidInput
from accounts.models import Company, Membership
from billing import approvals, economics, ledger
from billing.economics import Sum
from billing.errors import WalletNotFound
from billing.ledger import Balance
from naive_platform.dashboard import doors as dashboard
from naive_platform.dashboard import submissions, tables
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table
from naive_platform.operator import companies, doors, notes, timeline
from naive_platform.operator.doors import Desk
from naive_platform.operator.timeline import Cursor, Event

MEMBERS_SHOWN = 20
COLUMNS = (
    Column(title="What", is_title=True),
    Column(title="When", kind="time"),
    Column(title="Credits", kind="credits"),
    Column(title="Who", kind="name", is_hidden_narrow=True),
    Column(title="About"),
)
KINDS = (
    ("", "Everything"),
    ("credits", "Credits"),
    ("usage", "Usage"),
    ("changes", "Changes"),
    ("notes", "Notes"),
)
MOVED = {
    "credit_topup": "Top-up",
    "grant": "Grant",
    "refund": "Refund",
    "correction": "Correction",
    "chargeback": "Chargeback",
}
_EMPTY = {
    "credits": "Nothing has moved its credits but calls. Top up or grant with the button above.",
    "usage": "No call was settled yet.",
    "changes": "Nothing was changed yet.",
    "notes": "Nobody has noted anything. Write a note above.",
}


class NoteForm(forms.Form):
    note = forms.CharField(
        label="Note for other operators",
        max_length=audit.REASON_LENGTH_MAX,
        help_text="The company does not see it. It stays.",
        widget=forms.TextInput,
    )


@doors.page("companies")
def shown(request: HttpRequest, desk: Desk, company_id: UUID) -> HttpResponse:
    return _page(request, desk, doors.company(company_id), NoteForm())


@doors.page("companies", only_post=True)
def note(request: HttpRequest, desk: Desk, company_id: UUID) -> HttpResponse:
    company, form = doors.company(company_id), NoteForm(request.POST)
    if not form.is_valid():
        return _page(request, desk, company, form)
    try:
        is_new = notes.add(
            company=company, text=form.cleaned_data["note"], person_id=desk.person.id, now=timezone.now()
        )
    except InvalidInput as exc:
        submissions.refuse(form, exc)
        return _page(request, desk, company, form)
    return dashboard.done(
        request,
        "Noted." if is_new else "That was noted already.",
        reverse("operator-company", args=[company_id]),
    )


def wallet(company_id: UUID) -> Balance | None:
    """None for a company that was founded past onboarding."""
    try:
        return ledger.balance(company_id=company_id)
    except WalletNotFound:
        return None


def _page(request: HttpRequest, desk: Desk, company: Company, form: NoteForm) -> HttpResponse:
    now = timezone.now()
    kind = request.GET.get("kind", "")
    kind = kind if kind in timeline.KINDS else ""
    found = timeline.page(
        company_id=company.id, cursor=_cursor(request), limit=tables.LIMIT, now=now, kind=kind
    )
    found_wallet = wallet(company.id)
    members = Membership.objects.filter(company=company).select_related("user").order_by("created_at")
    context = {
        "subject": company,
        "wallet": found_wallet,
        "balance_usd": economics.usd_of(found_wallet.balance_nanocredits if found_wallet else 0),
        "month": _month(company.id, now),
        "members": list(members[:MEMBERS_SHOWN]),
        "requests": approvals.list_open(company_id=company.id),
        "kinds": KINDS,
        "kind": kind,
        "note_form": form,
        "table": _table(found, kind, is_first="cursor" not in request.GET),
        "days": companies.DAYS,
    }
    return doors.render(request, desk, "operator/company.html", context, status=400 if form.errors else 200)


def _month(company_id: UUID, now: datetime) -> Sum:
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=companies.DAYS - 1)
    return economics.total(
        economics.summary(first=first, last=today, group_by="company", company_id=company_id)
    )


def _cursor(request: HttpRequest) -> Cursor:
    parts = tables.read_cursor(request.GET, len(timeline.KINDS))
    try:
        return Cursor.read(parts)
    except ValueError as exc:
        raise tables.unknown_page() from exc


def _table(found: timeline.Page, kind: str, *, is_first: bool) -> Table:
    return Table(
        name="timeline",
        caption="Timeline",
        columns=COLUMNS,
        rows=[_row(event) for event in found.events],
        empty=Empty(_EMPTY.get(kind, "Nothing has happened yet.")),
        next_cursor=tables.cursor(*found.after.parts) if found.after else None,
        is_first=is_first,
    )


def _row(event: Event) -> Row:
    what, credits, who, about = Cell(""), Cell(None), Cell(""), Cell("")
    if event.entry is not None:
        entry = event.entry
        what, credits = (
            Cell(MOVED.get(entry.action, entry.action), note=entry.reference),
            Cell(entry.amount_nanocredits),
        )
        who = Cell(entry.actor.removeprefix("operator:") or "the platform")
        about = Cell(entry.note, note=f"for {entry.corrects}" if entry.corrects else "")
    elif event.day is not None:
        day = event.day
        what, credits = Cell(f"Usage of {day.group:%-d %b %Y}"), Cell(-day.charged_nanocredits)
        who = Cell("calls")
        given_back = f", {day.voided_calls:,} given back" if day.voided_calls else ""
        about = Cell(
            f"{day.calls:,} call{'' if day.calls == 1 else 's'}{given_back}",
            note=f"cost ${day.cost_usd:f}",
        )
    elif event.line is not None:
        line = event.line
        what = Cell("Note" if event.kind == "notes" else line.action)
        who = Cell(line.actor_label or line.actor_kind)
        label = line.target_label or line.target_id
        about = Cell(line.reason) if event.kind == "notes" else Cell(label, note=line.reason)
    return Row(cells=[what, Cell(event.day.group if event.day else event.at), credits, who, about])
