"""The playground: calls as a tenant user would make them, by a token of theirs that only the open page has.

The page itself calls the data plane, which charges and logs it as any other; here prompts never come by.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

from accounts import ids, kits, sessions, tenants
from accounts.errors import DomainError, NotFound
from accounts.kits import Kit
from accounts.models import TenantUser, TenantUserStatus
from llm import catalog
from naive_platform import errors, kit_effects
from naive_platform.dashboard import doors, models
from naive_platform.dashboard.doors import Place

USERS_SHOWN = 20
SEARCH_LENGTH_MAX = 200
# An id of a model as it can be; anything else in an address is somebody's joke on whoever copies the command.
_MODEL = re.compile(r"[A-Za-z0-9@~._:/-]{1,200}")
# What is chosen where the address says nothing, if the kit allows it; else the first that it allows.
MODEL = "openai/gpt-4o-mini"


@dataclass(frozen=True, slots=True)
class Choice:
    """As whom to call, whom else there is to choose, and what the kit of the chosen one allows."""

    user: TenantUser
    users: list[TenantUser]
    kit: Kit
    models: list[str]
    known: int
    model: str

    @property
    def is_suspended(self) -> bool:
        return self.user.status != TenantUserStatus.ACTIVE

    @property
    def is_allowed(self) -> bool:
        return models.allows(self.kit, self.model)


@doors.page("playground")
def playground(request: HttpRequest, place: Place) -> HttpResponse:
    choice = _choice(request, place)
    context = {
        "choice": choice,
        "search": request.GET.get("q", "")[:SEARCH_LENGTH_MAX],
        "refusal": place.refusal("user-sessions", "post"),
        "is_configured": bool(settings.OPENROUTER_API_KEY or settings.UPSTREAM_IS_SIMULATOR),
        "base_url": models.base_url(request),
        "curl": models.curl(request, choice.model, user_id=str(choice.user.id)),
    }
    # htmx asks for what depends on the chosen user; the conversation stays.
    template = "dashboard/_playground_choice.html" if doors.is_htmx(request) else "dashboard/playground.html"
    return doors.render(request, place, template, context)


@doors.page("playground", post="post", post_route="user-sessions")
def begin(request: HttpRequest, place: Place) -> HttpResponse:
    """POST user_id: a token for a quarter of an hour, for the script alone. No page and no form ever has it."""
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    try:
        issued = sessions.issue_to_person(
            company_id=place.company_id,
            user_id=_id(request.POST.get("user_id", ""), "Tenant user"),
            person_id=place.person.id,
            now=timezone.now(),
        )
    except DomainError as exc:
        return _problem(exc)
    told = {
        "token": issued.token,
        "session_id": str(issued.session.id),
        "user_id": str(issued.session.tenant_user_id),
        "expires_at": issued.session.expires_at.isoformat(),
    }
    return JsonResponse(told)


@doors.page("playground", post="delete", post_route="user-session")
def end(request: HttpRequest, place: Place) -> HttpResponse:
    """POST user_id and session_id: the page is left, and its token opens nothing any more."""
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    try:
        sessions.revoke(
            company_id=place.company_id,
            user_id=_id(request.POST.get("user_id", ""), "Tenant user"),
            session_id=_id(request.POST.get("session_id", ""), "Session"),
            now=timezone.now(),
        )
    except DomainError as exc:
        return _problem(exc)
    return HttpResponse(status=204)


def _choice(request: HttpRequest, place: Place) -> Choice:
    """Errors: NotFound (a user who is not theirs)."""
    search = request.GET.get("q", "").strip()[:SEARCH_LENGTH_MAX]
    found = tenants.page(
        company_id=place.company_id, filters=tenants.Filters(search=search or None), limit=USERS_SHOWN
    ).users
    said = request.GET.get("user", "")
    user_id = _id(said, "Tenant user") if said else place.caller.default_user_id
    user = next((one for one in found if one.id == user_id), None)
    if user is None:
        user = tenants.get(company_id=place.company_id, user_id=user_id)
        found = [user, *found]
    kit = kits.gate(kits.get(company_id=place.company_id, kit_id=user.account_kit_id))
    known = kit_effects.catalogue()
    writing = catalog.select(catalog.read_filters({}), allowed=lambda _: True)
    allowed = [model.id for model in writing if models.allows(kit, model.id)]
    first = MODEL if MODEL in allowed or not allowed else allowed[0]
    model = request.GET.get("model", "").strip()
    return Choice(
        user=user,
        users=found,
        kit=kit,
        models=sorted(allowed),
        known=len(writing) or len(known.models),
        model=model if _MODEL.fullmatch(model) else first,
    )


def _id(text: str, what: str) -> UUID:
    found = ids.parse(text)
    if found is None:
        raise NotFound(f"{what} {text[:100]} was not found.")
    return found


def _problem(exc: DomainError) -> HttpResponse:
    """A refusal in the API's words and shape, for the script that asked."""
    code, status = errors.classify(exc)
    told: Mapping[str, Any] = {"code": code, "message": exc.message, "hint": exc.hint}
    return JsonResponse({"error": told}, status=status)
