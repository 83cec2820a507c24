"""The company's name, ids and addresses, and the person's own: name, password, second factor, sessions."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import companies, people
from accounts.errors import DomainError
from accounts.models import CAP_CREDITS_MAX, NAME_LENGTH_MAX
from naive_platform.dashboard import doors, prompts, submissions
from naive_platform.dashboard.doors import Place

# Pages of signing in (naive_platform/signing_in).
OWN_PAGES = (
    ("account_change_password", "Password"),
    ("mfa_index", "Second factor and passkeys"),
    ("usersessions_list", "Where you are signed in"),
    ("account_email", "E-mail addresses"),
)


class CompanyForm(forms.Form):
    """What the company may change of itself."""

    name = forms.CharField(
        max_length=NAME_LENGTH_MAX, error_messages={"required": "Give the company a name."}
    )
    low_credits = forms.DecimalField(
        label="Tell us when fewer credits are left than",
        min_value=0,
        max_value=CAP_CREDITS_MAX,
        decimal_places=9,
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
        help_text="Owners get a letter, webhooks get credits.low. 0 warns only when they are gone.",
        error_messages={"required": "Enter a number of credits; 0 warns only when they are gone."},
    )


class PersonForm(forms.Form):
    """How the person is called."""

    person_name = forms.CharField(
        label="Your name",
        max_length=NAME_LENGTH_MAX,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
        error_messages={"required": "Enter your name."},
    )


@doors.page("settings", post="patch")
def settings(request: HttpRequest, place: Place) -> HttpResponse:
    """The page; POST changes the company."""
    form = _company_form(place, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            changes = {name: form.cleaned_data[name] for name in form.changed_data}
            companies.update(company_id=place.company_id, changes=changes)
            return doors.done(request, "Settings saved.", reverse("dashboard-settings"))
        except DomainError as exc:
            submissions.refuse(form, exc)
    return _page(request, place, company_form=form)


@doors.page("settings", post="patch", post_route="person")
def person(request: HttpRequest, place: Place) -> HttpResponse:
    """POST person_name: the person's own, whatever their role."""
    form = PersonForm(request.POST or None, initial={"person_name": place.person.name})
    if request.method == "POST" and form.is_valid():
        try:
            people.rename(user_id=place.person.id, name=form.cleaned_data["person_name"], now=timezone.now())
            return doors.done(request, "Your name is saved.", reverse("dashboard-settings"))
        except DomainError as exc:
            submissions.refuse(form, exc)
    return _page(request, place, person_form=form)


def _page(request: HttpRequest, place: Place, **forms_sent: forms.Form) -> HttpResponse:
    base_url = doors.base_url(request)
    context: dict[str, Any] = {
        "company_form": _company_form(place, None),
        "person_form": PersonForm(initial={"person_name": place.person.name}),
        **forms_sent,
        "may_change": place.may("company", "patch"),
        "role": place.caller.role.value,
        "addresses": (
            ("Typed routes, and any OpenAI client", f"{base_url}/v1/llm"),
            ("Drop-in proxy for OpenRouter's own paths", f"{base_url}/v1/proxy/openrouter"),
            ("The rest of the API", f"{base_url}/v1"),
        ),
        "own_pages": [(reverse(name), title) for name, title in OWN_PAGES],
        "storing": prompts.storing(place),
    }
    is_refused = any(form.is_bound and form.errors for form in forms_sent.values())
    return doors.render(request, place, "dashboard/settings.html", context, status=400 if is_refused else 200)


def _company_form(place: Place, sent: Any) -> CompanyForm:
    low = place.company.low_credits
    return CompanyForm(sent, initial={"name": place.company.name, "low_credits": f"{low.normalize():f}"})
