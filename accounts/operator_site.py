"""The admin's site: whatever is done on its pages is done by the operator who is signed in."""

import functools
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

from accounts import audit, ids
from accounts.audit import Actor
from accounts.models import AuditEntry, User


class OperatorSite(UnfoldAdminSite):
    """Unfold's, whose pages and sign-in say who acts."""

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:  # noqa: FBT001, FBT002 - Django's signature.
        def act(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            actor = operator(request)
            with audit.acting(actor):
                answer: HttpResponse = view(request, *args, **kwargs)
            answer["X-Request-Id"] = actor.request_id
            return answer

        return super().admin_view(functools.update_wrapper(act, view), cacheable)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Operators sign in where everybody does: with a second factor, and with their tries counted."""
        if request.user.is_authenticated:
            # Whoever is in and comes here may not go further.
            raise Http404
        return redirect_to_login(
            str(request.GET.get("next") or reverse("admin:index", current_app=self.name))
        )

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect("account_change_password")


def operator(request: HttpRequest) -> Actor:
    """Who acts on a page of the admin."""
    person = person_of(request)
    return Actor(
        kind=AuditEntry.Actor.OPERATOR,
        id=person.id,
        label=person.email,
        person_id=person.id,
        ip=request.META.get("REMOTE_ADDR"),
        request_id=f"req_{ids.uuid7().hex}",
    )


def person_of(request: HttpRequest) -> User:
    """The person signed in. Errors: TypeError where nobody is."""
    if not isinstance(request.user, User):
        raise TypeError("Nobody is signed in here.")
    return request.user
