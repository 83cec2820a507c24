"""Rows of tenancy: people, companies, keys, kits and tenant users; rules about them live beside, not here."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Self

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from accounts import (
    answer_models,  # noqa: F401 - Django finds an app's models here.
    ids,
    invitation_models,  # noqa: F401 - as above.
    session_models,  # noqa: F401 - as above.
    webhook_models,  # noqa: F401 - as above.
)

NAME_LENGTH_MAX = 200
EXTERNAL_ID_LENGTH_MAX = 255
# Credits; keeps every cap inside a BIGINT of nanocredits (9.22 * 10**9 credits).
CAP_CREDITS_MAX = Decimal(1_000_000_000)
MARKUP_MAX = Decimal(100)
LOW_CREDITS = Decimal(5)


class Role(models.TextChoices):
    """What a person or a key may do in a company, the strongest first."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"

    def is_at_most(self, other: "Role") -> bool:
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


class CompanyStatus(models.TextChoices):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class TenantUserStatus(models.TextChoices):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


class CapPeriod(models.TextChoices):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


class UserManager(BaseUserManager["User"]):
    """Finds a person by e-mail address whatever its case."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        # Whoever may make operators vouches for their addresses.
        fields.setdefault("email_verified_at", timezone.now())
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def with_email(self, email: str | None) -> "models.QuerySet[User]":
        """Those (one at most) who sign in with this address; served by the index on lower(email)."""
        return self.alias(email_lower=Lower("email")).filter(email_lower=(email or "").lower())

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.with_email(username).get()

    async def aget_by_natural_key(self, username: str | None) -> "User":
        return await self.with_email(username).aget()


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in: of the operator, of companies, or both. Never a tenant user."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    email = models.EmailField(max_length=254)
    name = models.CharField(max_length=NAME_LENGTH_MAX, blank=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    email_verified_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]

    class Meta:
        db_table = "accounts_user"
        constraints = [models.UniqueConstraint(Lower("email"), name="accounts_user_email")]

    def __str__(self) -> str:
        return self.email


class Company(models.Model):
    """A customer of the operator: the tenant, with one wallet (in billing) and everything below it."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    name = models.CharField(max_length=NAME_LENGTH_MAX)
    slug = models.SlugField(max_length=60, unique=True)
    status = models.CharField(
        max_length=16, choices=CompanyStatus.choices, default=CompanyStatus.ACTIVE.value
    )
    # Multiplies usage.cost; null takes settings.MARKUP.
    markup = models.DecimalField(max_digits=8, decimal_places=4, null=True, blank=True)
    # Credits: when fewer are left, the company is told (billing/credit_events.py); 0 warns of nothing.
    low_credits = models.DecimalField(
        max_digits=19, decimal_places=9, default=LOW_CREDITS, db_default=LOW_CREDITS
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "accounts_company"
        verbose_name_plural = "companies"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=CompanyStatus.values), name="accounts_company_status"
            ),
            # The upper bound also refuses NaN, which PostgreSQL sorts above every number.
            models.CheckConstraint(
                condition=Q(markup__gt=0, markup__lte=MARKUP_MAX),
                name="accounts_company_markup",
                violation_error_message=f"The markup must be above 0 and at most {MARKUP_MAX}.",
            ),
            models.CheckConstraint(
                condition=Q(low_credits__gte=0, low_credits__lte=CAP_CREDITS_MAX),
                name="accounts_company_low_credits",
                violation_error_message=f"The threshold must be from 0 to {CAP_CREDITS_MAX} credits.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's place in a company."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "accounts_membership"
        constraints = [
            models.UniqueConstraint(fields=["company", "user"], name="accounts_membership_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="accounts_membership_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} of {self.company_id}"


class AccountKit(models.Model):
    """A policy template: which primitives its tenant users may use, and how."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="account_kits")
    name = models.CharField(max_length=NAME_LENGTH_MAX)
    description = models.TextField(blank=True)
    is_default = models.BooleanField(default=False)
    primitives_config = models.JSONField(default=dict, blank=True)
    connections_config = models.JSONField(default=dict, blank=True)
    # Counted up by the database at every change, so that of two editors the second is told (migration 0009).
    version = models.PositiveBigIntegerField(default=1, db_default=1, editable=False)
    # How long a call's prompt and answer are stored, null: not at all; and of which moment the oldest (migration 0012).
    prompt_retention_days = models.PositiveSmallIntegerField(null=True, blank=True)
    prompts_since_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "accounts_accountkit"
        constraints = [
            models.UniqueConstraint(fields=["company", "name"], name="accounts_accountkit_name"),
            models.UniqueConstraint(
                fields=["company"], condition=Q(is_default=True), name="accounts_accountkit_one_default"
            ),
            # What the foreign keys below point at, so that a row never refers to another company's kit.
            models.UniqueConstraint(fields=["company", "id"], name="accounts_accountkit_of_company"),
        ]

    def __str__(self) -> str:
        return self.name


class TenantUser(models.Model):
    """A company's own end user: a record that calls are made for; it never signs in."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="tenant_users")
    # Null, not empty, where the company gave none: PostgreSQL holds nulls apart.
    external_id = models.CharField(  # noqa: DJ001
        max_length=EXTERNAL_ID_LENGTH_MAX, null=True, blank=True
    )
    email = models.EmailField(max_length=254, blank=True)
    label = models.CharField(max_length=NAME_LENGTH_MAX, blank=True)
    status = models.CharField(
        max_length=16, choices=TenantUserStatus.choices, default=TenantUserStatus.ACTIVE.value
    )
    # Constrained together with company_id, in migration 0002.
    account_kit = models.ForeignKey(
        AccountKit, on_delete=models.PROTECT, related_name="tenant_users", db_constraint=False
    )
    is_default = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_active_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        db_table = "accounts_tenantuser"
        # Searches have theirs in migration 0009.
        indexes = [
            models.Index(fields=["company", "account_kit", "id"], name="accounts_tenantuser_of_kit"),
            models.Index(fields=["company", "status", "id"], name="accounts_tenantuser_status_id"),
            models.Index(fields=["company", "created_at"], name="accounts_tenantuser_created"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["company", "external_id"], name="accounts_tenantuser_external_id"
            ),
            models.UniqueConstraint(
                fields=["company"], condition=Q(is_default=True), name="accounts_tenantuser_one_default"
            ),
            models.UniqueConstraint(fields=["company", "id"], name="accounts_tenantuser_of_company"),
            models.CheckConstraint(
                condition=Q(status__in=TenantUserStatus.values), name="accounts_tenantuser_status"
            ),
            models.CheckConstraint(
                condition=Q(is_default=False) | ~Q(status=TenantUserStatus.DELETED.value),
                name="accounts_tenantuser_default_stays",
            ),
            models.CheckConstraint(
                condition=~Q(external_id=""), name="accounts_tenantuser_external_id_not_empty"
            ),
        ]

    def __str__(self) -> str:
        return self.label or self.external_id or str(self.id)


class APIKeyQuerySet(models.QuerySet["APIKey"]):
    def live(self, now: datetime) -> Self:
        """Keys that still open something at `now`; accounts/auth.py asks the same of one."""
        return self.filter(
            Q(expires_at=None) | Q(expires_at__gt=now),
            Q(created_by=None) | Q(created_by__is_active=True),
            revoked_at=None,
        )


class APIKey(models.Model):
    """A bearer credential of a company; the secret itself is nowhere, only its digest."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    # The id of the first key of a rotation, so that a successor opens no second spend cap.
    family_id = models.UUIDField(default=ids.uuid7, editable=False)
    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=NAME_LENGTH_MAX)
    role = models.CharField(max_length=16, choices=Role.choices)
    created_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="api_keys"
    )
    digest = models.BinaryField(max_length=32, unique=True)
    last_4 = models.CharField(max_length=4)
    # Kit-scoped: only for subjects of this kit. Constrained together with company_id, in migration 0002.
    account_kit = models.ForeignKey(
        AccountKit,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="api_keys",
        db_constraint=False,
    )
    # Sealed: only for this tenant user. Constrained together with company_id, in migration 0002.
    active_tenant_user = models.ForeignKey(
        TenantUser,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="sealed_keys",
        db_constraint=False,
    )
    cap_credits = models.DecimalField(max_digits=19, decimal_places=9, null=True, blank=True)
    cap_period = models.CharField(max_length=8, choices=CapPeriod.choices, blank=True)
    # Of the key and its successors together; null leaves the operator's default.
    requests_per_minute = models.IntegerField(null=True, blank=True)
    # Given at signing in: with it, its person opens another company of theirs.
    is_personal = models.BooleanField(default=False, db_default=False, editable=False)
    rotated_from = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="successor"
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = APIKeyQuerySet.as_manager()

    class Meta:
        db_table = "accounts_apikey"
        verbose_name = "API key"
        indexes = [models.Index(fields=["company", "family_id"], name="accounts_apikey_family")]
        constraints = [
            # What session tokens point at; lists are read by it too.
            models.UniqueConstraint(fields=["company", "id"], name="accounts_apikey_of_company"),
            models.CheckConstraint(
                condition=Q(requests_per_minute__gte=1), name="accounts_apikey_per_minute"
            ),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="accounts_apikey_role"),
            models.CheckConstraint(
                condition=Q(cap_credits=None, cap_period="")
                | Q(
                    cap_credits__isnull=False,
                    cap_credits__gte=0,
                    cap_credits__lte=CAP_CREDITS_MAX,
                    cap_period__in=CapPeriod.values,
                ),
                name="accounts_apikey_cap",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} …{self.last_4}"


class AuditEntry(models.Model):
    """One mutation: who, what, from where, before and after; accounts/audit.py alone writes it, nobody changes it."""

    class Actor(models.TextChoices):
        KEY = "key"
        SESSION = "session"
        PERSON = "person"
        OPERATOR = "operator"
        PLATFORM = "platform"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    # Null where it is the operator's own business. No foreign key: an entry outlives what it speaks of.
    company_id = models.UUIDField(null=True)
    actor_kind = models.CharField(max_length=16, choices=Actor.choices)
    actor_id = models.UUIDField(null=True)
    actor_label = models.CharField(max_length=NAME_LENGTH_MAX, blank=True)
    person_id = models.UUIDField(null=True)
    ip = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=64)
    target_kind = models.CharField(max_length=32)
    target_id = models.CharField(max_length=255)
    target_label = models.CharField(max_length=NAME_LENGTH_MAX, blank=True)
    before = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "accounts_audit_entry"
        verbose_name_plural = "audit entries"
        indexes = [
            # One for each filter, which all end in the order that is read.
            models.Index(fields=["company_id", "action", "-id"], name="accounts_audit_action"),
            models.Index(fields=["company_id", "actor_kind", "-id"], name="accounts_audit_actor_kind"),
            models.Index(fields=["company_id", "actor_id", "-id"], name="accounts_audit_actor_id"),
            models.Index(fields=["company_id", "target_kind", "-id"], name="accounts_audit_target_kind"),
            models.Index(fields=["company_id", "target_id", "-id"], name="accounts_audit_target"),
            models.Index(fields=["request_id"], name="accounts_audit_request"),
        ]
        constraints = [
            # In the database there is no primary key on the id alone (migration 0006): PostgreSQL would read a large
            # company's page along it, past all the others' newer entries.
            models.UniqueConstraint(
                fields=["company_id", "id"], nulls_distinct=False, name="accounts_audit_company"
            ),
            models.CheckConstraint(
                condition=Q(actor_kind__in=["key", "session", "person", "operator", "platform"]),
                name="accounts_audit_actor",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_id}"
