"""GET /generation: late, private, and as strange as a knob wants it."""

import time

import pytest

from tests.simulator.process import Simulator, decoded

REQUIRED = """id upstream_id total_cost cache_discount upstream_inference_cost created_at model app_id streamed
cancelled provider_name latency moderation_latency generation_time finish_reason native_finish_reason service_tier
tokens_prompt tokens_completion native_tokens_prompt native_tokens_completion native_tokens_completion_images
native_tokens_reasoning native_tokens_cached num_media_prompt num_input_audio_prompt num_media_completion
num_search_results num_fetches web_search_engine origin usage is_byok external_user api_type preset_id router
provider_responses user_agent http_referer data_region workspace_id"""


def test_record_has_every_field_and_the_charge(sim: Simulator, key: str) -> None:
    answer = sim.chat(key, user="customer-7")
    record = sim.generation(answer.headers["X-Generation-Id"], key)
    used = decoded(answer.text)["usage"]
    assert set(REQUIRED.split()) <= set(record)
    assert record["total_cost"] == record["usage"] == used["cost"]
    assert record["native_tokens_prompt"] == used["prompt_tokens"]
    assert record["native_tokens_completion"] == used["completion_tokens"]
    assert (record["external_user"], record["streamed"], record["cancelled"]) == ("customer-7", False, False)
    assert record["created_at"].endswith("Z")


def test_record_is_not_there_at_once(sim: Simulator, key: str) -> None:
    generation = sim.chat(key, "generation_delay_ms=1000").headers["X-Generation-Id"]
    early = sim.get("/generation", key, id=generation)
    assert early.status_code == 404
    assert early.json()["error"] == {"message": f"Generation {generation} not found", "code": 404}
    assert sim.generation(generation, key)["id"] == generation


def test_other_keys_do_not_see_it(sim: Simulator, key: str) -> None:
    generation = sim.chat(key, "generation_delay_ms=0").headers["X-Generation-Id"]
    assert sim.get("/generation", key, id=generation).status_code == 200
    assert sim.get("/generation", f"{key}-other", id=generation).status_code == 404
    assert sim.get("/generation", "", id=generation).status_code == 401
    assert sim.get("/generation", key, id="gen-1-unknown").status_code == 404
    assert sim.get("/generation", key).status_code == 400


def test_record_can_come_late_or_never(sim: Simulator, key: str) -> None:
    late = sim.chat(key, "generation_delay_ms=60000").headers["X-Generation-Id"]
    never = sim.chat(key, "generation=never,generation_delay_ms=0").headers["X-Generation-Id"]
    for generation in (late, never):
        assert sim.get("/generation", key, id=generation).status_code == 404
    assert sim.calls(key) == 2


def test_record_can_name_another_model(sim: Simulator, key: str) -> None:
    answer = sim.chat(key, "generation=other-model,generation_delay_ms=0")
    record = sim.generation(answer.headers["X-Generation-Id"], key)
    assert record["model"] != answer.json()["model"]


def test_record_can_change_after_the_first_look(sim: Simulator, key: str) -> None:
    generation = sim.chat(key, "generation=changed,generation_delay_ms=0").headers["X-Generation-Id"]
    first, second = sim.generation(generation, key), sim.generation(generation, key)
    assert second["total_cost"] == 2 * first["total_cost"]
    assert sim.spent(key) == first["total_cost"]


def test_first_looks_can_fail(sim: Simulator, key: str) -> None:
    faults = "generation_delay_ms=0,generation_failures=2"
    generation = sim.chat(key, faults).headers["X-Generation-Id"]
    looks = [sim.get("/generation", key, id=generation).status_code for _ in range(3)]
    assert looks == [503, 503, 200]


def test_own_provider_key_shows_its_price_in_the_record(sim: Simulator, key: str) -> None:
    answer = sim.chat(key, "byok,generation_delay_ms=0")
    record = sim.generation(answer.headers["X-Generation-Id"], key)
    assert (record["total_cost"], record["is_byok"]) == (0, True)
    assert record["upstream_inference_cost"] > 0


def test_first_looks_can_fail_with_any_status(sim: Simulator, key: str) -> None:
    faults = "generation_delay_ms=0,generation_failures=1,generation_status=429"
    generation = sim.chat(key, faults).headers["X-Generation-Id"]
    looks = [sim.get("/generation", key, id=generation).status_code for _ in range(2)]
    assert looks == [429, 200]


def test_look_can_take_its_time(sim: Simulator, key: str) -> None:
    generation = sim.chat(key, "generation_delay_ms=0,generation_stall_ms=300").headers["X-Generation-Id"]
    started = time.monotonic()
    assert sim.get("/generation", key, id=generation).status_code == 200
    assert time.monotonic() - started >= 0.3


def test_record_can_say_nothing_first_and_the_cost_later(sim: Simulator, key: str) -> None:
    faults = "generation=zero-first,generation_delay_ms=0"
    generation = sim.chat(key, faults).headers["X-Generation-Id"]
    costs = [sim.generation(generation, key)["total_cost"] for _ in range(2)]
    assert costs == [0, sim.spent(key)]
    assert costs[1] > 0


def test_cost_can_change_at_its_time(sim: Simulator, key: str) -> None:
    faults = "generation=zero-first,generation_delay_ms=0,generation_change_ms=300"
    generation = sim.chat(key, faults).headers["X-Generation-Id"]
    costs = [sim.generation(generation, key)["total_cost"] for _ in range(2)]
    time.sleep(0.3)
    assert [*costs, sim.generation(generation, key)["total_cost"]] == [0, 0, sim.spent(key)]


@pytest.mark.parametrize(
    ("knob", "field"),
    [
        ("other-id", "id"),
        ("other-user", "external_user"),
        ("other-time", "created_at"),
        ("other-model", "model"),
    ],
)
def test_record_can_be_another_call_s(sim: Simulator, key: str, knob: str, field: str) -> None:
    faults = "generation_delay_ms=0"
    right = sim.generation(sim.chat(key, faults, user="me").headers["X-Generation-Id"], key)
    generation = sim.chat(key, f"{faults},generation={knob}", user="me").headers["X-Generation-Id"]
    wrong = sim.generation(generation, key)
    expected = {"id": generation, "external_user": "me", "model": right["model"]}
    assert wrong[field] != expected.get(field)
    if field == "created_at":
        assert wrong[field][:10] < right[field][:10]
