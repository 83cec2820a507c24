"""`manage.py up`: one command, the whole platform, and nothing left of it afterwards."""

import contextlib
import dataclasses
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.platform.conftest import ENVIRONMENT, ROOT, Ground, needs_proc, open_folder, until

# One platform serves most of the module's tests: `make test` gives a file to one xdist worker.
pytestmark = needs_proc

KEYS = [
    *("url", "dashboard_url", "api_key", "operator", "demo", "upstream", "simulator_url", "database_url"),
    "pids",
]
PIDS = ["gateway", "worker", "beat", "simulator", "postgres", "valkey"]
START_S = 60
# Port 9 is discard's: nobody answers.
NOWHERE = "http://127.0.0.1:9/api/v1"
COUNT = "from accounts.models import Company; print(Company.objects.count())"


@dataclasses.dataclass
class Up:
    """A run of `manage.py up --json` that has announced itself."""

    ground: Ground
    process: subprocess.Popen[str]
    line: str
    told: dict[str, Any]

    @property
    def url(self) -> urllib.parse.SplitResult:
        return urllib.parse.urlsplit(str(self.told["url"]))

    def call(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """One request with the demo company's key: status, body."""
        connection = http.client.HTTPConnection(self.url.hostname or "", self.url.port, timeout=20)
        headers = {"Authorization": f"Bearer {self.told['api_key']}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def pids_of(self, text: str) -> set[int]:
        return {pid for pid, command in self.ground.processes().items() if text in command}


def start(ground: Ground, *words: str, port: str = "--port=0", **environ: str) -> Up:
    """Start `up` and wait for its line."""
    command = ("manage.py", "up", "--json", *port.split(), "--data-dir", str(ground.folder))
    process = ground.python(*command, *words, prefix=(), **environ)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        pytest.fail(f"up ended with {process.wait()}: {process.stderr and process.stderr.read()}")
    return Up(ground, process, line, json.loads(line))


@dataclasses.dataclass
class Ended:
    """How a run ended, and what was left of it."""

    told: dict[str, Any]
    code: int
    left: dict[int, str]


def end(up: Up, signum: int) -> Ended:
    up.process.send_signal(signum)
    code = up.process.wait(timeout=START_S)
    if signum == signal.SIGKILL:
        until(lambda: not up.ground.processes(), within_s=10)
    return Ended(up.told, code, up.ground.processes())


@pytest.fixture(scope="module")
def ground_of_two_runs() -> Iterator[Ground]:
    with open_folder() as base:
        ground = Ground(base / "data")
        yield ground
        ground.remove()


@pytest.fixture(scope="module")
def first_run(ground_of_two_runs: Ground) -> Ended:
    return end(start(ground_of_two_runs), signal.SIGTERM)


@pytest.fixture(scope="module")
def up(first_run: Ended, ground_of_two_runs: Ground) -> Up:
    """The platform that most tests look at: the second run on its folder."""
    return start(ground_of_two_runs, "--workers", "2")


def test_sigterm_leaves_no_process(first_run: Ended) -> None:
    assert (first_run.code, first_run.left) == (0, {})


def test_next_run_has_the_same_key_and_sign_in(first_run: Ended, up: Up) -> None:
    for name in ("api_key", "operator", "demo"):
        assert first_run.told[name] == up.told[name]


def test_json_line_has_exactly_the_keys_that_are_promised(up: Up) -> None:
    assert list(up.told) == KEYS
    assert list(up.told["pids"]) == PIDS
    assert [sorted(up.told[who]) for who in ("operator", "demo")] == [["email", "password"]] * 2
    assert up.told["upstream"] == "simulator"
    assert up.told["dashboard_url"] == f"{up.told['url']}/dashboard/"


def test_every_pid_is_that_of_a_running_child(up: Up) -> None:
    pids = up.told["pids"]
    assert len(pids["gateway"]) == 2
    for pid in [*pids.pop("gateway"), *pids.values()]:
        assert f"\nPPid:\t{up.process.pid}\n" in Path(f"/proc/{pid}/status").read_text()


def test_demo_key_gets_a_streamed_answer_and_pays_for_it(up: Up) -> None:
    body = {"model": "openai/gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    status, answer = up.call("POST", "/v1/llm/chat/completions", body)
    assert status == http.client.OK, answer
    assert answer.rstrip().endswith("data: [DONE]")
    assert "credits_used" in answer


def test_simulator_broadcasts_its_calls_to_the_gateway(up: Up) -> None:
    body = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
    assert up.call("POST", "/v1/llm/chat/completions", body)[0] == http.client.OK

    def told() -> dict[str, Any]:
        upstream = http.client.HTTPConnection(up.told["simulator_url"].removeprefix("http://"), timeout=10)
        with contextlib.closing(upstream):
            upstream.request("GET", "/__sim/broadcast")
            found: dict[str, Any] = json.loads(upstream.getresponse().read())
            return found

    assert until(lambda: told()["delivered"] >= 1)
    assert told()["last_status"] == http.client.OK


def test_only_this_machine_is_served(up: Up) -> None:
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{up.url.port:04X}")}
    assert listening == {f"0100007F:{up.url.port:04X}"}


def test_database_url_opens_the_database(up: Up) -> None:
    with psycopg.connect(up.told["database_url"]) as connection:
        assert connection.execute("SELECT count(*) FROM accounts_company").fetchone() == (1,)


def test_everybody_on_the_database_is_the_application(up: Up) -> None:
    with psycopg.connect(up.told["database_url"]) as connection:
        found = connection.execute(
            "SELECT usename, count(*) > 2 FROM pg_stat_activity WHERE datname = 'naive' GROUP BY 1"
        ).fetchall()
    assert found == [("naive_app", True)]


def test_owners_login_is_in_no_process_that_serves_or_works(up: Up) -> None:
    pids = up.pids_of("naive_platform") | up.pids_of("-m simulator")
    assert len(pids) >= 5
    for pid in pids:
        assert b"DATABASE_OWNER_URL" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_figures_of_the_books_are_there_to_be_scraped(up: Up) -> None:
    status, text = up.call("GET", "/metrics")
    assert status == http.client.OK
    assert "naive_books_up 1.0\n" in text


def test_secrets_are_for_our_eyes_only(up: Up) -> None:
    for name in ("secrets.json", "demo.json", "env"):
        assert stat.S_IMODE((up.ground.folder / name).stat().st_mode) == 0o600


def test_killed_gateway_comes_back_while_the_other_serves(up: Up) -> None:
    before = up.pids_of("uvicorn")
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    assert up.call("GET", "/health")[0] == http.client.OK
    assert until(lambda: len(up.pids_of("uvicorn") - {victim}) == 2)


def test_killed_worker_comes_back_and_works(up: Up) -> None:
    (victim,) = up.pids_of("naive_platform worker")
    os.kill(victim, signal.SIGKILL)
    assert until(lambda: up.pids_of("naive_platform worker") not in (set(), {victim}))
    log = up.ground.folder / "logs/worker.log"
    assert until(lambda: log.read_text().count(" ready.") == 2, within_s=30)


def test_killed_simulator_comes_back_where_it_was(up: Up) -> None:
    os.kill(up.told["pids"]["simulator"], signal.SIGKILL)
    port = urllib.parse.urlsplit(up.told["simulator_url"]).port or 0

    def answers() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    assert until(answers)


def test_second_run_on_the_same_folder_is_refused_in_one_line(up: Up) -> None:
    other = up.ground.python("manage.py", "up", "--port", "0", "--data-dir", str(up.ground.folder))
    stdout, stderr = other.communicate(timeout=START_S)
    assert (other.returncode, stdout) == (1, "")
    assert stderr == (
        f"CommandError: {up.ground.folder} is in use by another run (pid {up.process.pid}): stop that one, or "
        "pass another --data-dir.\n"
    )


def test_taken_port_is_refused_in_one_line(up: Up, new_ground: Callable[..., Ground]) -> None:
    ground = new_ground()
    other = ground.python("manage.py", "up", "--port", str(up.url.port), "--data-dir", str(ground.folder))
    _, stderr = other.communicate(timeout=START_S)
    assert other.returncode == 1
    assert stderr == (
        f"CommandError: Port {up.url.port} cannot be had (Address already in use): pass --port, 0 for any "
        "free one.\n"
    )


def test_environment_file_opens_the_same_platform_to_another_terminal(up: Up) -> None:
    script = f". {up.ground.folder}/env; {sys.executable} manage.py shell --no-imports -c '{COUNT}'"
    done = subprocess.run(
        ["sh", "-c", script], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


@dataclasses.dataclass
class Bare:
    """What was seen of a run without demo and simulator, which was then killed."""

    told: dict[str, Any]
    health: int
    users: tuple[int]
    env: str
    ended: Ended


@pytest.fixture(scope="module")
def bare() -> Iterator[Bare]:
    with open_folder() as base, contextlib.ExitStack() as usual_port:
        ground = Ground(base / "data")
        with contextlib.suppress(OSError):
            usual_port.enter_context(socket.create_server(("127.0.0.1", 8000)))
        openrouter = {"OPENROUTER_API_KEY": "sk-or-v1-none", "OPENROUTER_BASE_URL": NOWHERE}
        up = start(ground, "--no-demo", port="", **openrouter)
        with psycopg.connect(up.told["database_url"]) as connection:
            users = connection.execute("SELECT count(*) FROM accounts_user").fetchone()
        health, _ = up.call("GET", "/health")
        env = (ground.folder / "env").read_text()
        yield Bare(up.told, health, users or (-1,), env, end(up, signal.SIGKILL))
        ground.remove()


def test_without_demo_nobody_is_made(bare: Bare) -> None:
    assert [bare.told[name] for name in ("api_key", "operator", "demo")] == [None] * 3
    assert bare.users == (0,)


def test_with_a_key_for_openrouter_no_simulator_is_started(bare: Bare) -> None:
    assert (bare.told["upstream"], bare.told["simulator_url"]) == ("openrouter", None)
    assert bare.told["pids"]["simulator"] is None


def test_key_for_openrouter_is_written_nowhere(bare: Bare) -> None:
    assert "sk-or-v1-none" not in bare.env


def test_usual_port_that_is_taken_is_no_obstacle(bare: Bare) -> None:
    assert not bare.told["url"].endswith(":8000")
    assert bare.health == http.client.OK


def test_kill_9_leaves_no_process(bare: Bare) -> None:
    assert (bare.ended.code, bare.ended.left) == (-signal.SIGKILL, {})


def test_gateway_that_cannot_start_ends_it_with_its_own_words(new_ground: Callable[..., Ground]) -> None:
    ground = new_ground()
    process = ground.python(
        *("manage.py", "up", "--port", "0", "--no-demo", "--data-dir", str(ground.folder)),
        OPENROUTER_API_KEY="sk-or-v1-none",
        DATABASE_URL="postgresql://naive@127.0.0.1:1/naive",
    )
    stdout, stderr = process.communicate(timeout=START_S)
    assert (process.returncode, stdout) == (1, "")
    assert "migrate ended (exit code 1)" in stderr
    assert "Connection refused" in stderr
    assert ground.processes() == {}


def test_production_without_secrets_is_refused_in_one_line(new_ground: Callable[..., Ground]) -> None:
    process = new_ground().python(
        *("manage.py", "up", "--port", "0", "--data-dir", str(new_ground().folder)), DEBUG="0"
    )
    _, stderr = process.communicate(timeout=START_S)
    assert stderr == "CommandError: SECRET_KEY and KEY_PEPPER must be set where DEBUG is off.\n"
