"""Who may pass: pages of signing in know who acts, and staff bring a second factor."""

import functools
from collections.abc import Callable
from typing import Concatenate

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_cache_control

from accounts import audit, ids
from accounts.audit import Actor
from accounts.models import AuditEntry, User
from naive_platform.dashboard import doors
from naive_platform.signing_in import second_factors

type View[**P] = Callable[Concatenate[HttpRequest, P], HttpResponse]


def require_staff[**P](view: View[P]) -> View[P]:
    """Let staff in, outside DEBUG with a second factor that this very session has given.

    Shape: who is not signed in may do that first; for everybody who is not staff there is nothing here (404); staff
    without a second factor, or whose session has not given it, get a page (403) that leads to it and back.
    """

    @functools.wraps(view)
    def door(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        person = request.user
        if not isinstance(person, User):
            return redirect_to_login(request.get_full_path())
        if not (person.is_active and person.is_staff):
            raise Http404
        if not settings.DEBUG and not (
            second_factors.is_enrolled(person) and second_factors.is_proven(request)
        ):
            return _private(_ask_for_factor(request, person))
        return view(request, *args, **kwargs)

    return door


def visit[**P](view: View[P]) -> View[P]:
    """Say who acts on a page of signing in, and that nobody keeps the page."""

    @functools.wraps(view)
    def door(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        with audit.acting(_visitor(request)):
            answer = view(request, *args, **kwargs)
            answer["X-Request-Id"] = audit.actor().request_id
        return _private(answer)

    return door


def _visitor(request: HttpRequest) -> Actor:
    if isinstance(request.user, User):
        return doors.actor(request, request.user)
    return Actor(
        kind=AuditEntry.Actor.PLATFORM,
        ip=request.META.get("REMOTE_ADDR"),
        request_id=f"req_{ids.uuid7().hex}",
    )


def _ask_for_factor(request: HttpRequest, person: User) -> HttpResponse:
    # What a form was to do is not done.
    context = {
        "next": request.get_full_path() if request.method == "GET" else settings.LOGIN_REDIRECT_URL,
        "types": second_factors.types(person),
        "is_enrolled": second_factors.is_enrolled(person),
    }
    return render(request, "mfa/required.html", context, status=403)


def _private(answer: HttpResponse) -> HttpResponse:
    patch_cache_control(answer, private=True, no_store=True)
    return answer
