"""/v1/users: a company's tenant users, its own end users."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import subjects, tenants
from accounts.errors import Conflict, DuplicateRecord, Forbidden, NotFound
from accounts.models import EXTERNAL_ID_LENGTH_MAX, TenantUser, TenantUserStatus
from naive_platform.api import contract, permissions, routes, shapes
from naive_platform.api.routes import Route

STATUSES = (TenantUserStatus.ACTIVE.value, TenantUserStatus.SUSPENDED.value)
_METADATA_HELP = "Whatever belongs to the user, at most 16 kB."


class UserBody(shapes.Body):
    external_id = shapes.Text(
        max_length=EXTERNAL_ID_LENGTH_MAX,
        allow_null=True,
        required=False,
        help_text="The company's own id of the user, which stands for it as `ext:<external_id>`.",
    )
    email = shapes.Email(allow_blank=True, required=False)
    label = shapes.Text(allow_blank=True, required=False)
    account_kit_id = shapes.Id(
        required=False, help_text="Left out: the company's default kit. Takes the role that assigns kits."
    )
    metadata = shapes.Object(required=False, help_text=_METADATA_HELP)


class UserChanges(UserBody):
    status = shapes.Choice(STATUSES, required=False)
    account_kit_id = shapes.Id(required=False, help_text="Takes the role that assigns kits.")
    metadata = shapes.Object(required=False, help_text=f"{_METADATA_HELP} It is merged; null removes a key.")


class UsersQuery(shapes.Page):
    status = shapes.Choice(STATUSES, default=None)
    account_kit_id = shapes.Id(default=None)
    external_id = shapes.Text(max_length=EXTERNAL_ID_LENGTH_MAX, default=None, help_text="Exactly this one.")
    search = shapes.Text(
        max_length=EXTERNAL_ID_LENGTH_MAX,
        default=None,
        help_text="What the e-mail address, the label or the external id begins with, whatever the case.",
    )
    created_since = shapes.Instant(default=None, help_text="Created then or later.")
    created_until = shapes.Instant(default=None, help_text="Created before then.")


class UserShape(shapes.Answer):
    """A tenant user."""

    id = shapes.Id()
    external_id = shapes.Text(allow_null=True)
    email = shapes.Text(allow_blank=True)
    label = shapes.Text(allow_blank=True)
    status = shapes.Choice(STATUSES)
    account_kit_id = shapes.Id()
    is_default = shapes.Truth(help_text="Calls that name no user are for this one.")
    metadata = shapes.Object()
    created_at = shapes.Instant()
    last_active_at = shapes.Instant(allow_null=True)


# Asked for once: REST framework copies every field of a shape whose fields are asked for.
_FIELDS = tuple(UserShape().fields)


class UsersShape(shapes.Answer):
    users = UserShape(many=True)
    next_cursor = shapes.Text(allow_null=True)


class Users(Route):
    """GET and POST /v1/users"""

    name = "users"

    @contract.describe(
        summary="List tenant users, the newest first", query=UsersQuery, answers={200: UsersShape}
    )
    def get(self, request: Request) -> Response:
        query = self.query
        page = tenants.page(
            company_id=self.company_id,
            filters=tenants.Filters(
                status=query["status"],
                account_kit_id=query["account_kit_id"],
                external_id=query["external_id"],
                search=query["search"],
                since=query["created_since"],
                until=query["created_until"],
            ),
            limit=query["limit"],
            before_id=routes.cursor(query["cursor"], kind=UUID),
        )
        found = {
            "users": [user_object(user) for user in page.users],
            "next_cursor": routes.next_cursor(page.before_id),
        }
        return routes.answer(found)

    @contract.describe(
        summary="Create a tenant user",
        body=UserBody,
        answers={201: UserShape},
        refuses=(NotFound, DuplicateRecord),
    )
    def post(self, request: Request) -> Response:
        _admit(self, self.body)
        user = tenants.create(company_id=self.company_id, now=timezone.now(), **self.body)
        return routes.answer(user_object(user), status=201)


class User(Route):
    """GET, PATCH and DELETE /v1/users/{user_id}; a narrow credential reads `/v1/users/me`"""

    name = "user"

    @contract.describe(summary="Read a tenant user", answers={200: UserShape}, refuses=(NotFound,))
    def get(self, request: Request, user_id: str) -> Response:
        if self.caller.is_narrow and user_id != subjects.ME:
            raise Forbidden(
                "This credential reads only its own user.",
                hint="Ask for /v1/users/me.",
                details={"reason": "key_scope"},
            )
        subject = routes.subject(self.caller, user_id)
        return routes.answer(user_object(tenants.get(company_id=self.company_id, user_id=subject.user_id)))

    @contract.describe(
        summary="Change a tenant user, suspend or reactivate it",
        body=UserChanges,
        answers={200: UserShape},
        refuses=(NotFound, DuplicateRecord),
    )
    def patch(self, request: Request, user_id: str) -> Response:
        subject = routes.subject(self.caller, user_id)
        _admit(self, self.body)
        user = tenants.update(company_id=self.company_id, user_id=subject.user_id, changes=self.body)
        return routes.answer(user_object(user))

    @contract.describe(
        summary="Suspend a tenant user; its past calls keep it",
        answers={200: UserShape},
        refuses=(NotFound, Conflict),
    )
    def delete(self, request: Request, user_id: str) -> Response:
        subject = routes.subject(self.caller, user_id)
        return routes.answer(user_object(tenants.delete(company_id=self.company_id, user_id=subject.user_id)))


def user_object(user: TenantUser) -> dict[str, Any]:
    """What a client reads of a tenant user."""
    return {name: getattr(user, name) for name in _FIELDS}


def _admit(route: Route, given: Mapping[str, Any]) -> None:
    """Whoever chooses a user's kit here needs the role that assigning it takes."""
    if "account_kit_id" in given:
        assigns = permissions.TABLE["account-kit-assign"]["post"]
        route.admit(route.caller, assigns, is_mutation=True)
