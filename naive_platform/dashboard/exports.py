"""Exports: files taken from a page at once, and long ones that a worker writes while the page tells how far it is."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from accounts.errors import Forbidden, InvalidInput, NotFound
from accounts.models import Role
from naive_platform import sheets
from naive_platform.dashboard import doors
from naive_platform.dashboard.doors import Place
from naive_platform.exports import files, kinds
from naive_platform.exports.kind import Kind
from naive_platform.models import Export

# Words of the list's own URL; all others are those of the kind's page.
_OWN = ("kind", "csrfmiddlewaretoken")


@dataclass(frozen=True, slots=True)
class Line:
    """One export as the page shows it."""

    export: Export
    title: str
    state: str
    about: str
    is_done: bool
    may_delete: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """A file that the URL asks for and nobody has asked a worker for yet; `problem` where it cannot be."""

    kind: Kind
    words: list[tuple[str, str]]
    problem: str = ""


@doors.page("generations", route="exports", post="post")
def exports(request: HttpRequest, place: Place) -> HttpResponse:
    now = timezone.now()
    if request.method == "POST":
        return _ask(request, place, now)
    found = [one for one in files.of_company(company_id=place.company_id) if _may(place, one)]
    context = {
        "wish": _wish(request, place, now),
        "lines": [_line(place, one, now) for one in found],
        "is_running": any(not one.is_over for one in found),
    }
    name = "_exports" if doors.is_htmx(request) else "exports"
    return doors.render(request, place, f"dashboard/{name}.html", context)


@doors.page("generations", route="exports")
def file(request: HttpRequest, place: Place, name: str) -> HttpResponseBase:
    """What a page shows, all of it, as CSV; where that is long, the way to have it written."""
    kind = _kind(place, name)
    company_id, now = place.company_id, timezone.now()
    wanted = kind.prepare(company_id, request.GET.dict(), now)
    if kind.is_long(company_id, wanted):
        return redirect(f"{reverse('dashboard-exports')}?kind={kind.name}&{request.GET.urlencode()}")

    def batch(position: str | None) -> tuple[list[list[Any]], str | None]:
        piece = kind.read(company_id, wanted, position or "")
        return piece.rows, piece.position

    return sheets.answer(name=_name(kind, now), head=kind.columns, batch=batch)


@doors.page("generations", route="exports")
def download(request: HttpRequest, place: Place, export_id: UUID) -> HttpResponseBase:
    export = files.take(company_id=place.company_id, export_id=export_id, now=timezone.now())
    kind = _kind(place, export.kind)
    answer = StreamingHttpResponse(_pieces(export), content_type="text/csv; charset=utf-8")
    # Whoever gets less than this knows that it is not all.
    answer["Content-Length"] = str(export.size_bytes)
    answer["Content-Disposition"] = f'attachment; filename="{_name(kind, export.created_at)}"'
    return answer


@doors.page("generations", route="exports", post="post")
def delete(request: HttpRequest, place: Place, export_id: UUID) -> HttpResponse:
    here = reverse("dashboard-exports")
    if request.method != "POST":
        return redirect(here)
    export = files.get(company_id=place.company_id, export_id=export_id)
    _kind(place, export.kind)
    if not _may_delete(place, export):
        raise Forbidden("Whoever asked for a file deletes it, or an admin does.")
    files.delete(company_id=place.company_id, export_id=export_id, now=timezone.now())
    return doors.done(request, "The export is deleted.", here)


def _ask(request: HttpRequest, place: Place, now: datetime) -> HttpResponse:
    kind = _kind(place, request.POST.get("kind", ""))
    query = _words(request.POST)
    files.ask(company_id=place.company_id, kind=kind.name, query=query, person_id=place.person.id, now=now)
    return doors.done(request, "The export is being written.", reverse("dashboard-exports"))


def _kind(place: Place, name: str) -> Kind:
    """Errors: NotFound; Forbidden, for who may not read what is in it."""
    kind = kinds.get(name)
    place.require(kind.route, "get")
    return kind


def _may(place: Place, export: Export) -> bool:
    return export.kind in kinds.KINDS and place.may(kinds.KINDS[export.kind].route)


def _may_delete(place: Place, export: Export) -> bool:
    is_own = export.asked_by_id == place.person.id
    return place.may("exports", "post") and (is_own or Role.ADMIN.is_at_most(place.caller.role))


def _wish(request: HttpRequest, place: Place, now: datetime) -> Wish | None:
    if not request.GET.get("kind") or doors.is_htmx(request):
        return None
    kind = _kind(place, request.GET["kind"])
    words = list(_words(request.GET).items())
    try:
        kind.prepare(place.company_id, dict(words), now)
    except InvalidInput as exc:
        return Wish(kind, words, problem=exc.message)
    return Wish(kind, words)


def _words(query: QueryDict) -> dict[str, str]:
    return {name: str(value) for name, value in query.items() if name not in _OWN}


def _line(place: Place, export: Export, now: datetime) -> Line:
    state, about = export.state, ""
    if export.state == Export.State.RUNNING and export.due_at <= now and export.claim is not None:
        # Whoever wrote it has died; the next round goes on.
        state, about = "interrupted", "It goes on by itself."
    elif export.state == Export.State.FAILED:
        about = export.error
    elif export.state == Export.State.QUEUED:
        about = "It begins in a moment."
    return Line(
        export,
        kinds.KINDS[export.kind].title,
        state,
        about,
        is_done=export.state == Export.State.DONE,
        may_delete=_may_delete(place, export),
    )


def _name(kind: Kind, at: datetime) -> str:
    return f"{kind.name}-{at:%Y-%m-%d}.csv"


async def _pieces(export: Export) -> AsyncIterator[bytes]:
    """The file in its chunks; who takes it slowly keeps neither a connection nor a transaction from others."""
    for number in range(1, export.chunks + 1):
        found = await sync_to_async(_chunk)(export.id, number)
        if found is None:
            raise NotFound("The export was deleted while it was taken.")
        yield found


def _chunk(export_id: UUID, number: int) -> bytes | None:
    try:
        return files.chunk(export_id=export_id, number=number)
    finally:
        connection.close()
