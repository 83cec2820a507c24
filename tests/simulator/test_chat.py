"""POST /chat/completions and /completions as JSON: shapes, token sums, and what a request can ask for."""

import json
from typing import Any

from tests.simulator.process import MODEL, PROMPT, Simulator, decoded

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
        },
    },
}


def test_answer_has_upstreams_shape(sim: Simulator, key: str) -> None:
    answer = sim.chat(key)
    body = answer.json()
    assert answer.status_code == 200
    assert list(body)[:5] == ["id", "object", "created", "model", "provider"]
    assert body["id"] == answer.headers["X-Generation-Id"]
    assert body["id"].startswith(f"gen-{body['created']}-")
    assert (body["model"], body["provider"]) == (MODEL, "OpenAI")
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert answer.headers["X-Provider-Name"] == "OpenAI"
    assert "x-ratelimit-limit" not in answer.headers


def test_tokens_add_up_and_cost_is_their_price(sim: Simulator, key: str) -> None:
    used = decoded(sim.chat(key).text)["usage"]
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"]
    details = used["cost_details"]
    parts = details["upstream_inference_prompt_cost"] + details["upstream_inference_completions_cost"]
    assert used["cost"] == details["upstream_inference_cost"] == parts
    assert used["is_byok"] is False


def test_same_request_gets_the_same_answer_under_a_new_id(sim: Simulator, key: str) -> None:
    first, second = sim.chat(key).json(), sim.chat(key).json()
    assert first["choices"] == second["choices"]
    assert first["usage"] == second["usage"]
    assert first["id"] != second["id"]


def test_answer_is_about_the_prompt(sim: Simulator, key: str) -> None:
    said = sim.chat(key).json()["choices"][0]["message"]["content"]
    assert "tides" in said
    haiku = sim.chat(key, prompt="Write a haiku about the sea").json()["choices"][0]["message"]["content"]
    assert len(haiku.splitlines()) == 3
    assert sim.chat(key, prompt="Say pong").json()["choices"][0]["message"]["content"] == "pong"


def test_max_tokens_cuts_the_answer(sim: Simulator, key: str) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        limit: dict[str, Any] = {name: 5}
        body = sim.chat(key, **limit).json()
        assert body["choices"][0]["finish_reason"] == "length"
        assert body["usage"]["completion_tokens"] == 5


def test_stop_sequence_ends_the_answer(sim: Simulator, key: str) -> None:
    whole = sim.chat(key).json()["choices"][0]["message"]["content"]
    cut = sim.chat(key, stop=[".", "zzz"]).json()["choices"][0]
    assert cut["message"]["content"] == whole.partition(".")[0]
    assert cut["finish_reason"] == "stop"


def test_tool_is_called_after_a_user_and_not_after_a_tool(sim: Simulator, key: str) -> None:
    asked: dict[str, Any] = {"tools": [WEATHER], "prompt": "What is the weather in Lisbon?"}
    choice = sim.chat(key, **asked).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    called = choice["message"]["tool_calls"][0]
    assert json.loads(called["function"]["arguments"]) == {"city": "Lisbon", "unit": "celsius"}
    history = [
        {"role": "user", "content": asked["prompt"]},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": called["id"], "content": "18 degrees"},
    ]
    after = sim.chat(key, tools=[WEATHER], messages=history).json()["choices"][0]
    assert after["finish_reason"] == "stop"
    assert "Lisbon" in after["message"]["content"]


def test_tool_choice_none_and_named(sim: Simulator, key: str) -> None:
    assert sim.chat(key, tools=[WEATHER], tool_choice="none").json()["choices"][0]["finish_reason"] == "stop"
    clock = {"type": "function", "function": {"name": "clock"}}
    chosen = sim.chat(key, tools=[WEATHER, clock], tool_choice=clock).json()["choices"][0]
    assert chosen["message"]["tool_calls"][0]["function"] == {"name": "clock", "arguments": "{}"}


def test_structured_output_satisfies_its_schema(sim: Simulator, key: str) -> None:
    schema = WEATHER["function"]["parameters"]  # type: ignore[index]
    form = {"type": "json_schema", "json_schema": {"name": "w", "strict": True, "schema": schema}}
    said = sim.chat(key, response_format=form).json()["choices"][0]["message"]["content"]
    assert set(json.loads(said)) == {"city", "unit"}
    said = sim.chat(key, response_format={"type": "json_object"}).json()["choices"][0]["message"]["content"]
    assert isinstance(json.loads(said), dict)


def test_reasoning_is_counted_inside_completion_tokens(sim: Simulator, key: str) -> None:
    body = sim.chat(key, reasoning={"effort": "low"}).json()
    plain = sim.chat(key).json()["usage"]["completion_tokens"]
    assert body["choices"][0]["message"]["reasoning"]
    used = body["usage"]
    assert used["completion_tokens"] - used["completion_tokens_details"]["reasoning_tokens"] == plain
    hidden = sim.chat(key, reasoning={"effort": "low", "exclude": True}).json()
    assert hidden["choices"][0]["message"]["reasoning"] is None
    assert hidden["usage"] == used


def test_pictures_go_in_and_out(sim: Simulator, key: str) -> None:
    content = [
        {"type": "text", "text": PROMPT},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
    ]
    with_picture = sim.chat(key, messages=[{"role": "user", "content": content}]).json()["usage"]
    assert with_picture["prompt_tokens"] - sim.chat(key).json()["usage"]["prompt_tokens"] == 765
    drawn = sim.chat(key, model="google/gemini-2.5-flash-image", modalities=["image", "text"]).json()
    assert drawn["choices"][0]["message"]["images"][0]["image_url"]["url"].startswith(
        "data:image/png;base64,"
    )
    assert drawn["usage"]["completion_tokens_details"]["image_tokens"] == 1290


def test_fallback_is_billed_at_the_model_that_served(sim: Simulator, key: str) -> None:
    names = ["openai/gpt-4o:sim=provider_down", "google/gemini-2.5-flash"]
    body = sim.chat(key, model=names[0], models=names).json()
    direct = sim.chat(key, model=names[1]).json()
    assert body["model"] == "google/gemini-2.5-flash"
    assert body["usage"]["cost"] == direct["usage"]["cost"]


def test_unknown_first_model_falls_to_the_first_known(sim: Simulator, key: str) -> None:
    assert sim.chat(key, model="no/such", models=[MODEL]).json()["model"] == MODEL


def test_router_resolves_to_a_concrete_model(sim: Simulator, key: str) -> None:
    body = sim.chat(key, model="openrouter/auto").json()
    assert body["model"] not in {"openrouter/auto", ""}
    assert body["usage"]["cost"] > 0
    assert sim.chat(key, model="openrouter/free").json()["usage"]["cost"] == 0


def test_variants_and_presets_are_known(sim: Simulator, key: str) -> None:
    for name in (f"{MODEL}:nitro", f"{MODEL}@preset/mine", "@preset/mine", "openai/gpt-oss-20b:free"):
        assert sim.chat(key, model=name).status_code == 200
    with_search = sim.chat(key, model=f"{MODEL}:online").json()
    assert with_search["usage"]["cost"] > 0.007
    assert with_search["choices"][0]["message"]["annotations"][0]["type"] == "url_citation"


def test_provider_preferences_choose_the_endpoint(sim: Simulator, key: str) -> None:
    chosen = sim.chat(key, provider={"only": ["azure"]}).json()
    assert chosen["provider"] == "Azure"
    refused = sim.chat(key, provider={"only": ["groq"]})
    assert refused.status_code == 404
    dear = sim.chat(key, provider={"max_price": {"prompt": 0.1, "completion": 1}})
    assert dear.status_code == 404
    assert sim.chat(key, provider={"max_price": {"prompt": 0.15, "completion": 0.6}}).status_code == 200


def test_legacy_completion_answers_with_text(sim: Simulator, key: str) -> None:
    body = sim.post("/completions", key, {"model": MODEL, "prompt": PROMPT}).json()
    assert body["object"] == "text_completion"
    assert "tides" in body["choices"][0]["text"]
    assert body["usage"]["cost"] > 0


def test_old_key_order_and_dated_slug(sim: Simulator, key: str) -> None:
    body = sim.chat(key, "key_order=old,permaslug", model="anthropic/claude-sonnet-4.6").json()
    assert list(body)[:5] == ["id", "provider", "model", "object", "created"]
    assert body["model"] == "anthropic/claude-4.6-sonnet-20260217"


def test_metadata_comes_on_request_only(sim: Simulator, key: str) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"X-OpenRouter-Metadata": "enabled"}
    assert "openrouter_metadata" in sim.post("/chat/completions", key, body, **headers).json()
    assert "openrouter_metadata" not in sim.post("/chat/completions", key, body).json()
