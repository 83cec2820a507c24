"""/v1/auth/keys: a company's API keys, made, listed, changed, rotated and revoked."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import credentials, ids, keys
from accounts.credentials import Asker, Filters
from accounts.errors import Conflict, NotFound
from accounts.keys import IssuedKey
from accounts.models import APIKey, CapPeriod, Role
from naive_platform.api import contract, routes, shapes
from naive_platform.api.callers import Caller
from naive_platform.api.routes import Route

NAMED_LENGTH_MAX = 260
OVERLAP_HOURS = keys.ROTATION_OVERLAP // timedelta(hours=1)
OVERLAP_HOURS_MAX = 720


class LimitsBody(shapes.Body):
    expires_at = shapes.Instant(
        required=False, allow_null=True, help_text="When it ends; null or left out: never."
    )
    cap_credits = shapes.Amount(
        required=False, allow_null=True, help_text="So many credits in a `cap_period`; both or neither."
    )
    cap_period = shapes.Choice(CapPeriod.values, required=False, allow_null=True)
    requests_per_minute = shapes.Whole(
        min_value=1,
        max_value=keys.REQUESTS_PER_MINUTE_MAX,
        required=False,
        allow_null=True,
        help_text="Of the key and its successors together; null: the platform's default.",
    )


class KeyBody(LimitsBody):
    json_rules = {
        "anyOf": [
            {
                "properties": {"cap_credits": {"type": "number"}, "cap_period": {"type": "string"}},
                "required": ["cap_credits", "cap_period"],
            },
            {"properties": {"cap_credits": {"type": "null"}, "cap_period": {"type": "null"}}},
        ]
    }

    name = shapes.Text()
    role = shapes.Choice(Role.values, default=Role.MEMBER.value, help_text="At most your own.")
    account_kit_id = shapes.Id(
        required=False,
        allow_null=True,
        help_text="Only for tenant users of this kit, and on the typed routes.",
    )
    active_tenant_user_id = shapes.Text(
        max_length=NAMED_LENGTH_MAX,
        required=False,
        allow_null=True,
        help_text="Sealed to one tenant user: an id, `ext:<external_id>` or `default`.",
    )


class KeyChanges(LimitsBody):
    json_rules = {
        "anyOf": [
            {"properties": {"cap_credits": {"type": "number"}, "cap_period": {"type": "string"}}},
            {"properties": {"cap_credits": {"type": "null"}, "cap_period": {"type": "null"}}},
        ]
    }

    name = shapes.Text(required=False)


class RotateBody(shapes.Body):
    overlap_hours = shapes.Whole(
        min_value=0,
        max_value=OVERLAP_HOURS_MAX,
        default=OVERLAP_HOURS,
        help_text="How long the old key goes on working; 0 ends it at once.",
    )


class KeysQuery(shapes.Page):
    revoked = shapes.Choice(
        ["true", "false"], default=None, help_text="Only revoked keys, or only the others."
    )
    account_kit_id = shapes.Id(default=None, help_text="Only keys for this kit.")
    user_id = shapes.Text(
        max_length=NAMED_LENGTH_MAX,
        default=None,
        help_text="Only keys sealed to this tenant user: an id, `ext:<external_id>` or `default`.",
    )


class KeyShape(shapes.Answer):
    """An API key without its secret; `last_4` is how that ends."""

    id = shapes.Id()
    name = shapes.Text()
    last_4 = shapes.Text()
    role = shapes.Choice(Role.values)
    created_by = shapes.Id(allow_null=True, help_text="The person who made it; null: the operator.")
    account_kit_id = shapes.Id(allow_null=True)
    active_tenant_user_id = shapes.Id(allow_null=True)
    cap_credits = shapes.Amount(allow_null=True)
    cap_period = shapes.Choice(CapPeriod.values, allow_null=True)
    requests_per_minute = shapes.Whole(min_value=1, max_value=keys.REQUESTS_PER_MINUTE_MAX, allow_null=True)
    rotated_from = shapes.Id(allow_null=True, help_text="The key whose successor this one is.")
    expires_at = shapes.Instant(allow_null=True)
    last_used_at = shapes.Instant(allow_null=True, help_text="Written twice a minute.")
    created_at = shapes.Instant()
    revoked = shapes.Truth()
    revoked_at = shapes.Instant(allow_null=True)


class IssuedKeyShape(KeyShape):
    """A new key with its secret, which is shown only here."""

    api_key = shapes.Text(help_text="Keep it: it is not shown again.")


class KeysShape(shapes.Answer):
    keys = KeyShape(many=True)
    next_cursor = shapes.Text(allow_null=True)


class Keys(Route):
    """GET and POST /v1/auth/keys"""

    name = "keys"

    @contract.describe(
        summary="List API keys, the newest first; below the role admin your own",
        query=KeysQuery,
        answers={200: KeysShape},
        refuses=(NotFound,),
    )
    def get(self, request: Request) -> Response:
        query = self.query
        named = query["user_id"]
        page = credentials.page(
            asker=asker(self.caller),
            filters=Filters(
                is_revoked=None if query["revoked"] is None else query["revoked"] == "true",
                account_kit_id=query["account_kit_id"],
                user_id=None if named is None else routes.subject(self.caller, named).user_id,
            ),
            limit=query["limit"],
            before_id=routes.cursor(query["cursor"], kind=UUID),
        )
        found = {
            "keys": [key_object(key) for key in page.keys],
            "next_cursor": routes.next_cursor(page.before_id),
        }
        return routes.answer(found)

    @contract.describe(
        summary="Create an API key; its secret is shown once",
        body=KeyBody,
        answers={201: IssuedKeyShape},
        refuses=(NotFound,),
    )
    def post(self, request: Request) -> Response:
        given = _limits(self.body)
        if given.get("active_tenant_user_id") is not None:
            given["active_tenant_user_id"] = routes.subject(
                self.caller, given["active_tenant_user_id"]
            ).user_id
        issued = credentials.create(asker=asker(self.caller), now=timezone.now(), **given)
        return routes.answer(issued_object(issued), status=201)


class Key(Route):
    """GET, PATCH and DELETE /v1/auth/keys/{key_id}"""

    name = "key"

    @contract.describe(summary="Read an API key", answers={200: KeyShape}, refuses=(NotFound,))
    def get(self, request: Request, key_id: str) -> Response:
        return routes.answer(key_object(credentials.get(asker=asker(self.caller), key_id=_id(key_id))))

    @contract.describe(
        summary="Change an API key's name, end or limits",
        body=KeyChanges,
        answers={200: KeyShape},
        refuses=(NotFound, Conflict),
    )
    def patch(self, request: Request, key_id: str) -> Response:
        key = credentials.update(
            asker=asker(self.caller), key_id=_id(key_id), changes=_limits(self.body), now=timezone.now()
        )
        return routes.answer(key_object(key))

    @contract.describe(
        summary="Revoke an API key: within a second it opens nothing",
        answers={200: KeyShape},
        refuses=(NotFound,),
    )
    def delete(self, request: Request, key_id: str) -> Response:
        key = credentials.revoke(asker=asker(self.caller), key_id=_id(key_id), now=timezone.now())
        return routes.answer(key_object(key))


class KeyRotate(Route):
    """POST /v1/auth/keys/{key_id}/rotate {overlap_hours?}"""

    name = "key-rotate"

    @contract.describe(
        summary="Give an API key a successor with the same scope and limits",
        body=RotateBody,
        answers={201: IssuedKeyShape},
        refuses=(NotFound, Conflict),
    )
    def post(self, request: Request, key_id: str) -> Response:
        issued = credentials.rotate(
            asker=asker(self.caller),
            key_id=_id(key_id),
            overlap=timedelta(hours=self.body["overlap_hours"]),
            now=timezone.now(),
        )
        return routes.answer(issued_object(issued), status=201)


def asker(caller: Caller) -> Asker:
    """The caller as accounts/credentials.py asks about them."""
    key = caller.key
    return Asker(
        company_id=caller.company_id,
        role=caller.role,
        person_id=caller.person_id,
        family_id=key.cap_scope_id if key else None,
        is_limited=key is not None and (key.cap_credits, key.requests_per_minute) != (None, None),
        ends_at=key.expires_at if key else None,
    )


def key_object(key: APIKey) -> dict[str, Any]:
    """What a client reads of a key."""
    return {
        "id": key.id,
        **keys.told(key),
        "last_used_at": key.last_used_at,
        "revoked": key.revoked_at is not None,
    }


def issued_object(issued: IssuedKey) -> dict[str, Any]:
    """What a client reads of a key when it is made, and never again."""
    return {**key_object(issued.key), "api_key": issued.secret}


def _limits(given: dict[str, Any]) -> dict[str, Any]:
    """What was given, in the words of keys.py: no period is an empty one."""
    if given.get("cap_period", "") is None:
        return {**given, "cap_period": ""}
    return dict(given)


def _id(text: str) -> UUID:
    found = ids.parse(text)
    if found is None:
        raise NotFound(f"API key {text[:NAMED_LENGTH_MAX]} was not found.")
    return found
