"""The management API's half of the document: each route's contract, as drf-spectacular writes shapes down."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import get_doc
from drf_spectacular.settings import patched_settings
from drf_spectacular.types import OpenApiTypes
from rest_framework.serializers import DictField, Field, JSONField, Serializer

from accounts.errors import NotFound, PreconditionFailed
from accounts.models import EXTERNAL_ID_LENGTH_MAX
from llm.errors import PayloadTooLarge, UnsupportedMediaType
from naive_platform.api import contract, kits, routes, shapes, urls
from naive_platform.api.contract import Contract
from naive_platform.api.permissions import Permission
from naive_platform.openapi import names, refusals, schemas
from naive_platform.openapi.refusals import Code

PREFIX = "v1/"
BEARER = {"ApiKey": list[str]()}
BARE = {"BareApiKey": list[str]()}
SESSION = {"DashboardSession": list[str]()}
SESSION_WITH_TOKEN = {**SESSION, "CsrfToken": list[str]()}
_SETTINGS = {"OAS_VERSION": "3.1.1", "COMPONENT_SPLIT_PATCH": False, "POSTPROCESSING_HOOKS": []}
USER = {
    "type": "string",
    "minLength": 1,
    "maxLength": EXTERNAL_ID_LENGTH_MAX + len("ext:"),
    "description": "A tenant user: an id, `ext:<external_id>`, `default` or `me`.",
}


class _Schema(AutoSchema):
    """Reads a verb's contract; nothing is declared a second time."""

    def get_operation_id(self) -> str:
        return names.NAMES[self.view.name].operations[self.method.lower()]

    def get_tags(self) -> list[str]:
        return [names.NAMES[self.view.name].tag]

    def get_summary(self) -> str:
        return self._contract.summary

    def get_description(self) -> str:
        """What follows the first line of the class's docstring, and the verb's own."""
        _, _, more = get_doc(type(self.view)).partition("\n\n")
        own = get_doc(self._handler)
        return "\n\n".join(filter(None, [more.strip(), own]))

    def get_request_serializer(self) -> type[Serializer[Any]] | None:
        return self._contract.body

    def get_response_serializers(self) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for status, shape in self._contract.answers.items():
            if isinstance(shape, tuple):
                found |= {(status, media_type): OpenApiTypes.STR for media_type in shape}
            else:
                found[status] = shape
        return found

    def get_override_parameters(self) -> list[Any]:
        return [self._contract.query] if self._contract.query else []

    def _get_parameters(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = super()._get_parameters()
        if PreconditionFailed in self._contract.refuses:
            found.append({"$ref": "#/components/parameters/IfMatch"})
        if 304 in self._contract.answers:
            found.append({"$ref": "#/components/parameters/IfNoneMatch"})
        return found

    def get_auth(self) -> list[dict[str, list[str]]]:
        if self._permission.role is None:
            return []
        if self.method.lower() in routes.MUTATIONS:
            return [BEARER, SESSION_WITH_TOKEN]
        return [BEARER, SESSION]

    def get_extensions(self) -> dict[str, Any]:
        """What `document` finishes the operation by, and takes away again."""
        is_tagged = isinstance(self.view, kits.KitRoute)
        return {"x-codes": self._codes(), "x-idempotent": self._is_idempotent, "x-tagged": is_tagged}

    def get_serializer_name(self, serializer: Serializer[Any], direction: str) -> str:
        return type(serializer).__name__.removesuffix("Shape")

    def _resolve_path_parameters(self, variables: list[str]) -> list[dict[str, Any]]:
        return [path_parameter(name) for name in variables]

    def _map_serializer_field(
        self,
        field: Field[Any, Any, Any, Any],
        direction: str,
        bypass_extensions: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        says = getattr(field, "json_schema", None)
        if isinstance(field, JSONField | DictField):
            found = {"type": "object", "additionalProperties": True}
            found = found if isinstance(field, DictField) else dict(schemas.ANYTHING)
        elif says is None:
            return super()._map_serializer_field(field, direction, bypass_extensions)
        else:
            found = says()
        if field.allow_null:
            found = _or_null(found)
        meta = self._get_serializer_field_meta(field, direction)
        return found | {name: meta[name] for name in ("description", "default") if name in meta}

    def _insert_field_validators(self, field: Field[Any, Any, Any, Any], schema: dict[str, Any]) -> None:
        if not hasattr(field, "json_schema") and not isinstance(field, JSONField | DictField):
            super()._insert_field_validators(field, schema)

    def _postprocess_serializer_schema(
        self, schema: dict[str, Any], serializer: Serializer[Any], direction: str
    ) -> dict[str, Any]:
        own = type(serializer).__dict__.get("__doc__")
        schema |= {"description": own.strip()} if own else {}
        if not own:
            schema.pop("description", None)
        if isinstance(serializer, shapes.Body):
            schema |= {"additionalProperties": False, **serializer.json_rules}
        return schema

    @property
    def _handler(self) -> Any:
        return getattr(self.view, self.method.lower())

    @property
    def _contract(self) -> Contract:
        return contract.of(self._handler)

    @property
    def _permission(self) -> Permission:
        found: Permission = self.view.permission(self.method.lower())
        return found

    @property
    def _is_idempotent(self) -> bool:
        is_mutation = self.method.lower() in routes.MUTATIONS
        return is_mutation and self.view.is_idempotent and self._permission.role is not None

    def _codes(self) -> list[Code]:
        kinds = [*self._contract.refuses]
        if self._permission.role is not None:
            kinds += refusals.KNOWN
        if "{" in self.path:
            kinds.append(NotFound)
        if self.method.lower() in routes.MUTATIONS:
            kinds.append(PayloadTooLarge)
        if self._contract.body is not None or self._is_idempotent:
            # Also where no body is wanted: one that comes is looked at.
            kinds.append(UnsupportedMediaType)
        if self._is_idempotent:
            kinds += refusals.ONCE
        return sorted({*refusals.codes(kinds), *refusals.ALWAYS})


class _Generator(SchemaGenerator):
    def create_view(self, callback: Any, method: str, request: Any = None) -> Any:
        view = super().create_view(callback, method, request)
        self._set_schema_to_view(view, _Schema())
        return view


def read() -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The paths of the management API and the schemas that they refer to.

    Errors: KeyError for a route or verb that `names` or `permissions` do not know; ValueError where two shapes have one
    name, or one cannot be written down.
    """
    with patched_settings(_SETTINGS):
        found: Mapping[str, Any] = _Generator(patterns=urls.urlpatterns).get_schema(public=True)
        if GENERATOR_STATS:
            raise ValueError("drf-spectacular has doubts; see what it says above.")
    paths = {f"/{PREFIX}{path.lstrip('/')}": item for path, item in found["paths"].items()}
    return paths, dict(found["components"]["schemas"])


def path_parameter(name: str) -> dict[str, Any]:
    """A name in a path: a tenant user by any of its names, anything else by its id."""
    schema = dict(USER) if name == "user_id" else {"type": "string", "format": "uuid"}
    described = {"description": text} if (text := schema.pop("description", None)) else {}
    example = {"example": "default"} if name == "user_id" else {}
    return {"name": name, "in": "path", "required": True, "schema": schema, **described, **example}


def _or_null(found: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in found:
        return {"anyOf": [*found["anyOf"], {"type": "null"}]}
    if isinstance(found["type"], list):
        return found
    enum = {"enum": [*found["enum"], None]} if "enum" in found else {}
    return found | {"type": [found["type"], "null"]} | enum
