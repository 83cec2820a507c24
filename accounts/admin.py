"""The accounts' rows for the operator: read-only wherever a rule lives in a function, never a digest."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts import companies, keys
from accounts.errors import DomainError
from accounts.models import AccountKit, APIKey, Company, Membership, TenantUser, User

# Django's own classes take no type argument at run time.
if TYPE_CHECKING:
    Rows = admin.ModelAdmin[Any]
    People = UserAdmin[User]
    NewPerson = AdminUserCreationForm[User]
else:
    Rows, People, NewPerson = admin.ModelAdmin, UserAdmin, AdminUserCreationForm


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


class PersonForm(NewPerson):
    class Meta:
        model = User
        fields = ("email", "name")


@admin.register(User)
class PersonAdmin(People):
    add_form = PersonForm
    list_display = ("email", "name", "is_staff", "is_active", "created_at")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email", "name")
    ordering = ("email",)
    readonly_fields = ("id", "created_at", "last_login", "email_verified_at")
    fieldsets = (
        (None, {"fields": ("id", "email", "name", "password")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("When", {"fields": ("created_at", "email_verified_at", "last_login")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Company)
class CompanyAdmin(NothingDeleted):
    list_display = ("name", "slug", "status", "markup", "created_at")
    list_filter = ("status",)
    search_fields = ("name", "slug", "id")
    readonly_fields = ("id", "slug", "status", "created_at")
    fields = ("id", "name", "slug", "status", "markup", "low_credits", "created_at")
    actions = ["suspend", "reactivate"]

    def save_model(self, request: HttpRequest, obj: Company, form: Any, change: bool) -> None:  # noqa: FBT001
        """Only what the form changed: a suspension meanwhile stays one."""
        obj.save(update_fields=form.changed_data)

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
