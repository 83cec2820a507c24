"""Broadcast: what the simulator tells of ended generations, to whom, when, and how often."""

import hashlib
import os
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.simulator import process, sink
from tests.simulator.process import Simulator, decoded, eventually
from tests.simulator.sink import Sink

HOLD = "01932b3c-4d5e-7f60-8a9b-0c1d2e3f4a5b"


@pytest.fixture
def told(sim: Simulator) -> Iterator[Sink]:
    """A destination that the simulator tells of its calls."""
    with sink.listening() as target:
        point(sim, target)
        yield target
        sim.control("POST", "broadcast", {})


def point(sim: Simulator, target: Sink, **more: Any) -> Any:
    return sim.control(
        "POST", "broadcast", {"url": target.url, "headers": {"X-Broadcast-Secret": "s"}, **more}
    )


def arrived(target: Sink, count: int) -> list[dict[str, Any]]:
    return eventually(lambda: target.spans() if len(target.spans()) >= count else None)


def test_span_says_what_the_wire_said(sim: Simulator, key: str, told: Sink) -> None:
    trace = {"trace_id": HOLD, "step": "x"}
    answer = sim.chat(key, "cost_usd=0.00012104999999999999", user="customer-7", trace=trace)
    (span,) = arrived(told, 1)
    used = decoded(answer.text)["usage"]
    assert span["about"]["openrouter.trace.id"] == HOLD
    assert span["traceId"] == hashlib.sha256(HOLD.encode()).hexdigest()[:32]
    assert span["named"]["gen_ai.usage.total_cost"] == used["cost"] == Decimal("0.00012104999999999999")
    assert span["named"]["gen_ai.response.id"] == answer.headers["X-Generation-Id"]
    assert span["named"]["gen_ai.usage.input_tokens"] == str(used["prompt_tokens"])
    assert (span["named"]["user.id"], span["named"]["trace.metadata.step"]) == ("customer-7", "x")
    assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
    assert told.headers[0]["x-broadcast-secret"] == "s"


def test_without_a_trace_id_the_generation_names_the_trace(sim: Simulator, key: str, told: Sink) -> None:
    answer = sim.chat(key)
    (span,) = arrived(told, 1)
    assert span["about"]["openrouter.trace.id"] == answer.headers["X-Generation-Id"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("hex", HOLD.replace("-", "")),
        ("dashed", HOLD),
        ("digest", hashlib.sha256(HOLD.encode()).hexdigest()[:32]),
    ],
)
def test_trace_id_comes_in_other_forms(
    sim: Simulator, key: str, told: Sink, form: str, expected: str
) -> None:
    point(sim, told, trace_form=form, cost_form="string", gzip=True)
    answer = sim.chat(key, trace={"trace_id": HOLD})
    (span,) = arrived(told, 1)
    assert span["traceId"] == expected
    assert "openrouter.trace.id" not in span["about"]
    assert Decimal(span["named"]["gen_ai.usage.total_cost"]) == decoded(answer.text)["usage"]["cost"]
    assert told.headers[0]["content-encoding"] == "gzip"


def test_call_that_its_client_left_is_told_with_what_was_billed(sim: Simulator, key: str, told: Sink) -> None:
    with sim.begin(key, "chunk_delay_ms=20", stream=True, trace={"trace_id": HOLD}) as connection:
        assert connection.recv(2000)
    (span,) = arrived(told, 1)
    assert span["named"]["gen_ai.usage.total_cost"] == sim.spent(key)


def test_refused_delivery_is_sent_again(sim: Simulator, key: str, told: Sink) -> None:
    told.statuses = [503, 401]
    sim.chat(key)
    arrived(told, 1)
    state = eventually(lambda: found if (found := sim.control("GET", "broadcast"))["delivered"] else None)
    assert (state["delivered"], state["refused"], state["waiting"], state["last_status"]) == (1, 2, 0, 200)


def test_never_late_and_twice(sim: Simulator, key: str, told: Sink) -> None:
    sim.chat(key, "broadcast=never")
    late = sim.chat(key, "broadcast_delay_ms=300").headers["X-Generation-Id"]
    twice = sim.chat(key, "broadcast=twice").headers["X-Generation-Id"]
    ids = [span["named"]["gen_ai.response.id"] for span in arrived(told, 3)]
    assert ids == [twice, twice, late]


def test_wrong_cost_trace_user_and_none(sim: Simulator, key: str, told: Sink) -> None:
    knobs = ["wrong-cost", "wrong-trace", "wrong-user", "no-cost"]
    sent = {}
    for knob in knobs:
        answer = sim.chat(key, f"broadcast={knob}", trace={"trace_id": HOLD}, user="me")
        sent[answer.headers["X-Generation-Id"]] = (knob, decoded(answer.text)["usage"]["cost"])
    for span in arrived(told, len(knobs)):
        knob, cost = sent[span["named"]["gen_ai.response.id"]]
        assert (span["named"].get("gen_ai.usage.total_cost") == cost) is (
            knob in ("wrong-trace", "wrong-user")
        )
        assert (span["about"]["openrouter.trace.id"] == HOLD) is (knob != "wrong-trace")
        assert (span["named"]["user.id"] == "me") is (knob != "wrong-user")
        assert ("gen_ai.usage.total_cost" in span["named"]) is (knob != "no-cost")


def test_garbage_comes_beside_the_span(sim: Simulator, key: str, told: Sink) -> None:
    sim.chat(key, "broadcast=garbage")
    arrived(told, 1)
    spans = told.bodies[0]["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert None in spans
    assert {} in spans


def test_many_come_in_one_batch(sim: Simulator, key: str, told: Sink) -> None:
    point(sim, told, batch_ms=300)
    for _ in range(5):
        sim.chat(key)
    arrived(told, 5)
    assert len(told.bodies) == 1


def test_bad_destinations_are_refused_and_none_ends_it(sim: Simulator, key: str, told: Sink) -> None:
    for bad in ({"url": "https://elsewhere/"}, {"url": told.url, "trace_form": "x"}, {"uri": told.url},
                {"url": told.url, "headers": {"A": "b\r\nC: d"}}, {"url": told.url, "delay_ms": -1}):  # fmt: skip
        assert "error" in sim.control("POST", "broadcast", bad)
    assert sim.control("POST", "broadcast", {})["url"] is None
    sim.chat(key)
    point(sim, told)
    last = sim.chat(key).headers["X-Generation-Id"]
    assert [span["named"]["gen_ai.response.id"] for span in arrived(told, 1)] == [last]


def test_start_option_names_the_destination(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "BROADCAST_SECRET", "from-the-environment")
    arguments = ("--speed", "instant", "--broadcast-delay-ms", "0", "--broadcast")
    with sink.listening() as target, process.running(*arguments, target.url) as started:
        started.chat(key)
        arrived(target, 1)
        assert target.headers[0]["authorization"] == "Bearer from-the-environment"
        started.client.close()
