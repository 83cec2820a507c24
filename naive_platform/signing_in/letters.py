"""The letter that asks a new person to confirm their address, for doors that are not allauth's."""

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest

from accounts.models import User


def ask_to_confirm(request: HttpRequest, person: User) -> None:
    """Write to somebody whose address is not confirmed, once what is done now is kept, where there is e-mail."""
    if settings.EMAIL_URL and person.email_verified_at is None:
        address = EmailAddress.objects.get(user=person, primary=True)
        transaction.on_commit(lambda: address.send_confirmation(request, signup=True))
