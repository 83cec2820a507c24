"""The kit editor: a tab for each part of a kit; how a change is saved is in kit_saving.py."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts import kits
from accounts.errors import DomainError, InvalidInput, NotFound
from accounts.models import AccountKit
from naive_platform import kit_effects
from naive_platform.dashboard import doors, kit_llm, kit_saving
from naive_platform.dashboard.doors import Place
from naive_platform.dashboard.kit_forms import (
    ConnectionsForm,
    DetailsForm,
    JSONForm,
    KitForm,
    LimitsForm,
    ModelsForm,
    written,
)

TABS = {
    kit_llm.TAB: "Primitives",
    "models": "Models",
    "limits": "Limits",
    "connections": "Connections",
    "prompts": "Prompts",
    "users": "Users",
    "json": "JSON",
    "details": "Details",
}
FORMS: Mapping[str, type[KitForm]] = {
    "models": ModelsForm,
    "limits": LimitsForm,
    "connections": ConnectionsForm,
    "json": JSONForm,
    "details": DetailsForm,
}
MODELS_SHOWN = 50
SEARCH_LENGTH_MAX = 200


@doors.page("kits", route="account-kit", post="patch")
def primitives(request: HttpRequest, place: Place, kit_id: UUID) -> HttpResponse:
    kit = kits.get(company_id=place.company_id, kit_id=kit_id)
    if request.method == "POST":
        entry = {"enabled": request.POST.get("enabled") == "on"}
        wanted = kit_saving.wish(
            kit_id=kit_id,
            version=kit_saving.read_version(request),
            changes={"primitives_config": {"llm": entry}},
            tab=kit_llm.TAB,
        )
        return kit_saving.save(request, place, wanted)
    context = kit_llm.context(place, kit, now=timezone.now())
    return doors.render(request, place, "dashboard/kit_primitives.html", frame(kit, kit_llm.TAB) | context)


@doors.page("kits", route="account-kit", post="patch")
def edit(request: HttpRequest, place: Place, kit_id: UUID, tab: str) -> HttpResponse:
    if tab not in FORMS:
        raise NotFound(f"A kit has no page {tab[:SEARCH_LENGTH_MAX]}.")
    kit = kits.get(company_id=place.company_id, kit_id=kit_id)
    if request.method != "POST":
        return _shown(request, place, kit, tab, FORMS[tab].of(kit, kits.gate(kit).rules))
    form = FORMS[tab](request.POST)
    if form.is_valid():
        try:
            wanted = kit_saving.wish(
                kit_id=kit_id,
                version=form.cleaned_data["version"],
                changes=form.changes(kit),
                tab=tab,
            )
            return kit_saving.save(request, place, wanted)
        except NotFound:
            raise
        except DomainError as exc:
            form.refuse(exc)
    return _shown(request, place, kit, tab, form)


@doors.page("kits", route="account-kit", post="patch")
def apply(request: HttpRequest, place: Place, kit_id: UUID) -> HttpResponse:
    """What was shown and confirmed; or what was made again after somebody else's change."""
    if request.method != "POST":
        return doors.done(request, "Choose what to change.", kit_saving.tab_url(kit_id, kit_llm.TAB))
    wanted = kit_saving.read_wish(request, kit_id=kit_id, tabs=tuple(TABS))
    return kit_saving.save(request, place, wanted, is_confirmed=request.POST.get("confirmed") == "on")


@doors.page("kits", route="account-kit", post="post", post_route="account-kit-preview")
def matches(request: HttpRequest, place: Place, kit_id: UUID) -> HttpResponse:
    """Which models the lists match as they are being written, nothing saved; a GET is of those that are saved."""
    kit, patch = kits.get(company_id=place.company_id, kit_id=kit_id), None
    if request.method == "POST":
        form = ModelsForm(request.POST)
        if not form.is_valid():
            raise InvalidInput("The lists cannot be read.", hint="Load the page again.")
        try:
            patch = form.changes(kit).get("primitives_config")
            context = _matches(place, kit_id, patch, request.POST.get("q", ""))
        except InvalidInput as exc:
            form.refuse(exc)
            context = {
                "faults": [fault for found in form.errors.values() for fault in found],
                "kit_id": kit_id,
            }
    else:
        context = _matches(place, kit_id, None, request.GET.get("q", ""))
    return doors.render(request, place, "dashboard/_kit_matches.html", {"kit": kit, **context})


def frame(kit: AccountKit, tab: str) -> dict[str, Any]:
    """What stands around every tab."""
    links = [(kit_saving.tab_url(kit.id, name), title, name == tab) for name, title in TABS.items()]
    return {"kit": kit, "tab": tab, "tabs": links, "title": TABS[tab]}


def _shown(request: HttpRequest, place: Place, kit: AccountKit, tab: str, form: KitForm) -> HttpResponse:
    gate = kits.gate(kit)
    context = frame(kit, tab) | {
        "form": form,
        "fault": gate.fault,
        "why_not": place.refusal("account-kit", "patch"),
    }
    if tab == "models":
        context |= _matches(place, kit.id, None, request.GET.get("q", ""))
    elif tab == "connections" and isinstance(kit.connections_config, dict):
        rest = {name: value for name, value in kit.connections_config.items() if name != "mode"}
        context["rest"] = written(rest) if rest else ""
    if context["why_not"]:
        for field in form.fields.values():
            field.disabled = True
    status = 400 if form.is_bound else 200
    return doors.render(request, place, f"dashboard/kit_{tab}.html", context, status=status)


def _matches(place: Place, kit_id: UUID, patch: object, search: str) -> dict[str, Any]:
    found = kit_effects.matches(company_id=place.company_id, kit_id=kit_id, primitives_config=patch)
    wanted = search.strip().lower()[:SEARCH_LENGTH_MAX]
    shown = [model for model in found.models if wanted in model.lower()]
    return {
        "matches": found,
        "shown": shown[:MODELS_SHOWN],
        "more": max(0, len(shown) - MODELS_SHOWN),
        "q": search,
        "is_on": kits.is_open(found.gate, "llm"),
    }
