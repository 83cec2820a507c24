"""Pages of signing in that are more than allauth's own: signing up, one's address, a lost password."""

from typing import Any, cast

from allauth.account.internal import flows
from allauth.account.internal.flows.email_verification import send_verification_email_to_address
from allauth.account.models import EmailAddress
from allauth.account.utils import get_next_redirect_url
from allauth.account.views import EmailView, PasswordResetView, SignupView
from allauth.mfa.webauthn.views import LoginWebAuthnView
from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import Resolver404, resolve
from django.utils import timezone
from django.utils.functional import cached_property

from accounts import invitations, people
from accounts.errors import DomainError
from accounts.invitation_models import Invitation
from accounts.models import User
from billing import money
from llm.errors import RateLimited
from naive_platform import onboarding, throttles
from naive_platform.dashboard import doors, overview, submissions
from naive_platform.signing_in import forms as our_forms


class SignUp(SignupView):
    """A person with a company of their own; or without, where they come from an invitation to another's."""

    @cached_property
    def invitation(self) -> Invitation | None:
        """The one that `next` leads to, if it is good."""
        try:
            found = resolve(get_next_redirect_url(self.request) or "")
        except Resolver404:
            return None
        if found.url_name != "invitation":
            return None
        try:
            return invitations.find(token=found.kwargs["token"], now=timezone.now())
        except DomainError:
            return None

    def get_form_kwargs(self) -> dict[str, Any]:
        invited = self.invitation.email if self.invitation else None
        return {**super().get_form_kwargs(), "invited": invited}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "invitation": self.invitation, **_granted()}

    def form_valid(self, form: our_forms.SignUpForm) -> HttpResponse:
        given, now = form.cleaned_data, timezone.now()
        who = {"email": given["email"], "password": given["password"], "name": given["name"]}
        try:
            if self.invitation is not None:
                return self._enter(people.create(**who, now=now))
            made = onboarding.sign_up(**who, company_name=given["company_name"] or None, now=now)
        except DomainError as exc:
            submissions.refuse(form, exc)
            return cast(HttpResponse, self.form_invalid(form))
        entered = self._enter(made.user)
        # Shown in this one answer, and kept nowhere: not in the session either.
        context = {
            "made": made,
            "granted_nanocredits": money.nanocredits_from_credits(made.granted_credits),
            "next": entered["Location"],
            "curl": overview.curl(doors.base_url(self.request)),
            **_granted(),
        }
        return render(self.request, "account/signed_up.html", context)

    def _enter(self, person: User) -> HttpResponse:
        """Sign somebody in who has just been made, and write to them."""
        return cast(
            HttpResponse,
            flows.signup.complete_signup(self.request, user=person, redirect_url=self.get_success_url()),
        )


class Email(EmailView):
    """One's address: changed by answering a letter to the new one, confirmed by answering one to the present."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        pending = EmailAddress.objects.filter(user=self.request.user, primary=False).order_by("-pk").first()
        context = {"pending": pending, "can_write": bool(settings.EMAIL_URL), **_granted()}
        return {**super().get_context_data(**kwargs), **context}

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if "action_add" in request.POST and settings.EMAIL_URL:
            return cast(HttpResponse, super().post(request, *args, **kwargs))
        if "action_send" in request.POST and settings.EMAIL_URL:
            self._send(request)
        elif "action_remove" in request.POST:
            EmailAddress.objects.filter(user=request.user, primary=False).delete()
            messages.success(request, "Your address stays as it is.")
        return redirect("account_email")

    def _send(self, request: HttpRequest) -> None:
        """The letter once more, to the address that waits for its answer."""
        person = cast(User, request.user)
        rows = EmailAddress.objects.filter(user=person, verified=False)
        waiting = rows.order_by("primary", "-pk").first()
        if waiting is None:
            return
        try:
            throttles.count_letter(address=our_forms.address(), email=person.email, now=timezone.now())
        except RateLimited as exc:
            messages.error(request, f"{exc.message} {exc.hint}")
            return
        send_verification_email_to_address(request, waiting)


class ResetPassword(PasswordResetView):
    """A letter with a link that sets a new password; where nobody is written to, the page says so."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "can_write": bool(settings.EMAIL_URL)}

    def form_valid(self, form: forms.Form) -> HttpResponse:
        if not settings.EMAIL_URL:
            return cast(HttpResponse, self.form_invalid(form))
        return cast(HttpResponse, super().form_valid(form))


class SignInByPasskey(LoginWebAuthnView):
    """A passkey in the password's place. What it is asked stands in a session, strangers' too: so it is counted."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            throttles.count_passkey(address=our_forms.address(), now=timezone.now())
        except RateLimited as exc:
            return JsonResponse({"message": exc.message}, status=429)
        return cast(HttpResponse, super().get(request, *args, **kwargs))


def _granted() -> dict[str, Any]:
    return {
        "grant_nanocredits": money.nanocredits_from_credits(settings.SIGNUP_GRANT_CREDITS),
        "is_granted_at_once": settings.DEBUG,
        "can_write": bool(settings.EMAIL_URL),
    }
