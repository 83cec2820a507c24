"""What every page of the dashboard stands on: who looks, at which company, what they may, and what a refusal says."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, cast
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.cache import patch_cache_control, patch_vary_headers

from accounts import audit, ids
from accounts.audit import Actor
from accounts.errors import DomainError, Forbidden, InvalidInput
from accounts.models import AuditEntry, Company, CompanyStatus, Membership, User
from naive_platform import errors, packing
from naive_platform.api import callers
from naive_platform.api.authentication import SESSION_COMPANY
from naive_platform.api.callers import Caller
from naive_platform.dashboard import navigation, viewings
from naive_platform.dashboard.viewings import Viewing

THEMES = ("light", "dark")
CLOCKS = ("utc", "local")

type View[**P] = Callable[Concatenate[HttpRequest, "Place", P], HttpResponseBase]


@dataclass(frozen=True, slots=True)
class Place:
    """A person in a company, for one request. `name` is the page's, as in navigation.py."""

    name: str
    caller: Caller
    company: Company
    person: User
    members: list[Membership]
    # Set where this is no member but an operator who looks on.
    viewing: Viewing | None = None

    @property
    def company_id(self) -> UUID:
        return self.company.id

    def may(self, route: str, verb: str = "get") -> bool:
        """Whether this person may do that, by navigation.PERMISSIONS."""
        return self.refusal(route, verb) is None

    def refusal(self, route: str, verb: str = "get") -> str | None:
        """Why this person may not do that; None where they may."""
        if self.viewing is not None and (why := self.viewing.refusal(route, verb)) is not None:
            return why
        wanted = navigation.PERMISSIONS[route][verb].role
        if wanted is None:
            return None
        if wanted.is_at_most(self.caller.role):
            if verb == "get" or self.company.status == CompanyStatus.ACTIVE:
                return None
            return f"{self.company.name} is {self.company.status}: nothing can be changed. Ask the operator."
        return (
            f"This takes the role {wanted.value}, and you are {self.caller.role.value} of {self.company.name}."
            " Ask an owner or admin on the page Team."
        )

    def require(self, route: str, verb: str) -> None:
        """Errors: Forbidden, where this person may not do that."""
        if (why := self.refusal(route, verb)) is not None:
            raise Forbidden(why)

    @property
    def entries(self) -> list[navigation.Entry]:
        """The pages this person may open."""
        return [entry for entry in navigation.ENTRIES if self.may(entry.route)]


def page[**P](
    name: str, *, route: str | None = None, post: str | None = None, post_route: str | None = None
) -> Callable[[View[P]], Callable[Concatenate[HttpRequest, P], HttpResponseBase]]:
    """Make a view a page: its person is signed in and belongs to the company, and may what navigation.PERMISSIONS says.

    Shape: `route` is its row for reading (the page's own in navigation.py where None); `post` is the verb of
    `post_route` (else of `route`) that a form of this page stands for, None where the page has no form. The view gets
    the request and its Place; whatever it changes is changed by the person. DomainErrors it raises are shown.
    """
    reading = route or next(entry.route for entry in navigation.ENTRIES if entry.name == name)

    def wrap(view: View[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        @functools.wraps(view)
        @login_required
        def door(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            place = enter(request, name)
            if place is None:
                return _private(render(request, None, "dashboard/no_company.html", status=403))
            kind = AuditEntry.Actor.OPERATOR if place.viewing else AuditEntry.Actor.PERSON
            with audit.acting(actor(request, place.person, kind=kind)):
                answer = _answer(request, place, *args, **kwargs)
                answer["X-Request-Id"] = audit.actor().request_id
            return _private(answer)

        def _answer(
            request: HttpRequest, place: Place, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            is_safe = request.method in ("GET", "HEAD")
            if not is_safe and (request.method != "POST" or post is None):
                return HttpResponse(status=405, headers={"Allow": "GET, HEAD" + (", POST" if post else "")})
            verb, asked = ("get", reading) if is_safe else (cast("str", post), post_route or reading)
            try:
                place.require(asked, verb)
                leave_out_nul(request)
                return view(request, place, *args, **kwargs)
            except DomainError as exc:
                return refused(request, place, exc)

        return door

    return wrap


def enter(request: HttpRequest, name: str) -> Place | None:
    """The request's person in the company they chose; None where they belong to none."""
    person = cast("User", request.user)
    if (viewing := viewings.current(request, now=timezone.now())) is not None:
        company = Company.objects.get(id=viewing.company_id)
        owner = callers.looking_on(person, company=company)
        return Place(name=name, caller=owner, company=company, person=person, members=[], viewing=viewing)
    chosen = ids.parse(str(request.session.get(SESSION_COMPANY, "")))
    caller = callers.of_person(person, company_id=chosen)
    if caller is None:
        return None
    members = list(Membership.objects.filter(user=person).select_related("company").order_by("company__name"))
    company = next(member.company for member in members if member.company_id == caller.company_id)
    return Place(name=name, caller=caller, company=company, person=person, members=members)


def actor(request: HttpRequest, person: User, *, kind: AuditEntry.Actor = AuditEntry.Actor.PERSON) -> Actor:
    """Who acts on a page."""
    return Actor(
        kind=kind,
        id=person.id,
        label=person.email,
        person_id=person.id,
        ip=request.META.get("REMOTE_ADDR"),
        request_id=f"req_{ids.uuid7().hex}",
    )


def render(
    request: HttpRequest,
    place: Place | None,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    """Answer with a page; or with a part of one, where htmx asks and `template` is a part (`_name.html`).

    A part brings the toasts with it, which htmx puts where they belong.
    """
    text = render_to_string(template, {**surroundings(request, place), **(context or {})}, request)
    if is_part(template):
        text += render_to_string("components/_toasts.html", {"is_swapped": True}, request)
    return packing.page(request, HttpResponse(text, status=status))


def surroundings(request: HttpRequest, place: Place | None) -> dict[str, Any]:
    """What the frame around every page needs."""
    return {
        "place": place,
        "company": place.company if place else None,
        "theme": chosen(request, "theme", THEMES),
        "clock": chosen(request, "clock", CLOCKS) or "utc",
        "is_simulated": settings.UPSTREAM_IS_SIMULATOR,
        "credit_value_usd": settings.CREDIT_VALUE_USD,
    }


def chosen(request: HttpRequest, name: str, words: tuple[str, ...]) -> str:
    """What this browser prefers, by its cookie; empty where it does not say."""
    said = request.COOKIES.get(f"naive_{name}", "")
    return said if said in words else ""


def leave_out_nul(request: HttpRequest) -> None:
    """Read the address as if nobody had typed NUL, the one character that no text in the database may have.

    Errors: InvalidInput, where a form has it.
    """
    if any("\x00" in value for _, values in request.POST.lists() for value in values):
        raise InvalidInput("A field has a character of no meaning (NUL).", hint="Leave it out.")
    if "%00" in request.META["QUERY_STRING"]:
        query = request.GET.copy()
        for name, values in request.GET.lists():
            query.setlist(name, [value.replace("\x00", "") for value in values])
        request.GET = query  # type: ignore[assignment]


def refused(request: HttpRequest, place: Place, exc: DomainError) -> HttpResponse:
    """Show why something cannot be done: as a toast where htmx asked, else as a page of its own."""
    _, status = errors.classify(exc)
    context = {"message": exc.message, "hint": exc.hint, "status": status}
    if is_htmx(request):
        messages.error(request, f"{exc.message} {exc.hint or ''}".strip())
        answer = render(request, place, "components/_nothing.html", status=status)
        # The toast alone is shown: what stands on the page was true before, and is again.
        answer["HX-Reswap"] = "none"
        return answer
    return render(request, place, "dashboard/refused.html", context, status=status)


def done(request: HttpRequest, said: str, url: str) -> HttpResponse:
    """After a change: say so, and go where it can be seen. With htmx as without."""
    messages.success(request, said)
    if is_htmx(request):
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)


def base_url(request: HttpRequest) -> str:
    """Where this deployment is reached, without a slash at its end."""
    return settings.PUBLIC_URL.rstrip("/") or request.build_absolute_uri("/").rstrip("/")


def is_htmx(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def is_part(template: str) -> bool:
    return template.rpartition("/")[2].startswith("_")


def choose_company(request: HttpRequest) -> HttpResponse:
    """POST company_id: look at another company of this person's from now on."""
    chosen_id = ids.parse(request.POST.get("company_id", ""))
    person = cast("User", request.user)
    if (
        request.method == "POST"
        and chosen_id
        and Membership.objects.filter(user=person.pk, company_id=chosen_id).exists()
    ):
        request.session[SESSION_COMPANY] = str(chosen_id)
    return redirect("dashboard-overview")


def prefer(request: HttpRequest) -> HttpResponse:
    """POST theme or clock, and the page to go back to: remembered by the browser, not by us."""
    back = request.POST.get("next", "")
    answer = redirect(back if back.startswith("/") and not back.startswith("//") else "dashboard-overview")
    for name, words in (("theme", ("auto", *THEMES)), ("clock", CLOCKS)):
        said = request.POST.get(name, "")
        if said in words:
            answer.set_cookie(
                f"naive_{name}", said, max_age=31_536_000, samesite="Lax", secure=not settings.DEBUG
            )
    return answer


def _private(answer: HttpResponseBase) -> HttpResponseBase:
    patch_cache_control(answer, private=True, no_store=True)
    patch_vary_headers(answer, ["HX-Request"])
    return answer
