"""Writes that span apps: a company begins with its people, its key and its wallet, or not at all."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from accounts import companies, keys, people
from accounts.models import AccountKit, APIKey, Company, Role, TenantUser, User
from billing import ledger, money

KEY_NAME = "Default"
# The ledger's reference of the opening grant; one per company.
GRANT_REFERENCE = "signup"


@dataclass(frozen=True, slots=True)
class SignedUp:
    """A new company, whole; the secret exists only here: show it once."""

    user: User
    company: Company
    kit: AccountKit
    default_user: TenantUser
    key: APIKey
    api_key_secret: str = field(repr=False)
    granted_credits: Decimal


@transaction.atomic
def sign_up(
    *,
    email: str,
    password: str,
    name: str,
    company_name: str | None,
    now: datetime,
    email_verified: bool = False,
) -> SignedUp:
    """Found a company: person, membership, Default kit and user, an owner's key, wallet, opening grant.

    Shape: one transaction; without a company name the company is called as its founder.
    Units: granted_credits in credits; outside DEBUG nothing is granted before the address is verified.
    Errors: InvalidInput, DuplicateRecord (the e-mail address is taken).
    Source: docs/product.md 3, "Company".
    """
    user = people.create(email=email, password=password, name=name, email_verified=email_verified, now=now)
    with people.acting(user):
        founded = companies.create(name=company_name or user.name, owner_id=user.id, now=now)
        company_id = founded.company.id
        issued = keys.create(
            company_id=company_id, name=KEY_NAME, role=Role.OWNER.value, created_by_id=user.id, now=now
        )
    ledger.open_wallet(company_id=company_id)
    granted = settings.SIGNUP_GRANT_CREDITS if email_verified or settings.DEBUG else Decimal(0)
    if granted:
        ledger.post(
            company_id=company_id,
            amount_nanocredits=money.nanocredits_from_credits(granted),
            action="grant",
            reference=GRANT_REFERENCE,
            note="Opening grant",
        )
    return SignedUp(
        user=user,
        company=founded.company,
        kit=founded.kit,
        default_user=founded.default_user,
        key=issued.key,
        api_key_secret=issued.secret,
        granted_credits=granted,
    )
