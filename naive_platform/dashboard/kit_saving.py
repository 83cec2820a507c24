"""How a change of a kit is saved: to what was read or not at all, and what it closes is shown first."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import audit, fields, kit_configs, kits
from accounts.audit import Filters
from accounts.errors import InvalidInput, PreconditionFailed
from accounts.kit_configs import Change
from accounts.models import AccountKit
from naive_platform import kit_effects
from naive_platform.dashboard import doors, kit_llm
from naive_platform.dashboard.doors import Place
from naive_platform.kit_effects import Consequences

CONFIGS = ("primitives_config", "connections_config")
# Of the models that a change lets in or shuts out, so many are named.
NAMES_SHOWN = 20
# Above what any kit may hold.
CHANGES_LENGTH_MAX = 400_000


@dataclass(frozen=True, slots=True)
class Line:
    """One value before and after, as it is read on a page."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Wish:
    """A change that somebody wants made to the version of a kit that they read; `tab` is where they stood."""

    kit_id: UUID
    version: int
    changes: Mapping[str, Any]
    tab: str

    @property
    def written(self) -> str:
        return json.dumps(self.changes)

    @property
    def url(self) -> str:
        return tab_url(self.kit_id, self.tab)


def tab_url(kit_id: UUID, tab: str) -> str:
    if tab == kit_llm.TAB:
        return reverse("dashboard-kits-kit", args=[kit_id])
    return reverse("dashboard-kits-tab", args=[kit_id, tab])


def wish(*, kit_id: UUID, version: int, changes: Mapping[str, Any], tab: str) -> Wish:
    """A wish whose numbers are JSON's own, so that it can wait on a page. Errors: InvalidInput."""
    plain = {
        name: fields.json_object(name, value, bytes_max=kit_configs.PRIMITIVES_BYTES_MAX)
        if name in CONFIGS
        else value
        for name, value in changes.items()
    }
    return Wish(kit_id=kit_id, version=version, changes=plain, tab=tab)


def read_wish(request: HttpRequest, *, kit_id: UUID, tabs: tuple[str, ...]) -> Wish:
    """The wish that a page showed and that is confirmed by now. Errors: InvalidInput."""
    text, version = request.POST.get("changes", ""), request.POST.get("version", "")
    tab = request.POST.get("tab", kit_llm.TAB)
    try:
        changes = json.loads(text[:CHANGES_LENGTH_MAX])
    except (ValueError, RecursionError) as exc:
        raise _unknown() from exc
    if not isinstance(changes, dict) or not _is_version(version):
        raise _unknown()
    return wish(kit_id=kit_id, version=int(version), changes=changes, tab=tab if tab in tabs else kit_llm.TAB)


def read_version(request: HttpRequest) -> int:
    """Errors: InvalidInput."""
    text = request.POST.get("version", "")
    if not _is_version(text):
        raise _unknown()
    return int(text)


def save(request: HttpRequest, place: Place, wanted: Wish, *, is_confirmed: bool = False) -> HttpResponse:
    """Make the change; or show what it closes, or what somebody else made of the kit meanwhile.

    Errors: those of kits.update except PreconditionFailed; Unavailable.
    """
    now = timezone.now()
    found = kit_effects.preview(
        company_id=place.company_id,
        kit_id=wanted.kit_id,
        now=now,
        **{name: wanted.changes[name] for name in CONFIGS if name in wanted.changes},
    )
    kit = found.preview.kit
    lines = difference(kit, found, wanted.changes)
    if kit.version != wanted.version:
        return _stale(request, place, wanted, kit, lines)
    if not lines:
        return _saved(request, place, wanted, kit, "Nothing was changed: it is so already.", now=now)
    if kit_effects.closes(found) and not is_confirmed:
        return _ask(request, place, wanted, found, lines)
    try:
        kit = kits.update(
            company_id=place.company_id,
            kit_id=kit.id,
            changes=wanted.changes,
            if_match=[kits.etag(kit)],
        )
    except PreconditionFailed:
        kit = kits.get(company_id=place.company_id, kit_id=kit.id)
        return _stale(request, place, wanted, kit, lines)
    return _saved(request, place, wanted, kit, _said(kit, lines), now=now)


def difference(kit: AccountKit, found: Consequences, changes: Mapping[str, Any]) -> list[Line]:
    """What of the kit would change, value by value."""
    plain = [
        Change(name, getattr(kit, name), value)
        for name, value in changes.items()
        if name not in CONFIGS and getattr(kit, name, value) != value
    ]
    return [
        Line(change.path, _text(change.before), _text(change.after))
        for change in (*plain, *found.preview.changes)
    ]


def _said(kit: AccountKit, lines: list[Line]) -> str:
    for line in lines:
        if line.path == "primitives_config.llm.enabled":
            said = "refused" if line.after == "false" else "let through"
            switched = "off" if line.after == "false" else "on"
            return f"llm is {switched} in {kit.name}: from the next call on its users are {said}."
    return f"{kit.name} is saved. It acts on the next call."


def _saved(
    request: HttpRequest, place: Place, wanted: Wish, kit: AccountKit, said: str, *, now: datetime
) -> HttpResponse:
    if doors.is_htmx(request) and wanted.tab == kit_llm.TAB:
        messages.success(request, said)
        return kit_llm.card(request, place, kit, now=now)
    return doors.done(request, said, wanted.url)


def _ask(
    request: HttpRequest, place: Place, wanted: Wish, found: Consequences, lines: list[Line]
) -> HttpResponse:
    preview = found.preview
    context = {
        "kit": preview.kit,
        "wish": wanted,
        "lines": lines,
        "found": found,
        "lost": found.denied[:NAMES_SHOWN],
        "gained": found.allowed[:NAMES_SHOWN],
        "closes_llm": kits.is_open(preview.before, "llm") and not kits.is_open(preview.after, "llm"),
    }
    return _aside(request, place, "confirm", context)


def _stale(
    request: HttpRequest, place: Place, wanted: Wish, kit: AccountKit, lines: list[Line]
) -> HttpResponse:
    """Both versions, and a way to make the change to the one that is there now."""
    last = audit.page(company_id=place.company_id, filters=Filters(target_id=str(kit.id)), limit=1).lines
    again = Wish(kit_id=kit.id, version=kit.version, changes=wanted.changes, tab=wanted.tab)
    context = {
        "kit": kit,
        "wish": again,
        "read_version": wanted.version,
        "lines": lines,
        "last": last[0] if last else None,
    }
    return _aside(request, place, "stale", context, status=412)


def _aside(
    request: HttpRequest, place: Place, what: str, context: Mapping[str, Any], *, status: int = 200
) -> HttpResponse:
    """A page between the form and what it does; a dialog over the page where htmx asked."""
    if not doors.is_htmx(request):
        return doors.render(request, place, f"dashboard/kit_{what}.html", context, status=status)
    answer = doors.render(
        request, place, f"dashboard/_kit_{what}.html", {**context, "is_dialog": True}, status=status
    )
    answer["HX-Retarget"], answer["HX-Reswap"] = "#kit-dialog", "innerHTML"
    return answer


def _text(value: Any) -> str:
    if value is None:
        return "—"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _is_version(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < len(str(2**63))


def _unknown() -> InvalidInput:
    return InvalidInput("This form is not one of ours.", hint="Load the page again, and save it there.")
