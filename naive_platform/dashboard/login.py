"""Signing in: Django's own view and form, with words that help."""

from django import forms
from django.contrib.auth.forms import AuthenticationForm, UsernameField
from django.contrib.auth.views import LoginView
from django.http import HttpRequest


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


class Login(LoginView):
    """Lets a person in and sends them on to `next` where that is a page of this site."""

    template_name = "login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    def get_redirect_url(self, request: HttpRequest | None = None) -> str:
        """Back to this page, or straight out again, is nowhere to go."""
        found = super().get_redirect_url(request)
        return "" if found.startswith(("/login", "/logout")) else found
