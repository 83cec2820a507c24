"""The admin's site: whatever is done on its pages is done by the operator who is signed in."""

import functools
from typing import Any

from django.contrib.admin import AdminSite
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from accounts import audit, ids, sign_ins
from accounts.audit import Actor
from accounts.models import AuditEntry, User


class OperatorSite(AdminSite):
    """Django's own, whose pages and sign-in say who acts."""

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:  # noqa: FBT001, FBT002 - Django's signature.
        def act(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            actor = operator(request)
            with audit.acting(actor):
                answer: HttpResponse = view(request, *args, **kwargs)
            answer["X-Request-Id"] = actor.request_id
            return answer

        return super().admin_view(functools.update_wrapper(act, view), cacheable)

    @transaction.atomic
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        answer = super().login(request, extra_context)
        if request.method == "POST" and answer.status_code == 302:
            actor = operator(request)
            with audit.acting(actor):
                sign_ins.record(person=person_of(request), action="person.signed_in")
            answer["X-Request-Id"] = actor.request_id
        return answer

    @transaction.atomic
    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        answer = super().password_change(request, extra_context)
        if request.method == "POST" and answer.status_code == 302:
            person = person_of(request)
            audit.record(
                company_id=None,
                action="person.password_set",
                target_kind="person",
                target_id=person.id,
                target_label=person.email,
            )
        return answer


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
