"""Account kits: listed with what each allows, created, copied, deleted; the editor is in kit_editor.py."""

from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts import ids, kit_names, kits
from accounts.errors import Conflict, DomainError
from accounts.kit_configs import LLMRules
from accounts.kits import DESCRIPTION_LENGTH_MAX
from accounts.models import NAME_LENGTH_MAX, AccountKit
from billing import money
from naive_platform import kit_effects
from naive_platform.dashboard import doors, kit_editor, submissions, tables
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table
from naive_platform.kit_effects import Reach
from naive_platform.templatetags import figures

NAMES_OFFERED = 20
COLUMNS = (
    Column(title="Kit", is_title=True),
    Column(title="llm", kind="state"),
    Column(title="Users", kind="count"),
    Column(title="Models", kind="word"),
    Column(title="Limits", is_hidden_narrow=True),
    Column(title="Created", kind="day", is_hidden_narrow=True),
)


class NewKitForm(forms.Form):
    name = forms.CharField(label="Name", max_length=NAME_LENGTH_MAX)
    description = forms.CharField(
        label="Description",
        max_length=DESCRIPTION_LENGTH_MAX,
        required=False,
        help_text="For your own people.",
    )


@doors.page("kits")
def listed(request: HttpRequest, place: Place) -> HttpResponse:
    search = request.GET.get("search", "").strip()[:NAME_LENGTH_MAX]
    page = kits.page(
        company_id=place.company_id,
        limit=tables.LIMIT,
        before_id=tables.read_id_cursor(request.GET),
        search=search or None,
    )
    reach = kit_effects.reach(page.kits)
    may_create, may_delete = place.may("account-kits", "post"), place.may("account-kit", "delete")
    table = Table(
        name="kits",
        caption="Account Kits",
        columns=COLUMNS,
        rows=[
            Row(
                cells=_cells(kit, page.users.get(kit.id, 0), reach),
                href=reverse("dashboard-kits-kit", args=[kit.id]),
                id=str(kit.id),
                actions="dashboard/_kits_actions.html" if may_create or may_delete else "",
                context={"kit": kit, "may_create": may_create, "may_delete": may_delete},
            )
            for kit in page.kits
        ],
        empty=_empty(search, may_create=may_create),
        next_cursor=tables.cursor(page.before_id) if page.before_id else None,
        is_first="cursor" not in request.GET,
    )
    context = {"table": table, "search": search, "may_create": may_create}
    return doors.render(request, place, "dashboard/kits.html", context)


@doors.page("kits", route="account-kits", post="post")
def new(request: HttpRequest, place: Place) -> HttpResponse:
    """A kit from nothing, which allows everything; or one like another, named by `from`."""
    place.require("account-kits", "post")
    model_id = ids.parse(request.GET.get("from", ""))
    model = kits.get(company_id=place.company_id, kit_id=model_id) if model_id else None
    if request.method == "POST":
        form = NewKitForm(request.POST)
        if form.is_valid():
            try:
                kit = _create(place, form, model)
                said = f"{kit.name} is there. Nobody has it yet."
                return doors.done(request, said, reverse("dashboard-kits-kit", args=[kit.id]))
            except DomainError as exc:
                submissions.refuse(form, exc)
    else:
        like = {"name": kit_names.copy_name(model.name), "description": model.description} if model else None
        form = NewKitForm(initial=like)
    context = {"form": form, "model": model}
    return doors.render(
        request, place, "dashboard/kits_new.html", context, status=400 if form.is_bound else 200
    )


@doors.page("kits", route="account-kit", post="delete")
def delete(request: HttpRequest, place: Place, kit_id: UUID) -> HttpResponse:
    kit = kits.get(company_id=place.company_id, kit_id=kit_id)
    why = None
    if request.method == "POST":
        try:
            kits.delete(company_id=place.company_id, kit_id=kit_id)
            return doors.done(request, f"{kit.name} is deleted.", reverse("dashboard-kits"))
        except Conflict as exc:
            why = exc
    found = kits.preview(company_id=place.company_id, kit_id=kit_id, now=timezone.now())
    context = kit_editor.frame(kit, "details") | {
        "found": found,
        "why": why,
        "is_in_use": kit.is_default or bool(found.users or found.keys),
        "why_not": place.refusal("account-kit", "delete"),
    }
    return doors.render(request, place, "dashboard/kits_delete.html", context, status=409 if why else 200)


@doors.page("kits")
def names(request: HttpRequest, place: Place) -> HttpResponse:
    """Kits whose names begin with what was typed, for the field of kit_fields.py."""
    typed = request.GET.get("kit", "").strip()[:NAME_LENGTH_MAX]
    page = kits.page(company_id=place.company_id, limit=NAMES_OFFERED, search=typed or None)
    return doors.render(request, place, "dashboard/_kit_options.html", {"kits": page.kits})


def limits_in_words(rules: LLMRules) -> SafeString:
    """What calls are limited by, every amount exact."""
    said: list[SafeString | str] = []
    if rules.max_tokens is not None:
        said.append(f"{figures.count(rules.max_tokens)} tokens a call")
    if rules.max_cost_usd_per_call is not None:
        said.append(format_html("{} a call", figures.usd(rules.max_cost_usd_per_call)))
    if rules.monthly_credits_per_user is not None:
        amount = figures.credits(money.nanocredits_from_credits(rules.monthly_credits_per_user))
        said.append(format_html("{} credits a month and user", amount))
    if rules.requests_per_minute is not None:
        said.append(f"{figures.count(rules.requests_per_minute)} calls a minute and user")
    return format_html_join(" · ", "{}", ((one,) for one in said or ["none"]))


def _cells(kit: AccountKit, users: int, reach: Reach) -> list[Cell]:
    gate = kits.gate(kit)
    is_on = kits.is_open(gate, "llm")
    return [
        Cell(kit.name, note="default" if kit.is_default else ""),
        Cell("unreadable" if gate.fault else "on" if is_on else "off"),
        Cell(users, href=f"{reverse('dashboard-users')}?{urlencode({'kit': kit.name})}" if users else ""),
        Cell(_models(reach.models[kit.id], reach.models_known)),
        Cell("" if gate.fault else limits_in_words(gate.rules)),
        Cell(kit.created_at),
    ]


def _models(count: int, known: int) -> str:
    if not known:
        return ""
    return (
        f"all {figures.count(known)}"
        if count == known
        else f"{figures.count(count)} of {figures.count(known)}"
    )


def _create(place: Place, form: NewKitForm, model: AccountKit | None) -> AccountKit:
    given = form.cleaned_data
    return kits.create(
        company_id=place.company_id,
        name=given["name"],
        description=given["description"],
        primitives_config=model.primitives_config if model else None,
        connections_config=model.connections_config if model else None,
        now=timezone.now(),
    )


def _empty(search: str, *, may_create: bool) -> Empty:
    if search:
        return Empty(f"No kit's name begins with “{search}”.", "Show all kits", reverse("dashboard-kits"))
    text = "A kit says what the users who have it may do."
    return Empty(text, "Create a kit", reverse("dashboard-kits-new")) if may_create else Empty(text)
