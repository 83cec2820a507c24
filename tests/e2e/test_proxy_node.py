"""The openai package for Node, as it comes, through the proxy: change the base URL and the key, nothing else.

`make test` installs it where Node is (bin/setup-node); where it is not, these tests say so and are skipped.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import factories
from tests.e2e import charges
from tests.e2e.conftest import ROOT, Platform

FOLDER = ROOT / "tests/e2e/node"
MODEL = "openai/gpt-4o-mini"
NODE = shutil.which("node")
TIMEOUT_S = 60
# Long enough to be left in the middle.
SLOW = "chunk_delay_ms=30,completion_tokens=120"
KINDS = {
    400: "BadRequestError",
    404: "NotFoundError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    503: "InternalServerError",
    402: "InternalServerError",
}
pytestmark = [
    pytest.mark.skipif(NODE is None, reason="Node is not on this machine"),
    pytest.mark.skipif(
        not (FOLDER / "node_modules/naive-setup").is_file(), reason="bin/setup-node has not run"
    ),
]


def run(use: str, platform: Platform, key: str, **more: Any) -> dict[str, Any]:
    """Run one use of tests/e2e/node/openai.mjs and return what it told."""
    assert NODE is not None
    given = {"baseURL": f"{platform.url}/v1/proxy/openrouter", "apiKey": key, **more}
    command = [NODE, "openai.mjs", use, json.dumps(given)]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr.decode()
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("base", ["", "/api/v1"])
def test_chat(base: str, clean: Platform, acme: factories.Cast) -> None:
    told = run("chat", clean, acme.secret, baseURL=f"{clean.url}/v1/proxy/openrouter{base}")
    assert told["text"]
    assert told["usage"]["cost"] > 0
    assert told["requestId"].startswith("req_")
    charges.require_each_charged(clean, acme, calls=1)


def test_stream_and_its_helper(clean: Platform, acme: factories.Cast) -> None:
    told = run("stream", clean, acme.secret)
    assert told["text"] == told["helped"] != ""
    assert told["usage"]["completion_tokens"] > 0
    charges.require_each_charged(clean, acme, calls=2)


def test_tools_round_trip_and_streamed(clean: Platform, acme: factories.Cast) -> None:
    told = run("tools", clean, acme.secret)
    assert told["finish"] == "tool_calls"
    assert told["arguments"].keys() == told["streamed"].keys() == {"city", "unit"}
    assert told["text"]
    charges.require_each_charged(clean, acme, calls=3)


def test_schema_is_kept_to(clean: Platform, acme: factories.Cast) -> None:
    city = run("schema", clean, acme.secret)["city"]
    assert (type(city["name"]), type(city["population"])) == (str, int)
    charges.require_each_charged(clean, acme, calls=1)


def test_embeddings(clean: Platform, acme: factories.Cast) -> None:
    told = run("embeddings", clean, acme.secret)
    assert len(told["packed"]) == len(told["plain"]) == 2
    assert told["packed"][0] == pytest.approx(told["plain"][0])
    charges.require_each_charged(clean, acme, calls=2)


def test_responses(clean: Platform, acme: factories.Cast) -> None:
    told = run("responses", clean, acme.secret)
    assert told["text"] == told["streamed"] != ""
    assert told["last"] == "function_call"
    charges.require_each_charged(clean, acme, calls=3)


def test_errors_are_the_clients_own_and_cost_nothing(clean: Platform, acme: factories.Cast) -> None:
    found = run("errors", clean, acme.secret, statuses=list(KINDS))["found"]
    for status, raised in zip(KINDS, found, strict=True):
        assert [one["name"] for one in raised] == [KINDS[status]] * 4
        assert all(one["requestId"].startswith("req_") for one in raised)
        assert all("user_2" not in one["message"] for one in raised)
    assert clean.upstream.accepted() == 4 * len(KINDS)
    charges.require_each_charged(clean, acme, calls=0)


def test_key_and_credit_errors_are_the_clients_own(clean: Platform) -> None:
    stranger = run("failure", clean, "sk-or-v1-mine", maxRetries=2)["raised"]
    assert (stranger["name"], stranger["status"]) == ("AuthenticationError", 401)
    initech = factories.initech()
    assert run("failure", clean, initech.secret, maxRetries=2)["raised"]["status"] == 402
    assert clean.upstream.accepted() == 0


@pytest.mark.parametrize(("faults", "calls"), [("midstream_error=finish", 0), ("cut_after=2", 1)])
def test_error_in_a_stream_raises(faults: str, calls: int, clean: Platform, acme: factories.Cast) -> None:
    raised = run("broken", clean, acme.secret, faults=faults)["raised"]
    assert raised["name"] == "APIError"
    charges.require_each_charged(clean, acme, calls=calls)


def test_retries_of_the_client_cost_nothing_until_one_succeeds(clean: Platform, acme: factories.Cast) -> None:
    raised = run("failure", clean, acme.secret, faults="status=503,retry_after=0", maxRetries=2)["raised"]
    assert raised["status"] == 503
    assert clean.upstream.accepted() == 3
    charges.require_each_charged(clean, acme, calls=0)
    assert run("failure", clean, acme.secret, maxRetries=2)["raised"] is None
    charges.require_each_charged(clean, acme, calls=1)


def test_timeout_of_the_client_is_charged_by_its_record(clean: Platform, acme: factories.Cast) -> None:
    raised = run("timeout", clean, acme.secret, faults="delay_headers_ms=1500")["raised"]
    assert raised["name"] == "APIConnectionTimeoutError"
    charges.require_each_charged(clean, acme, calls=1)


def test_calls_that_are_aborted_are_charged_by_their_records(clean: Platform, acme: factories.Cast) -> None:
    told = run("abort", clean, acme.secret, faults=SLOW)
    assert all(6 <= parts < 20 for parts in told["parts"].values())
    assert told["raised"]["name"] == "APIUserAbortError"
    charges.require_each_charged(clean, acme, calls=3)


def test_transcription_is_uploaded(clean: Platform, acme: factories.Cast, tmp_path: Path) -> None:
    path = tmp_path / "speech.mp3"
    path.write_bytes(bytes(3_000_000))
    told = run("transcription", clean, acme.secret, path=str(path))
    assert told["small"]
    assert told["large"]
    assert clean.upstream.last_request()["body_bytes"] > 3_000_000
    charges.require_each_charged(clean, acme, calls=2)
