"""Schemathesis against a whole platform: what the OpenAPI document says is what the routes do, with every check on.

Deterministic: a fixed seed, no database of examples. What a check is told to expect beside its own statuses stands in
ALSO, with the reason.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from django.utils import timezone
from schemathesis import hooks
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema

from accounts import kits
from tests import factories
from tests.e2e.conftest import Platform

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
MINE = "YmVmb3JlO"  # How every cursor of ours begins.
ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "429", "5xx"]
REFUSED = ["400", "401", "403", "404", "405", "409", "413", "415", "422", "429", "5xx"]
CALLS = "^/v1/(llm|users/[^/]+/llm|proxy)"


def _also(check: str, *statuses: str, **where: Any) -> dict[str, Any]:
    basis = ACCEPTED if check == "positive_data_acceptance" else REFUSED
    return {**where, "checks": {check: {"expected-statuses": [*basis, *statuses]}}}


ALSO = [
    # Whether upstream has the model, and what it makes of fields that are its own, it says itself.
    _also("positive_data_acceptance", "400", **{"include-path-regex": CALLS, "include-method": "POST"}),
    # Only Stripe can sign for Stripe.
    _also("positive_data_acceptance", "400", **{"include-operation-id": "receiveStripeEvent"}),
    # A month that has not begun, a day out of the last 30, half of a cap whose other half the key does not have, an end
    # that has passed, a host that is not public: well-formed, and wrong.
    _also(
        "positive_data_acceptance",
        "400",
        **{
            "include-operation-id": [
                "getStatement",
                "proxyGetActivity",
                "createKey",
                "updateKey",
                "createWebhook",
                "updateWebhook",
            ]
        },
    ),
    # An ETag of a state that is gone is well-formed; and it is looked at before what else is wrong.
    _also("positive_data_acceptance", "412", **{"include-path": "/v1/account-kits/{kit_id}"}),
    _also("negative_data_rejection", "412", **{"include-path": "/v1/account-kits/{kit_id}"}),
]
# Where what is read in one place for every route is tried.
ONCE = {"/v1/users", "/v1/users/{user_id}", "/v1/auth/keys/{key_id}/rotate", "/v1/llm/chat/completions"}
# Where a body is read as that of /v1/llm/chat/completions is.
SAME_BODY = {
    "/v1/llm/estimate",
    "/v1/users/{user_id}/llm/chat/completions",
    "/v1/users/{user_id}/llm/estimate",
}
# Operations that cannot succeed here, and why.
NEVER_2XX = {
    "receiveBroadcast": "no BROADCAST_SECRET is set",
    "putBroadcast": "no BROADCAST_SECRET is set",
    "receiveStripeEvent": "only Stripe can sign",
    "proxyGetVideosByJob": "a job's name is upstream's making; tests/e2e/test_proxy.py has one",
    "proxyGetVideosByJobContent": "as above",
    "login": "nobody's password is guessed",
    "selectCompany": "a key of a company belongs to no person",
    "replayWebhookDelivery": "a delivery's id is not guessed",
    "revokeUserSession": "a session's id is not guessed",
}


class Found:
    """What came of a run."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.answers: Counter[tuple[str, int]] = Counter()
        self.checks: set[str] = set()

    def note(self, event: events.ScenarioFinished) -> None:
        recorder = event.recorder
        for case_id, interaction in recorder.interactions.items():
            operation = recorder.cases[case_id].value.operation
            status = interaction.response.status_code if interaction.response else 0
            self.answers[operation.definition.raw["operationId"], status] += 1
        for case_id, checks in recorder.checks.items():
            self.checks |= {check.name for check in checks}
            for check in checks:
                if check.status is Status.FAILURE and check.failure_info is not None:
                    self._tell(recorder, case_id, check.name, check.failure_info)

    def _tell(self, recorder: Any, case_id: str, check: str, info: Any) -> None:
        interaction = recorder.interactions.get(case_id)
        response = interaction.response if interaction else None
        said = f"{response.status_code} {response.content[:300]!r}" if response else "nothing"
        label = recorder.cases[case_id].value.operation.label
        self.failures.append(f"{label}: {check}: {info.failure.message}\n{info.code_sample}\n{said}")


@pytest.mark.parametrize("plane", ["management", "calls"])
def test_schemathesis_finds_nothing(platform: Platform, plane: str) -> None:
    """Each plane with a company of its own: managing one may suspend the users that calls are for."""
    acme = factories.acme(credits=Decimal(100_000))
    document = _strict(json.loads(DOCUMENT.read_text()))
    _name(document, "id", _generation(platform, acme))
    _name(document, "kit_id", _kit(acme), operation_id="deleteAccountKit")
    document["components"]["parameters"]["IfMatch"]["example"] = "*"
    # So many sign-ups of one address in an hour, and Valkey remembers those of the runs before.
    _example(document, "register")["email"] = f"{uuid4().hex}@acme.example"
    _shorten(document)
    document["paths"] = {
        path: item
        for path, item in document["paths"].items()
        if (re.match(CALLS, path) is not None) == (plane == "calls")
    }
    schema = schemathesis.openapi.from_dict(document, config=_config(platform, acme))

    found = Found()
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            found.note(event)

    assert not found.failures, "\n\n".join(found.failures)
    _require_worth(found, document)


def _config(platform: Platform, acme: factories.Cast) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "base-url": platform.url,
            "headers": {"Authorization": acme.authorization},
            "workers": 1,
            "continue-on-failure": True,
            "warnings": False,
            "checks": {"enabled": True},
            "generation": {"deterministic": True, "database": "none", "max-examples": 2, "no-shrink": True},
            "phases": {"coverage": {"unexpected-methods": ["PUT", "TRACE"]}},
            "operations": ALSO,
        }
    )


@pytest.fixture(autouse=True)
def _sensible() -> Iterator[None]:
    """Make of a request that should be accepted one that can be."""
    numbers = itertools.count()

    def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
        if case.meta is None or not case.meta.generation.mode.is_positive:
            return
        # A cursor says where a page ended: one cannot be made up, only left out.
        if not str((case.query or {}).get("cursor", MINE)).startswith(MINE):
            del case.query["cursor"]
        if isinstance(case.body, dict):
            case.body = _kept_whole(case.body)
        given = case.headers or {}
        # The same key again is a replay or a mismatch, and never the request itself.
        if "Idempotency-Key" in given:
            given["Idempotency-Key"] = f"key-{next(numbers)}"
        # Schemathesis takes an ETag's quotes for those of a JSON string, and drops them.
        for name in {"If-Match", "If-None-Match"} & given.keys():
            if given[name] and '"' not in given[name] and given[name] != "*":
                given[name] = f'"{given[name]}"'

    schemathesis.hook(before_call)
    yield
    hooks.unregister(before_call)


def _kept_whole(value: Any) -> Any:
    """A body with its numbers such as every reader of JSON tells them: free objects are refused with others."""
    if isinstance(value, dict):
        return {name: _kept_whole(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_kept_whole(inner) for inner in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return 0 if is_number and (abs(value) >= 10**15 or sum(map(str.isdigit, repr(value))) > 15) else value


def _strict(node: Any) -> Any:
    """The document as if answers never gained a field: what is answered must be named.

    And with the nine decimals that an amount may have, which JSON Schema says in binary fractions only: 2 is no
    multiple of 1e-9 to some who read the document.
    """
    if isinstance(node, list):
        return [_strict(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    found = {key: value if key.startswith("example") else _strict(value) for key, value in node.items()}
    if found.get("type") == "object" and "properties" in found:
        found.setdefault("additionalProperties", False)
    if "number" in found.get("type", "") and "maximum" in found:
        found["multipleOf"] = 1e-9
    return found


def _shorten(document: dict[str, Any]) -> None:
    """Leave out what the same code has been tried with: one route stands for all.

    One check reads a kit's configuration: a PATCH adds only nulls to it (tests/platform/test_api_kits.py). One reads
    `limit`, one every Idempotency-Key and user's name, one the body of every chat, one the filters of the audit log
    and of its export. Every password costs its digest, a wrong one too: registering tries the fields of signing in.
    The examples stay.
    """
    schemas = document["components"]["schemas"]
    for name, value in _example(document, "login").items():
        schemas["LoginBody"]["properties"][name] = {"enum": [value]}
    for name in ("KitChanges", "PreviewBody"):
        del schemas[name]["properties"]["primitives_config"]
    for path, item in document["paths"].items():
        for operation in item.values():
            once = ["limit", "IdempotencyKey", "X-Naive-User-Id"] if path not in ONCE else []
            if path in SAME_BODY and "requestBody" in operation:
                content = operation["requestBody"]["content"]["application/json"]
                content["schema"] = {"type": "object", "enum": [content["example"]]}
            if operation["operationId"] == "exportAuditEntries":
                once += [one["name"] for one in document["paths"]["/v1/audit"]["get"]["parameters"]]
            operation["parameters"] = [
                one
                for one in operation.get("parameters", [])
                if one.get("name", one.get("$ref", "").rpartition("/")[2]) not in once
            ]


def _example(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The example of a body under /v1/auth."""
    body = document["paths"][f"/v1/auth/{name}"]["post"]["requestBody"]["content"]["application/json"]
    found: dict[str, Any] = body["example"]
    return found


def _generation(platform: Platform, acme: factories.Cast) -> str:
    """A call of the company's, that its routes may be asked about."""
    body = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]}
    answer = platform.post(acme.secret, body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def _kit(acme: factories.Cast) -> str:
    """A kit that nobody has, and so may go."""
    return str(kits.create(company_id=acme.company_id, name="To go", now=timezone.now()).id)


def _name(document: dict[str, Any], parameter: str, value: str, *, operation_id: str = "") -> None:
    """Give a parameter an example that means something in this company."""
    for item in document["paths"].values():
        for operation in item.values():
            for one in operation.get("parameters", []):
                if one.get("name") == parameter and operation["operationId"].startswith(operation_id):
                    one["example"] = value


def _require_worth(found: Found, document: dict[str, Any]) -> None:
    """A run that got no further than the door would find nothing too."""
    operations = {
        operation["operationId"] for item in document["paths"].values() for operation in item.values()
    }
    succeeded = {name for name, status in found.answers if 200 <= status < 300}
    never = {
        name: sorted(status for one, status in found.answers if one == name)
        for name in operations - succeeded
    }
    assert never.keys() <= NEVER_2XX.keys(), never
    assert sum(found.answers.values()) > 1000
    assert {
        "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
        "response_headers_conformance", "positive_data_acceptance", "negative_data_rejection", "unsupported_method",
        "ignored_auth", "allow_header_conformance", "use_after_free", "ensure_resource_availability",
        "missing_required_header",
    } <= found.checks  # fmt: skip
