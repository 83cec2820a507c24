"""`naive` against the running platform, as a process: what people see and what programs read."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests import factories
from tests.e2e.conftest import Platform
from tests.sdk.cli_runs import NAIVE, Person, plain

HAIKU = ("llm", "chat", "-m", "anthropic/claude-sonnet-4.6", "Write a haiku about Paris")
TERSE = (
    "llm", "chat", "-m", "openai/gpt-5.2", "--system", "You are terse.", "Summarize REST in one line",
    "--fallback", "anthropic/claude-sonnet-4.6",
)  # fmt: skip
PASSWORD = "correct horse battery"


@pytest.fixture
def stranger(clean: Platform, tmp_path: Path) -> Person:
    """Somebody who has just installed it."""
    return Person(tmp_path, {"NAIVE_BASE_URL": clean.url})


@pytest.fixture
def somebody(clean: Platform, tmp_path: Path) -> Callable[[factories.Cast], Person]:
    def of(member: factories.Cast) -> Person:
        return Person(tmp_path, {"NAIVE_BASE_URL": clean.url, "NAIVE_API_KEY": member.secret})

    return of


def sent(platform: Platform) -> Any:
    """The body of the last call to a model."""
    return json.loads(platform.upstream.last_request()["body"])


@pytest.fixture
def ada(somebody: Callable[[factories.Cast], Person], acme: factories.Cast) -> Person:
    return somebody(acme)


def test_newcomer_registers_and_builds_a_small_saas(stranger: Person, clean: Platform) -> None:
    email = f"ada-{uuid4().hex}@example.com"
    named = ("--name", "Ada", "--email", email, "--company", "Analytical Engines", "--password-stdin")
    registered = stranger.run("register", *named, given=f"{PASSWORD}\n")
    assert registered.result["company_name"] == "Analytical Engines"
    kept = stranger.home / ".naive/config.json"
    key = next(iter(json.loads(kept.read_text())["hosts"][clean.url]["companies"].values()))["api_key"]
    assert key not in registered.out + registered.err
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)

    assert stranger.run("whoami").result["company"]["name"] == "Analytical Engines"
    alice = stranger.run("users", "create", "--external-id", "alice", "--metadata", '{"plan": "pro"}').result
    kit = stranger.run(
        "account-kits", "create", "Free", "--allow", "openai/*", "--monthly-credits", "2.5"
    ).result
    assert kit["primitives_config"]["llm"]["defaults"]["monthly_credits_per_user"] == 2.5
    assert stranger.run("account-kits", "assign", kit["id"], "ext:alice").result["assigned"] == 1
    assert stranger.run("users", "get", "ext:alice").result["account_kit_id"] == kit["id"]
    refused = stranger.run(*HAIKU, "--user", alice["id"])
    assert (refused.code, refused.json["error"]["details"]["reason"]) == (1, "model_not_allowed_by_kit")

    issued = stranger.run(
        "keys", "create", "CI", "-u", "ext:alice", "--cap-credits", "5", "--expires-in", "30d"
    ).result
    assert (issued["cap_credits"], issued["cap_period"]) == (5, "month")
    narrow = {"NAIVE_API_KEY": issued["api_key"]}
    answer = stranger.run("llm", "chat", "-m", "openai/gpt-4o-mini", "Hello", **narrow).result
    assert answer["text"]
    assert Decimal(str(answer["credits_used"])) > 0
    scope = stranger.run("keys", "list", **narrow)
    assert (scope.code, scope.json["error"]["details"]["reason"]) == (4, "key_scope")
    usage = stranger.run("users", "usage", "ext:alice").result
    assert usage["summary"]["credits_used"] == answer["credits_used"]
    assert stranger.run("keys", "revoke", issued["id"], "--yes").result["revoked"] is True


def test_person_signs_in_on_a_terminal_without_showing_the_password(stranger: Person) -> None:
    email = f"grace-{uuid4().hex}@example.com"
    stranger.run("register", "--name", "Grace", "--email", email, "--password-stdin", given=PASSWORD)
    assert stranger.run("logout").code == 0
    assert stranger.run("status").code == 4
    seen = stranger.watch("login", typed={"E-mail": f"{email}\n", "Password": f"{PASSWORD}\n"})
    assert seen.code == 0, seen.out
    assert "✓ Signed in to Grace as owner" in plain(seen.out)
    assert PASSWORD not in seen.out
    assert "~/.naive/config.json" in plain(stranger.watch("whoami").out)
    wrong = stranger.run("login", "--email", email, "--password-stdin", given="wrong password")
    assert (wrong.code, wrong.json["error"]["code"]) == (4, "unauthorized")


def test_haiku_streams_on_a_terminal_and_says_its_cost(
    ada: Person, clean: Platform, acme: factories.Cast
) -> None:
    seen = ada.watch(*HAIKU)
    assert seen.code == 0, seen.out
    text, _, cost = plain(seen.out).rpartition("\n\n")
    assert text.strip()
    used = Decimal(20) - factories.balance(acme)
    assert f" · {used.normalize():f} credits · {factories.balance(acme).normalize():f} left" in cost
    assert sent(clean)["stream"] is True


def test_piped_chat_is_one_json_object_and_nothing_else(ada: Person, clean: Platform) -> None:
    ran = ada.run(*TERSE)
    assert ran.err == ""
    assert ran.json["success"] is True
    assert ran.json["action"] == "llm.chat"
    assert ran.result["text"] == ran.result["choices"][0]["message"]["content"]
    body = sent(clean)
    assert body["models"] == ["openai/gpt-5.2", "anthropic/claude-sonnet-4.6"]
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert "stream" not in body


def test_file_is_piped_into_a_prompt(ada: Person, clean: Platform) -> None:
    ran = ada.run(
        "llm", "chat", "-m", "openai/gpt-4o-mini", "summarise", "--no-json", given="line one\nline ü\n"
    )
    assert ran.code == 0
    assert not ran.out.startswith("{")
    assert sent(clean)["messages"] == [{"role": "user", "content": "summarise\n\nline one\nline ü\n"}]
    assert ada.run("llm", "chat", "-m", "openai/gpt-4o-mini", given="only this").code == 0
    assert ada.run("llm", "chat", "-m", "openai/gpt-4o-mini").code == 2


def test_models_are_listed_for_people_and_for_programs(ada: Person) -> None:
    found = ada.run("llm", "models", "claude").result
    assert all("claude" in model["id"] + model["name"].lower() for model in found["models"])
    seen = plain(ada.watch("llm", "models", "claude").out)
    assert "MODEL" in seen
    assert "anthropic/claude-sonnet-4.6" in seen
    assert all(len(line.rstrip()) <= 100 for line in seen.splitlines())


def test_model_that_is_misspelt_is_answered_with_those_that_were_meant(ada: Person, clean: Platform) -> None:
    ran = ada.run("llm", "chat", "-m", "anthropic/claude-sonet-4.6", "Hi")
    assert ran.code == 1
    assert ran.json["error"]["details"]["suggestions"][0] == "anthropic/claude-sonnet-4.6"
    assert ran.json["hints"][0].startswith("Did you mean anthropic/claude-sonnet-4.6")
    assert ran.json["next_steps"] == ["naive llm models claude"]


def test_company_without_credits_is_told_where_to_buy_and_gets_5(
    somebody: Callable[[factories.Cast], Person], clean: Platform
) -> None:
    initech = somebody(factories.initech())
    ran = initech.run(*HAIKU)
    assert (ran.code, ran.json["error"]["code"], ran.json["success"]) == (5, "insufficient_credits", False)
    assert ran.json["next_steps"] == ["naive billing packs", "naive billing topup small"]
    seen = initech.watch(*HAIKU)
    assert seen.code == 5
    assert "→ naive billing packs" in plain(seen.out)
    assert clean.upstream.accepted() == 0


@pytest.mark.parametrize("key", ["nv_sk_live_wrong", ""])
def test_key_that_opens_nothing_is_4_and_leads_to_signing_in(stranger: Person, key: str) -> None:
    ran = stranger.run("status", NAIVE_API_KEY=key)
    assert ran.code == 4
    assert any(step.endswith("naive login") for step in ran.json["next_steps"])
    assert "wrong" not in ran.out
    human = stranger.run("status", "--no-json", NAIVE_API_KEY=key)
    assert (human.code, human.out) == (4, "")
    assert human.err.startswith("error: ")


def test_kept_key_goes_to_no_other_platform(stranger: Person, clean: Platform) -> None:
    email = f"eve-{uuid4().hex}@example.com"
    stranger.run("register", "--name", "Eve", "--email", email, "--password-stdin", given=PASSWORD)
    other = clean.url.replace("127.0.0.1", "localhost")
    ran = stranger.run("status", NAIVE_BASE_URL=other)
    assert (ran.code, ran.json["error"]["code"]) == (4, "not_signed_in")
    assert stranger.run("status", NAIVE_BASE_URL="").result["company"]["name"] == "Eve"


def test_doctor_says_what_is_amiss(ada: Person, stranger: Person) -> None:
    found = ada.run("doctor").result
    assert found["healthy"] is True
    assert {check["state"] for check in found["checks"]} == {"ok"}
    away = stranger.run("doctor", NAIVE_BASE_URL="http://127.0.0.1:9")
    assert away.code == 1
    states = {check["name"]: check["state"] for check in away.json["result"]["checks"]}
    assert (states["platform"], states["key"]) == ("failed", "skipped")
    keyless = stranger.run("doctor")
    assert (keyless.code, keyless.json["success"]) == (1, False)
    assert keyless.json["next_steps"] == ["naive login"]


def test_interrupted_stream_ends_quietly_with_130(ada: Person, clean: Platform) -> None:
    clean.upstream.faults(chunk_delay_ms=300)
    seen = ada.watch(
        "llm", "chat", "-m", "openai/gpt-4o-mini", "-q", "Count to a thousand", typed={" ": "\x03"}
    )
    assert seen.code == 130, seen.out
    assert "Traceback" not in seen.out


def test_reader_that_leaves_is_no_error(ada: Person) -> None:
    environ = {"HOME": str(ada.home), "PATH": os.environ["PATH"], **ada.environ}
    with subprocess.Popen(
        [NAIVE, "llm", "models", "-n", "400"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (128 + signal.SIGPIPE, b"")


def test_narrow_terminal_shows_whole_ids_below_one_another(ada: Person, acme: factories.Cast) -> None:
    seen = plain(ada.watch("users", "list", columns=40).out)
    assert str(acme.tenant_user.id) in seen
    wide = plain(ada.watch("users", "list", columns=160).out)
    assert wide.startswith("ID ")


def test_ledger_goes_on_where_its_page_ended_and_is_exact(ada: Person, acme: factories.Cast) -> None:
    ada.run("llm", "chat", "-m", "openai/gpt-4o-mini", "Hello")
    first = ada.run("billing", "ledger", "-n", "1")
    assert first.json["next_steps"] == [f"naive billing ledger --cursor {first.result['next_cursor']}"]
    rest = ada.run("billing", "ledger", "--cursor", first.result["next_cursor"]).result
    entries = [*first.result["entries"], *rest["entries"]]
    assert sum(Decimal(str(entry["amount"])) for entry in entries) == factories.balance(acme)
    assert Decimal(str(ada.run("billing", "statement").result["closing_balance"])) == factories.balance(acme)
    assert len(ada.run("billing", "packs").result["packs"]) == 4
