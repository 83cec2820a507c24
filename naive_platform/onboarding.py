"""Writes that span apps: a company begins with its people, its key and its wallet, or not at all."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F

from accounts import companies, keys, people
from accounts.models import AccountKit, APIKey, Company, Membership, Role, TenantUser, User
from billing import ledger, money
from billing.models import Entry

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
    granted = _grant(company_id) if email_verified or settings.DEBUG else Decimal(0)
    return SignedUp(
        user=user,
        company=founded.company,
        kit=founded.kit,
        default_user=founded.default_user,
        key=issued.key,
        api_key_secret=issued.secret,
        granted_credits=granted,
    )


@transaction.atomic
def confirm_address(*, user_id: UUID, email: str, now: datetime) -> User:
    """Take a person's address as proven, and give the company they founded its opening grant, once.

    Shape: one transaction; the ledger's reference keeps the grant from being given twice, in whatever order people
    confirm and change addresses. A company that a person only joined gets nothing by them.
    Errors: as people.confirm_address.
    Source: docs/signing-in.md, "The address".
    """
    user = people.confirm_address(user_id=user_id, email=email, now=now)
    # A founder's place is as old as the company (companies.create).
    founded = Membership.objects.filter(
        user_id=user_id, role=Role.OWNER.value, created_at=F("company__created_at")
    )
    for company_id in founded.order_by("id").values_list("company_id", flat=True):
        _grant(company_id)
    return user


def _grant(company_id: UUID) -> Decimal:
    """Post the opening grant, if there is one and it was not posted before; how many credits it is."""
    granted: Decimal = settings.SIGNUP_GRANT_CREDITS
    has_it = Entry.objects.filter(company_id=company_id, action="grant", reference=GRANT_REFERENCE)
    # Asked first: the operator may have set another amount since, which the ledger would take for a contradiction.
    if granted and not has_it.exists():
        ledger.post(
            company_id=company_id,
            amount_nanocredits=money.nanocredits_from_credits(granted),
            action="grant",
            reference=GRANT_REFERENCE,
            note="Opening grant",
        )
    return granted
