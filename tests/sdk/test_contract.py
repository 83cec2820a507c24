"""The SDK against the document of the API: no route, parameter or field is missing, and none is made up."""

import inspect
import json
import re
import subprocess
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import pytest

from naive import options, params, types
from naive.client import Surface
from naive.requests import Listing, Request
from naive.resources import ForUser
from naive.routes import ListRoute, Resource, Route, StreamRoute
from naive.testing import FakePlatform
from naive.types import Model
from tests.e2e.conftest import ROOT

DOCUMENT = json.loads((ROOT / "docs/openapi.json").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
# For operators, for upstream and payment providers, for people who read, and for other clients.
LEFT_OUT = {
    "/health", "/metrics", "/readyz", "/v1/openapi.json", "/v1/broadcast", "/v1/payments/stripe", "/mcp",
}  # fmt: skip
# A path's parameter.
HERE = "x"
# Of upstream's body and answers more is named than the platform's document says.
UPSTREAMS = {"ChatBody", "ChatCompletion"}


class Asked(typing.NamedTuple):
    """A route of the SDK and the request that it makes."""

    name: str
    build: Any
    request: Request[Any]

    @property
    def operation(self) -> tuple[str, str]:
        return self.request.method.lower(), self.request.path

    @property
    def parameters(self) -> set[str]:
        """What it takes beside the options of every call and what is in its path."""
        signature = inspect.signature(self.build)
        named = {
            name
            for name, parameter in signature.parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD
        }
        given = typing.get_args(typing.get_type_hints(self.build)["given"])[0]
        in_path = {name for name in named if name.endswith("_id") and name not in ("pack_id", "company_id")}
        from_kit = {"from_kit_id"} & named
        return (
            (named - in_path | from_kit | set(typing.get_type_hints(given)))
            - set(options.Options.__annotations__)
            - {"self", "if_match"}
        )


def resources(resource: Resource[Any]) -> Iterator[Resource[Any]]:
    yield resource
    for name, found in inspect.getmembers(type(resource), lambda member: isinstance(member, property)):
        inner = found.fget(resource) if found.fget and name != "user_id" else None
        if isinstance(inner, Resource):
            yield from resources(inner)


def routes(resource: Resource[Any]) -> Iterator[Asked]:
    for each in resources(resource):
        for name, route in vars(type(each)).items():
            # What `request` asks for, who calls it says.
            if isinstance(route, Route | ListRoute | StreamRoute) and name != "request":
                build = route.__wrapped__
                wanted = [
                    parameter
                    for parameter in list(inspect.signature(build).parameters.values())[1:]
                    if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
                    and parameter.default is parameter.empty
                ]
                yield Asked(f"{type(each).__name__}.{name}", build, build(each, *[HERE for _ in wanted]))


NOBODY: Any = None
ROUTES = list(routes(Surface(NOBODY)))
OF_A_USER = list(routes(ForUser(NOBODY, "users", HERE)))


def documented() -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            if (
                method in ("get", "post", "put", "patch", "delete")
                and path not in LEFT_OUT
                and "/proxy/" not in path
            ):
                found[method, re.sub(r"\{\w+\}", HERE, path)] = operation
    return found


OPERATIONS = documented()


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema without references, null and alternatives."""
    if "$ref" in schema:
        return resolved(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    for name in ("oneOf", "anyOf", "allOf"):
        if name in schema and "properties" not in schema:
            return resolved(schema[name][0])
    return schema


def answer_of(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    status = next(status for status in operation["responses"] if status.startswith("2"))
    schema: Mapping[str, Any] = operation["responses"][status]["content"]["application/json"]["schema"]
    return schema


def test_every_documented_route_is_there_and_no_other() -> None:
    assert {asked.operation for asked in (*ROUTES, *OF_A_USER)} == set(OPERATIONS)


@pytest.mark.parametrize(
    "asked", [*ROUTES, *OF_A_USER], ids=lambda asked: f"{asked.name} {asked.request.path}"
)
def test_every_parameter_is_there_and_no_other(asked: Asked) -> None:
    operation = OPERATIONS[asked.operation]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    known = set(resolved(body)["properties"]) if body else set()
    known |= {
        parameter["name"] for parameter in operation.get("parameters", ()) if parameter.get("in") == "query"
    }
    if body and body["$ref"].rpartition("/")[2] in UPSTREAMS:
        assert known - {"stream"} <= asked.parameters
    else:
        assert asked.parameters == known


@pytest.mark.parametrize("asked", ROUTES, ids=lambda asked: asked.name)
def test_every_field_of_an_answer_is_there_and_no_other(asked: Asked) -> None:
    if isinstance(asked.request, Listing):
        page = resolved(answer_of(OPERATIONS[asked.operation]))
        require_fields(asked.request.item.__self__, page["properties"][asked.request.plural]["items"])  # type: ignore[attr-defined]
    elif asked.name not in ("LLM.stream", "Audit.export"):
        schema = answer_of(OPERATIONS[asked.operation])
        if asked.name == "LLM.generation":
            schema = resolved(schema)["properties"]["data"]
        require_fields(asked.request.answer.__self__, schema)  # type: ignore[attr-defined]


# Named by one model for a few shapes that differ by it, or upstream's own.
MORE = {
    types.AccountKit: {"users"},
    types.Usage: {"user_id"},
    types.Generation: {"tokens_prompt", "tokens_completion"},
    types.ChatCompletion: {"provider"},
    types.ModelList: {"object"},
    # Kept beside the fields, for every answer has a property of this name.
    types.AuditEntry: {"request_id"},
}


def require_fields(model: type[Model], schema: Mapping[str, Any]) -> None:
    properties = resolved(schema).get("properties", {})
    assert set(model.model_fields) ^ set(properties) <= MORE.get(model, set()), model.__name__
    for name, field in model.model_fields.items():
        inner = next((kind for kind in kinds(field.annotation) if issubclass(kind, Model)), None)
        told = resolved(properties.get(name, {}))
        told = resolved(told["items"]) if "items" in told else told
        if inner is not None and "properties" in told:
            require_fields(inner, told)


def kinds(annotation: Any) -> Iterator[type]:
    """Every class in an annotation."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        yield annotation
    for part in typing.get_args(annotation):
        yield from kinds(part)


def money_paths(schema: Mapping[str, Any]) -> set[str]:
    named = ("credits", "usd", "cost", "balance", "held", "amount", "available", "overrun")
    return {
        name
        for name, told in schema.get("properties", {}).items()
        if "number" in str(resolved(told).get("type")) and any(word in name for word in named)
    }


@pytest.mark.parametrize("asked", ROUTES, ids=lambda asked: asked.name)
def test_money_is_decimal_wherever_it_is_answered(asked: Asked) -> None:
    if isinstance(asked.request, Listing) or asked.name in ("LLM.stream", "LLM.generation", "Audit.export"):
        return
    model = asked.request.answer.__self__  # type: ignore[attr-defined]
    for name in money_paths(resolved(answer_of(OPERATIONS[asked.operation]))):
        assert "Decimal" in str(model.model_fields[name].annotation), f"{model.__name__}.{name}"


FAKED = [
    ("post", "/v1/llm/chat/completions", lambda naive: naive.llm.chat(model="m", prompt="Hi")),
    ("get", "/v1/llm/models", lambda naive: naive.llm.models()),
    ("post", "/v1/llm/estimate", lambda naive: naive.llm.estimate(model="m", prompt="Hi")),
    ("post", "/v1/users", lambda naive: naive.users.create(external_id="alice")),
    ("get", "/v1/users", lambda naive: naive.users.list()),
    ("get", "/v1/users/x", lambda naive: naive.users.get("default")),
    ("post", "/v1/account-kits", lambda naive: naive.account_kits.create(name="Pro")),
    ("get", "/v1/account-kits", lambda naive: naive.account_kits.list()),
    ("post", "/v1/auth/keys", lambda naive: naive.keys.create(name="CI")),
    ("get", "/v1/auth/keys", lambda naive: naive.keys.list()),
    ("get", "/v1/usage", lambda naive: naive.usage()),
    ("get", "/v1/status", lambda naive: naive.status()),
    ("get", "/v1/auth/me", lambda naive: naive.auth.me()),
]


@pytest.mark.parametrize(("method", "path", "ask"), FAKED, ids=[f"{row[0]} {row[1]}" for row in FAKED])
def test_fake_answers_as_the_document_says(method: str, path: str, ask: Any) -> None:
    raw = ask(FakePlatform().client().with_raw_response)
    schema = answer_of(OPERATIONS[method, path])
    store = {**schema, "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(store).validate(json.loads(raw.content))


def test_fake_refuses_as_the_document_says() -> None:
    platform = FakePlatform()
    platform.fail(402, details={"limit": "wallet"}, hint="Top up.")
    with pytest.raises(Exception, match="Top up") as raised:
        platform.client().status()
    body = raised.value.response.json()  # type: ignore[attr-defined]
    store = {"$ref": "#/components/schemas/Error", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(store).validate(body)


def test_importing_the_sdk_loads_nothing_heavy() -> None:
    heavy = ["httpx", "pydantic", "typer", "rich", "mcp", "anyio", "asyncio", "naive.types", "naive.tools"]
    program = f"import naive, sys; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_parameters_are_all_exported() -> None:
    assert {name for name in vars(params) if name[0].isupper()} == set(params.__all__)
    assert {name for name in vars(types) if name[0].isupper()} == set(types.__all__)
