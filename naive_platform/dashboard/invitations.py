"""The page that an invitation's link opens: what it offers, and the button that accepts it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import audit, invitations
from accounts.errors import DomainError
from accounts.models import User
from naive_platform import errors, throttles
from naive_platform.api.authentication import SESSION_COMPANY
from naive_platform.dashboard import doors


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Show an invitation; POST accepts it, for whoever is signed in with its address."""
    now = timezone.now()
    try:
        throttles.count_invitation_look(address=request.META.get("REMOTE_ADDR", ""), now=now)
        if request.method != "POST":
            return _page(request, token)
        if not request.user.is_authenticated:
            return HttpResponseRedirect(_back_from("account_login", request))
        person = request.user
        with audit.acting(doors.actor(request, person)):
            member = invitations.accept(token=token, user=person, now=now)
            request_id = audit.actor().request_id
    except DomainError as exc:
        return _refused(request, exc)
    # The dashboard opens in the company that was joined.
    request.session[SESSION_COMPANY] = str(member.company_id)
    messages.success(request, f"Welcome: you are {member.role} of {member.company.name}.")
    answer = redirect("dashboard-overview")
    answer["X-Request-Id"] = request_id
    return answer


def _page(request: HttpRequest, token: str) -> HttpResponse:
    found = invitations.find(token=token, now=timezone.now())
    person = request.user if isinstance(request.user, User) else None
    context = {
        "invitation": found,
        "inviter": found.invited_by.name or found.invited_by.email,
        "person": person,
        "is_for_person": person is not None and invitations.is_for(found, person),
        "sign_in": _back_from("account_login", request),
        "sign_up": _back_from("account_signup", request),
    }
    return render(request, "dashboard/team_invitation.html", context | _looks(request))


def _refused(request: HttpRequest, exc: DomainError) -> HttpResponse:
    _, status = errors.classify(exc)
    context = {"message": exc.message, "hint": exc.hint} | _looks(request)
    return render(request, "dashboard/team_invitation_ended.html", context, status=status)


def _looks(request: HttpRequest) -> dict[str, str]:
    return {"theme": doors.chosen(request, "theme", doors.THEMES)}


def _back_from(name: str, request: HttpRequest) -> str:
    """A page of signing in, which leads back here."""
    return f"{reverse(name)}?{urlencode({'next': request.path})}"
