"""People beside the owner of a company, for tests of who may see and do what on pages."""

import secrets

from django.utils import timezone

from accounts import companies, people
from accounts.models import User
from tests import factories
from tests.factories import Cast


def colleague(member: Cast, role: str) -> User:
    """A new person in the member's company, with this role."""
    now = timezone.now()
    email = f"{role}-{secrets.token_hex(6)}@acme.example"
    person = people.create(
        email=email, password=factories.PASSWORD, name=role.title(), now=now, email_verified=True
    )
    companies.add_member(company_id=member.company_id, user_id=person.id, role=role, now=now)
    return person
