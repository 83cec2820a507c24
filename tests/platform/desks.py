"""Operators at the console, for its tests."""

import re
from typing import Any

from allauth.account.internal.flows import login
from allauth.mfa.models import Authenticator
from django.test import Client
from django.utils import timezone

from accounts import ids
from accounts.models import AuditEntry, User
from tests import factories


def operator(*, has_second_factor: bool = True) -> Client:
    """A browser in which an operator of their own is signed in, with a second factor; `person` says who."""
    client = Client()
    email = f"{ids.uuid7().hex}@operator.example"
    person = User.objects.create_superuser(
        email, factories.PASSWORD, name="Operator", email_verified_at=timezone.now()
    )
    client.force_login(person)
    if has_second_factor:
        Authenticator.objects.create(user=person, type=Authenticator.Type.TOTP, data={})
        session = client.session
        session[login.AUTHENTICATION_METHODS_SESSION_KEY] = [
            {"method": "mfa", "at": timezone.now().timestamp()}
        ]
        session[login._AUTHENTICATION_METHODS_USER_SESSION_KEY] = str(person.pk)
        session.save()
    client.person = person  # type: ignore[attr-defined]
    return client


def text_of(client: Client, url: str, status: int = 200, **query: str) -> str:
    answer = client.get(url, query)
    assert answer.status_code == status, url
    return str(answer.content.decode())


def figure(page: str, name: str) -> str:
    """The exact amount under a name."""
    found = re.search(rf'<dt>{name}</dt>\s*<dd><data class="amount" value="\$?([^"]+)"', page)
    assert found, f"no figure {name}"
    return found.group(1)


def entries(**narrowed: Any) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(**narrowed).order_by("id"))
