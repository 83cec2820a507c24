"""The end of a gateway process: quick, whole, and told to whoever waits."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings as django_settings
from pytest_django import Settings

from naive_platform import gateway as platform_gateway
from naive_platform import logins as platform_logins
from naive_platform.asgi import application
from tests import factories, logins
from tests.conftest import Run
from tests.platform.conftest import ENVIRONMENT, ROOT
from tests.platform.servers import exchange, until

# As naive_platform/stack.py starts it, with shorter limits.
START = """
import uvicorn
from naive_platform import asgi, connections, gateway
from llm import pumps
connections.CLIENT_STALL_S, gateway.DRAIN_GRACE_S, pumps.CLIENT_STALL_S = 0.5, 0.3, 0.5
uvicorn.run(asgi.application, fd={fd}, loop="uvloop", http=connections.Connection, ws="none", lifespan="on",
            access_log=False, timeout_graceful_shutdown=1)
"""
WELL = {"database": "ok", "settlement": "ok", "broker": "ok"}
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
CHUNK = (
    b'data: {"id":"gen-1","object":"chat.completion.chunk","choices":[{"delta":{"content":"%s"}}]}\n\n'
    % (b"x" * 8000)
)


@dataclass
class Upstream:
    """Takes every call; streams without end, or says nothing."""

    url: str
    calls: int = 0
    streams: bool = False

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            if asked.startswith(b"POST"):
                self.calls += 1
                writer.write(SSE if self.streams else b"")
                while self.streams:
                    writer.write(CHUNK)
                    await writer.drain()
                await reader.read()
        writer.close()


@dataclass
class Gateway:
    """A gateway of its own process."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def has_said(self, what: str) -> bool:
        return what in self.log.read_text()

    def has_ended(self) -> bool:
        return self.process.poll() is not None


@contextlib.asynccontextmanager
async def running(tmp_path: Path, *, streams: bool) -> AsyncIterator[tuple[Gateway, Upstream]]:
    upstream = Upstream("", streams=streams)
    server = await asyncio.start_server(upstream.accept, "127.0.0.1", 0)
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"
    environ = {
        **ENVIRONMENT,
        "DEBUG": "1",
        "DJANGO_SETTINGS_MODULE": "naive_platform.settings",
        "DATABASE_URL": logins.application_url(),
        "REDIS_URL": django_settings.REDIS_URL,
        "SECRET_KEY": django_settings.SECRET_KEY,
        "KEY_PEPPER": django_settings.KEY_PEPPER,
        "OPENROUTER_API_KEY": "sk-or-v1-test",
        "OPENROUTER_BASE_URL": upstream.url,
        "SPOOL_DIR": str(tmp_path / "spool"),
    }
    log = tmp_path / "gateway.log"
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as said:
        command = [sys.executable, "-c", START.format(fd=listener.fileno())]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stderr=said, pass_fds=(listener.fileno(),), start_new_session=True
        )
        gateway = Gateway(process, listener.getsockname()[1], log)
    try:
        await until(lambda: gateway.has_said("takes calls") or gateway.has_ended(), within_s=30)
        yield gateway, upstream
    finally:
        process.kill()
        process.wait()
        server.close()


def post(member: factories.Cast, *, stream: bool) -> bytes:
    message = {"role": "user", "content": "Hi"}
    body = json.dumps({"model": "openrouter/auto", "messages": [message], "stream": stream}).encode()
    head = f"POST /v1/llm/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: {member.authorization}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_call_under_way_is_told_and_the_process_closes_what_it_opened(run: Run, tmp_path: Path) -> None:
    acme = factories.acme()

    async def work() -> tuple[bytes, Gateway]:
        async with running(tmp_path, streams=False) as (gateway, upstream):
            asking = asyncio.ensure_future(exchange(gateway.port, post(acme, stream=False), within_s=20))
            await until(lambda: upstream.calls, within_s=10)
            gateway.process.send_signal(signal.SIGTERM)
            await until(gateway.has_ended, within_s=15)
            return await asking, gateway

    got, gateway = run(work())
    assert got.startswith(b"HTTP/1.1 503 "), (got, gateway.log.read_text())
    assert json.loads(got.partition(b"\r\n\r\n")[2])["error"]["code"] == "unavailable"
    assert b"x-should-retry: false" in got
    assert gateway.has_said('"message":"stopped"')
    assert not gateway.has_said("Traceback")


def test_client_that_stops_reading_a_stream_is_cut_off_and_holds_up_no_end(run: Run, tmp_path: Path) -> None:
    acme = factories.acme()

    async def work() -> Gateway:
        async with running(tmp_path, streams=True) as (gateway, _):
            with socket.create_connection(("127.0.0.1", gateway.port)) as client:
                client.sendall(post(acme, stream=True))
                await until(lambda: gateway.has_said("was cut off"), within_s=15)
                gateway.process.send_signal(signal.SIGTERM)
                await until(gateway.has_ended, within_s=5)
            return gateway

    gateway = run(work())
    assert gateway.has_said('"message":"stopped"')
    assert not gateway.has_said("Traceback")


def test_probes_say_that_all_is_well(run: Run, tmp_path: Path) -> None:
    async def work() -> list[bytes]:
        async with running(tmp_path, streams=False) as (gateway, _):
            asked = "GET {} HTTP/1.1\r\nConnection: close\r\n\r\n"
            return [
                await exchange(gateway.port, asked.format(path).encode()) for path in ("/health", "/readyz")
            ]

    health, readyz = run(work())
    assert health.endswith(b'\r\n\r\n{"status":"ok"}')
    assert json.loads(readyz.partition(b"\r\n\r\n")[2]) == {"status": "ok", "checks": WELL}


async def readyz() -> tuple[int, dict[str, Any]]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://x") as client:
        answer = await client.get("/readyz")
        return answer.status_code, answer.json()


def test_gateway_without_its_broker_is_ready_and_says_so(run: Run, settings: Settings) -> None:
    """It is away from every gateway at once, and calls go on: no balancer is to drop them all."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    checks = WELL | {"broker": "unavailable"}
    assert run(readyz()) == (200, {"status": "degraded", "checks": checks})


def test_readiness_names_a_database_that_is_away(run: Run) -> None:
    with platform_logins.using("postgresql://nobody@127.0.0.1:1/nowhere"):
        status, said = run(readyz())
    assert (status, said["reason"]) == (503, "database")
    assert said["checks"] == WELL | {"database": "unavailable"}


def test_gateway_without_anything_is_not_ready(run: Run, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with platform_logins.using("postgresql://nobody@127.0.0.1:1/nowhere"):
        status, said = run(readyz())
    assert (status, said["status"], said["reason"]) == (503, "unavailable", "database")


def test_gateway_that_drains_is_not_ready(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform_gateway.gateway, "is_draining", True)
    assert run(readyz()) == (503, {"status": "unavailable", "reason": "draining", "checks": WELL})
