"""What every page of the operator console stands on: staff alone come in, and what they do is the operator's doing."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, cast
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control, patch_vary_headers

from accounts import audit, operator_site
from accounts.errors import DomainError, NotFound
from accounts.models import Company, User
from naive_platform import errors
from naive_platform.dashboard import doors as dashboard
from naive_platform.operator import navigation
from naive_platform.signing_in import doors as signing_in

type View[**P] = Callable[Concatenate[HttpRequest, "Desk", P], HttpResponse]


@dataclass(frozen=True, slots=True)
class Desk:
    """An operator at one page of the console, for one request."""

    name: str
    person: User

    @property
    def actor(self) -> str:
        """How the ledger spells who moves credits, the same here as on the command line."""
        return f"operator:{self.person.email}"

    @property
    def entries(self) -> tuple[navigation.Entry, ...]:
        return navigation.ENTRIES


def page[**P](
    name: str, *, post: bool = False, only_post: bool = False
) -> Callable[[View[P]], Callable[Concatenate[HttpRequest, P], HttpResponse]]:
    """Make a view a page of the console. `post` where it has a form, `only_post` where it is but a form's target.

    Shape: the view gets the request and its Desk; whatever it changes is changed by the operator. DomainErrors it
    raises are shown.
    """
    allowed = (() if only_post else ("GET", "HEAD")) + (("POST",) if post or only_post else ())

    def wrap(view: View[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
        @functools.wraps(view)
        @signing_in.require_staff
        def door(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if request.method not in allowed:
                return HttpResponse(status=405, headers={"Allow": ", ".join(allowed)})
            desk = Desk(name=name, person=cast("User", request.user))
            actor = operator_site.operator(request)
            with audit.acting(actor):
                try:
                    dashboard.leave_out_nul(request)
                    answer = view(request, desk, *args, **kwargs)
                except DomainError as exc:
                    answer = refused(request, desk, exc)
            answer["X-Request-Id"] = actor.request_id
            patch_cache_control(answer, private=True, no_store=True)
            patch_vary_headers(answer, ["HX-Request"])
            return answer

        return door

    return wrap


def render(
    request: HttpRequest,
    desk: Desk,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    """Answer with a page of the console, in the same frame as the dashboard's."""
    return dashboard.render(request, None, template, {"desk": desk, **(context or {})}, status=status)


def refused(request: HttpRequest, desk: Desk, exc: DomainError) -> HttpResponse:
    """Show why something cannot be done: as a toast where htmx asked, else as a page of its own."""
    _, status = errors.classify(exc)
    if dashboard.is_htmx(request):
        messages.error(request, f"{exc.message} {exc.hint or ''}".strip())
        answer = render(request, desk, "components/_nothing.html", status=status)
        answer["HX-Reswap"] = "none"
        return answer
    context = {"message": exc.message, "hint": exc.hint, "status": status}
    return render(request, desk, "operator/refused.html", context, status=status)


def company(company_id: UUID) -> Company:
    """The company that an address names. Errors: NotFound."""
    found = Company.objects.filter(id=company_id).first()
    if found is None:
        raise NotFound(f"There is no company {company_id}.", hint="Look for it on the page Companies.")
    return found
