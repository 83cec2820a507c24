"""The whole platform as processes on real sockets, over this test run's own database; one per file.

It runs under the application's login, as in production; what a test looks up itself, it looks up as the owner.
"""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import httpx
import pytest
from django.conf import settings
from django.db import connection

from tests import factories, logins
from tests.e2e.memory import Memory

ROOT = Path(__file__).parents[2]
READY_S = 60.0
KEY = "sk-or-v1-e2e"
# Everything is on this machine and unencrypted; httpx would read all certificates of the world for each request.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
# The sweep in seconds instead of hours; everything else as it ships.
PACE = {
    "SWEEP_INTERVAL_S": "0.3",
    "LOOKUP_BACKOFF_S": "0.3,0.5,0.5,1,1,1,2,2,4,4,8,8,8",
    "HOLD_TTL_S": "8",
    "CREDIT_EVENTS_INTERVAL_S": "1",
    # Everybody here comes from one address.
    "SIGN_INS_PER_ADDRESS": "0",
    "REGISTRATIONS_PER_ADDRESS": "0",
    # Receivers of webhooks are on this machine too.
    "WEBHOOK_ALLOW_PRIVATE": "1",
}


@dataclass(frozen=True, slots=True)
class Simulator:
    """The upstream of the tests and its own books."""

    url: str

    def faults(self, **knobs: Any) -> None:
        httpx.post(f"{self.url}/__sim/faults", json=knobs, verify=NO_TLS).raise_for_status()

    def ledger(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/__sim/ledger", verify=NO_TLS).raise_for_status().json()
        return found

    def accepted(self) -> int:
        """How many calls to a model reached the upstream."""
        return int(self._requests()["accepted"])

    def last_request(self) -> dict[str, Any]:
        """The last call to a model; look-ups and refreshes of the catalogue come in between."""
        last = self._requests()["last"]
        found: dict[str, Any] = next(request for request in reversed(last) if request["method"] == "POST")
        return found

    def _requests(self) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/__sim/requests", verify=NO_TLS)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def reset(self) -> None:
        for path in ("ledger/reset", "requests/reset"):
            httpx.post(f"{self.url}/__sim/{path}", verify=NO_TLS).raise_for_status()
        self.faults()


@dataclass(frozen=True, slots=True)
class Platform:
    """A running platform. `url` is its gateway's, `upstream` what it forwards to."""

    url: str
    upstream: Simulator
    pids: dict[str, Any]
    folder: Path

    def post(
        self, key: str | None, body: Any, *, path: str = "/v1/llm/chat/completions", **more: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= more.pop("headers", {})
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return httpx.post(f"{self.url}{path}", headers=headers, timeout=60, verify=NO_TLS, **content, **more)

    def patch(self, key: str, path: str, body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.patch(f"{self.url}{path}", headers=headers, json=body, timeout=60, verify=NO_TLS)

    def get(self, key: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=60, verify=NO_TLS, **more)


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    log = (tmp_path_factory.mktemp("simulator") / "log").open("wb")
    command = [sys.executable, "-m", "simulator", "--host", "127.0.0.1", "--port", "0", "--speed", "instant"]
    with log, subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log) as process:
        assert process.stdout is not None
        try:
            yield Simulator(url=json.loads(process.stdout.readline())["sim_url"])
        finally:
            process.terminate()


# For one file at a time: its sweep would otherwise claim the holds of whatever this worker tests next.
@pytest.fixture(scope="module")
def platform(
    request: pytest.FixtureRequest, upstream: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    workers = getattr(request.module, "WORKERS", 1)
    environ = getattr(request.module, "ENVIRON", {})
    folder = tmp_path_factory.mktemp("platform")
    with running(upstream, folder, workers=workers, more=environ) as started:
        yield started


@contextlib.contextmanager
def running(
    upstream: Simulator, folder: Path, *, workers: int = 1, more: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Platform]:
    """The whole platform on this run's database, for as long as the block lasts; `more` is environment."""
    environ = {
        **os.environ,
        **PACE,
        **more,
        "DEBUG": "1",
        "SECRET_KEY": settings.SECRET_KEY,
        "KEY_PEPPER": settings.KEY_PEPPER,
        "DATABASE_URL": database_url(),
        "DATABASE_OWNER_URL": owner_url(),
        "REDIS_URL": redis_url(),
        "OPENROUTER_API_KEY": KEY,
        "OPENROUTER_BASE_URL": f"{upstream.url}/api/v1",
    }
    command = [
        sys.executable,
        "manage.py",
        "up",
        "--json",
        "--port",
        "0",
        "--workers",
        str(workers),
        "--no-demo",
        "--data-dir",
        str(folder),
    ]
    log = (folder / "up.log").open("wb")
    with log, subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=log) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (folder / "up.log").read_text()
            told = json.loads(line)
            yield Platform(url=told["url"], upstream=upstream, pids=told["pids"], folder=folder)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=READY_S)


@pytest.fixture
def clean(platform: Platform) -> Iterator[Platform]:
    """The platform with an upstream whose books are at zero and which has no faults."""
    platform.upstream.reset()
    yield platform
    platform.upstream.faults()


@pytest.fixture
def prompt_records(clean: Platform) -> None:
    """Upstream's records of its calls are there at once."""
    clean.upstream.faults(generation_delay_ms=0)


@pytest.fixture
def memory(clean: Platform) -> Memory:
    """What the gateway process takes."""
    return Memory(clean.pids["gateway"][0])


@pytest.fixture
def acme(platform: Platform) -> factories.Cast:
    """A fresh company that pays."""
    return factories.acme()


def database_url() -> str:
    """DATABASE_URL of a platform on this run's database: the application's login."""
    return logins.application_url()


def owner_url() -> str:
    """DATABASE_OWNER_URL of such a platform, for its `migrate` alone."""
    return logins.owner_url()


def redis_url() -> str:
    """A database of the broker's that no other xdist worker uses."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    base, _, _ = settings.REDIS_URL.rpartition("/")
    return f"{base}/{int(worker) + 1}"


def eventually(check: Callable[[], bool], *, timeout_s: float = 30.0, what: str) -> None:
    """Wait until `check` holds."""
    ends_at = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < ends_at, f"not within {timeout_s} s: {what}"
        time.sleep(0.1)


def open_holds(company_id: UUID) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM billing_open_hold WHERE company_id = %s", [company_id])
        return int(cursor.fetchone()[0])
