"""The processes of `manage.py up`: which, in which order, with what environment, and when they are ready."""

import dataclasses
import http.client
import json
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import kombu.exceptions
from celery import Celery

from naive_platform import embedded, folders, logs
from naive_platform.supervisor import Program, StartFailed, Supervisor

SERVERS, UPSTREAM, PLATFORM = range(3)  # Stages: the last to stop comes first.
READY_S = 60.0
# At SIGTERM (docs/architecture.md, "How a gateway ends"): streams have 25 s, every other request this long.
GATEWAY_GRACE_S = 27
# Beyond the grace it still settles, empties its queues and closes what it opened.
GATEWAY_STOP_S = 35.0
WORKER_STOP_S = 10.0
BACKLOG = 2048
DEFAULT_PORTS = range(8000, 8010)
SECRETS = ("SECRET_KEY", "KEY_PEPPER")
# Kept with the data folder in development; in production, what is unset is not used.
KEPT_SECRETS = (*SECRETS, "BROADCAST_SECRET")
# Only who migrates is given it: a gateway that is taken over cannot become the owner of the books.
OWNER_URL = "DATABASE_OWNER_URL"
SIMULATOR_KEY = "sk-or-v1-simulator"
# Why a gateway that is well may take no calls: were it waited for, nobody would settle what is owed (llm/debt.py).
OWING = ("settlement_debt", "spool")
# Tasks wait for the database and upstream; one worker has nobody to mingle with.
WORKER = ("-P", "threads", "-c", "4", "--without-mingle", "--without-gossip", "--without-heartbeat")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `up` was asked for; port 0 is any free one, None the first free of DEFAULT_PORTS."""

    port: int | None
    folder: Path
    workers: int
    demo: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What the person or program that started us wants to know once all is up; the names are `--json`'s."""

    url: str
    dashboard_url: str
    api_key: str | None
    operator: dict[str, str] | None
    demo: dict[str, str] | None
    upstream: str
    simulator_url: str | None
    database_url: str
    pids: dict[str, Any]


def up(
    options: Options,
    *,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    announce: Callable[[Running], None],
) -> None:
    """Start everything, announce it, and keep it running until a signal (raised as Stopped) ends it."""
    folder = folders.data_folder(options.folder)
    with folders.locked(folder), listen(options.port) as listener, Supervisor(say=say) as children:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        environment = {"PUBLIC_URL": url, **environ, **_defaults(folder, environ)}
        stack = Stack(children, folder, environ=environment, url=url)
        simulator_url = stack.prepare()
        stack.keep_environment(without=environ)
        stack.start(listener=listener, workers=options.workers, demo=options.demo)
        children.wait(lambda: _gateway_answers(url), timeout_s=READY_S, what="The gateway")
        children.wait(stack.worker_answers, timeout_s=READY_S, what="The Celery worker")
        announce(stack.running(url, simulator_url=simulator_url, demo=options.demo))
        children.watch(stack.relay_errors)


class Stack:
    """The platform's programs in one environment, which grows while they start."""

    def __init__(
        self, children: Supervisor, folder: Path, *, environ: dict[str, str], url: str | None = None
    ) -> None:
        self._children, self._folder, self._environ, self._url = children, folder, environ, url
        self._relays: list[logs.Relay] = []
        self._celery: Celery | None = None

    def prepare(self) -> str | None:
        """Bring up what the platform stands on: servers, migrations, upstream. Returns the simulator's URL."""
        simulated = not self._environ.get("OPENROUTER_API_KEY")
        if simulated:
            # It takes as long as PostgreSQL to start, so both do at once.
            self._children.start(self._simulator("0"))
        self._environ |= embedded.start(
            self._children, folder=self._folder, environ=self._environ, fast=False
        )
        migrate = self._manage("migrate", "--no-input")
        self._children.run(dataclasses.replace(migrate, env=self._environ), timeout_s=READY_S)
        return self._await_simulator() if simulated else None

    def start(self, *, listener: socket.socket, workers: int, demo: bool) -> None:
        """Start the platform itself; the demo company is made meanwhile."""
        for number in range(1, workers + 1):
            self._start(self._gateway(number, listener))
        self._start(self._celery_program("worker", *WORKER))
        schedule = str(self._folder / f"beat-schedule-{sys.implementation.cache_tag}")
        self._start(self._celery_program("beat", "--schedule", schedule, "--pidfile="))
        if demo:
            # As the owner, like migrations: what is past is told to the books.
            seed = dataclasses.replace(self._manage("seed_demo"), env=self._environ)
            self._children.run(seed, timeout_s=READY_S)

    def worker_answers(self) -> bool:
        """Whether a Celery worker answers a ping through the broker."""
        self._celery = self._celery or Celery(broker=self._environ["REDIS_URL"], fixups=[])
        try:
            return bool(self._celery.control.ping(timeout=0.3, limit=1))
        except (kombu.exceptions.OperationalError, OSError):
            return False

    def running(self, url: str, *, simulator_url: str | None, demo: bool) -> Running:
        """What there is to announce."""
        told = json.loads((self._folder / "demo.json").read_text()) if demo else {}
        pids = {name: child.pid for name, child in self._children.children.items()}
        gateways = [pid for name, pid in pids.items() if name.startswith("gateway")]
        singles = ("worker", "beat", "simulator", "postgres", "valkey")
        return Running(
            url=url,
            dashboard_url=f"{url}/dashboard/",
            api_key=told.get("api_key"),
            operator=told.get("operator"),
            demo=told.get("demo"),
            upstream="simulator" if simulator_url else "openrouter",
            simulator_url=simulator_url,
            database_url=self._environ["DATABASE_URL"],
            pids={"gateway": gateways, **{name: pids.get(name) for name in singles}},
        )

    def keep_environment(self, *, without: Mapping[str, str]) -> None:
        """Leave what the children have for another terminal: `. .naive/env; python manage.py shell`."""
        ours = {name: value for name, value in self._environ.items() if without.get(name) != value}
        ours["DEBUG"] = self._environ["DEBUG"]
        lines = (f"export {name}={shlex.quote(value)}\n" for name, value in sorted(ours.items()))
        folders.write_for(None, self._folder / "env", "".join(lines))

    def relay_errors(self) -> bool:
        """Bring the errors in the platform's logs to the terminal; never the end of a watch."""
        for relay in self._relays:
            relay.pump()
        return False

    def _start(self, program: Program) -> None:
        child = self._children.start(program)
        self._relays.append(logs.Relay(program.name, child.program.log, say=self._children.say))

    def _program(self, name: str, *argv: str, stage: int, stop_timeout_s: float = WORKER_STOP_S) -> Program:
        return Program(
            name=name,
            argv=(sys.executable, *argv),
            env={name: value for name, value in self._environ.items() if name != OWNER_URL},
            cwd=embedded.BASE_DIR,
            log=self._folder / "logs" / f"{name}.log",
            stage=stage,
            stop_timeout_s=stop_timeout_s,
        )

    def _manage(self, command: str, *arguments: str) -> Program:
        return self._program(command, "manage.py", command, *arguments, stage=PLATFORM)

    def _celery_program(self, name: str, *arguments: str) -> Program:
        return self._program(
            name, *f"-m celery -A naive_platform {name} -l info".split(), *arguments, stage=PLATFORM
        )

    def _gateway(self, number: int, listener: socket.socket) -> Program:
        argv = gateway_arguments(listener)
        program = self._program(f"gateway-{number}", *argv, stage=PLATFORM, stop_timeout_s=GATEWAY_STOP_S)
        return dataclasses.replace(program, pass_fds=(listener.fileno(),))

    def _simulator(self, port: str) -> Program:
        argv = f"-m simulator --host 127.0.0.1 --port {port}".split()
        if self._url and self._environ.get("BROADCAST_SECRET"):
            argv += ["--broadcast", f"{self._url}/v1/broadcast"]
        return self._program("simulator", *argv, stage=UPSTREAM)

    def _await_simulator(self) -> str:
        child = self._children.children["simulator"]
        line: dict[str, str] = {}

        def has_spoken() -> bool:
            for text in child.program.log.read_text().splitlines(keepends=True):
                if text.startswith("{") and text.endswith("\n"):
                    line.update(json.loads(text))
            return bool(line)

        self._children.wait(has_spoken, timeout_s=READY_S, what="The simulator")
        # Should it die, the next one is to be found where this one was.
        child.program = self._simulator(line["sim_url"].rpartition(":")[2])
        self._environ |= {
            "OPENROUTER_BASE_URL": line["url"],
            "OPENROUTER_API_KEY": SIMULATOR_KEY,
            "UPSTREAM_IS_SIMULATOR": "1",
        }
        return line["sim_url"]


def _defaults(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What a development run needs and the environment does not say; secrets are this data folder's own."""
    found = {"NAIVE_DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1", "DEBUG": environ.get("DEBUG") or "1"}
    if found["DEBUG"].lower() in {"0", "f", "false", "n", "no", "off"}:
        missing = [name for name in SECRETS if not environ.get(name)]
        if missing:
            raise StartFailed(f"{' and '.join(missing)} must be set where DEBUG is off.")
        return found
    kept = _secrets(folder / "secrets.json")
    return found | {name: kept[name] for name in KEPT_SECRETS if not environ.get(name)}


def _secrets(file: Path) -> dict[str, str]:
    kept: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    fresh = {name: secrets.token_urlsafe(48) for name in KEPT_SECRETS if name not in kept}
    if fresh:
        # Also where the folder is from before one of them was needed.
        folders.write_for(None, file, json.dumps(kept | fresh))
    return kept | fresh


def gateway_arguments(listener: socket.socket) -> list[str]:
    """What Python is to run for one gateway worker on this socket, which it must inherit."""
    protocol = "--loop uvloop --http naive_platform.connections:Connection --ws none --lifespan on"
    command = (
        f"-m uvicorn naive_platform.asgi:application --fd {listener.fileno()} {protocol} --no-access-log"
    )
    # Who is believed about addresses is the application's to say (TRUSTED_PROXIES).
    return [*command.split(), "--no-proxy-headers", "--timeout-graceful-shutdown", str(GATEWAY_GRACE_S)]


def listen(port: int | None) -> socket.socket:
    """The socket all gateways share; without a wish, the first port that another clone has left free."""
    error = OSError()
    for candidate in [port] if port is not None else [*DEFAULT_PORTS, 0]:
        try:
            listener = socket.create_server(("127.0.0.1", candidate), backlog=BACKLOG)
        except OSError as exc:
            error = exc
            continue
        # The server takes a socket it inherits for a Unix one and leaves Nagle's algorithm on, which holds the second
        # write of an answer back for 40 ms. What is set here, every accepted connection has.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    reason = os.strerror(error.errno or 0)
    raise StartFailed(f"Port {port} cannot be had ({reason}): pass --port, 0 for any free one.") from error


def _gateway_answers(url: str) -> bool:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=1)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status == http.client.OK or json.loads(answer.read()).get("reason") in OWING
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()
