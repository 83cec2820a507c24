"""The dashboard's first page: what a company has, spends and calls over a time, and how it makes its first call."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, Q
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.utils import timezone

from accounts.models import AccountKit, APIKey, Company, TenantUser
from accounts.webhook_models import WebhookEndpoint
from billing import breakdowns, money, usage
from billing.breakdowns import Breakdown, Sum
from billing.ledger import Balance
from billing.models import Entry
from billing.usage import Usage
from llm import history
from llm.history import FirstAnswers
from llm.models import Generation
from naive_platform.dashboard import billing, doors, generations, ranges
from naive_platform.dashboard.charts import Chart, Series
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.ranges import Range
from naive_platform.dashboard.tables import Empty, Table

CALLS_SHOWN = 10
# Of models; each has a colour of its own in the chart, and one is left for all others.
MODELS_SHOWN = 5
KEYS_SHOWN = 3
OTHERS = "Others"

type Unit = Literal["credits", "count", "text"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the range, and what it was in the range before; None is not known. Units: credits nanocredits."""

    title: str
    unit: Unit
    value: int | str | None
    was: int | str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Top:
    """One model or user among those that were charged most."""

    name: str
    href: str
    requests: int
    charged_nanocredits: int


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a company does in the beginning; `href` empty where this person may not."""

    title: str
    text: str
    is_done: bool
    action: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything the page shows of one company. `steps` is empty once all of them are done."""

    wallet: Balance
    is_low: bool
    figures: list[Figure]
    charts: list[Chart]
    models: list[Top]
    users: list[Top]
    calls: Table
    steps: list[Step]
    has_calls: bool
    timed_max: int
    keys: list[APIKey]


@doors.page("overview")
def overview(request: HttpRequest, place: Place) -> HttpResponse:
    now = timezone.now()
    span = ranges.read(request.GET, now=now)
    context = {
        "range": span,
        "overview": read(place=place, span=span, now=now),
        "curl": curl(doors.base_url(request)),
        "base_url": doors.base_url(request),
        "is_configured": bool(settings.OPENROUTER_API_KEY or settings.UPSTREAM_IS_SIMULATOR),
    }
    return doors.render(request, place, "dashboard/overview.html", context)


def read(*, place: Place, span: Range, now: datetime) -> Overview:
    """Read the page's content: a fixed number of queries, each of them of this company alone."""
    company_id = place.company_id
    span = _whole_hours(span)
    found = breakdowns.read(
        company_id=company_id, since=span.since, until=span.until, is_hourly=span.is_short
    )
    before = usage.summary(company_id=company_id, since=span.before.since, until=span.before.until)
    timed = history.first_answers(company_id=company_id, since=span.since, until=span.until)
    calls = list(Generation.objects.filter(company_id=company_id).order_by("-hold_id")[:CALLS_SHOWN])
    users = generations.users_of(company_id, calls, *(user_id for user_id, _ in found.users))
    wallet = billing.wallet(place)
    return Overview(
        wallet=wallet,
        is_low=_is_low(wallet, place.company),
        figures=_figures(found.total, before[0] if before else None, timed),
        charts=_charts(found, span),
        models=_models(found),
        users=_users(found, users),
        calls=_calls(calls, users),
        steps=_steps(place, has_calls=bool(calls), now=now),
        has_calls=bool(calls),
        timed_max=history.TIMED_MAX,
        keys=[] if calls else _keys(company_id, now),
    )


def curl(base_url: str) -> str:
    """A line to paste that makes a call; the key is where the shell finds it."""
    return (
        f"curl -N {base_url}/v1/llm/chat/completions \\\n"
        '  -H "Authorization: Bearer $NAIVE_API_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        """  -d '{"model": "openai/gpt-4o-mini", "stream": true,\n"""
        """       "messages": [{"role": "user", "content": "Write a haiku about Paris."}]}'"""
    )


def _whole_hours(span: Range) -> Range:
    """The rollups know hours: the range begins with one, so that the one before it ends there."""
    return Range(
        since=span.since.replace(minute=0, second=0, microsecond=0), until=span.until, name=span.name
    )


def _is_low(wallet: Balance, company: Company) -> bool:
    """As billing/credit_events.py tells companies: what is not held, without a credit line."""
    left = wallet.balance_nanocredits - wallet.held_nanocredits
    return left < money.nanocredits_from_credits(company.low_credits)


def _figures(total: Sum, before: Usage | None, timed: FirstAnswers) -> list[Figure]:
    was = Sum(0, 0, 0, 0, 0)
    if before is not None:
        was = Sum(
            before.calls,
            before.voided_calls,
            before.tokens_prompt,
            before.tokens_completion,
            before.charged_nanocredits,
        )
    note = (
        f"of {timed.calls:,} streams among the newest {history.TIMED_MAX:,} calls"
        if timed.calls
        else "no streams"
    )
    return [
        Figure("Spend", "credits", total.charged_nanocredits, was.charged_nanocredits),
        Figure("Requests", "count", total.ended, was.ended),
        Figure("Tokens", "count", total.tokens, was.tokens),
        Figure(
            "Error rate", "text", _rate(total), _rate(was), f"{total.voided_calls:,} calls that cost nothing"
        ),
        Figure("First token, p50", "text", _ms(timed.p50_ms), note=note),
        Figure("First token, p95", "text", _ms(timed.p95_ms), note=note),
    ]


def _rate(total: Sum) -> str | None:
    if not total.ended:
        return None
    return f"{Decimal(100 * total.voided_calls) / total.ended:.2f} %"


def _ms(found: int | None) -> str | None:
    return None if found is None else f"{found:,} ms"


def _charts(found: Breakdown, span: Range) -> list[Chart]:
    shown = [model for model, _ in found.models[:MODELS_SHOWN]]
    spent: dict[tuple[datetime, str | None], int] = {}
    asked: dict[tuple[datetime, str], int] = {}
    for one in found.slices:
        name = one.model if one.model in shown else None
        spent[one.instant, name] = spent.get((one.instant, name), 0) + one.sum.charged_nanocredits
        for title, calls in (("Charged", one.sum.calls), ("Free", one.sum.voided_calls)):
            asked[one.instant, title] = asked.get((one.instant, title), 0) + calls
    names: Sequence[str | None] = shown if len(shown) == len(found.models) and shown else [*shown, None]
    instants, step = span.instants, "hour" if span.is_short else "day"
    return [
        Chart(
            name="spend",
            title=f"Credits by {step} and model",
            unit="credits",
            instants=instants,
            series=[
                Series(
                    (name or "no model") if name is not None else OTHERS,
                    [money.credits_from_nanocredits(spent.get((at, name), 0)) for at in instants],
                )
                for name in names
            ],
            is_hourly=span.is_short,
        ),
        Chart(
            name="requests",
            title=f"Requests by {step}",
            unit="count",
            instants=instants,
            series=[
                Series(name, [asked.get((at, name), 0) for at in instants]) for name in ("Charged", "Free")
            ],
            is_hourly=span.is_short,
        ),
    ]


def _models(found: Breakdown) -> list[Top]:
    return [
        Top(model or "no model", _filtered(model=model), total.ended, total.charged_nanocredits)
        for model, total in found.models[:MODELS_SHOWN]
    ]


def _users(found: Breakdown, users: dict[UUID, TenantUser]) -> list[Top]:
    return [
        Top(
            str(users.get(user_id, "unknown")),
            _filtered(user=str(user_id)),
            total.ended,
            total.charged_nanocredits,
        )
        for user_id, total in found.users
    ]


def _filtered(**words: str) -> str:
    ((name, value),) = words.items()
    query = QueryDict(mutable=True)
    query[name] = value
    return f"{reverse('dashboard-generations')}?{query.urlencode()}"


def _calls(calls: Sequence[Generation], users: dict[UUID, TenantUser]) -> Table:
    return Table(
        name="calls",
        caption="Last calls",
        columns=generations.columns(is_sorted=False),
        rows=generations.rows(calls, users),
        empty=Empty("No calls yet. Run the line above, then load this page again: each call stands here."),
    )


def _steps(place: Place, *, has_calls: bool, now: datetime) -> list[Step]:
    """What a company does in the beginning; none of it once all is done."""
    of_company = {"company_id": place.company_id}
    has_key, has_kit, has_webhook, has_topup = (
        Company.objects.filter(id=place.company_id)
        .values_list(
            Exists(APIKey.objects.live(now).filter(**of_company)),
            Exists(AccountKit.objects.filter(**of_company).filter(Q(version__gt=1) | Q(is_default=False))),
            Exists(WebhookEndpoint.objects.filter(**of_company)),
            Exists(Entry.objects.filter(**of_company, action=Entry.Action.CREDIT_TOPUP)),
        )
        .get()
    )
    steps = [
        Step(
            "Make an API key",
            "It is shown once, when it is made. Only its last four characters are kept.",
            has_key,
            *_link(place, "keys", "API keys"),
        ),
        Step(
            "Make a call",
            "With the key, and the line below.",
            has_calls,
            *_link(place, "users", "Playground", "playground"),
        ),
        Step(
            "Set an Account Kit",
            "Which models your users may call, and what a call or a month may cost.",
            has_kit,
            *_link(place, "account-kits", "Account Kits", "kits"),
        ),
        Step(
            "Be ready for more",
            "A top-up, or a webhook that tells you when credits run low.",
            has_webhook or has_topup,
            *_link(place, "ledger", "Billing", "billing"),
        ),
    ]
    return [] if all(step.is_done for step in steps) else steps


def _link(place: Place, route: str, title: str, page: str = "") -> tuple[str, str]:
    return (title, reverse(f"dashboard-{page or route}")) if place.may(route) else ("", "")


def _keys(company_id: UUID, now: datetime) -> list[APIKey]:
    return list(APIKey.objects.live(now).filter(company_id=company_id).order_by("created_at")[:KEYS_SHOWN])
