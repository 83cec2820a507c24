"""The OpenAPI document: complete, true to the tables it is made from, and served to anybody."""

import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from django.test import Client

from accounts.errors import Conflict, DuplicateRecord
from llm.errors import UpstreamError
from llm.proxy import paths
from llm.proxy.paths import Treatment
from naive_platform import dataplane, errors
from naive_platform.api import permissions, urls
from naive_platform.openapi import document, guide, names, pages, refusals

STATIC = Path(__file__).parents[2] / "static"
REF = "#/components/schemas/"


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    return document.build()


def operations(built: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in built["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def response(built: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """A response itself, where it is a reference to one."""
    if "$ref" not in found:
        return found
    referred: dict[str, Any] = built["components"]["responses"][found["$ref"].rpartition("/")[2]]
    return referred


def media(built: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every body and answer in JSON, by the operation whose it is."""
    for path, method, operation in operations(built):
        content = [operation.get("requestBody", {})]
        content += [response(built, found) for found in operation["responses"].values()]
        for one in content:
            if "application/json" in one.get("content", {}):
                yield f"{method} {path}", one["content"]["application/json"]


def codes(built: dict[str, Any], operation_id: str, status: str) -> list[str]:
    (found,) = [one for _, _, one in operations(built) if one["operationId"] == operation_id]
    content = response(built, found["responses"][status])["content"]["application/json"]
    listed: list[str] = content["schema"]["properties"]["error"]["properties"]["code"]["enum"]
    return listed


def test_every_route_of_the_management_api_is_in_it(built: dict[str, Any]) -> None:
    wanted = {
        (f"/v1/{pattern.pattern}".replace("<str:", "{").replace(">", "}"), verb)
        for pattern in urls.urlpatterns
        for verb in permissions.TABLE[str(pattern.name)]
    }

    assert wanted <= {(path, method) for path, method, _ in operations(built)}


def test_every_route_of_the_data_plane_is_in_it_and_no_other(built: dict[str, Any]) -> None:
    typed = {
        (f"{prefix}{path}", method.lower())
        for prefix, router in dataplane.api._routers
        for path, view in router.path_operations.items()
        for one in view.operations
        for method in one.methods
    }
    proxied = {
        (f"{paths.MOUNT.decode()}{route.template}", route.method.lower())
        for route in paths.TABLE.values()
        if route.treatment is not Treatment.NEVER
    }

    found = {(path, method) for path, method, _ in operations(built) if dataplane.takes(path)}
    assert found == typed | proxied


def test_operations_have_ids_tags_and_summaries_of_their_own(built: dict[str, Any]) -> None:
    found = [operation for _, _, operation in operations(built)]

    assert len({one["operationId"] for one in found}) == len(found)
    assert all(re.fullmatch(r"[a-z][A-Za-z]+", one["operationId"]) for one in found)
    assert {tag for one in found for tag in one["tags"]} == set(names.TAGS)
    assert all(one["summary"] and not one["summary"].endswith(".") for one in found)


def test_every_example_is_what_its_schema_says(built: dict[str, Any]) -> None:
    missing, wrong = [], []
    for where, one in media(built):
        schema = {**one["schema"], "components": built["components"]}
        examples = [found["value"] for found in one.get("examples", {}).values()]
        examples += [one["example"]] if "example" in one else []
        if not examples:
            missing.append(where)
        checker = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
        wrong += [(where, error.message) for example in examples for error in checker.iter_errors(example)]

    assert (missing, wrong) == ([], [])


def schemas_of(node: Any) -> Iterator[dict[str, Any]]:
    """Everything in the document that says a type, or words or a value; not what stands in its examples."""
    if isinstance(node, list):
        for inner in node:
            yield from schemas_of(inner)
    if isinstance(node, dict):
        if {"type", "enum", "const"} & {key for key, value in node.items() if not isinstance(value, dict)}:
            yield node
        for key, inner in node.items():
            if not key.startswith("example"):
                yield from schemas_of(inner)


def test_generators_of_clients_find_what_they_need_in_every_schema(built: dict[str, Any]) -> None:
    """JSON Schema asks for none of this; without it they leave out the routes that take the type."""
    for schema in schemas_of({key: built[key] for key in ("paths", "components")}):
        assert "type" in schema, schema
        assert "array" not in schema["type"] or "items" in schema, schema
        if "default" in schema and "$ref" not in str(schema):
            jsonschema_rs.validate(schema, schema["default"])


def test_every_reference_leads_somewhere_and_everything_is_referred_to(built: dict[str, Any]) -> None:
    text = json.dumps(built)
    referred = set(re.findall(r'"\$ref": "#/components/([a-z]+/[^"]+)"', text, re.IGNORECASE))
    there = {
        f"{kind}/{name}"
        for kind, found in built["components"].items()
        for name in found
        if kind != "securitySchemes"
    }

    assert referred == there


def test_whoever_needs_a_key_is_told_so_and_of_its_refusals(built: dict[str, Any]) -> None:
    for path, method, operation in operations(built):
        is_open = {} in operation.get("security", [{}]) or not operation.get("security")
        if not is_open:
            assert "401" in operation["responses"], (path, method)


def test_codes_of_an_operation_are_those_of_its_errors_and_of_every_route(built: dict[str, Any]) -> None:
    assert codes(built, "createAccountKit", "409") == [
        "already_completed",
        "duplicate_record",
        "idempotency_in_progress",
    ]
    assert codes(built, "updateAccountKit", "412") == ["precondition_failed"]
    assert codes(built, "listUsers", "400") == ["invalid_input"]
    assert codes(built, "createChatCompletion", "402") == ["insufficient_credits"]


def test_codes_and_headers_are_those_that_are_answered(built: dict[str, Any]) -> None:
    """What costs nothing is never short of credits; a body that nobody wants is read; a kit's state has a name."""
    found = {one["operationId"]: one for _, _, one in operations(built)}
    read = found["getAccountKit"]["responses"]

    assert not {"402", "415"} & found["proxyGetModels"]["responses"].keys()
    assert codes(built, "deleteWebhook", "415") == ["unsupported_media_type"]
    assert "ETag" in read["200"]["headers"]
    assert "ETag" in read["304"]["headers"]
    assert "ETag" in found["getOpenAPI"]["responses"]["200"]["headers"]
    assert "ETag" not in found["listAccountKits"]["responses"]["200"]["headers"]
    assert found["proxyPostMessages"]["security"] == [{"ApiKey": []}, {"BareApiKey": []}]
    assert found["createChatCompletion"]["security"] == [{"ApiKey": []}]


def test_every_code_of_the_table_is_one_that_the_document_can_tell() -> None:
    told = refusals.responses(refusals.codes(errors.TABLE))
    found = refusals.components(one["$ref"].rpartition("/")[2] for one in told.values())

    assert {code for one in found.values() for code in one["content"]["application/json"]["examples"]} == {
        code for code, _ in errors.TABLE.values()
    }
    assert refusals.code(DuplicateRecord) == ("duplicate_record", 409)
    assert refusals.codes([Conflict]) == [("conflict", 409)]
    assert ("provider_error", 429) in refusals.codes([UpstreamError])


def test_bodies_refuse_what_they_do_not_name(built: dict[str, Any]) -> None:
    for path, method, operation in operations(built):
        schema = (
            operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        )
        if "$ref" in schema and not dataplane.takes(path):
            named = built["components"]["schemas"][schema["$ref"].removeprefix(REF)]
            assert named["additionalProperties"] is False, (path, method)


def test_document_is_served_to_anybody_with_an_etag() -> None:
    first = Client().get("/v1/openapi.json")
    again = Client().get("/v1/openapi.json", headers={"If-None-Match": first["ETag"]})

    assert first.status_code == 200
    assert first.json() == json.loads(document.FILE.read_text())
    assert first["Cache-Control"] == "public, max-age=300"
    assert first["Access-Control-Allow-Origin"] == "*"
    assert (again.status_code, again.content) == (304, b"")


def test_document_is_packed_for_who_takes_it() -> None:
    packed = Client().get("/v1/openapi.json", headers={"Accept-Encoding": "gzip"})

    assert packed["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.content)) == pages.served().document
    assert len(packed.content) < 100_000


@pytest.mark.parametrize("path", ["/v1/openapi.json", "/docs", "/llms.txt"])
def test_pages_are_read_only_and_need_nobody(path: str) -> None:
    assert Client(enforce_csrf_checks=True).post(path).status_code == 405
    assert Client().head(path).status_code == 200
    assert Client().get(path).status_code == 200


def test_reference_runs_no_script_of_anybody_else() -> None:
    page = Client().get("/docs")
    policy = page["Content-Security-Policy"]
    text = page.content.decode()

    assert "default-src 'self'" in policy
    assert "script-src" not in policy
    assert "style-src 'self' 'unsafe-inline'" in policy
    assert "unsafe" not in Client().get("/accounts/login/")["Content-Security-Policy"]
    assert not re.search(r"<script[^>]*>[^<\s]", text)
    assert not re.search(r"(?:src|href)=\"(?!/)", text)


def test_reference_without_javascript_lists_every_operation(built: dict[str, Any]) -> None:
    (plain,) = re.findall(r"<noscript>(.*)</noscript>", Client().get("/docs").content.decode(), re.DOTALL)

    assert 'href="/v1/openapi.json"' in plain
    for path, method, _ in operations(built):
        assert f"{method.upper()} {path}" in plain


def test_vendored_script_is_the_one_that_was_reviewed() -> None:
    for line in (STATIC / "vendor/scalar/SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        path = STATIC / "vendor/scalar" / name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
        assert f"vendor/scalar/{name}" in Client().get("/docs").content.decode()
    assert "MIT License" in (STATIC / "vendor/scalar/LICENSE").read_text()


def test_llms_txt_names_every_route_once_and_every_code(built: dict[str, Any]) -> None:
    text = Client().get("/llms.txt").content.decode()

    for path, method, operation in operations(built):
        assert text.count(f"- {method.upper()} {path}: {operation['summary']}\n") == 1
    for code, status in errors.TABLE.values():
        assert f"- {status} {code}: " in text
    assert "http://testserver/v1/proxy/openrouter" in text
    assert guide.render(built, base_url="https://naive.example").startswith("# Naive\n")
