"""One tenant user: who it is, what it spends, what speaks for it, and what may be changed of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import credentials, kits, sessions, tenants
from accounts.errors import Conflict, DomainError, Forbidden, NotFound
from accounts.models import AccountKit, APIKey, TenantUser, TenantUserStatus
from accounts.session_models import UserSession
from billing import caps, money, spending
from billing.caps import Cap, Used
from billing.spending import Spent
from naive_platform.api import keys as api_keys
from naive_platform.dashboard import doors, kit_fields, ranges, submissions, users
from naive_platform.dashboard.charts import Chart, Series
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.kit_forms import written
from naive_platform.dashboard.ranges import Range
from naive_platform.dashboard.users import BulkForm, UserForm

KEYS_SHOWN = SESSIONS_SHOWN = 20
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the kit lets a user spend this month, and what is left of it. Units: nanocredits."""

    limit_nanocredits: int
    used: Used

    @property
    def left_nanocredits(self) -> int:
        """Never below zero: a call may cost more than it held."""
        return max(0, self.limit_nanocredits - self.used.spent_nanocredits - self.used.held_nanocredits)


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything the page shows of a user; `allowance` is None where the kit sets no limit."""

    user: TenantUser
    kit: AccountKit
    is_open: bool
    hours: list[Spent]
    month_nanocredits: int
    allowance: Allowance | None
    keys: list[APIKey]
    sessions: list[UserSession]

    @property
    def is_active(self) -> bool:
        return self.user.status == TenantUserStatus.ACTIVE


class EditForm(UserForm):
    """A user's facts, of which only what was touched is changed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.show_hidden_initial = True

    @staticmethod
    def shown(user: TenantUser) -> dict[str, Any]:
        return {
            "label": user.label,
            "external_id": user.external_id or "",
            "email": user.email,
            "metadata": written(user.metadata or None),
        }

    def changes(self) -> dict[str, Any]:
        """What tenants.update is to change. Errors: InvalidInput."""
        found = {name: value for name, value in self.given().items() if name in self.changed_data}
        if "metadata" in found:
            name = "metadata"
            shown = users.read_object(name, self.data.get(self.add_initial_prefix(name), ""))
            wanted = found.pop(name)
            gone = {key: None for key in shown if key not in wanted}
            new = {key: value for key, value in wanted.items() if key not in shown or shown[key] != value}
            if patch := gone | new:
                found[name] = patch
        return found


@doors.page("users", route="user")
def user(request: HttpRequest, place: Place, user_id: UUID) -> HttpResponse:
    now = timezone.now()
    span = ranges.read(request.GET, now=now)
    found = tenants.get(company_id=place.company_id, user_id=user_id)
    may_assign = place.may("account-kit-assign-many", "post")
    seen = read(place, found, span, now=now)
    in_range = [one for one in seen.hours if one.hour is not None and _is_within(one.hour, span)]
    context = {
        "seen": seen,
        "range": span,
        "chart": chart(in_range, span),
        "range_nanocredits": sum(one.charged_nanocredits for one in in_range),
        "range_calls": sum(one.calls for one in in_range),
        "bulk": BulkForm(offer=kit_fields.offer(place.company_id)) if may_assign else None,
        "may_change": place.may("user", "patch"),
        "may_revoke_key": place.may("key", "delete"),
        "may_revoke_session": place.may("user-session", "delete"),
        "sees_all_keys": api_keys.asker(place.caller).sees_all,
        "written_metadata": written(seen.user.metadata or None),
    }
    return doors.render(request, place, "dashboard/users_user.html", context)


@doors.page("users", route="user", post="patch")
def edit(request: HttpRequest, place: Place, user_id: UUID) -> HttpResponse:
    place.require("user", "patch")
    found = tenants.get(company_id=place.company_id, user_id=user_id)
    # Which kit it has is changed by who may assign kits, on the user's page.
    offer = kit_fields.Offer(company_id=place.company_id, kits=[])
    form = EditForm(request.POST or None, initial=EditForm.shown(found), offer=offer)
    if request.method == "POST" and form.is_valid():
        try:
            changes = form.changes()
            if changes:
                found = tenants.update(company_id=place.company_id, user_id=user_id, changes=changes)
            return doors.done(
                request, f"{found} is saved." if changes else "Nothing was changed.", _url(user_id)
            )
        except NotFound:
            raise
        except DomainError as exc:
            submissions.refuse(form, exc)
    context = {"form": form, "edited": found}
    return doors.render(
        request, place, "dashboard/users_edit.html", context, status=400 if form.is_bound else 200
    )


@doors.page("users", route="user", post="patch")
def suspend(request: HttpRequest, place: Place, user_id: UUID) -> HttpResponse:
    found = tenants.get(company_id=place.company_id, user_id=user_id)
    if request.method == "POST":
        tenants.suspend(company_id=place.company_id, user_id=user_id)
        return doors.done(
            request, f"{found} is suspended: its calls are refused from the next one on.", _url(user_id)
        )
    return _ask(request, place, found, "suspend")


@doors.page("users", route="user", post="patch")
def reactivate(request: HttpRequest, place: Place, user_id: UUID) -> HttpResponse:
    if request.method == "POST":
        found = tenants.reactivate(company_id=place.company_id, user_id=user_id)
        return doors.done(request, f"{found} is active: its calls pass again.", _url(user_id))
    return doors.done(request, "Reactivate it here.", _url(user_id))


@doors.page("users", route="user", post="delete")
def delete(request: HttpRequest, place: Place, user_id: UUID) -> HttpResponse:
    found = tenants.get(company_id=place.company_id, user_id=user_id)
    if request.method != "POST":
        return _ask(request, place, found, "delete")
    try:
        tenants.delete(company_id=place.company_id, user_id=user_id)
    except Conflict as exc:
        return _ask(request, place, found, "delete", why=exc)
    return doors.done(
        request, f"{found} is deleted: it is suspended, and its past calls keep it.", _url(user_id)
    )


@doors.page("users", route="user", post="delete", post_route="user-session")
def end_session(request: HttpRequest, place: Place, user_id: UUID, session_id: UUID) -> HttpResponse:
    if request.method == "POST":
        now = timezone.now()
        sessions.revoke(company_id=place.company_id, user_id=user_id, session_id=session_id, now=now)
        return doors.done(request, "The session token opens nothing any more.", _url(user_id))
    return doors.done(request, "Choose a session here.", _url(user_id))


def read(place: Place, user: TenantUser, span: Range, *, now: datetime) -> Seen:
    """Read what the page shows: a fixed number of queries. Errors: BooksUnavailable."""
    kit = kits.get(company_id=place.company_id, kit_id=user.account_kit_id)
    gate = kits.gate(kit)
    month = users.month_start(now)
    hours = spending.by_hour(
        company_id=place.company_id,
        user_id=user.id,
        since=min(month, span.since),
        # The hour that runs is part of both.
        until=max(now, span.until) + HOUR,
    )
    sealed = credentials.page(
        asker=api_keys.asker(place.caller),
        filters=credentials.Filters(is_revoked=False, user_id=user.id),
        limit=KEYS_SHOWN,
    )
    return Seen(
        user=user,
        kit=kit,
        is_open=kits.is_open(gate, "llm"),
        hours=hours,
        month_nanocredits=sum(one.charged_nanocredits for one in hours if one.hour and one.hour >= month),
        allowance=_allowance(user, gate.rules.monthly_credits_per_user, now=now),
        keys=sealed.keys,
        sessions=sessions.page_of(user, now=now, limit=SESSIONS_SHOWN).sessions,
    )


def chart(spent: Iterable[Spent], span: Range) -> Chart:
    """What the user was charged, each hour or day of the range, also where that is nothing."""
    sums: dict[datetime, int] = {}
    for one in spent:
        if one.hour is not None:
            at = _instant(one.hour, span)
            sums[at] = sums.get(at, 0) + one.charged_nanocredits
    instants = span.instants
    values = [money.credits_from_nanocredits(sums.get(instant, 0)) for instant in instants]
    return Chart(
        name="spend",
        title="Credits",
        unit="credits",
        instants=instants,
        series=[Series("Credits", values)],
        is_hourly=span.is_short,
    )


def _instant(at: datetime, span: Range) -> datetime:
    """The hour or the day, UTC, in which that is."""
    hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour if span.is_short else hour.replace(hour=0)


def _is_within(hour: datetime, span: Range) -> bool:
    """Whether an hour has a part in the range."""
    return span.since - HOUR < hour < span.until


def _allowance(user: TenantUser, credits: Decimal | None, *, now: datetime) -> Allowance | None:
    if credits is None:
        return None
    cap = Cap(scope_id=user.id, period="month")
    used: Mapping[Cap, Used] = caps.used(company_id=user.company_id, caps=[cap], now=now, scope="user")
    return Allowance(limit_nanocredits=money.nanocredits_from_credits(credits), used=used[cap])


def _ask(
    request: HttpRequest, place: Place, found: TenantUser, what: str, *, why: Conflict | None = None
) -> HttpResponse:
    """Show what ends, before it does."""
    refusal = place.refusal("user", "patch" if what == "suspend" else "delete")
    if refusal:
        raise Forbidden(refusal)
    context = {"asked": found, "what": what, "why": why}
    return doors.render(request, place, "dashboard/users_end.html", context, status=409 if why else 200)


def _url(user_id: UUID) -> str:
    return reverse("dashboard-users-user", args=[user_id])
