"""Who has which kit: the editor's tab of users, and giving a kit to many, with what that changes shown first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpRequest, HttpResponse

from accounts import ids, kit_names, kits, subjects, tenants
from accounts.errors import DomainError, InvalidInput
from accounts.models import EXTERNAL_ID_LENGTH_MAX, AccountKit
from accounts.tenants import Filters
from naive_platform import kit_effects
from naive_platform.api.kit_shapes import ASSIGNED_MAX
from naive_platform.dashboard import doors, kit_editor, kit_fields, kit_saving, submissions, tables, users
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.kit_fields import KitField, Offer

NAMED, OF_KIT, EVERYBODY = "named", "kit", "all"
TAB = "users"
# Ids and external ids, one a line.
NAMES_LENGTH_MAX = ASSIGNED_MAX * (EXTERNAL_ID_LENGTH_MAX + 10)


@dataclass(frozen=True, slots=True)
class Move:
    """So many users who have one kit now; `models` of it and of the new one may be called."""

    kit: AccountKit
    users: int
    models: int
    is_on: bool


class AssignForm(forms.Form):
    """Who is to have a kit. The kit itself is the page's, or that of the table's form."""

    who = forms.ChoiceField(
        label="Who",
        choices=[
            (NAMED, "The users named below"),
            (OF_KIT, "Everybody who has another kit"),
            (EVERYBODY, "Every user of the company"),
        ],
        widget=forms.RadioSelect,
        initial=NAMED,
    )
    names = forms.CharField(
        label="Users",
        required=False,
        max_length=NAMES_LENGTH_MAX,
        widget=forms.Textarea(attrs={"class": "code", "rows": 5, "spellcheck": "false"}),
        help_text=f"Ids or external ids, one a line, at most {ASSIGNED_MAX:,}.",
    )

    def __init__(self, *args: Any, offer: Offer, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["kit"] = KitField(offer=offer, label="That kit", without="None chosen")

    def whom(self) -> dict[str, Any]:
        """What tenants.assign_many takes. Errors: InvalidInput."""
        given = self.cleaned_data
        if given["who"] == EVERYBODY:
            return {}
        if given["who"] == OF_KIT:
            if given["kit"] is None:
                raise InvalidInput("Choose whose users are meant.", details={"field": "kit"})
            return {"from_kit_id": given["kit"]}
        return {"users": read_names(given["names"].splitlines())}


def read_names(lines: list[str]) -> set[UUID | str]:
    """Users named by id or external id. Errors: InvalidInput."""
    words = [line.strip() for line in lines if line.strip()]
    if not words:
        raise InvalidInput("Name at least one user.", details={"field": "names"})
    if len(words) > ASSIGNED_MAX:
        raise InvalidInput(
            f"These are {len(words):,} users; {ASSIGNED_MAX:,} at once are the most.",
            details={"field": "names"},
        )
    return {ids.parse(word) or word.removeprefix(subjects.EXTERNAL) for word in words}


@doors.page("kits", route="account-kit", post="post", post_route="account-kit-assign-many")
def tab(request: HttpRequest, place: Place, kit_id: UUID) -> HttpResponse:
    """Who has this kit; its form gives the kit to more."""
    kit = kits.get(company_id=place.company_id, kit_id=kit_id)
    may_assign = place.may("account-kit-assign-many", "post")
    offer = kit_fields.offer(place.company_id)
    form = AssignForm(request.POST or None, offer=offer)
    if request.method == "POST" and form.is_valid():
        try:
            return _assign(request, place, kit, form.whom(), fields=_posted(request))
        except DomainError as exc:
            submissions.refuse(form, exc)
    search = request.GET.get("search", "").strip()[:EXTERNAL_ID_LENGTH_MAX]
    page = tenants.page(
        company_id=place.company_id,
        filters=Filters(account_kit_id=kit_id, search=search or None),
        limit=tables.LIMIT,
        before_id=tables.read_id_cursor(request.GET),
    )
    context = kit_editor.frame(kit, TAB) | {
        "table": users.table_of(page, place, kits={kit.id: kit}, is_first="cursor" not in request.GET),
        "search": search,
        "form": form,
        "may_assign": may_assign,
        "bulk": users.BulkForm(offer=offer) if may_assign else None,
    }
    return doors.render(
        request, place, "dashboard/kit_users.html", context, status=400 if form.is_bound else 200
    )


@doors.page("users", route="users", post="post", post_route="account-kit-assign-many")
def assign(request: HttpRequest, place: Place) -> HttpResponse:
    """Give a kit to the users whose boxes were ticked, on whatever page that was."""
    if request.method != "POST":
        return users.back(request, "Choose users first.")
    form = users.BulkForm(request.POST, offer=kit_fields.offer(place.company_id))
    if not form.is_valid() or form.cleaned_data["kit"] is None:
        faults = form.errors.get("kit") or ["Choose the kit that they are to have."]
        raise InvalidInput(str(faults[0]))
    kit = kits.get(company_id=place.company_id, kit_id=form.cleaned_data["kit"])
    whom = {"users": read_names(request.POST.getlist(users.SELECTED))}
    return _assign(request, place, kit, whom, fields=_posted(request))


def _assign(
    request: HttpRequest,
    place: Place,
    kit: AccountKit,
    whom: Mapping[str, Any],
    *,
    fields: list[tuple[str, str]],
) -> HttpResponse:
    if request.POST.get("confirmed") == "on":
        done = tenants.assign_many(company_id=place.company_id, account_kit_id=kit.id, **whom)
        said = f"{done.assigned:,} user{'' if done.assigned == 1 else 's'} got {kit.name}"
        said += f"; {done.unchanged:,} had it already." if done.unchanged else "."
        return doors.done(request, said, kit_saving.tab_url(kit.id, TAB))
    counts = tenants.by_kit(company_id=place.company_id, **whom)
    found = kit_names.get_many(company_id=place.company_id, kit_ids={kit.id, *counts})
    reach = kit_effects.reach(found.values())
    moves = [
        Move(found[kit_id], count, reach.models[kit_id], kits.is_open(kits.gate(found[kit_id]), "llm"))
        for kit_id, count in sorted(counts.items(), key=lambda pair: -pair[1])
        if kit_id in found
    ]
    context = {
        "kit": kit,
        "moves": [move for move in moves if move.kit.id != kit.id][: tables.LIMIT],
        "moving": sum(move.users for move in moves if move.kit.id != kit.id),
        "unchanged": counts.get(kit.id, 0),
        "kits_more": max(0, len(moves) - tables.LIMIT),
        "models": reach.models[kit.id],
        "is_on": kits.is_open(kits.gate(kit), "llm"),
        "fields": fields,
        "back": kit_saving.tab_url(kit.id, TAB),
    }
    return doors.render(request, place, "dashboard/kit_assign.html", context)


def _posted(request: HttpRequest) -> list[tuple[str, str]]:
    """What the form said, to be said again with the confirmation."""
    skipped = ("csrfmiddlewaretoken", "confirmed")
    return [(name, value) for name, values in request.POST.lists() if name not in skipped for value in values]
