"""The accounts' rows for the operator: read-only wherever a rule lives in a function, never a digest."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import audit, companies, keys, raw_rows, webhooks
from accounts.errors import DomainError
from accounts.invitation_models import Invitation
from accounts.models import AccountKit, APIKey, Company, Membership, TenantUser, User
from accounts.raw_rows import Rows
from accounts.session_models import UserSession as TenantSession
from accounts.webhook_models import WebhookDelivery, WebhookEndpoint, WebhookEvent

# Django's own classes take no type argument at run time.
if TYPE_CHECKING:
    People = UserAdmin[User]
    NewPerson = AdminUserCreationForm[User]
else:
    People, NewPerson = UserAdmin, UserCreationForm

# To look at. The audit log has a page of its own in the console, in an order that its indexes know.
raw_rows.register([Invitation, TenantSession, WebhookDelivery, WebhookEvent])

# What an operator may do is said of each, where it leaves its entry; and what follows a person's row is not written
# beside it.
admin.site.unregister([Group, EmailAddress, Authenticator, UserSession])


def _record(form: Any, *, action: str, kind: str, label: str, company_id: UUID | None = None) -> None:
    """Add the entry of what a form has changed; a password is told by its own."""
    names = [name for name in form.changed_data if "password" not in name]
    audit.record(
        company_id=company_id,
        action=action,
        target_kind=kind,
        target_id=form.instance.pk,
        target_label=label,
        before={name: _shown(form.initial.get(name)) for name in names} if form.initial else None,
        after={name: _shown(form.cleaned_data[name]) for name in names},
    )


def _shown(value: Any) -> Any:
    return [str(one) for one in value] if isinstance(value, list | QuerySet) else value


class NothingDeleted(Rows):
    """Rows that the books refer to stay; they are closed, suspended or revoked."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnly(NothingDeleted):
    """Rows that only functions write, because their rules are there."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


RIGHTS = ("is_staff", "is_superuser", "user_permissions")


def may_all(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_superuser


class PersonForm(NewPerson):
    class Meta:
        model = User
        fields = ("email", "name")


@admin.register(User)
class PersonAdmin(Rows, People):
    add_form = PersonForm
    form = UserChangeForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "is_staff", "is_active", "created_at")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email", "name")
    ordering = ("email",)
    readonly_fields = ("id", "created_at", "last_login", "email_verified_at")
    fieldsets = (
        (None, {"fields": ("id", "email", "name", "password")}),
        ("May", {"fields": ("is_active", *RIGHTS)}),
        ("When", {"fields": ("created_at", "email_verified_at", "last_login")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Who may do everything alone says who else may do what."""
        return self.readonly_fields if may_all(request) else (*self.readonly_fields, *RIGHTS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Nobody becomes another operator by setting their password."""
        is_operators = obj is not None and obj.is_staff
        return super().has_change_permission(request, obj) and (may_all(request) or not is_operators)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: FBT001
        super().save_model(request, obj, form, change)
        _record(form, action="person.updated" if change else "person.created", kind="person", label=obj.email)

    @transaction.atomic
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Their password is set on a page of its own, which saves no model."""
        answer = super().user_change_password(request, id, form_url)
        if request.method == "POST" and answer.status_code == 302:
            audit.record(
                company_id=None, action="person.password_set", target_kind="person", target_id=UUID(id)
            )
        return answer


@admin.register(Company)
class CompanyAdmin(NothingDeleted):
    list_display = ("name", "slug", "status", "markup", "created_at")
    list_filter = ("status",)
    search_fields = ("name", "slug", "id")
    readonly_fields = ("id", "slug", "status", "created_at")
    fields = ("id", "name", "slug", "status", "markup", "low_credits", "created_at")
    actions = ["suspend", "reactivate"]

    def save_model(self, request: HttpRequest, obj: Company, form: Any, change: bool) -> None:  # noqa: FBT001
        """Only what the form changed, by the functions that know the rules: a suspension meanwhile stays one."""
        companies.update(
            company_id=obj.id, changes={name: form.cleaned_data[name] for name in form.changed_data}
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.action(description="Suspend: refuse their calls", permissions=["change"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Company]) -> None:
        for company in queryset:
            try:
                companies.suspend(company_id=company.id)
            except DomainError as exc:
                self.message_user(request, exc.message, messages.ERROR)

    @admin.action(description="Reactivate: let their calls through", permissions=["change"])
    def reactivate(self, request: HttpRequest, queryset: QuerySet[Company]) -> None:
        for company in queryset:
            try:
                companies.reactivate(company_id=company.id)
            except DomainError as exc:
                self.message_user(request, exc.message, messages.ERROR)


@admin.register(Membership)
class MembershipAdmin(ReadOnly):
    list_display = ("company", "user", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("company", "user")
    search_fields = ("company__name", "user__email")


@admin.register(AccountKit)
class AccountKitAdmin(ReadOnly):
    list_display = ("name", "company", "is_default", "created_at")
    list_select_related = ("company",)
    search_fields = ("name", "company__name", "id")


@admin.register(TenantUser)
class TenantUserAdmin(ReadOnly):
    list_display = ("id", "external_id", "label", "company", "status", "account_kit", "last_active_at")
    list_filter = ("status",)
    list_select_related = ("company", "account_kit")
    search_fields = ("external_id", "label", "email", "company__name", "id")


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnly):
    """Without what follows a question mark in its address, which is often a password."""

    list_display = ("address", "company", "disabled_reason", "failing_since", "created_at")
    list_filter = ("disabled_reason",)
    list_select_related = ("company",)
    search_fields = ("company__name", "id")
    fields = (
        *("id", "company", "address", "description", "events"),
        *("disabled_at", "disabled_reason", "mailed_at", "failing_since", "created_at"),
    )

    def address(self, endpoint: WebhookEndpoint) -> str:
        return str(webhooks.told(endpoint)["url"])


@admin.register(APIKey)
class APIKeyAdmin(ReadOnly):
    list_display = ("name", "last_4", "company", "role", "expires_at", "revoked_at", "last_used_at")
    list_select_related = ("company",)
    search_fields = ("name", "last_4", "company__name", "id")
    exclude = ("digest",)
    actions = ["revoke"]

    @admin.action(description="Revoke: end these keys now", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> None:
        for key in queryset:
            keys.revoke(company_id=key.company_id, key_id=key.id, now=timezone.now())

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_apikey")
