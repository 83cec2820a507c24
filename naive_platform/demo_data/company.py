"""Who is in the demo company: kits, users, team and keys, each made by the function that makes real ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from accounts import audit, companies, keys, kits, tenants
from accounts.audit import Actor
from accounts.models import APIKey, AuditEntry, Role, TenantUser, User

PRO_KIT = {"llm": {"enabled": True, "defaults": {"max_tokens": 8192, "denied_models": ["*:free"]}}}
FREE_KIT = {
    "llm": {
        "enabled": True,
        "defaults": {
            "allowed_models": ["google/gemini-2.5-flash*"],
            "max_tokens": 2048,
            "monthly_credits_per_user": 2,
            "requests_per_minute": 20,
        },
    }
}
FREE_CREDITS = Decimal(2)
# External id, name, kit, and how often they are there.
USERS = (
    ("cus_1001", "Mara Lindqvist", "Pro", 22),
    ("cus_1002", "Tomas Herrera", "Pro", 16),
    ("cus_1003", "Priya Natarajan", "Pro", 12),
    ("cus_1004", "Jonas Weber", "Default", 11),
    ("cus_1005", "Aiko Tanaka", "Default", 9),
    ("cus_1006", "Chidi Okafor", "Default", 8),
    ("cus_1007", "Elena Petrova", "Default", 6),
    ("cus_1008", "Sam Whitfield", "Free", 5),
    ("cus_1009", "Noor Haddad", "Free", 4),
    ("cus_1010", "Lucas Moreau", "Free", 3),
    ("cus_1011", "Ingrid Dahl", "Free", 2),
    ("cus_1012", "Wei Zhang", "Free", 2),
)
TEAM = (("ada@acme.test", "Ada Moreno", Role.ADMIN), ("finn@acme.test", "Finn Keller", Role.VIEWER))
# The one whose terminal in the lobby has a key of its own.
SEALED_USER = "cus_1004"
KEY_CAP_CREDITS = Decimal(25)


@dataclass(frozen=True, slots=True)
class Cast:
    """The company's rows by their names: kits, tenant users by external id, keys."""

    company_id: UUID
    owner: User
    operator: User
    kits: dict[str, UUID]
    users: dict[str, TenantUser]
    keys: dict[str, APIKey]


@contextmanager
def acting(person: User, at: datetime, *, is_operator: bool = False) -> Iterator[None]:
    """What happens in here was done by this person, then."""
    kind = AuditEntry.Actor.OPERATOR if is_operator else AuditEntry.Actor.PERSON
    actor = Actor(kind=kind, id=person.id, label=person.email, person_id=person.id)
    with audit.acting(actor), audit.dated(at):
        yield


def furnish(*, company_id: UUID, owner: User, operator: User, default_kit_id: UUID, at: datetime) -> Cast:
    """Give a company that was just founded its kits, users, team and keys, over its first two hours."""
    moments = (at + timedelta(minutes=3 * step) for step in range(1, 100))
    kit_ids = {"Default": default_kit_id}
    for name, config, description in (
        ("Free", FREE_KIT, "One fast model and two credits a month for each user."),
        ("Pro", PRO_KIT, "Every model that is paid for, answers up to 8,192 tokens."),
    ):
        now = next(moments)
        with acting(owner, now):
            made = kits.create(
                company_id=company_id, name=name, description=description, primitives_config=config, now=now
            )
        kit_ids[name] = made.id
    users = _users(company_id, kit_ids, owner, moments)
    _team(company_id, owner, moments)
    return Cast(
        company_id=company_id,
        owner=owner,
        operator=operator,
        kits=kit_ids,
        users=users,
        keys=_keys(company_id, kit_ids, users, owner, moments),
    )


def revoke(cast: Cast, *, name: str, now: datetime) -> None:
    """End one of the company's keys."""
    with acting(cast.owner, now):
        keys.revoke(company_id=cast.company_id, key_id=cast.keys[name].id, now=now)


def _users(
    company_id: UUID, kit_ids: dict[str, UUID], owner: User, moments: Iterator[datetime]
) -> dict[str, TenantUser]:
    found = {}
    for external_id, label, kit, _ in USERS:
        now = next(moments)
        with acting(owner, now):
            found[external_id] = tenants.create(
                company_id=company_id,
                external_id=external_id,
                email=f"{label.split()[0].lower()}@customers.test",
                label=label,
                account_kit_id=kit_ids[kit],
                metadata={"plan": kit.lower()},
                now=now,
            )
    return found


@transaction.atomic
def _team(company_id: UUID, owner: User, moments: Iterator[datetime]) -> None:
    for email, name, role in TEAM:
        now = next(moments)
        with acting(owner, now):
            # Without a password: whoever wants to be one of them asks for a new one.
            person = User.objects.create_user(email, None, name=name, created_at=now, email_verified_at=now)
            audit.record(
                company_id=None,
                action="person.created",
                target_kind="person",
                target_id=person.id,
                target_label=email,
                after={"email": email, "name": name},
            )
            companies.add_member(company_id=company_id, user_id=person.id, role=role.value, now=now)


def _keys(
    company_id: UUID,
    kit_ids: dict[str, UUID],
    users: dict[str, TenantUser],
    owner: User,
    moments: Iterator[datetime],
) -> dict[str, APIKey]:
    found = {}
    limits: dict[str, dict[str, object]] = {
        "Production": {"role": Role.ADMIN.value},
        "Lobby terminal": {"role": Role.MEMBER.value, "active_tenant_user_id": users[SEALED_USER].id},
        "Free tier": {
            "role": Role.MEMBER.value,
            "account_kit_id": kit_ids["Free"],
            "cap_credits": KEY_CAP_CREDITS,
            "cap_period": "month",
        },
        "Old backend": {"role": Role.ADMIN.value},
    }
    for name, given in limits.items():
        now = next(moments)
        with acting(owner, now):
            issued = keys.create(
                company_id=company_id,
                name=name,
                created_by_id=owner.id,
                now=now,
                **given,  # type: ignore[arg-type]
            )
        found[name] = issued.key
    return found
