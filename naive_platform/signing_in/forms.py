"""The forms of signing in and of one's own account: allauth's flows behind them, tries counted, words that help."""

from typing import Any

from allauth.account import forms as allauth
from allauth.account.internal.flows.email_verification import send_verification_email_to_address
from allauth.account.models import EmailAddress
from allauth.core import context
from django import forms
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import people
from accounts.models import NAME_LENGTH_MAX
from llm.errors import RateLimited
from naive_platform import throttles


def email_field(**attrs: Any) -> forms.EmailField:
    return forms.EmailField(
        label="E-mail address",
        max_length=people.EMAIL_LENGTH_MAX,
        widget=forms.EmailInput(attrs={"autocomplete": "email", **attrs}),
        error_messages={
            "required": "Enter your e-mail address.",
            "invalid": "Enter an e-mail address, such as ada@example.org.",
        },
    )


def password_field(label: str = "Password", *, is_new: bool = False, **attrs: Any) -> forms.CharField:
    return forms.CharField(
        label=label,
        strip=False,
        max_length=people.PASSWORD_LENGTH_MAX,
        help_text="At least 8 characters; common ones are refused." if is_new else "",
        widget=forms.PasswordInput(
            attrs={"autocomplete": "new-password" if is_new else "current-password", **attrs}
        ),
        error_messages={"required": "Enter a password." if is_new else "Enter your password."},
    )


def too_many(exc: RateLimited) -> forms.ValidationError:
    return forms.ValidationError(f"{exc.message} {exc.hint}")


def address() -> str:
    """Where the request that is answered came from."""
    return str(context.request.META.get("REMOTE_ADDR") or "")


class SignInForm(allauth.LoginForm):
    """E-mail address and password; one message for every refusal, so that nobody learns who has an account."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Passkeys of this site are offered where the address is typed.
        self.fields["login"] = email_field(autocomplete="username webauthn", autofocus=True)
        self.fields["password"] = password_field()


class SignUpForm(forms.Form):
    """Who signs up, and the company they found."""

    by_passkey = False

    name = forms.CharField(
        label="Your name",
        max_length=NAME_LENGTH_MAX,
        widget=forms.TextInput(attrs={"autocomplete": "name", "autofocus": True}),
        error_messages={"required": "Enter your name."},
    )
    email = email_field()
    password = password_field(is_new=True)
    company_name = forms.CharField(
        label="Company",
        max_length=NAME_LENGTH_MAX,
        required=False,
        help_text="If you leave it out, it gets your name.",
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )

    def __init__(self, *args: Any, invited: str | None = None, **kwargs: Any) -> None:
        """`invited` is the address that an invitation is for: whoever has one joins, and founds nothing."""
        super().__init__(*args, **kwargs)
        if invited is not None:
            del self.fields["company_name"]
            self.fields["email"].disabled = True
            self.initial["email"] = invited

    def clean(self) -> dict[str, Any]:
        """Count the try before it is looked at, together with those over the API."""
        email = str(self.cleaned_data.get("email") or "")
        try:
            throttles.count_registration(address=address(), email=email, now=timezone.now())
        except RateLimited as exc:
            raise too_many(exc) from exc
        return self.cleaned_data


class ReauthenticateForm(allauth.ReauthenticateForm):
    password = password_field(autofocus=True)


class ChangePasswordForm(allauth.ChangePasswordForm):
    oldpassword = password_field("Current password", autofocus=True)
    password2 = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _tell_of_new(self)

    def clean_oldpassword(self) -> str:
        try:
            throttles.count_sign_in(address=address(), email=self.user.email, now=timezone.now())
        except RateLimited as exc:
            raise too_many(exc) from exc
        return str(super().clean_oldpassword())


class SetPasswordForm(allauth.SetPasswordForm):
    password2 = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _tell_of_new(self)


class NewPasswordForm(allauth.ResetPasswordKeyForm):
    password2 = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _tell_of_new(self)


class ResetPasswordForm(allauth.ResetPasswordForm):
    email = email_field(autofocus=True)

    def clean_email(self) -> str:
        email = str(self.cleaned_data["email"])
        try:
            throttles.count_letter(address=address(), email=email, now=timezone.now())
        except RateLimited as exc:
            raise too_many(exc) from exc
        return str(super().clean_email())


class ChangeEmailForm(allauth.AddEmailForm):
    """The address that a person wants; theirs once the letter to it is answered."""

    email = email_field()

    def clean_email(self) -> str:
        """Whether somebody else has it is not told here: the answer to the letter would be refused."""
        email = str(self.cleaned_data["email"]).lower()
        if email == self.user.email.lower():
            raise forms.ValidationError("This is your address already.")
        try:
            throttles.count_letter(address=address(), email=self.user.email, now=timezone.now())
        except RateLimited as exc:
            raise too_many(exc) from exc
        return email

    def save(self, request: HttpRequest) -> EmailAddress:
        with transaction.atomic():
            EmailAddress.objects.filter(user=self.user, primary=False).delete()
            wanted = EmailAddress.objects.create(user=self.user, email=self.cleaned_data["email"])
        send_verification_email_to_address(request, wanted)
        return wanted


def _tell_of_new(form: forms.Form) -> None:
    field = form.fields["password1"]
    told = password_field("New password", is_new=True)
    field.label, field.help_text = told.label, told.help_text
    field.error_messages = told.error_messages
    field.widget.attrs.pop("placeholder", None)
    field.widget.attrs["maxlength"] = people.PASSWORD_LENGTH_MAX
