"""The cast: Acme pays, Globex is the stranger, Initech is broke. Every call founds a new company and commits it."""

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.utils import timezone

from accounts import keys, kits
from accounts.ids import CompanyId
from accounts.models import AccountKit, APIKey, Company, TenantUser, User
from billing import ledger, money
from billing.models import Wallet
from naive_platform import onboarding

PASSWORD = "correct horse battery staple"
GRANT_NANOCREDITS = money.nanocredits_from_credits(settings.SIGNUP_GRANT_CREDITS)


@dataclass(frozen=True, slots=True)
class Cast:
    """A company with the people and things that a sign-up makes."""

    company: Company
    owner: User
    kit: AccountKit
    tenant_user: TenantUser
    key: APIKey
    secret: str = field(repr=False)

    @property
    def company_id(self) -> CompanyId:
        return CompanyId(self.company.id)

    @property
    def authorization(self) -> str:
        return f"Bearer {self.secret}"


def acme(*, credits: Decimal | None = None) -> Cast:
    """A company that pays: with the opening grant, or with exactly `credits`."""
    member = _sign_up("Acme", email_verified=credits is None)
    if credits:
        give(member, credits=credits)
    return member


def globex() -> Cast:
    """The stranger, whose things Acme must never see."""
    return _sign_up("Globex", email_verified=True)


def initech() -> Cast:
    """A company without a credit."""
    return _sign_up("Initech", email_verified=False)


def with_key(member: Cast, **given: Any) -> Cast:
    """The member with another key, of the role member and made by the owner where nothing else is `given`."""
    wanted: dict[str, Any] = {"name": "Another", "role": "member", "created_by_id": member.owner.id}
    issued = keys.create(company_id=member.company_id, now=timezone.now(), **(wanted | given))
    return dataclasses.replace(member, key=issued.key, secret=issued.secret)


def give(member: Cast, *, credits: Decimal) -> None:
    """Post a grant of `credits`, apart from every other one."""
    ledger.post(
        company_id=member.company_id,
        amount_nanocredits=money.nanocredits_from_credits(credits),
        action="grant",
        reference=f"test-{secrets.token_hex(8)}",
        note="Given by a test",
    )


def balance_nanocredits(member: Cast) -> int:
    return Wallet.objects.get(company_id=member.company_id).posted_nanocredits


def balance(member: Cast) -> Decimal:
    """In credits."""
    return money.credits_from_nanocredits(balance_nanocredits(member))


def set_llm(member: Cast, entry: Mapping[str, Any] | None) -> AccountKit:
    """Change the llm entry of the member's kit, as PATCH would."""
    changes = {"primitives_config": {"llm": entry}}
    return kits.update(company_id=member.company_id, kit_id=member.kit.id, changes=changes)


def _sign_up(name: str, *, email_verified: bool) -> Cast:
    unique = secrets.token_hex(6)
    made = onboarding.sign_up(
        email=f"owner-{unique}@{name.lower()}.example",
        password=PASSWORD,
        name=f"Owner of {name}",
        company_name=f"{name} {unique}",
        email_verified=email_verified,
        now=timezone.now(),
    )
    return Cast(
        company=made.company,
        owner=made.user,
        kit=made.kit,
        tenant_user=made.default_user,
        key=made.key,
        secret=made.api_key_secret,
    )
