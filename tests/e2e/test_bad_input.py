"""Bad input: the documented error, nothing held, nothing sent."""

import json
import socket
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from django.utils import timezone

from accounts import keys, tokens
from tests import factories
from tests.e2e.conftest import Platform, eventually, open_holds

GOOD: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}


@dataclass(frozen=True)
class Case:
    """A request and the answer it must get."""

    status: int
    code: str
    body: Any = None
    headers: dict[str, str] | None = None
    method: str = "POST"
    path: str = "/v1/llm/chat/completions"
    says: str = ""


CASES = {
    "the operator's stored files": Case(
        400,
        "invalid_input",
        GOOD | {"tools": [{"type": "openrouter:files"}]},
        says="not your company's alone",
    ),
    "malformed JSON": Case(400, "invalid_input", b'{"model":', says="not valid JSON"),
    "not an object": Case(400, "invalid_input", b"[1]", says="not a JSON object"),
    "empty body": Case(400, "invalid_input", b"", says="not valid JSON"),
    "missing messages": Case(400, "invalid_input", {"model": "openai/gpt-4o-mini"}, says="messages"),
    "missing model": Case(400, "invalid_input", {"messages": GOOD["messages"]}, says="model"),
    "unknown model": Case(400, "invalid_input", {**GOOD, "model": "openai/gpt-99"}, says="openai/gpt-99"),
    "unknown fallback": Case(
        400, "invalid_input", {**GOOD, "models": ["nobody/nothing"]}, says="nobody/nothing"
    ),
    "NaN temperature": Case(
        400, "invalid_input", b'{"model":"a/b","messages":[{}],"temperature":NaN}', says="JSON"
    ),
    "10,000 messages": Case(
        400, "invalid_input", {**GOOD, "messages": GOOD["messages"] * 10_000}, says="messages"
    ),
    "negative max_tokens": Case(400, "invalid_input", {**GOOD, "max_tokens": -1}, says="max_tokens"),
    "model named twice": Case(
        400, "invalid_input", b'{"model":"a/b","model":"c/d","messages":[{}]}', says="twice"
    ),
    "stream as text": Case(400, "invalid_input", {**GOOD, "stream": "true"}, says="stream"),
    "lone surrogate": Case(
        400, "invalid_input", b'{"model":"a/b","messages":[{"content":"\\ud800"}]}', says="JSON"
    ),
    "33 MB body": Case(
        413, "payload_too_large", b'{"model":"' + b"x" * (33 * 1024 * 1024) + b'"}', says="32 MB"
    ),
    "compressed body": Case(
        415, "unsupported_media_type", b"\x1f\x8b", {"Content-Encoding": "gzip"}, says="gzip"
    ),
    "wrong method": Case(405, "method_not_allowed", method="DELETE", says="POST"),
    "wrong method on models": Case(
        405, "method_not_allowed", method="POST", path="/v1/llm/models", says="GET"
    ),
    "unknown path": Case(404, "not_found", GOOD, path="/v1/llm/chat/completion"),
    "foreign user in path": Case(404, "not_found", GOOD, path="/v1/users/{stranger}/llm/chat/completions"),
    "foreign user in header": Case(404, "not_found", GOOD, headers={"X-Naive-User-Id": "{stranger}"}),
    "unknown user": Case(404, "not_found", GOOD, path=f"/v1/users/{uuid4()}/llm/chat/completions"),
    "malformed user": Case(404, "not_found", GOOD, path="/v1/users/nonsense/llm/chat/completions"),
    "foreign external id": Case(404, "not_found", GOOD, headers={"X-Naive-User-Id": "ext:of-globex"}),
}


def send(platform: Platform, key: str | None, case: Case, stranger: str) -> httpx.Response:
    headers = {name: value.format(stranger=stranger) for name, value in (case.headers or {}).items()}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    content = (
        case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode() if case.body else b""
    )
    url = platform.url + case.path.format(stranger=stranger)
    return httpx.request(case.method, url, headers=headers, content=content, timeout=60)


def assert_error(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]
    return error


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_its_error_and_costs_nothing(name: str, clean: Platform, acme: factories.Cast) -> None:
    globex, case = factories.globex(), CASES[name]
    before = clean.upstream.accepted()
    error = assert_error(send(clean, acme.secret, case, str(globex.tenant_user.id)), case.status, case.code)
    assert case.says.lower() in (error["message"] + error.get("hint", "")).lower()
    assert open_holds(acme.company.id) == 0
    assert clean.upstream.accepted() == before


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer null",
        "Bearer undefined",
        "Bearer nv_sk_live_x",
        "Basic abc",
        "Bearer ' OR 1=1 --",
    ],
)
def test_no_key_or_a_wrong_one_is_401(authorization: str, clean: Platform) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = httpx.post(f"{clean.url}/v1/llm/chat/completions", json=GOOD, headers=headers)
    assert assert_error(answer, 401, "unauthorized")["hint"]


def test_unknown_key_of_the_right_shape_is_401(clean: Platform) -> None:
    assert_error(clean.post(tokens.generate(tokens.KEY_PREFIX), GOOD), 401, "unauthorized")


def test_key_comes_before_the_body(clean: Platform) -> None:
    answer = clean.post(None, b"x" * (33 * 1024 * 1024))
    assert_error(answer, 401, "unauthorized")


def test_revoked_key_is_401_within_a_second(clean: Platform, acme: factories.Cast) -> None:
    assert clean.post(acme.secret, GOOD).status_code == 200
    keys.revoke(company_id=acme.company.id, key_id=acme.key.id, now=timezone.now())
    eventually(lambda: clean.post(acme.secret, GOOD).status_code == 401, timeout_s=1.0, what="revocation")


def test_disabled_primitive_is_403_with_the_kits_name(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"enabled": False})
    error = assert_error(clean.post(acme.secret, GOOD), 403, "forbidden")
    assert error["message"] == f'Not allowed by AccountKit "{acme.kit.name}": primitive_disabled_by_kit'
    assert error["details"] == {"reason": "primitive_disabled_by_kit", "primitive": "llm"}


def test_model_outside_the_kit_is_403(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"defaults": {"allowed_models": ["anthropic/*"]}})
    for body in (GOOD, {**GOOD, "model": "anthropic/claude-sonnet-4.6", "models": ["openai/gpt-4o-mini"]}):
        error = assert_error(clean.post(acme.secret, body), 403, "forbidden")
        assert error["details"]["reason"] == "model_not_allowed_by_kit"
    assert clean.upstream.ledger()["calls"] == 0


def test_no_credit_is_402_with_two_numbers_and_packs(clean: Platform) -> None:
    initech = factories.initech()
    answer = clean.post(initech.secret, GOOD)
    details = assert_error(answer, 402, "insufficient_credits")["details"]
    assert details["limit"] == "wallet"
    assert (details["balance"], details["held"], details["available"]) == (0, 0, 0)
    assert details["required"] > 0
    assert [pack["id"] for pack in answer.json()["packs"]] == ["small", "medium", "large", "xl"]
    assert clean.upstream.ledger()["calls"] == 0


def test_slow_body_is_cut(clean: Platform, acme: factories.Cast) -> None:
    """One byte and then silence: answered or closed within the limit, and nothing is held."""
    host, port = clean.url.removeprefix("http://").split(":")
    head = (
        "POST /v1/llm/chat/completions HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {acme.secret}\r\nContent-Length: 100\r\n\r\n"
    )
    started = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=25) as connection:
        connection.sendall(head.encode() + b"{")
        answer = connection.recv(65536)
    assert time.monotonic() - started < 20
    assert b" 400 " in answer.splitlines()[0]
    assert open_holds(acme.company.id) == 0


def test_balance_is_untouched_by_refusals(clean: Platform, acme: factories.Cast) -> None:
    before = factories.balance(acme)
    for case in CASES.values():
        send(clean, acme.secret, case, str(uuid4()))
    assert factories.balance(acme) == before
    assert before > Decimal(0)
