"""A small product built by curl alone, with the commands of docs/saas.md as they stand there, on two gateways."""

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.e2e.conftest import NO_TLS, ROOT, Platform, eventually

# Read by the fixture `platform`.
WORKERS = 2
BLOCK = re.compile(r"^## (.+?)\n|^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
CALL = {
    "model": "anthropic/claude-opus-4",
    "max_tokens": 5,
    "messages": [{"role": "user", "content": "Say hello"}],
}
# Whatever the page leaves to the reader's own curl: quiet, and how it went on stderr.
CURLRC = 'silent\nshow-error\nwrite-out = "%{stderr}%{http_code}\\n"\n'


def commands() -> dict[str, list[str]]:
    """The page's commands by their heading."""
    found: dict[str, list[str]] = {}
    heading = ""
    for title, block in BLOCK.findall((ROOT / "docs/saas.md").read_text()):
        if title:
            heading = title
        else:
            found.setdefault(heading, []).append(block)
    return found


@dataclass(slots=True)
class Shell:
    """Somebody who types what the page says, and keeps what the answers say in variables."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    def type(self, command: str, **variables: str) -> tuple[int, Any]:
        """Run one command: the status, and the answer."""
        done = subprocess.run(
            ["bash", "-c", command],
            env=self.environ(**variables),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stderr), json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout

    def does(self, heading: str, part: int = 0, **variables: str) -> tuple[int, Any]:
        return self.type(commands()[heading][part], **variables)

    def environ(self, **variables: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "CURL_HOME": str(self.home), **self.variables, **variables}


@dataclass(slots=True)
class Load:
    """curl that calls without a pause, eight at a time, until it is ended; the status of each call as it came."""

    process: subprocess.Popen[str]
    statuses: list[int] = field(default_factory=list)

    def more(self, count: int) -> None:
        """Wait for so many further answers."""
        assert self.process.stderr is not None
        for _ in range(count):
            self.statuses.append(int(self.process.stderr.readline()))


@contextlib.contextmanager
def loaded(shell: Shell, **variables: str) -> Iterator[Load]:
    command = (
        "exec curl -Z --no-progress-meter --parallel-max 8 -o /dev/null"
        ' "$NAIVE/v1/llm/chat/completions?call=[1-1000000]"'
        f""" -H "Authorization: Bearer $KEY" --json '{json.dumps(CALL)}'"""
    )
    with subprocess.Popen(
        ["bash", "-c", command],
        env=shell.environ(**variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Load(process)
            assert process.poll() is None
        finally:
            process.terminate()


@pytest.fixture
def shell(platform: Platform, tmp_path: Path) -> Shell:
    (tmp_path / ".curlrc").write_text(CURLRC)
    email = f"ada-{uuid4().hex[:8]}@inkwell.example"
    return Shell(tmp_path, {"NAIVE": platform.url, "EMAIL": email, "PASSWORD": "correct horse battery"})


def opened(shell: Shell) -> None:
    """Register, make both plans, and two customers on the free one."""
    status, registered = shell.does("Register")
    assert (status, registered["company_name"], registered["credits_remaining"]) == (201, "Inkwell", 20)
    shell.variables["KEY"] = registered["api_key"]
    for plan in ("Free", "Pro"):
        status, kit = shell.does(f"Plan {plan}")
        assert (status, kit["name"]) == (201, plan)
        shell.variables[plan.upper()] = kit["id"]
    for customer in ("c-1", "c-2"):
        status, user = shell.does("Customers", CUSTOMER=customer)
        assert (status, user["external_id"]) == (201, customer)
        assert user["account_kit_id"] == shell.variables["FREE"]


def refused(answer: tuple[int, Any]) -> tuple[int, str, dict[str, Any]]:
    """Status, code and details of an error, which says in words what to do."""
    status, body = answer
    error = body["error"]
    assert error["message"], body
    assert error.get("hint"), body
    return status, error["code"], error["details"]


def test_small_product_is_built_by_curl_alone(clean: Platform, shell: Shell) -> None:
    opened(shell)
    status, said = shell.does("Call as a customer", CUSTOMER="c-1")
    assert (status, said["choices"][0]["message"]["content"]) == (200, "hello")
    assert 0 < said["credits_used"] < 1

    meets_its_models(shell)
    meets_its_month(shell)
    meets_its_minute(shell)
    upgrades(shell)
    reads_its_books(shell)
    rotates_and_revokes(clean, shell)
    meets_its_wallet(shell)


def writes(shell: Shell, model: str = "anthropic/claude-opus-4", max_tokens: int = 12_000) -> tuple[int, Any]:
    return shell.does("Call as a customer", 1, CUSTOMER="c-1", MODEL=model, MAX_TOKENS=str(max_tokens))


def meets_its_models(shell: Shell) -> None:
    status, code, details = refused(writes(shell, model="openai/gpt-4o", max_tokens=10))
    assert (status, code, details["reason"]) == (403, "forbidden", "model_not_allowed_by_kit")


def meets_its_wallet(shell: Shell) -> None:
    answer = until_refused(shell, model="openai/o1-pro", max_tokens=90_000)
    status, code, details = refused(answer)
    assert (status, code, details["limit"]) == (402, "insufficient_credits", "wallet")
    assert {pack["id"] for pack in answer[1]["packs"]} == {"small", "medium", "large", "xl"}


def until_refused(shell: Shell, **asked: Any) -> tuple[int, Any]:
    """What is left is used up by shorter and shorter answers; the first call that is refused."""
    for _ in range(6):
        answer = writes(shell, **asked)
        if answer[0] != 200:
            break
    return answer


def meets_its_month(shell: Shell) -> None:
    status, code, details = refused(until_refused(shell))
    assert (status, code, details["limit"]) == (402, "insufficient_credits", "user_cap")
    assert details["available"] < details["required"]
    # Nobody else's month is over.
    assert shell.does("Call as a customer", CUSTOMER="c-2")[0] == 200


def meets_its_minute(shell: Shell) -> None:
    # Where a minute ends meanwhile, twice six calls are let through.
    for _ in range(13):
        answer = shell.does("Call as a customer", CUSTOMER="c-2")
        if answer[0] != 200:
            break
    status, code, details = refused(answer)
    assert (status, code) == (429, "rate_limited")
    assert "requests_per_minute" in json.dumps(details)


def upgrades(shell: Shell) -> None:
    status, user = shell.does("Upgrade", CUSTOMER="c-1")
    assert (status, user["account_kit_id"]) == (200, shell.variables["PRO"])
    eventually(
        lambda: writes(shell, model="openai/gpt-4o", max_tokens=10)[0] == 200,
        timeout_s=1.0,
        what="the new plan acts",
    )


def reads_its_books(shell: Shell) -> None:
    _, usage = shell.does("What a customer used", CUSTOMER="c-1")
    models = {group["group"]: group["calls"] for group in usage["summary"]["groups"]}
    assert set(models) == {"anthropic/claude-opus-4", "openai/gpt-4o"}
    of_users = [
        shell.does("What a customer used", CUSTOMER=name)[1]["summary"]["credits_used"]
        for name in ("c-1", "c-2")
    ]
    status, statement = shell.does("The month's statement")
    assert (status, statement["closing_balance"]) == (200, usage["balance"])
    (calls,) = [line for line in statement["lines"] if line["action"] == "llm_call"]
    assert -calls["amount"] == pytest.approx(sum(of_users), abs=1e-9)


def rotates_and_revokes(platform: Platform, shell: Shell) -> None:
    _, listed = shell.does("Rotate the key", 1)
    (key,) = listed["keys"]
    shell.variables["KEY_ID"] = key["id"]
    with loaded(shell) as before:
        before.more(20)
        status, rotated = shell.does("Rotate the key")
        assert status == 201
        with loaded(shell, KEY=rotated["api_key"]) as after:
            after.more(40)
            before.more(20)
    assert set(before.statuses + after.statuses) == {200}

    with each_gateway(platform, shell.variables["KEY"]) as clients:
        assert [asks(client) for client in clients] == [200, 200]
        status, revoked = shell.does("Revoke the old one", KEY=rotated["api_key"])
        assert (status, revoked["revoked"]) == (200, True)
        eventually(
            lambda: [asks(client) for client in clients] == [401, 401],
            timeout_s=1.0,
            what="both gateways refuse the key",
        )
    status, code, _ = shell_error(shell.does("The month's statement"))
    assert (status, code) == (401, "unauthorized")

    shell.variables["KEY"] = rotated["api_key"]
    _, told = shell.does("Who did what")
    actions = [entry["action"] for entry in told["audit_entries"]]
    assert actions == ["api_key.revoked", "api_key.rotated", "api_key.created"]
    status, _ = shell.does("Who did what", 1)
    (file,) = shell.home.glob("audit-*.csv")
    assert (status, file.read_text().count("api_key.rotated")) == (200, 1)


def shell_error(answer: tuple[int, Any]) -> tuple[int, str, str]:
    status, body = answer
    return status, body["error"]["code"], body["error"]["message"]


def asks(client: httpx.Client) -> int:
    return client.get("/v1/llm/models", params={"search": "opus"}).status_code


@contextlib.contextmanager
def each_gateway(platform: Platform, key: str) -> Iterator[list[httpx.Client]]:
    """A connection that stays open to each gateway: while one is stopped, the other takes what comes."""
    pids = platform.pids["gateway"]
    assert len(pids) == WORKERS
    headers = {"Authorization": f"Bearer {key}"}
    with contextlib.ExitStack() as stack:
        clients = []
        for pid in pids:
            others = [other for other in pids if other != pid]
            client = stack.enter_context(
                httpx.Client(base_url=platform.url, headers=headers, verify=NO_TLS, timeout=20)
            )
            with stopped(others):
                assert client.get("/health").status_code == 200
            clients.append(client)
        yield clients


@contextlib.contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
