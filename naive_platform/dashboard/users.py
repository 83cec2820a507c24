"""Tenant users: found by who they are, by kit and by status, created, suspended in bulk; one is in user_page.py."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import fields, ids, kit_names, tenants
from accounts.errors import DomainError, InvalidInput, NotFound
from accounts.models import (
    EXTERNAL_ID_LENGTH_MAX,
    NAME_LENGTH_MAX,
    AccountKit,
    TenantUser,
    TenantUserStatus,
)
from accounts.tenants import Filters, Page
from billing import spending
from naive_platform import sheets
from naive_platform.dashboard import doors, kit_fields, submissions, tables
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.kit_fields import KitField, Offer
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table

STATUSES = (TenantUserStatus.ACTIVE.value, TenantUserStatus.SUSPENDED.value)
SELECTED = "user"
HOUR = timedelta(hours=1)
COLUMNS = (
    Column(title="User", is_title=True),
    Column(title="External id"),
    Column(title="Kit"),
    Column(title="Status", kind="state"),
    Column(title="This month", kind="credits"),
    Column(title="Last active", kind="time"),
    Column(title="Created", kind="day", is_hidden_narrow=True),
)
SHEET = ("id", "external_id", "email", "label", "kit", "status", "last_active_at", "created_at")


class FilterForm(forms.Form):
    """Which users are wanted, as the URL says."""

    search = forms.CharField(label="Search", required=False, max_length=EXTERNAL_ID_LENGTH_MAX)
    status = forms.ChoiceField(
        label="Status",
        required=False,
        choices=[("", "Any"), *((word, word.capitalize()) for word in STATUSES)],
    )

    def __init__(self, *args: Any, offer: Offer, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["search"].widget.attrs |= {
            "type": "search",
            "placeholder": "Label, external id, e-mail or id",
        }
        self.fields["kit"] = KitField(offer=offer, label="Kit", without="Any")

    def filters(self) -> Filters:
        given = self.cleaned_data
        return Filters(
            search=given.get("search") or None,
            status=given.get("status") or None,
            account_kit_id=given.get("kit"),
        )


class BulkForm(forms.Form):
    """What is to become of the users whose boxes are ticked."""

    def __init__(self, *args: Any, offer: Offer, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["kit"] = KitField(offer=offer, label="Give them the kit", without="Choose a kit")


class UserForm(forms.Form):
    """A user's facts; `kit` only for who may assign kits."""

    label = forms.CharField(label="Label", max_length=NAME_LENGTH_MAX, required=False)
    external_id = forms.CharField(
        label="External id",
        max_length=EXTERNAL_ID_LENGTH_MAX,
        required=False,
        help_text="Your own id of the user: calls may name it as ext:… .",
    )
    email = forms.CharField(label="E-mail address", max_length=254, required=False)
    metadata = forms.CharField(
        label="Metadata, JSON",
        required=False,
        widget=forms.Textarea(attrs={"class": "code", "rows": 6, "spellcheck": "false"}),
        help_text="An object of your own, at most 16 kB. Nothing here acts on it.",
    )

    def __init__(self, *args: Any, offer: Offer, may_assign: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if may_assign:
            self.fields["kit"] = KitField(offer=offer, label="Account Kit", without="The default kit")
            self.order_fields(["label", "external_id", "email", "kit", "metadata"])

    def given(self) -> dict[str, Any]:
        """What the fields say, as tenants.create takes it. Errors: InvalidInput."""
        given = {name: self.cleaned_data[name] for name in ("label", "email")}
        given["external_id"] = self.cleaned_data["external_id"] or None
        given["metadata"] = read_object("metadata", self.cleaned_data["metadata"])
        if self.cleaned_data.get("kit"):
            given["account_kit_id"] = self.cleaned_data["kit"]
        return given


@doors.page("users")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    offer = kit_fields.offer(place.company_id)
    form = FilterForm(request.GET, offer=offer)
    # A filter that says nothing sensible names itself, and the others count.
    form.is_valid()
    page = _page(request, place, form.filters())
    may_suspend, may_assign = place.may("user", "patch"), place.may("account-kit-assign-many", "post")
    context = {
        "table": table_of(
            page,
            place,
            is_first="cursor" not in request.GET,
            is_filtered=any(request.GET.get(name) for name in ("search", "status", "kit")),
            export_href=f"{reverse('dashboard-users-csv')}?{request.GET.urlencode()}",
        ),
        "form": form,
        "bulk": BulkForm(offer=offer) if may_assign else None,
        "may_create": place.may("users", "post"),
        "may_suspend": may_suspend,
        "may_assign": may_assign,
    }
    return doors.render(request, place, "dashboard/users.html", context)


@doors.page("users")
def sheet(request: HttpRequest, place: Place) -> StreamingHttpResponse:
    """The same users as a file, all of them."""
    form = FilterForm(request.GET, offer=kit_fields.offer(place.company_id))
    form.is_valid()
    filters, company_id = form.filters(), place.company_id

    def batch(before_id: UUID | None) -> tuple[list[list[Any]], UUID | None]:
        page = tenants.page(company_id=company_id, filters=filters, limit=sheets.BATCH, before_id=before_id)
        known = _kits_of(company_id, page.users)
        rows = [
            [
                user.id, user.external_id, user.email, user.label, known[user.account_kit_id].name, user.status,
                user.last_active_at, user.created_at,
            ]
            for user in page.users
        ]  # fmt: skip
        return rows, page.before_id

    return sheets.answer(name="users.csv", head=SHEET, batch=batch)


@doors.page("users", post="post")
def new(request: HttpRequest, place: Place) -> HttpResponse:
    place.require("users", "post")
    may_assign = place.may("account-kit-assign", "post")
    form = UserForm(request.POST or None, offer=kit_fields.offer(place.company_id), may_assign=may_assign)
    if request.method == "POST" and form.is_valid():
        try:
            user = tenants.create(company_id=place.company_id, now=timezone.now(), **form.given())
            return doors.done(request, f"{user} is there.", reverse("dashboard-users-user", args=[user.id]))
        except DomainError as exc:
            submissions.refuse(form, exc)
    return doors.render(
        request, place, "dashboard/users_new.html", {"form": form}, status=400 if form.is_bound else 200
    )


@doors.page("users", post="patch", post_route="user")
def suspend(request: HttpRequest, place: Place) -> HttpResponse:
    """Suspend the users whose boxes were ticked, after showing who they are."""
    if request.method != "POST":
        return back(request, "Choose users first.")
    wanted = [ids.parse(text) for text in request.POST.getlist(SELECTED)[: tables.LIMIT]]
    chosen = {user_id for user_id in wanted if user_id}
    if not chosen:
        raise InvalidInput("No user is chosen.", hint="Tick the boxes before their names.")
    found = tenants.get_many(company_id=place.company_id, user_ids=chosen)
    if len(found) < len(chosen):
        raise NotFound("One of these users was not found.", hint="Load the list again.")
    if request.POST.get("confirmed") == "on":
        count = tenants.suspend_many(company_id=place.company_id, user_ids=chosen)
        return back(request, f"{count:,} user{' is' if count == 1 else 's are'} suspended.")
    active = [user for user in found if user.status == TenantUserStatus.ACTIVE]
    context = {"users": active, "unchanged": len(found) - len(active)}
    return doors.render(request, place, "dashboard/users_suspend.html", context)


def table_of(
    page: Page,
    place: Place,
    *,
    kits: Mapping[UUID, AccountKit] | None = None,
    is_first: bool,
    is_filtered: bool = True,
    export_href: str = "",
) -> Table:
    """The table of users, with what each was charged this month; two queries more, one where the kits are known."""
    now = timezone.now()
    known = _kits_of(place.company_id, page.users) if kits is None else kits
    spent = spending.of_users(
        company_id=place.company_id,
        user_ids=[user.id for user in page.users],
        since=month_start(now),
        until=now + HOUR,
    )
    may_choose = place.may("user", "patch") or place.may("account-kit-assign-many", "post")
    return Table(
        name="users",
        caption="Users",
        columns=COLUMNS,
        rows=[
            Row(
                cells=_cells(user, known.get(user.account_kit_id), spent.get(user.id, 0)),
                href=reverse("dashboard-users-user", args=[user.id]),
                id=str(user.id),
            )
            for user in page.users
        ],
        empty=_empty(is_filtered=is_filtered, may_create=place.may("users", "post")),
        next_cursor=tables.cursor(page.before_id) if page.before_id else None,
        is_first=is_first,
        export_href=export_href,
        select=SELECTED if may_choose and page.users else "",
    )


def back(request: HttpRequest, said: str) -> HttpResponse:
    return doors.done(request, said, reverse("dashboard-users"))


def month_start(now: datetime) -> datetime:
    """The first moment (UTC) of the month."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def read_object(name: str, text: str) -> dict[str, Any]:
    """A JSON object as somebody wrote it; nothing is an empty one. Errors: InvalidInput."""
    try:
        found = json.loads(text) if text.strip() else {}
    except json.JSONDecodeError as exc:
        raise fields.refuse(name, f"is no JSON: {exc.msg} in line {exc.lineno}, column {exc.colno}.") from exc
    except (ValueError, RecursionError) as exc:
        raise fields.refuse(name, "is no JSON that can be kept.") from exc
    if not isinstance(found, dict):
        raise fields.refuse(name, 'must be an object such as {"plan": "pro"}.')
    return found


def _page(request: HttpRequest, place: Place, filters: Filters) -> Page:
    """The users wanted; whoever is searched for by id stands alone."""
    user_id = ids.parse(filters.search or "")
    if user_id:
        found = tenants.get_many(company_id=place.company_id, user_ids=[user_id])
        if found:
            return Page(users=found, before_id=None)
    return tenants.page(
        company_id=place.company_id,
        filters=filters,
        limit=tables.LIMIT,
        before_id=tables.read_id_cursor(request.GET),
    )


def _kits_of(company_id: UUID, users: list[TenantUser]) -> dict[UUID, AccountKit]:
    return kit_names.get_many(company_id=company_id, kit_ids={user.account_kit_id for user in users})


def _cells(user: TenantUser, kit: AccountKit | None, spent_nanocredits: int) -> list[Cell]:
    return [
        Cell(str(user), note="default" if user.is_default else user.email if user.email != str(user) else ""),
        Cell(user.external_id),
        Cell(kit and kit.name, href=reverse("dashboard-kits-kit", args=[kit.id]) if kit else ""),
        Cell(user.status),
        Cell(spent_nanocredits),
        Cell(user.last_active_at),
        Cell(user.created_at),
    ]


def _empty(*, is_filtered: bool, may_create: bool) -> Empty:
    if is_filtered:
        return Empty("No user is like this.", "Show all users", reverse("dashboard-users"))
    text = "A tenant user is one of your own end users: calls are made for it, under its kit."
    return Empty(text, "Create a user", reverse("dashboard-users-new")) if may_create else Empty(text)
