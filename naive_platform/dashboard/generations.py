"""Generations: the request log of a company, its filters, and each call with how its charge was reckoned."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Context, Decimal, Inexact
from typing import Any
from uuid import UUID

from django.db.models import TextField, Value
from django.db.models.functions import Cast, Coalesce, Concat, NullIf
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from accounts import ids
from accounts.errors import NotFound
from accounts.models import AccountKit, APIKey, TenantUser
from billing import money, usage
from llm import history
from llm.history import Page, Story
from llm.models import Generation
from naive_platform.dashboard import doors, prompts, ranges, tables
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.generation_filters import FilterForm
from naive_platform.dashboard.ranges import Range
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table

# What the field for a model offers: the dearest of the last days.
MODELS_OFFERED = 100
MODELS_SINCE = timedelta(days=7)
# A quotient that does not end is shown so far, and its charge rounded up all the same.
_QUOTIENT = Context(prec=40)
_EXACT = Context(prec=400, traps=[Inexact])
_SOURCES: Mapping[str, str] = {
    "inline": "Upstream's answer told its cost.",
    "stream": "Upstream's last chunk told its cost.",
    "generation": "Upstream's record of the call told its cost.",
    "broadcast": "Upstream's broadcast told its cost.",
    "estimate": "Our estimate of what was seen of it; upstream's record was not there.",
    "no_evidence": "Upstream knows nothing of it.",
    "operator": "A person at the operator decided.",
}


@dataclass(frozen=True, slots=True)
class Reckoning:
    """How a cost becomes a charge, step by step and exact. Units: USD, credits; `charged` nanocredits.

    `credits` is the quotient before rounding, to 40 digits where it does not end (`is_endless`).
    """

    cost_usd: Decimal
    markup: Decimal
    price_usd: Decimal
    credit_value_usd: Decimal
    credits: str
    is_endless: bool
    is_rounded: bool
    charged_nanocredits: int


@dataclass(frozen=True, slots=True)
class Step:
    """One settlement or correction of a call, and what it changed. Units: nanocredits."""

    title: str
    source: str
    said: str
    cost_usd: Decimal | None
    charged_nanocredits: int
    difference_nanocredits: int
    at: Any


@dataclass(frozen=True, slots=True)
class Call:
    """Everything the page of one call shows beyond its row. Units: nanocredits."""

    story: Story
    user: str
    key: str
    kit: str
    reckoning: Reckoning | None
    steps: list[Step]
    held_first_nanocredits: int
    extended_nanocredits: int
    given_back_nanocredits: int | None
    overrun_nanocredits: int
    tokens: tuple[int, int] | None
    first_answer_ms: int | None
    duration_ms: int | None
    is_corrected: bool

    @property
    def public_id(self) -> str:
        return f"{history.OURS}{self.story.generation.hold_id}"


@doors.page("generations")
def generations(request: HttpRequest, place: Place) -> HttpResponse:
    now = timezone.now()
    wanted = request.GET.get("q", "").strip()
    missed = ""
    if wanted:
        try:
            found = history.find(company_id=place.company_id, wanted=wanted)
        except NotFound as exc:
            missed = f"{exc.message} {exc.hint}"
        else:
            return redirect("dashboard-generations-call", f"{history.OURS}{found}")
    span = ranges.read(request.GET, now=now)
    form = FilterForm(request.GET, company_id=place.company_id)
    context = {
        "range": span,
        "form": form,
        "models": _models(place.company_id, span),
        "kept": [
            (name, request.GET[name]) for name in ("range", "from", "to", "sort") if name in request.GET
        ],
        "wanted": wanted,
        "missed": missed,
        "table": _table(request, place, form, span),
        "export_query": _query(request),
    }
    return doors.render(request, place, "dashboard/generations.html", context)


@doors.page("generations")
def generation(request: HttpRequest, place: Place, wanted: str) -> HttpResponse:
    """One call, beside the list (htmx) or on a page of its own."""
    ours = ids.parse(wanted.removeprefix(history.OURS))
    hold_id = ours or history.find(company_id=place.company_id, wanted=wanted)
    context = {
        "call": call(company_id=place.company_id, hold_id=hold_id),
        **prompts.opener(place, hold_id),
    }
    name = "_generations_call" if doors.is_htmx(request) else "generations_call"
    return doors.render(request, place, f"dashboard/{name}.html", context)


def call(*, company_id: UUID, hold_id: UUID) -> Call:
    """One call of this company's, ready to be shown. Errors: NotFound."""
    story = history.read(company_id=company_id, hold_id=hold_id)
    row = story.generation
    names = _names(company_id, row)
    extended = sum(one.amount_nanocredits for one in story.extensions)
    charged = row.charged_nanocredits
    return Call(
        story=story,
        user=names.get(row.tenant_user_id, ""),
        key=names.get(row.key_id, ""),
        kit=names.get(row.kit_id, ""),
        reckoning=_reckoning(story),
        steps=_steps(story),
        held_first_nanocredits=row.held_nanocredits - extended,
        extended_nanocredits=extended,
        given_back_nanocredits=None if charged is None else max(row.held_nanocredits - charged, 0),
        overrun_nanocredits=max((charged or 0) - row.held_nanocredits, 0),
        tokens=history.tokens(row),
        first_answer_ms=history.fact(row, "latency_ms"),
        duration_ms=history.fact(row, "duration_ms"),
        is_corrected=bool(story.corrections),
    )


def reckon(
    *, cost_usd: Decimal, markup: Decimal, credit_value_usd: Decimal, charged_nanocredits: int
) -> Reckoning:
    """The steps from a cost to a charge; the books have made the charge already (docs/books.md, "Exact numbers")."""
    price = _EXACT.multiply(cost_usd, markup)
    context = _QUOTIENT.copy()
    credits = context.divide(price, credit_value_usd)
    text = format(credits.normalize(context), "f")
    return Reckoning(
        cost_usd=cost_usd,
        markup=markup,
        price_usd=price,
        credit_value_usd=credit_value_usd,
        credits=text,
        is_endless=bool(context.flags[Inexact]),
        is_rounded=credits != money.credits_from_nanocredits(charged_nanocredits),
        charged_nanocredits=charged_nanocredits,
    )


def columns(*, is_sorted: bool) -> list[Column]:
    """Of every table of calls."""
    return [
        Column(title="Time", kind="time", sort="time" if is_sorted else None),
        Column(title="Model", is_title=True),
        Column(title="User", kind="name"),
        Column(title="State", kind="state"),
        Column(title="Tokens, in → out", kind="tokens"),
        Column(title="First answer", kind="count", is_hidden_narrow=True),
        Column(title="Cost", kind="usd"),
        Column(title="Credits", kind="credits"),
    ]


def rows(calls: Collection[Generation], users: Mapping[UUID, TenantUser]) -> list[Row]:
    """Rows of a table of calls; `users` are of the same company, and a user that is not among them stays unnamed."""
    return [_row(one, users.get(one.tenant_user_id)) for one in calls]


def users_of(company_id: UUID, calls: Collection[Generation], *others: UUID) -> dict[UUID, TenantUser]:
    """Whom calls were for, and those others; one query, none where there is nobody."""
    wanted = {one.tenant_user_id for one in calls} | set(others)
    return TenantUser.objects.filter(company_id=company_id).in_bulk(wanted)


def _row(one: Generation, user: TenantUser | None) -> Row:
    first_ms = history.fact(one, "latency_ms")
    charged = one.charged_nanocredits
    held = f"held {money.json_number(one.held_nanocredits)}" if charged is None else ""
    return Row(
        [
            Cell(one.created_at),
            Cell(one.model or "no model"),
            Cell(None if user is None else str(user)),
            Cell(one.state, note=_remark(one)),
            Cell(history.tokens(one)),
            Cell(first_ms, note="" if first_ms is None else "ms"),
            Cell(one.cost_usd),
            Cell(charged, note=held),
        ],
        href=_href(one.hold_id),
        drawer=_href(one.hold_id),
        id=str(one.hold_id),
    )


def _remark(one: Generation) -> str:
    """What stands behind a call's state."""
    if one.charged_nanocredits is not None and one.charged_nanocredits > one.held_nanocredits:
        return "overrun"
    return "estimate" if one.source == "estimate" else ""


def _names(company_id: UUID, one: Generation) -> dict[UUID, str]:
    """What the call's user, key and kit are called; one query, and nothing for what is another company's."""
    user = TenantUser.objects.filter(company_id=company_id, id=one.tenant_user_id)
    key = APIKey.objects.filter(company_id=company_id, id=one.key_id)
    kit = AccountKit.objects.filter(company_id=company_id, id=one.kit_id)
    named = Coalesce(
        NullIf("label", Value("")), "external_id", Cast("id", TextField()), output_field=TextField()
    )
    found = user.values_list("id", named).union(
        key.values_list(
            "id", Concat("name", Value(" \N{HORIZONTAL ELLIPSIS}"), "last_4", output_field=TextField())
        ),
        kit.values_list("id", Cast("name", TextField())),
        all=True,
    )
    return dict(found)


def _href(hold_id: UUID) -> str:
    return reverse("dashboard-generations-call", args=[f"{history.OURS}{hold_id}"])


def _table(request: HttpRequest, place: Place, form: FilterForm, span: Range) -> Table:
    sort = tables.read_sort(request.GET, ("time",), "-time")
    after_id = tables.read_id_cursor(request.GET)
    found = Page([], after_id=None)
    if form.is_valid():
        found = history.page(
            company_id=place.company_id,
            filters=form.filters(span),
            limit=tables.LIMIT,
            after_id=after_id,
            is_oldest_first=sort == "time",
        )
    one = form.chosen_user
    users = {one.id: one} if one else users_of(place.company_id, found.generations)
    return Table(
        name="calls",
        caption="Generations",
        columns=columns(is_sorted=True),
        rows=rows(found.generations, users),
        empty=_empty(form, found),
        next_cursor=None if found.after_id is None else tables.cursor(found.after_id),
        is_first=after_id is None,
        sort=sort,
        export_href=f"{reverse('dashboard-exports-file', args=['generations'])}?{_query(request)}",
        note=_looked(found),
    )


def _looked(found: Page) -> str:
    if found.looked_to is None:
        return ""
    return (
        f"Looked through {found.looked_at:,} calls, up to {found.looked_to:%-d %b %Y %H:%M} UTC;"
        " the next page goes on from there."
    )


def _empty(form: FilterForm, found: Page) -> Empty:
    here = reverse("dashboard-generations")
    if form.errors:
        return Empty(
            "A filter above means nothing here. Correct it, or clear them all.", "Clear filters", here
        )
    if found.looked_to is not None:
        return Empty(
            "None of them so far matches the filters. Go on with the next page, or choose a shorter time."
        )
    if form.is_used:
        return Empty("No call of this time matches the filters.", "Clear filters", here)
    return Empty(
        "No calls in this time. Each call stands here with its tokens, its cost and its credits as soon as it is made.",
        "Make a call",
        reverse("dashboard-playground"),
    )


def _query(request: HttpRequest) -> str:
    """The URL's words without those of a place in the list."""
    query = request.GET.copy()
    for name in ("cursor", "sort", "q"):
        query.pop(name, None)
    return query.urlencode()


def _models(company_id: UUID, span: Range) -> list[str]:
    since = max(span.since, span.until - MODELS_SINCE)
    found = usage.summary(company_id=company_id, since=since, until=span.until, group_by="model")
    return [str(one.group) for one in found[:MODELS_OFFERED] if one.group]


def _reckoning(story: Story) -> Reckoning | None:
    row = story.generation
    if row.cost_usd is None or row.charged_nanocredits is None:
        return None
    return reckon(
        cost_usd=row.cost_usd,
        markup=story.hold.markup,
        credit_value_usd=story.hold.credit_value_usd,
        charged_nanocredits=row.charged_nanocredits,
    )


def _steps(story: Story) -> list[Step]:
    if story.settlement is None:
        return []
    settled = story.settlement
    steps = [
        Step(
            title="Settled" if settled.kind == settled.Kind.POST else "Given back",
            source=settled.source,
            said=_SOURCES.get(settled.source, ""),
            cost_usd=settled.cost_usd,
            charged_nanocredits=settled.charged_nanocredits,
            difference_nanocredits=0,
            at=settled.created_at,
        )
    ]
    for one in story.corrections:
        steps.append(
            Step(
                title=f"Correction {one.number}",
                source=one.source,
                said=_SOURCES.get(one.source, ""),
                cost_usd=one.cost_usd,
                charged_nanocredits=one.charged_nanocredits,
                # As the ledger has it: what gives credits back is positive.
                difference_nanocredits=steps[-1].charged_nanocredits - one.charged_nanocredits,
                at=one.created_at,
            )
        )
    return steps
