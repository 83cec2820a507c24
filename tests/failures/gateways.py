"""Whole platforms, and single gateways with other settings, as processes that may be killed."""

import contextlib
import dataclasses
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from naive_platform import stack
from tests import factories
from tests.e2e.conftest import NO_TLS, eventually

ROOT = Path(__file__).parents[2]
CHAT = "/v1/llm/chat/completions"
STARTED_S = 30.0
# As naive_platform/stack.py starts a gateway, with limits that ship as half minutes and minutes.
LAUNCH = """
import uvicorn
from naive_platform import asgi, connections, gateway
from llm import pumps, upstream
{constants}
uvicorn.run(asgi.application, fd={fd}, loop="uvloop", http=connections.Connection, ws="none", lifespan="on",
            access_log=False, timeout_graceful_shutdown=2)
"""

type Starter = Callable[..., "Gateway"]


@dataclasses.dataclass(slots=True)
class Gateway:
    """One gateway process."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def chat_url(self) -> str:
        return f"{self.url}{CHAT}"

    def post(self, member: factories.Cast, body: Mapping[str, Any], **more: Any) -> httpx.Response:
        headers = {"Authorization": member.authorization, **more.pop("headers", {})}
        return httpx.post(self.chat_url, json=body, headers=headers, timeout=60, verify=NO_TLS, **more)

    def has_said(self, what: str) -> bool:
        return what in self.log.read_text()

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def wait_until_ready(self) -> None:
        eventually(
            lambda: self.has_said("takes calls") or self.has_ended(), timeout_s=STARTED_S, what="a start"
        )
        assert not self.has_ended(), self.log.read_text()

    def kill(self) -> None:
        """kill -9, and nothing of it is left."""
        self.process.kill()
        self.process.wait()

    def was_killed(self) -> bool:
        return self.process.poll() == -signal.SIGKILL

    def end(self) -> None:
        if not self.has_ended():
            self.kill()


@contextlib.contextmanager
def up(folder: Path, environ: Mapping[str, str], *words: str) -> Iterator[dict[str, Any]]:
    """`manage.py up` for the length of a with block; yields what it announced."""
    command = [sys.executable, "manage.py", "up", "--json", "--port", "0", "--data-dir", str(folder), *words]
    log = (folder / "up.log").open("wb")
    with log, subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=log) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (folder / "up.log").read_text()
            yield {**json.loads(line), "pid": process.pid}
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=STARTED_S)


def start(log: Path, environ: Mapping[str, str], *, constants: str = "") -> Gateway:
    """Start a gateway on a socket of its own; `constants` is Python that changes what no setting does."""
    with socket.create_server(("127.0.0.1", 0), backlog=stack.BACKLOG) as listener, log.open("wb") as said:
        arguments = stack.gateway_arguments(listener)
        if constants:
            arguments = ["-c", LAUNCH.format(fd=listener.fileno(), constants=constants)]
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**environ, "DJANGO_SETTINGS_MODULE": "naive_platform.settings"},
            stderr=said,
            pass_fds=(listener.fileno(),),
            start_new_session=True,
        )
        return Gateway(process, listener.getsockname()[1], log)
