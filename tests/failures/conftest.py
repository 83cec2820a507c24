"""The platform with a fast clock, gateways beside it that may be killed, and what must be true after every failure."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from celery import Celery
from django.conf import settings
from pytest_django import Settings

from tests import factories
from tests.e2e import conftest as e2e
from tests.e2e.conftest import KEY, NO_TLS, Simulator, database_url, owner_url, redis_url
from tests.failures import gateways
from tests.failures.gateways import Gateway, Starter

ROOT = Path(__file__).parents[2]
# What ships in minutes and hours, in seconds and less; a file may say other figures in a PACE of its own.
PACE = {
    "SWEEP_INTERVAL_S": "0.2",
    "LOOKUP_BACKOFF_S": "0.2,0.2,0.3,0.3,0.5,0.5,0.5,1,1,1,2,2,4,4,8,8,8",
    "HOLD_TTL_S": "3",
    "ESTIMATE_AFTER_S": "0",
    "SECOND_LOOK_S": "600,86400",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Platform(e2e.Platform):
    """A running platform, and what a gateway beside it needs to be a part of it."""

    environ: dict[str, str]
    folder: Path

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def broadcast(self, *, ends: bool = False) -> None:
        """Let upstream tell the platform of every generation that ends, or of none any more."""
        headers = {"Authorization": f"Bearer {self.environ['BROADCAST_SECRET']}"}
        told = {"url": f"{self.url}/v1/broadcast", "headers": headers, "delay_ms": 100}
        httpx.post(
            f"{self.upstream.url}/__sim/broadcast", json={} if ends else told, verify=NO_TLS
        ).raise_for_status()

    def have_done(self, task: str, *, times: int = 1) -> None:
        """Ask the worker for a task now, as beat would."""
        with Celery(broker=self.environ["REDIS_URL"], fixups=[]) as beat:
            for _ in range(times):
                beat.send_task(task)


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """The simulator; its records are there a moment after a call instead of seconds."""
    log = (tmp_path_factory.mktemp("simulator") / "log").open("wb")
    command = [sys.executable, "-m", "simulator", "--port", "0", "--speed", "instant"]
    command += ["--generation-delay-ms", "150"]
    with log, subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log) as process:
        assert process.stdout is not None
        try:
            yield Simulator(url=json.loads(process.stdout.readline())["sim_url"])
        finally:
            process.terminate()


# For one file at a time: its sweep would otherwise claim the holds of whatever this worker tests next.
@pytest.fixture(scope="module")
def platform(
    upstream: Simulator, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    environ = {
        **os.environ,
        **PACE,
        **getattr(request.module, "PACE", {}),
        "DEBUG": "1",
        "SECRET_KEY": settings.SECRET_KEY,
        "KEY_PEPPER": settings.KEY_PEPPER,
        "DATABASE_URL": database_url(),
        "DATABASE_OWNER_URL": owner_url(),
        "REDIS_URL": redis_url(),
        "OPENROUTER_API_KEY": KEY,
        "OPENROUTER_BASE_URL": f"{upstream.url}/api/v1",
        "SPOOL_DIR": str(folder / "spool"),
    }
    with gateways.up(folder, environ, "--no-demo") as told:
        yield Platform(url=told["url"], upstream=upstream, pids=told["pids"], environ=environ, folder=folder)


@pytest.fixture
def clean(platform: Platform) -> Iterator[Platform]:
    """The platform with an upstream whose books are at zero and which has no faults."""
    platform.upstream.reset()
    yield platform
    platform.upstream.faults()


@pytest.fixture
def acme(platform: Platform) -> factories.Cast:
    """A fresh company that pays."""
    return factories.acme()


@pytest.fixture
def upstream_here(platform: Platform, settings: Settings) -> None:
    """Let the sweep of this process ask the platform's upstream."""
    settings.OPENROUTER_API_KEY = KEY
    settings.OPENROUTER_BASE_URL = platform.environ["OPENROUTER_BASE_URL"]


@pytest.fixture
def gateway(platform: Platform, tmp_path: Path) -> Iterator[Starter]:
    """Starts gateways beside the platform's own, for one test: `gateway(CRASH_AT="C")`."""
    yield from _starter(platform, tmp_path)


@pytest.fixture(scope="module")
def lasting_gateway(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Starts gateways beside the platform's own, for one file."""
    yield from _starter(platform, tmp_path_factory.mktemp("gateways"))


def _starter(platform: Platform, folder: Path) -> Iterator[Starter]:
    started: list[Gateway] = []

    def start(constants: str = "", **environ: str) -> Gateway:
        made = gateways.start(folder / f"{len(started)}.log", platform.environ | environ, constants=constants)
        started.append(made)
        made.wait_until_ready()
        return made

    yield start
    for made in started:
        made.end()
