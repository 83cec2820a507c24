"""Where a request came from: the connection says it, or a proxy that the operator trusts, and nobody else (H8)."""

import json
import os
import subprocess
import sys

import pytest

from tests.platform.conftest import ENVIRONMENT, ROOT

ASK = """
import asyncio, json, sys
from naive_platform import asgi

seen = []

async def control_plane(scope, receive, send):
    seen.append([scope["client"][0], scope["scheme"]])

asgi.control_plane = control_plane
for client, headers in json.load(sys.stdin):
    scope = {"type": "http", "path": "/v1/status", "scheme": "http", "client": (client, 5000),
             "headers": [(name.encode(), value.encode()) for name, value in headers]}
    asyncio.run(asgi.application(scope, None, None))
print(json.dumps(seen))
"""
FORWARDED = [["x-forwarded-for", "127.0.0.1, 203.0.113.9, 10.0.0.7"], ["x-forwarded-proto", "https"]]
ELSEWHERE = [
    ["x-real-ip", "203.0.113.9"],
    ["forwarded", "for=203.0.113.9"],
    ["x_forwarded_for", "203.0.113.9"],
]


def asked(*requests: list[object], trusted: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=ROOT,
        env=ENVIRONMENT
        | {
            "DEBUG": "1",
            "DJANGO_SETTINGS_MODULE": "naive_platform.settings",
            "TRUSTED_PROXIES": trusted,
            "FORWARDED_ALLOW_IPS": "*",
            "PATH": os.environ["PATH"],
        },
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("trusted", "seen"),
    [
        ("", [["10.0.0.1", "http"], ["127.0.0.1", "http"], ["10.0.0.1", "http"]]),
        ("10.0.0.0/8", [["203.0.113.9", "https"], ["127.0.0.1", "http"], ["10.0.0.1", "http"]]),
        # An address within a network names the network.
        ("10.0.0.7/8", [["203.0.113.9", "https"], ["127.0.0.1", "http"], ["10.0.0.1", "http"]]),
        ("127.0.0.1, ::1", [["10.0.0.1", "http"], ["10.0.0.7", "https"], ["10.0.0.1", "http"]]),
    ],
)
def test_only_a_trusted_proxy_says_where_a_request_came_from(trusted: str, seen: list[list[str]]) -> None:
    done = asked(["10.0.0.1", FORWARDED], ["127.0.0.1", FORWARDED], ["10.0.0.1", ELSEWHERE], trusted=trusted)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == seen


def test_proxies_and_clients_may_be_of_ipv6() -> None:
    far, near = "2001:db8::9", "fd00::7"
    said: list[tuple[list[object], str]] = [
        ([near, [["x-forwarded-for", f"::1, {far}, FD00:0::8"]]], far),
        ([near, [["x-forwarded-for", "::1"], ["x-forwarded-for", f"[{far}]:443"]]], far),
        (["2001:db8::7", [["x-forwarded-for", "::1"]]], "2001:db8::7"),
        # How a socket for both kinds of addresses tells one of the older kind.
        (["::ffff:10.0.0.1", [["x-forwarded-for", far]]], far),
    ]
    done = asked(*(request for request, _ in said), trusted="fd00::/8, 10.0.0.0/8")
    assert done.returncode == 0, done.stderr
    assert [client for client, _ in json.loads(done.stdout)] == [client for _, client in said]


@pytest.mark.parametrize("trusted", ["*", "proxy.internal", "10.0.0.0/33", "10.0.0.1;10.0.0.2"])
def test_everybody_is_no_proxy(trusted: str) -> None:
    done = asked(trusted=trusted)
    assert done.returncode != 0
    assert "TRUSTED_PROXIES" in done.stderr
