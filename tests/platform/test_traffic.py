"""What a gateway says of the calls it answered: counted under words of ours, in one line each."""

import json
import logging
import time
from uuid import uuid4

import httpx
import pytest
from prometheus_client.core import Metric

from llm.sightings import Sighting
from naive_platform import logs, traffic
from naive_platform.asgi import application
from tests import factories
from tests.conftest import Run

HOSTILE = "a\x1b[31m\r\nERROR b"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "tally", traffic.Tally())


def ask(
    run: Run,
    method: str,
    path: str,
    *,
    member: factories.Cast | None = None,
    more: dict[str, str] | None = None,
) -> httpx.Response:
    async def work() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(application), base_url="http://x"
        ) as client:
            headers = {"Authorization": member.authorization} if member else {}
            return await client.request(method, path, headers=headers | (more or {}))

    return run(work())


def samples(metric: Metric) -> dict[str, float]:
    return {one.name + "|" + "|".join(one.labels.values()): one.value for one in metric.samples}


def test_each_bound_counts_what_took_no_longer() -> None:
    histogram = traffic.Histogram()
    for seconds in (0.001, 0.01, 0.3, 9999.0):
        histogram.observe(seconds)
    found = dict(histogram.buckets())
    assert (found["0.01"], found["0.25"], found["0.5"], found["600.0"], found["+Inf"]) == (2, 2, 3, 3, 4)
    assert histogram.sum_s == pytest.approx(9999.311)


def test_labels_are_words_of_ours_whatever_a_client_sends(run: Run) -> None:
    acme = factories.acme()
    for number in range(3):
        ask(run, "GET", f"/v1/llm/nothing-{number}", member=acme)
        ask(run, "GET", f"/v1/proxy/openrouter/nothing-{number}", member=acme)
        ask(run, "GET", f"/v1/users/ext:nobody-{number}/llm/models", member=acme)
        ask(run, f"X{number}", "/v1/llm/models", member=acme)
        ask(run, "POST", "/v1/llm/chat/completions", more={"x-naive-user-id": f"u{number}"})
    assert dict(traffic.tally.calls) == {
        ("other", "4xx", "not_found"): 3,
        ("proxy/other", "4xx", "not_found"): 3,
        ("llm/models", "4xx", "not_found"): 3,
        ("llm/models", "4xx", "method_not_allowed"): 3,
        ("llm/chat/completions", "4xx", "unauthorized"): 3,
    }
    assert set(traffic.tally.latencies) == {"other", "proxy/other", "llm/models", "llm/chat/completions"}


def test_free_routes_are_counted_by_their_templates(run: Run) -> None:
    acme = factories.acme()
    assert ask(run, "GET", "/v1/llm/models", member=acme).status_code == 200
    assert ask(run, "GET", "/v1/proxy/openrouter/api/v1/key", member=acme).status_code == 200
    assert traffic.tally.calls == {("llm/models", "2xx", "ok"): 1, ("proxy/key", "2xx", "ok"): 1}


def test_line_of_a_call_has_its_ids_and_nothing_of_its_headers(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    acme = factories.acme()
    with caplog.at_level(logging.INFO, "naive_platform.traffic"):
        answer = ask(run, "GET", "/v1/llm/models?search=secret", member=acme, more={"x-canary": "canary"})
    (record,) = [one for one in caplog.records if one.name == "naive_platform.traffic"]
    line = json.loads(logs.JSONFormatter().format(record))
    assert line.pop("latency_ms") >= 0
    assert {name: line[name] for name in line if name not in {"time", "logger"}} == {
        "level": "info",
        "message": "answered",
        "request": answer.headers["x-request-id"],
        "method": "GET",
        "route": "llm/models",
        "status": 200,
        "outcome": "ok",
        "company": str(acme.company_id),
        "key": str(acme.key.id),
    }


def test_call_names_its_generation_and_when_its_first_token_came(caplog: pytest.LogCaptureFixture) -> None:
    now, hold_id = time.monotonic(), uuid4()
    seen = Sighting(
        request_id="req_1", status=200, method="POST", route="llm/chat/completions", began_at=now - 2
    )
    seen.first_at, seen.hold_id, seen.generation_id = now - 1, hold_id, HOSTILE
    with caplog.at_level(logging.INFO, "naive_platform.traffic"):
        traffic.note(seen)
    text = logs.JSONFormatter().format(caplog.records[0])
    assert "\n" not in text
    assert "\x1b" not in text
    line = json.loads(text)
    assert line["generation"] == f"gen_{hold_id}"
    assert line["upstream_generation"] == HOSTILE
    assert 900 <= line["first_ms"] <= line["latency_ms"]


def test_upstreams_refusal_that_is_passed_on_is_no_success() -> None:
    traffic.note(Sighting(route="proxy/chat/completions", status=429, began_at=time.monotonic()))
    assert list(traffic.tally.calls) == [("proxy/chat/completions", "4xx", "provider_error")]


def test_figures_say_which_gateway_they_are_of() -> None:
    traffic.note(Sighting(route="llm/models", status=200, began_at=time.monotonic()))
    traffic.note_limit("concurrent_calls")
    found = {name: value for metric in traffic.collect() for name, value in samples(metric).items()}
    (gateway,) = {name.split("|")[1] for name in found}
    assert found[f"naive_calls_total|{gateway}|llm/models|2xx|ok"] == 1
    assert found[f"naive_call_seconds_count|{gateway}|llm/models"] == 1
    assert found[f"naive_limited_calls_total|{gateway}|concurrent_calls"] == 1
