"""Signing in: Django's own view and form, with words that help."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, UsernameField
from django.contrib.auth.views import LoginView
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts import audit, ids, sign_ins
from accounts.audit import Actor
from accounts.models import AuditEntry
from llm.errors import RateLimited
from naive_platform import throttles


class LoginForm(AuthenticationForm):
    """E-mail address and password; one message for every refusal, so that nobody learns who has an account."""

    username = UsernameField(
        label="E-mail address",
        widget=forms.EmailInput(attrs={"autofocus": True, "autocomplete": "username"}),
        error_messages={"required": "Enter your e-mail address."},
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Enter your password."},
    )
    error_messages = {
        "invalid_login": "This e-mail address and password do not open an account. "
        "Check both; capital letters count in the password.",
        "inactive": "This account is closed.",
    }

    def clean(self) -> dict[str, Any]:
        """Count the try before it is looked at, together with those over the API."""
        request = self.request
        address = request.META.get("REMOTE_ADDR", "") if request else ""
        try:
            throttles.count_sign_in(
                address=address, email=self.cleaned_data.get("username", ""), now=timezone.now()
            )
        except RateLimited as exc:
            raise forms.ValidationError(f"{exc.message} {exc.hint}") from exc
        return super().clean()


class Login(LoginView):
    """Lets a person in and sends them on to `next` where that is a page of this site."""

    template_name = "login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    @transaction.atomic
    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Sign the person in and leave the entry of it."""
        person = form.get_user()
        actor = Actor(
            kind=AuditEntry.Actor.PERSON,
            id=person.id,
            label=person.email,
            person_id=person.id,
            ip=self.request.META.get("REMOTE_ADDR"),
            request_id=f"req_{ids.uuid7().hex}",
        )
        with audit.acting(actor):
            sign_ins.record(person=person, action="person.signed_in")
        answer = super().form_valid(form)
        answer["X-Request-Id"] = actor.request_id
        return answer

    def get_redirect_url(self, request: HttpRequest | None = None) -> str:
        """Back to this page, or straight out again, is nowhere to go."""
        found = super().get_redirect_url(request)
        return "" if found.startswith(("/login", "/logout")) else found
