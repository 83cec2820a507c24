"""What django-allauth asks of us about accounts and sessions: who is let in, what is written down, what letters say."""

import logging
import smtplib
from typing import Any
from urllib.parse import quote

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from accounts import keys, people, sign_ins
from accounts.errors import DomainError, InvalidInput
from accounts.models import User
from llm.errors import RateLimited
from naive_platform import onboarding, throttles
from naive_platform.dashboard import doors

log = logging.getLogger(__name__)

# Where nobody wants to be sent back to from a sign-in.
NOWHERE = ("/accounts/login", "/accounts/logout", "/accounts/signup")
PAGES = "/accounts/"
UNKNOWN_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing listens there.
NOT_SENT = "The letter could not be sent just now. Try again in a few minutes."


class AccountAdapter(DefaultAccountAdapter):
    """Accounts of people: the person's own row is the truth, and every change of it leaves its entry."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": "This e-mail address and password do not open an account. "
        "Check both; capital letters count in the password.",
        "incorrect_password": "This is not your password.",
        "enter_current_password": "This is not your current password.",
        "invalid_password_reset": "This link was used, or is too old.",
    }

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count the try before it is looked at, together with those over the API."""
        try:
            throttles.count_sign_in(
                address=self.get_client_ip(request),
                email=str(credentials.get("email", "")),
                now=timezone.now(),
            )
        except RateLimited as exc:
            raise ValidationError(f"{exc.message} {exc.hint}") from exc

    @transaction.atomic
    def login(self, request: HttpRequest, user: User) -> None:
        super().login(request, user)
        with people.acting(user):
            sign_ins.record(person=user, action="person.signed_in")

    @transaction.atomic
    def logout(self, request: HttpRequest) -> None:
        person = request.user
        if isinstance(person, User):
            sign_ins.record(person=person, action="person.signed_out")
        super().logout(request)

    def clean_password(self, password: str, user: User | None = None) -> str:
        try:
            people.check_password(password)
        except InvalidInput as exc:
            raise ValidationError(exc.message.removeprefix("password: ")) from exc
        return password

    @transaction.atomic
    def set_password(self, user: User, password: str) -> None:
        # Who resets it has read the letter to this address, and nobody is signed in.
        with people.acting(user):
            people.set_password(user=user, password=password)
            # What the one before opened over the API: whoever had stolen it has nothing left.
            keys.revoke_personal(person_id=user.id, now=timezone.now())

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        person = email_address.user
        before = person.email
        try:
            with people.acting(person):
                onboarding.confirm_address(user_id=person.pk, email=email_address.email, now=timezone.now())
        except DomainError as exc:
            messages.error(request, f"The address could not be confirmed. {exc.message}")
            return False
        messages.success(request, f"{email_address.email} is confirmed.")
        if before.lower() != email_address.email.lower() and person.email_verified_at is not None:
            changed = {"from_email": before, "to_email": email_address.email}
            self.send_notification_mail("account/email/email_changed", person, changed, email=before)
        return True

    def is_safe_url(self, url: str) -> bool:
        """Pages of this site alone, and none that would only turn around."""
        return (
            url.startswith("/")
            and url_has_allowed_host_and_scheme(url, allowed_hosts=None)
            and not url.startswith(NOWHERE)
        )

    def get_client_ip(self, request: HttpRequest) -> str:
        # The server has looked through the proxies that are believed (naive_platform/asgi.py).
        return str(request.META.get("REMOTE_ADDR") or UNKNOWN_ADDRESS)

    def get_reset_password_from_key_url(self, key: str) -> str:
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})
        return doors.base_url(self.request) + path.replace("UID-KEY", quote(key))

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        return doors.base_url(request) + reverse("account_confirm_email", args=[emailconfirmation.key])

    def send_confirmation_mail(self, request: HttpRequest, emailconfirmation: Any, signup: bool) -> None:  # noqa: FBT001
        address = emailconfirmation.email_address
        context = {
            "user": address.user,
            "activate_url": self.get_email_confirmation_url(request, emailconfirmation),
        }
        # After a sign-up the page itself says it.
        if self.send_mail("account/email/email_confirmation", address.email, context) and not signup:
            messages.info(request, f"A letter is on its way to {address.email}: follow the link in it.")

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> bool:
        """Write to somebody, tried once; whatever it goes with is done all the same. Whether it was taken."""
        if not settings.EMAIL_URL:
            return False
        try:
            super().send_mail(template_prefix, email, {**context, "base_url": doors.base_url(self.request)})
        except (smtplib.SMTPException, OSError, ValueError) as exc:
            log.warning("A letter (%s) was not sent: %s", template_prefix, type(exc).__name__)
            if self.request.path.startswith(PAGES):
                messages.error(self.request, NOT_SENT)
            return False
        return True


class SessionsAdapter(DefaultUserSessionsAdapter):
    @transaction.atomic
    def end_sessions(self, sessions: list[UserSession]) -> None:
        super().end_sessions(sessions)
        if sessions:
            sign_ins.record(
                person=sessions[0].user, action="person.sessions_ended", after={"sessions": len(sessions)}
            )
