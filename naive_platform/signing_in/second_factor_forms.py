"""The forms of second factors: allauth's, with tries counted and codes used up as over the API, and our words."""

from typing import Any

from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    EditWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from django import forms
from django.utils import timezone

from llm.errors import RateLimited
from naive_platform import throttles
from naive_platform.signing_in import second_factors
from naive_platform.signing_in.forms import address, too_many

NAME_LENGTH_MAX = 100
WRONG_CODE = "The code is wrong, or was used before. Wait for the next one, or use a recovery code."
WRONG_PASSKEY = "This passkey was not accepted. Try again, or use another way."
CODE = {"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}


def code_field(help_text: str) -> forms.CharField:
    return forms.CharField(
        label="Code",
        max_length=second_factors.CODE_LENGTH_MAX,
        help_text=help_text,
        widget=forms.TextInput(attrs=CODE),
        error_messages={"required": "Enter the code."},
    )


class _CodeForm(forms.Form):
    code = code_field("Six digits from your authenticator app, or a recovery code.")

    def clean_code(self) -> str:
        person, code, now = self.user, str(self.cleaned_data["code"]), timezone.now()  # type: ignore[attr-defined]
        try:
            throttles.count_code(email=person.email, now=now)
        except RateLimited as exc:
            raise too_many(exc) from exc
        factor = second_factors.use(person=person, code=code, now=now)
        if factor is None:
            raise forms.ValidationError(WRONG_CODE)
        factor.user = person
        self.authenticator = factor
        return code


class CodeForm(_CodeForm, AuthenticateForm):
    """At a sign-in, after the password."""


class CodeAgainForm(_CodeForm, ReauthenticateForm):
    """Before something that matters."""


class ActivateForm(ActivateTOTPForm):
    """Sets an authenticator app up, by its first code."""

    code = code_field("The six digits that the app shows now.")

    def clean_code(self) -> str:
        try:
            throttles.count_code(email=self.user.email, now=timezone.now())
            return str(super().clean_code())
        except RateLimited as exc:
            raise too_many(exc) from exc


class _Guarded(forms.Form):
    """What comes from a browser's passkey is anybody's JSON; whatever is wrong with it, it is refused."""

    def full_clean(self) -> None:
        try:
            super().full_clean()
        except (ValueError, TypeError, KeyError, AttributeError):
            self.add_error("credential", WRONG_PASSKEY)


class AddPasskeyForm(_Guarded, AddWebAuthnForm):
    name = forms.CharField(
        max_length=NAME_LENGTH_MAX,
        required=False,
        help_text="Where you will find it: a phone, a laptop, a key.",
    )
    passwordless = forms.BooleanField(
        label="Sign in with it alone, without the password", required=False, initial=True
    )


class RenamePasskeyForm(EditWebAuthnForm):
    name = forms.CharField(max_length=NAME_LENGTH_MAX, error_messages={"required": "Give it a name."})


class PasskeyForm(_Guarded, AuthenticateWebAuthnForm):
    """At a sign-in, after the password."""


class PasskeyAgainForm(_Guarded, ReauthenticateWebAuthnForm):
    """Before something that matters."""


class SignInByPasskeyForm(_Guarded, LoginWebAuthnForm):
    """In the password's place."""

    def clean_credential(self) -> Any:
        try:
            throttles.count_passkey(address=address(), now=timezone.now())
        except RateLimited as exc:
            raise too_many(exc) from exc
        return super().clean_credential()
