"""POST /messages, whole and as Anthropic's events."""

from typing import Any

from tests.simulator.process import PROMPT, Simulator, decoded, frames


def asked(**fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": "anthropic/claude-haiku-4.5", "max_tokens": 400, "messages": messages, **fields}


def test_message_has_its_shape_and_cost(sim: Simulator, key: str) -> None:
    answer = sim.post("/messages", key, asked())
    body = decoded(answer.text)
    assert (body["type"], body["role"], body["stop_reason"]) == ("message", "assistant", "end_turn")
    assert "tides" in body["content"][0]["text"]
    assert body["usage"]["cost"] == sim.spent(key) > 0
    assert answer.headers["X-Generation-Id"].startswith("gen-")


def test_events_come_in_anthropics_order(sim: Simulator, key: str) -> None:
    text = sim.post("/messages", key, asked(stream=True)).text
    named = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    kinds = list(dict.fromkeys(named))
    assert kinds == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "data",
    ]
    events = frames(text)
    assert events[0]["message"]["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert events[-3]["usage"]["cost"] == sim.spent(key)
    assert events[-1] == "[DONE]"


def test_cost_can_be_left_out_of_the_stream(sim: Simulator, key: str) -> None:
    events = frames(sim.post("/messages", key, asked(stream=True), "omit_cost").text)
    assert "cost" not in events[-3]["usage"]
    assert events[-3]["usage"]["output_tokens"] > 0


def test_stop_reasons(sim: Simulator, key: str) -> None:
    assert sim.post("/messages", key, asked(max_tokens=3)).json()["stop_reason"] == "max_tokens"
    stopped = sim.post("/messages", key, asked(stop_sequences=["."])).json()
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", ".")


def test_tools_and_thinking(sim: Simulator, key: str) -> None:
    tool = {"name": "clock", "input_schema": {"type": "object", "required": ["zone"]}}
    body = sim.post("/messages", key, asked(tools=[tool])).json()
    assert body["stop_reason"] == "tool_use"
    assert set(body["content"][0]["input"]) == {"zone"}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "noon"}]}
    history = [*asked()["messages"], {"role": "assistant", "content": body["content"]}, result]
    after = sim.post("/messages", key, asked(tools=[tool], messages=history)).json()
    assert after["stop_reason"] == "end_turn"
    thinking = sim.post("/messages", key, asked(thinking={"type": "enabled", "budget_tokens": 100})).json()
    assert thinking["content"][0]["type"] == "thinking"


def test_errors_are_in_anthropics_envelope(sim: Simulator, key: str) -> None:
    refused = sim.post("/messages", key, asked(max_tokens=None))
    assert refused.status_code == 400
    assert refused.json()["type"] == "error"
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert sim.post("/messages", key, asked(), "status=529").json()["error"]["type"] == "overloaded_error"
    events = frames(sim.post("/messages", key, asked(stream=True), "midstream_error=finish").text)
    assert events[-2]["type"] == "error"


def test_key_may_come_as_anthropic_clients_send_it(sim: Simulator, key: str) -> None:
    answer = sim.client.post(f"{sim.url}/messages", json=asked(), headers={"x-api-key": key})
    assert answer.status_code == 200
