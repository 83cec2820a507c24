"""POST /responses, whole and as events."""

import json
from typing import Any

from tests.simulator.process import MODEL, PROMPT, Simulator, decoded, frames


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": PROMPT, **fields}


def test_response_has_its_shape_and_cost(sim: Simulator, key: str) -> None:
    answer = sim.post("/responses", key, asked())
    body = decoded(answer.text)
    assert body["id"] == answer.headers["X-Generation-Id"]
    assert (body["object"], body["status"], body["store"]) == ("response", "completed", False)
    assert "tides" in body["output"][0]["content"][0]["text"]
    used = body["usage"]
    assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"]
    assert "upstream_inference_input_cost" in used["cost_details"]
    assert used["cost"] == sim.spent(key) > 0


def test_events_build_the_same_response(sim: Simulator, key: str) -> None:
    events = frames(sim.post("/responses", key, asked(stream=True)).text)
    kinds = [event["type"] for event in events[:-1]]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events[:-1]] == list(range(len(kinds)))
    said = "".join(event["delta"] for event in events[:-1] if event["type"] == "response.output_text.delta")
    assert said == events[-2]["response"]["output"][0]["content"][0]["text"]
    assert events[-2]["response"]["usage"]["cost"] == sim.spent(key)
    assert events[-1] == "[DONE]"


def test_short_answer_is_incomplete(sim: Simulator, key: str) -> None:
    body = sim.post("/responses", key, asked(max_output_tokens=3)).json()
    assert body["status"] == "incomplete"
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    events = frames(sim.post("/responses", key, asked(max_output_tokens=3, stream=True)).text)
    assert events[-2]["type"] == "response.incomplete"


def test_tools_schemas_and_reasoning(sim: Simulator, key: str) -> None:
    tool = {"type": "function", "name": "clock", "parameters": {"type": "object", "required": ["zone"]}}
    called = sim.post("/responses", key, asked(tools=[tool])).json()["output"][0]
    assert (called["type"], called["name"]) == ("function_call", "clock")
    history = [
        {"role": "user", "content": PROMPT},
        called,
        {"type": "function_call_output", "output": "noon"},
    ]
    assert (
        sim.post("/responses", key, asked(input=history, tools=[tool])).json()["output"][0]["type"]
        == "message"
    )
    form = {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object", "required": ["a"]}}}
    said = sim.post("/responses", key, asked(text=form)).json()["output"][0]["content"][0]["text"]
    assert set(json.loads(said)) == {"a"}
    thought = sim.post("/responses", key, asked(reasoning={"effort": "low"})).json()
    assert thought["output"][0]["type"] == "reasoning"
    assert thought["usage"]["output_tokens_details"]["reasoning_tokens"] > 0


def test_it_keeps_nothing(sim: Simulator, key: str) -> None:
    fields: list[dict[str, Any]] = [{"previous_response_id": "gen-1"}, {"store": True}, {"input": []}]
    for field in fields:
        refused = sim.post("/responses", key, asked(**field))
        assert refused.status_code == 400
        assert refused.json()["error_type"] == "invalid_request"


def test_failures_and_event_lines(sim: Simulator, key: str) -> None:
    answer = sim.post("/responses", key, asked(stream=True), "event_lines,midstream_error=finish")
    events = frames(answer.text)
    assert answer.text.count("event: response.") == len(events) - 1
    assert events[-2]["type"] == "response.failed"
    assert events[-2]["response"]["usage"]["cost"] == 0
    assert sim.spent(key) == 0
    assert sim.post("/responses", key, asked(), "ok_error=top").json()["status"] == "failed"
