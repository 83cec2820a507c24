"""A small product on the API, on two gateways: what docs/guide/saas.md builds, and what its customers run into."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.e2e.conftest import NO_TLS, Platform, eventually

# Read by the fixture `platform`.
WORKERS = 2
CALL = {
    "model": "anthropic/claude-opus-4",
    "max_tokens": 5,
    "messages": [{"role": "user", "content": "Say hello"}],
}
FREE = {
    "allowed_models": ["anthropic/claude-opus-4"],
    "monthly_credits_per_user": 2,
    "requests_per_minute": 6,
}


@dataclass(slots=True)
class Inkwell:
    """A company that sells texts: its key, and the ids of its plans."""

    platform: Platform
    key: str = ""
    free: str = ""
    pro: str = ""

    def asks(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> tuple[int, Any]:
        """Send one request: the status, and the answer."""
        key = self.key if key is None else key
        answer = httpx.request(
            method,
            f"{self.platform.url}{path}",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            json=body,
            timeout=60,
            verify=NO_TLS,
        )
        is_json = answer.headers["Content-Type"].startswith("application/json")
        return answer.status_code, answer.json() if is_json else answer.text

    def posts(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        return self.asks("POST", path, body, **more)

    def gets(self, path: str) -> tuple[int, Any]:
        return self.asks("GET", path)

    def calls_for(self, customer: str) -> tuple[int, Any]:
        return self.posts(f"/v1/users/ext:{customer}/llm/chat/completions", CALL)


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
def loaded(inkwell: Inkwell, key: str) -> Iterator[Load]:
    command = [
        *("curl", "-Z", "--no-progress-meter", "--parallel-max", "8", "-o", "/dev/null"),
        *("-w", "%{stderr}%{http_code}\\n", "-H", f"Authorization: Bearer {key}", "--json", json.dumps(CALL)),
        f"{inkwell.platform.url}/v1/llm/chat/completions?call=[1-1000000]",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Load(process)
            assert process.poll() is None
        finally:
            process.terminate()


@pytest.fixture
def inkwell(clean: Platform) -> Inkwell:
    """Registered, with both plans, and two customers on the free one."""
    made = Inkwell(clean)
    person = {
        "name": "Ada",
        "email": f"ada-{uuid4().hex[:8]}@inkwell.example",
        "password": "correct horse battery",
    }
    status, registered = made.posts("/v1/auth/register", person | {"company_name": "Inkwell"})
    assert (status, registered["company_name"], registered["credits_remaining"]) == (201, "Inkwell", 20)
    made.key = registered["api_key"]
    made.free = plan(made, "Free", {"enabled": True, "defaults": FREE})
    made.pro = plan(made, "Pro", {"enabled": True})
    for customer in ("c-1", "c-2"):
        status, user = made.posts("/v1/users", {"external_id": customer, "account_kit_id": made.free})
        assert (status, user["external_id"], user["account_kit_id"]) == (201, customer, made.free)
    return made


def plan(inkwell: Inkwell, name: str, llm: dict[str, Any]) -> str:
    status, kit = inkwell.posts("/v1/account-kits", {"name": name, "primitives_config": {"llm": llm}})
    assert (status, kit["name"]) == (201, name)
    return str(kit["id"])


def refused(answer: tuple[int, Any]) -> tuple[int, str, dict[str, Any]]:
    """Status, code and details of an error, which says in words what to do."""
    status, body = answer
    error = body["error"]
    assert error["message"], body
    assert error.get("hint"), body
    return status, error["code"], error["details"]


def test_small_product_meets_its_limits_and_rotates_its_key_under_load(inkwell: Inkwell) -> None:
    status, said = inkwell.calls_for("c-1")
    assert (status, said["choices"][0]["message"]["content"]) == (200, "hello")
    assert 0 < said["credits_used"] < 1

    meets_its_models(inkwell)
    meets_its_month(inkwell)
    meets_its_minute(inkwell)
    upgrades(inkwell)
    reads_its_books(inkwell)
    rotates_and_revokes(inkwell)
    meets_its_wallet(inkwell)


def writes(
    inkwell: Inkwell, model: str = "anthropic/claude-opus-4", max_tokens: int = 12_000
) -> tuple[int, Any]:
    asked = [{"role": "user", "content": "8000 words about bread"}]
    body = {"model": model, "max_tokens": max_tokens, "messages": asked}
    return inkwell.posts("/v1/users/ext:c-1/llm/chat/completions", body)


def meets_its_models(inkwell: Inkwell) -> None:
    status, code, details = refused(writes(inkwell, model="openai/gpt-4o", max_tokens=10))
    assert (status, code, details["reason"]) == (403, "forbidden", "model_not_allowed_by_kit")


def meets_its_wallet(inkwell: Inkwell) -> None:
    answer = until_refused(inkwell, model="openai/o1-pro", max_tokens=90_000)
    status, code, details = refused(answer)
    assert (status, code, details["limit"]) == (402, "insufficient_credits", "wallet")
    assert {pack["id"] for pack in answer[1]["packs"]} == {"small", "medium", "large", "xl"}


def until_refused(inkwell: Inkwell, **asked: Any) -> tuple[int, Any]:
    """What is left is used up by shorter and shorter answers; the first call that is refused."""
    for _ in range(6):
        answer = writes(inkwell, **asked)
        if answer[0] != 200:
            break
    return answer


def meets_its_month(inkwell: Inkwell) -> None:
    status, code, details = refused(until_refused(inkwell))
    assert (status, code, details["limit"]) == (402, "insufficient_credits", "user_cap")
    assert details["available"] < details["required"]
    # Nobody else's month is over.
    assert inkwell.calls_for("c-2")[0] == 200


def meets_its_minute(inkwell: Inkwell) -> None:
    # Where a minute ends meanwhile, twice six calls are let through.
    for _ in range(13):
        answer = inkwell.calls_for("c-2")
        if answer[0] != 200:
            break
    status, code, details = refused(answer)
    assert (status, code) == (429, "rate_limited")
    assert "requests_per_minute" in json.dumps(details)


def upgrades(inkwell: Inkwell) -> None:
    status, user = inkwell.posts(f"/v1/account-kits/{inkwell.pro}/users/ext:c-1/assign")
    assert (status, user["account_kit_id"]) == (200, inkwell.pro)
    eventually(
        lambda: writes(inkwell, model="openai/gpt-4o", max_tokens=10)[0] == 200,
        timeout_s=1.0,
        what="the new plan acts",
    )


def reads_its_books(inkwell: Inkwell) -> None:
    _, usage = inkwell.gets("/v1/users/ext:c-1/usage?group_by=model")
    models = {group["group"]: group["calls"] for group in usage["summary"]["groups"]}
    assert set(models) == {"anthropic/claude-opus-4", "openai/gpt-4o"}
    of_users = [
        inkwell.gets(f"/v1/users/ext:{name}/usage")[1]["summary"]["credits_used"] for name in ("c-1", "c-2")
    ]
    status, statement = inkwell.gets("/v1/billing/statement")
    assert (status, statement["closing_balance"]) == (200, usage["balance"])
    (calls,) = [line for line in statement["lines"] if line["action"] == "llm_call"]
    assert -calls["amount"] == pytest.approx(sum(of_users), abs=1e-9)


def rotates_and_revokes(inkwell: Inkwell) -> None:
    _, listed = inkwell.gets("/v1/auth/keys")
    (key,) = listed["keys"]
    path = f"/v1/auth/keys/{key['id']}"
    with loaded(inkwell, inkwell.key) as before:
        before.more(20)
        status, rotated = inkwell.posts(f"{path}/rotate", {"overlap_hours": 1})
        assert status == 201
        with loaded(inkwell, rotated["api_key"]) as after:
            after.more(40)
            before.more(20)
    assert set(before.statuses + after.statuses) == {200}

    with each_gateway(inkwell.platform, inkwell.key) as clients:
        assert [asks(client) for client in clients] == [200, 200]
        status, revoked = inkwell.asks("DELETE", path, key=rotated["api_key"])
        assert (status, revoked["revoked"]) == (200, True)
        eventually(
            lambda: [asks(client) for client in clients] == [401, 401],
            timeout_s=1.0,
            what="both gateways refuse the key",
        )
    status, body = inkwell.gets("/v1/billing/statement")
    assert (status, body["error"]["code"]) == (401, "unauthorized")
    inkwell.key = rotated["api_key"]
    reads_who_did_what(inkwell, key["id"])


def reads_who_did_what(inkwell: Inkwell, key_id: str) -> None:
    _, told = inkwell.gets(f"/v1/audit?target_id={key_id}")
    actions = [entry["action"] for entry in told["audit_entries"]]
    assert actions == ["api_key.revoked", "api_key.rotated", "api_key.created"]
    status, file = inkwell.gets("/v1/audit/export?format=csv")
    assert (status, file.count("api_key.rotated")) == (200, 1)


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
