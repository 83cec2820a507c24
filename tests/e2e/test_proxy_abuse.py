"""The threats to the proxy, row by row: what is refused reaches no upstream and holds nothing."""

import gzip
import json
import socket
import time
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.utils import timezone

from accounts import keys
from tests import factories
from tests.e2e.conftest import Platform, open_holds
from tests.llm.test_proxy_paths import CLOSED

BASE = "/v1/proxy/openrouter"
CHAT = f"{BASE}/chat/completions"
BODY = {"model": "openai/gpt-4o-mini", "max_tokens": 30, "messages": [{"role": "user", "content": "Hi"}]}
JSON = json.dumps(BODY).encode()
HEAD_BYTES_MAX = 60_000


def wire(platform: Platform, request: bytes, *, timeout_s: float = 20) -> tuple[int, bytes]:
    """Send bytes as they are; return the status of the first answer, and all that came."""
    where = urlsplit(platform.url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=timeout_s) as connection:
        connection.sendall(request)
        found = b""
        while data := _received(connection):
            found += data
    return int(found.split(b" ", 2)[1]) if found else 0, found


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def post(
    key: str, target: bytes, *, method: bytes = b"POST", host: bytes = b"x", extra: bytes = b""
) -> bytes:
    head = b"%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n" % (method, target, host)
    about = b"Authorization: Bearer %s\r\nContent-Length: %d\r\n" % (key.encode(), len(JSON))
    return head + about + extra + b"\r\n" + JSON


def require_nothing(platform: Platform, member: factories.Cast) -> None:
    assert platform.upstream.accepted() == 0
    assert open_holds(member.company.id) == 0
    assert factories.balance_nanocredits(member) == factories.GRANT_NANOCREDITS


@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE"])
def test_path_outside_the_table_is_404(method: bytes, clean: Platform, acme: factories.Cast) -> None:
    for path in CLOSED:
        target = f"{BASE}/{path}".encode()
        is_line = not any(byte <= 0x20 or byte == 0x7F for byte in target) and len(target) < HEAD_BYTES_MAX
        if not is_line or path == "api/v1/models":
            continue  # No request line at all, and the other base URL.
        began = time.monotonic()
        status, answer = wire(clean, post(acme.secret, target, method=method))
        took_s = time.monotonic() - began
        assert status in (400, 404), (path, answer)
        assert took_s < 2, path
    require_nothing(clean, acme)


@pytest.mark.parametrize(
    "target", [b"/v1/proxy/openrouter/chat/completions\x00", b"/v1/proxy/openrouter/a b"]
)
def test_line_that_is_no_request_is_400(target: bytes, clean: Platform, acme: factories.Cast) -> None:
    assert wire(clean, post(acme.secret, target))[0] in (400, 404)
    require_nothing(clean, acme)


@pytest.mark.parametrize("method", [b"PUT", b"DELETE", b"PATCH", b"TRACE", b"OPTIONS", b"HEAD", b"GET"])
def test_other_method_is_405_and_names_the_right_one(
    method: bytes, clean: Platform, acme: factories.Cast
) -> None:
    extra = b"X-HTTP-Method-Override: POST\r\n"
    status, answer = wire(clean, post(acme.secret, CHAT.encode(), method=method, extra=extra))
    assert status == 405
    assert b"allow: POST" in answer
    require_nothing(clean, acme)


def test_absolute_target_of_another_host_goes_nowhere(clean: Platform, acme: factories.Cast) -> None:
    target = b"http://evil.test" + CHAT.encode()
    status, _ = wire(clean, post(acme.secret, target))
    assert status in (200, 400, 404)
    assert all("evil" not in json.dumps(visit) for visit in [clean.upstream.ledger()])


@pytest.mark.parametrize(
    "host", [b"localhost:4000/#@evil", b"a b", b"", b"x\r\nHost: y", b"evil.test/../keys", b"@evil"]
)
def test_bad_host_is_400(host: bytes, clean: Platform, acme: factories.Cast) -> None:
    assert wire(clean, post(acme.secret, CHAT.encode(), host=host))[0] == 400
    require_nothing(clean, acme)


@pytest.mark.parametrize(
    "extra", [
        b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Length: +5\r\n",
        b"Content-Length: -1\r\n", b"Content-Length: 5, 5\r\n", b"Transfer-Encoding : chunked\r\n",
        b"X-A: b\r\n folded\r\n", b"X-A: b\x00c\r\n",
    ],
)  # fmt: skip
def test_request_of_two_lengths_is_400_and_the_second_never_runs(
    extra: bytes, clean: Platform, acme: factories.Cast
) -> None:
    smuggled = post(acme.secret, f"{BASE}/keys".encode(), method=b"DELETE")
    status, answer = wire(clean, post(acme.secret, CHAT.encode(), extra=extra) + smuggled)
    assert status == 400, answer
    assert answer.count(b"HTTP/1.1 ") == 1
    require_nothing(clean, acme)


@pytest.mark.parametrize(
    "headers", [
        {"Authorization": "Bearer sk-or-v1-abc"}, {"x-api-key": "sk-ant-abc"}, {},
        {"Authorization": "Basic abc"}, {"Cookie": "session=abc"},
    ],
)  # fmt: skip
def test_no_key_of_ours_is_401(headers: dict[str, str], clean: Platform, acme: factories.Cast) -> None:
    for path in (CHAT, f"{BASE}/models", f"{BASE}/keys", f"{BASE}/credits"):
        assert clean.post(None, BODY, path=path, headers=headers).status_code == 401
    both = {"Authorization": acme.authorization, "x-api-key": "nv_sk_live_other"}
    assert clean.post(None, BODY, path=CHAT, headers=both).status_code == 401
    require_nothing(clean, acme)


@pytest.mark.parametrize(
    "changes", [
        {"stream": "true"}, {"stream": 1}, {"max_tokens": -1}, {"max_tokens": 1.5}, {"max_tokens": "999"},
        {"max_tokens": True}, {"max_tokens": 2**63}, {"n": 1000}, {"model": "no/such"}, {"model": ""},
        {"models": "a"}, {"messages": []}, {"messages": "hi"}, {"model": None}, {"trace": []}, {"provider": 1},
        {"user": {"a": 1}}, {"tools": {}},
    ],
)  # fmt: skip
def test_field_that_decides_about_money_is_checked(
    changes: dict[str, Any], clean: Platform, acme: factories.Cast
) -> None:
    assert clean.post(acme.secret, {**BODY, **changes}, path=CHAT).status_code == 400
    require_nothing(clean, acme)


@pytest.mark.parametrize(
    "raw", [
        b'{"model":"openai/gpt-4o-mini","model":"openai/o1-pro","messages":[{"role":"user","content":"x"}]}',
        b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000, b'{"model":"x","max_tokens":NaN}', b"\xef\xbb\xbf{}",
        b'{"max_tokens":' + b"9" * 100_000 + b"}", b"", b"null", b'"text"', b"\xff\xfe", b'{"x":"\\ud800"}',
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "path", ["chat/completions", "responses", "messages", "embeddings", "images", "videos"]
)
def test_body_that_is_no_request_is_400(path: str, raw: bytes, clean: Platform, acme: factories.Cast) -> None:
    assert clean.post(acme.secret, raw, path=f"{BASE}/{path}").status_code == 400
    require_nothing(clean, acme)


def test_bomb_is_415_and_a_large_body_413(clean: Platform, acme: factories.Cast) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    for encoding in ("gzip", "zstd", "br"):
        headers = {"Content-Encoding": encoding}
        assert clean.post(acme.secret, bomb, path=CHAT, headers=headers).status_code == 415
    assert clean.post(acme.secret, b" " * (33 * 1024 * 1024), path=CHAT).status_code == 413
    require_nothing(clean, acme)


def test_query_does_not_go_upstream(clean: Platform, acme: factories.Cast) -> None:
    assert clean.post(acme.secret, BODY, path=f"{CHAT}?key=sk&id=1&id=2").status_code == 200
    sent = clean.upstream.last_request()
    assert sent["path"] == "/api/v1/chat/completions"


@pytest.mark.parametrize("key", ["", "a" * 300])
def test_bad_idempotency_key_is_400(key: str, clean: Platform, acme: factories.Cast) -> None:
    assert clean.post(acme.secret, BODY, path=CHAT, headers={"Idempotency-Key": key}).status_code == 400
    require_nothing(clean, acme)


@pytest.mark.parametrize(
    "header", [("accept", "x" * 2000), ("anthropic-version", "\u00e9"), ("x-session-id", "a" * 300)]
)
def test_header_that_cannot_go_on_is_400(
    header: tuple[str, str], clean: Platform, acme: factories.Cast
) -> None:
    headers = {header[0]: header[1].encode("latin-1")}
    assert clean.post(acme.secret, BODY, path=CHAT, headers=headers).status_code == 400
    require_nothing(clean, acme)


def test_ceiling_is_put_where_the_wallet_is_short(clean: Platform) -> None:
    poor = factories.acme(credits=Decimal("0.02"))
    answer = clean.post(poor.secret, {**BODY, "max_tokens": 1_000_000}, path=CHAT)
    assert answer.status_code == 200
    sent = json.loads(clean.upstream.last_request()["body"])
    assert sent["max_tokens"] == int(answer.headers["x-naive-max-tokens"]) < 1_000_000
    assert sent["provider"]["max_price"]


def test_clients_identity_never_leaves(clean: Platform, acme: factories.Cast) -> None:
    body = {**BODY, "user": "u", "session_id": "s", "trace": {"trace_id": "victim"}, "prompt_cache_key": "k"}
    clean.post(acme.secret, body, path=CHAT)
    first = json.loads(clean.upstream.last_request()["body"])
    clean.post(factories.globex().secret, body, path=CHAT)
    second = json.loads(clean.upstream.last_request()["body"])
    for name in ("user", "session_id", "trace", "prompt_cache_key"):
        assert first[name] not in (body[name], second[name])


def issue(member: factories.Cast, **narrowed: Any) -> str:
    found = keys.create(
        company_id=member.company.id,
        name="narrow",
        created_by_id=member.owner.id,
        now=timezone.now(),
        **{"role": "member", **narrowed},
    )
    return str(found.secret)


def test_narrow_keys_open_nothing_and_a_read_only_one_reads(clean: Platform, acme: factories.Cast) -> None:
    sealed, scoped = (
        issue(acme, active_tenant_user_id=acme.tenant_user.id),
        issue(acme, account_kit_id=acme.kit.id),
    )
    for key in (sealed, scoped):
        for answer in (clean.post(key, BODY, path=CHAT), clean.get(key, f"{BASE}/models")):
            assert answer.status_code == 403
            assert answer.json()["error"]["details"]["reason"] == "key_scope"
    viewer = issue(acme, role="viewer")
    assert clean.get(viewer, f"{BASE}/models").status_code == 200
    assert clean.post(viewer, BODY, path=CHAT).status_code == 403
    require_nothing(clean, acme)


def test_cap_of_the_key_holds_and_the_kit_does_not(clean: Platform, acme: factories.Cast) -> None:
    factories.set_llm(acme, {"enabled": False})
    capped = issue(acme, cap_credits=Decimal("0.000001"), cap_period="day")
    answer = clean.post(capped, BODY, path=CHAT)
    assert answer.status_code == 402
    assert answer.json()["error"]["details"]["limit"] == "key_cap"
    require_nothing(clean, acme)
    assert clean.post(acme.secret, BODY, path=CHAT).status_code == 200
