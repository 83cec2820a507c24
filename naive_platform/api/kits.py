"""/v1/account-kits: what a company lets its tenant users do."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import fields, ids, kits, subjects, tenants
from accounts.errors import Conflict, DuplicateRecord, InvalidInput, NotFound, PreconditionFailed
from accounts.models import AccountKit
from naive_platform import kit_effects
from naive_platform.api import contract, etags, kit_shapes, routes, shapes, users
from naive_platform.api.routes import Route

# Of the models that a change lets in or shuts out, so many are named.
NAMES_MAX = 50


class KitRoute(Route):
    """A route that answers one kit, and with it the ETag that names the kit's state."""

    def finalize_response(
        self, request: Request, response: HttpResponse, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        found = super().finalize_response(request, response, *args, **kwargs)
        data = getattr(response, "data", None)
        # An answer that an Idempotency-Key gave again is bytes.
        shown = orjson.loads(data) if isinstance(data, bytes) and data else data
        if isinstance(shown, dict) and "etag" in shown:
            found["ETag"] = shown["etag"]
        return found


class Kits(KitRoute):
    """GET and POST /v1/account-kits"""

    name = "account-kits"

    @contract.describe(
        summary="List account kits, the newest first",
        query=kit_shapes.KitsQuery,
        answers={200: kit_shapes.KitsShape},
    )
    def get(self, request: Request) -> Response:
        query = self.query
        page = kits.page(
            company_id=self.company_id,
            limit=query["limit"],
            before_id=routes.cursor(query["cursor"], kind=UUID),
            search=query["search"],
        )
        found = {
            "account_kits": [kit_object(kit) | {"users": page.users.get(kit.id, 0)} for kit in page.kits],
            "next_cursor": routes.next_cursor(page.before_id),
        }
        return routes.answer(found)

    @contract.describe(
        summary="Create an account kit",
        body=kit_shapes.KitBody,
        answers={201: kit_shapes.KitShape},
        refuses=(DuplicateRecord,),
    )
    def post(self, request: Request) -> Response:
        kit = kits.create(company_id=self.company_id, now=timezone.now(), **self.body)
        return routes.answer(kit_object(kit), status=201)


class Kit(KitRoute):
    """GET, PATCH and DELETE /v1/account-kits/{kit_id}"""

    name = "account-kit"

    @contract.describe(
        summary="Read an account kit", answers={200: kit_shapes.KitShape, 304: None}, refuses=(NotFound,)
    )
    def get(self, request: Request, kit_id: str) -> Response:
        kit = kits.get(company_id=self.company_id, kit_id=_id(kit_id))
        if not etags.is_known(request, kits.etag(kit)):
            return routes.answer(kit_object(kit))
        unchanged = routes.answer(b"", status=304)
        unchanged["ETag"] = kits.etag(kit)
        return unchanged

    @contract.describe(
        summary="Change an account kit; its users' next calls go by it",
        body=kit_shapes.KitChanges,
        answers={200: kit_shapes.KitShape},
        refuses=(NotFound, DuplicateRecord, Conflict, PreconditionFailed),
    )
    def patch(self, request: Request, kit_id: str) -> Response:
        kit = kits.update(
            company_id=self.company_id,
            kit_id=_id(kit_id),
            changes=self.body,
            if_match=etags.wanted(request),
        )
        return routes.answer(kit_object(kit))

    @contract.describe(
        summary="Delete an account kit that nobody has",
        answers={200: shapes.DeletedShape},
        refuses=(NotFound, Conflict, PreconditionFailed),
    )
    def delete(self, request: Request, kit_id: str) -> Response:
        kits.delete(company_id=self.company_id, kit_id=_id(kit_id), if_match=etags.wanted(request))
        return routes.answer({"id": _id(kit_id), "deleted": True})


class KitEffective(Route):
    """GET /v1/account-kits/{kit_id}/effective"""

    name = "account-kit-effective"

    @contract.describe(
        summary="Read what a tenant user of this kit may do",
        answers={200: kit_shapes.EffectiveShape},
        refuses=(NotFound,),
    )
    def get(self, request: Request, kit_id: str) -> Response:
        found = kit_effects.effective(company_id=self.company_id, kit_id=_id(kit_id))
        rules = found.gate.rules
        shown = {
            "account_kit_id": found.kit.id,
            "account_kit_name": found.kit.name,
            "etag": kits.etag(found.kit),
            "fault": found.gate.fault or None,
            "primitives": found.primitives,
            "llm": {name: getattr(rules, name) for name in kit_shapes.LLMShape().fields},
            "limits": found.limits,
            "models": {"known": found.models_known, "count": len(found.models), "names": found.models},
        }
        return routes.answer(shown)


class KitPreview(Route):
    """POST /v1/account-kits/{kit_id}/preview"""

    name = "account-kit-preview"

    @contract.describe(
        summary="Read what a change of an account kit would do, without making it",
        body=kit_shapes.PreviewBody,
        answers={200: kit_shapes.PreviewShape},
        refuses=(NotFound,),
    )
    def post(self, request: Request, kit_id: str) -> Response:
        found = kit_effects.preview(
            company_id=self.company_id, kit_id=_id(kit_id), now=timezone.now(), **self.body
        )
        change = found.preview
        shown = {
            "account_kit_id": change.kit.id,
            "etag": kits.etag(change.kit),
            "primitives_config": change.primitives_config,
            "connections_config": change.connections_config,
            "changes": change.changes,
            "users": change.users,
            "keys": change.keys,
            "models": {
                "known": found.models_known,
                "allowed_before": found.models_before,
                "allowed_after": found.models_after,
                "allowed": _names(found.allowed),
                "denied": _names(found.denied),
            },
        }
        return routes.answer(shown)


class KitAssign(Route):
    """POST /v1/account-kits/{kit_id}/users/{user_id}/assign"""

    name = "account-kit-assign"

    @contract.describe(
        summary="Give a tenant user this kit", answers={200: users.UserShape}, refuses=(NotFound,)
    )
    def post(self, request: Request, kit_id: str, user_id: str) -> Response:
        subject = routes.subject(self.caller, user_id)
        user = tenants.assign_kit(
            company_id=self.company_id, user_id=subject.user_id, account_kit_id=_id(kit_id)
        )
        return routes.answer(users.user_object(user))


class KitAssignMany(Route):
    """POST /v1/account-kits/{kit_id}/assign"""

    name = "account-kit-assign-many"

    @contract.describe(
        summary="Give many tenant users this kit: all of them, or none where one is not there",
        body=kit_shapes.AssignBody,
        answers={200: kit_shapes.AssignedShape},
        refuses=(NotFound,),
    )
    def post(self, request: Request, kit_id: str) -> Response:
        if [name for name, value in self.body.items() if value is not False] not in (
            ["user_ids"],
            ["from_kit_id"],
            ["all"],
        ):
            raise InvalidInput("body: must name exactly one of user_ids, from_kit_id and all (true).")
        named = self.body.get("user_ids")
        done = tenants.assign_many(
            company_id=self.company_id,
            account_kit_id=_id(kit_id),
            users=None if named is None else {subjects.wanted(self.caller, name) for name in named},
            from_kit_id=self.body.get("from_kit_id"),
        )
        found = {"account_kit_id": _id(kit_id), "assigned": done.assigned, "unchanged": done.unchanged}
        return routes.answer(found)


def kit_object(kit: AccountKit) -> dict[str, Any]:
    """What a client reads of a kit: nothing that changes without its ETag."""
    return {
        "id": kit.id,
        "name": kit.name,
        "description": kit.description,
        "is_default": kit.is_default,
        "primitives_config": kit.primitives_config,
        "connections_config": kit.connections_config,
        "prompt_retention_days": kit.prompt_retention_days,
        "etag": kits.etag(kit),
        "created_at": kit.created_at,
    }


def _id(text: str) -> UUID:
    found = ids.parse(text)
    if found is None:
        raise NotFound(f"AccountKit {text[: fields.SHOWN_LENGTH_MAX]} was not found.")
    return found


def _names(models: Sequence[str]) -> dict[str, Any]:
    return {"count": len(models), "names": models[:NAMES_MAX]}
