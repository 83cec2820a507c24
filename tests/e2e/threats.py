"""What the tests of the threats to the proxy share: requests byte by byte, and that nothing came of them."""

import contextlib
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.db import connection

from tests import factories
from tests.e2e.conftest import NO_TLS, Platform, open_holds

BASE = "/v1/proxy/openrouter"
MOUNTS = (f"{BASE}/", f"{BASE}/api/v1/")
CHAT = f"{BASE}/chat/completions"
MODEL = "openai/gpt-4o-mini"
BODY: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 30,
    "messages": [{"role": "user", "content": "Hi"}],
}
JSON = json.dumps(BODY).encode()
# What the platform asks of upstream for itself, the records of calls of tests before among it (P22 says whose);
# everything else is somebody's.
_OWN = {f"GET /api/v1/{name}" for name in ("models", "key", "credits", "activity", "generation")}


def dial(platform: Platform, *, timeout_s: float = 20) -> socket.socket:
    where = urlsplit(platform.url)
    return socket.create_connection((where.hostname or "", where.port or 0), timeout=timeout_s)


def wire(platform: Platform, request: bytes, *, timeout_s: float = 20) -> tuple[int, bytes]:
    """Send bytes as they are; return the status of the first answer, and all that came until the end."""
    with dial(platform, timeout_s=timeout_s) as client:
        # It may be answered before it is whole.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(request)
        return answered(client)


def answered(client: socket.socket) -> tuple[int, bytes]:
    """Everything until the connection ends, and the status in front of it; 0 where nothing came."""
    found = b""
    while data := _received(client):
        found += data
    return int(found.split(b" ", 2)[1]) if found else 0, found


def _received(client: socket.socket) -> bytes:
    try:
        return client.recv(65536)
    except ConnectionResetError:
        return b""


def post(
    key: str,
    target: str | bytes = CHAT,
    *,
    method: str = "POST",
    host: bytes | None = b"x",
    extra: bytes = b"",
    body: bytes = JSON,
) -> bytes:
    """A request as it goes over the wire, its connection closed after the answer."""
    line = target.encode() if isinstance(target, str) else target
    head = b"%s %s HTTP/1.1\r\n" % (method.encode(), line)
    head += b"Host: %s\r\n" % host if host is not None else b""
    about = b"Authorization: Bearer %s\r\nContent-Length: %d\r\n" % (key.encode(), len(body))
    return head + b"Connection: close\r\n" + about + extra + b"\r\n" + body


def require_nothing(platform: Platform, *members: factories.Cast) -> None:
    """No call reached the upstream since the last reset, and no hold was ever made for these companies."""
    assert platform.upstream.accepted() == 0
    assert strangers(platform) == set()
    for member in members:
        assert open_holds(member.company.id) == 0
        assert _holds_ever(member) == 0
        assert factories.balance_nanocredits(member) == factories.GRANT_NANOCREDITS


def strangers(platform: Platform) -> set[str]:
    """The requests that upstream saw and the platform has no use for itself, calls to a model left out."""
    told = httpx.get(f"{platform.upstream.url}/__sim/requests?last=0", verify=NO_TLS).json()
    return {name for name in told["by_path"] if name.startswith(("GET", "DELETE", "PUT", "PATCH"))} - _OWN


def _holds_ever(member: factories.Cast) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM billing_hold WHERE company_id = %s", [member.company.id])
        return int(cursor.fetchone()[0])
