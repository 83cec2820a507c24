"""Who asks the management API, and in which company: an API key, a session token or a person signed in."""

from dataclasses import dataclass
from uuid import UUID

from accounts import personal_keys
from accounts.auth import Principal
from accounts.ids import AccountKitId, CompanyId, TenantUserId
from accounts.models import AuditEntry, Company, Role, TenantUser, User


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller in one company.

    Shape: `id` is the key's, the session token's or the person's; `person_id` is the person signed in, or who made the
    key, and None for a key of the operator's.
    """

    kind: AuditEntry.Actor
    id: UUID
    label: str
    person_id: UUID | None
    company_id: CompanyId
    company_name: str
    company_status: str
    role: Role
    default_user_id: TenantUserId
    sealed_user_id: TenantUserId | None = None
    kit_scope_id: AccountKitId | None = None
    # The key's, where a key asks, or a session token that it issued.
    key: Principal | None = None

    @property
    def is_narrow(self) -> bool:
        """Sealed or kit-scoped: reads of itself alone."""
        return self.sealed_user_id is not None or self.kit_scope_id is not None

    @property
    def actor(self) -> str:
        """What a ledger entry says of who made it, such as `key:<uuid>`."""
        return f"{self.kind.value}:{self.id}"


def of_key(principal: Principal) -> Caller:
    is_session = principal.session_id is not None
    return Caller(
        kind=AuditEntry.Actor.SESSION if is_session else AuditEntry.Actor.KEY,
        id=principal.session_id or principal.key_id,
        label=principal.key_name,
        person_id=principal.created_by_id,
        company_id=principal.company_id,
        company_name=principal.company_name,
        company_status=principal.company_status,
        role=Role(principal.key_role),
        default_user_id=principal.default_user_id,
        sealed_user_id=principal.sealed_user_id,
        kit_scope_id=principal.kit_scope_id,
        key=principal,
    )


def looking_on(person: User, *, company: Company) -> Caller:
    """An operator who looks at a company as its owner would; what they may change there is for the door to refuse."""
    default_user_id = TenantUser.objects.values_list("id", flat=True).get(company=company, is_default=True)
    return Caller(
        kind=AuditEntry.Actor.OPERATOR,
        id=person.id,
        label=person.email,
        person_id=person.id,
        company_id=CompanyId(company.id),
        company_name=company.name,
        company_status=company.status,
        role=Role.OWNER,
        default_user_id=TenantUserId(default_user_id),
    )


def of_person(person: User, *, company_id: UUID | None) -> Caller | None:
    """The person in the company they chose, else where a sign-in puts them; None where they belong to none."""
    members = personal_keys.memberships(person.id)
    if not members:
        return None
    chosen = (member for member in members if member.company_id == company_id)
    member = next(chosen, personal_keys.first(members))
    default_user_id = TenantUser.objects.values_list("id", flat=True).get(
        company_id=member.company_id, is_default=True
    )
    return Caller(
        kind=AuditEntry.Actor.PERSON,
        id=person.id,
        label=person.email,
        person_id=person.id,
        company_id=CompanyId(member.company_id),
        company_name=member.company.name,
        company_status=member.company.status,
        role=Role(member.role),
        default_user_id=TenantUserId(default_user_id),
    )
