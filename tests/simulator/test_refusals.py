"""Answers in the place of an answer: errors of every kind, HTML, redirects, and connections that just close."""

import httpx
import pytest

from tests.simulator import process
from tests.simulator.process import MODEL, Simulator


@pytest.mark.parametrize("status", [400, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 524, 529])
def test_any_status_comes_in_upstreams_envelope(sim: Simulator, key: str, status: int) -> None:
    answer = sim.chat(key, f"status={status}")
    body = answer.json()
    assert answer.status_code == body["error"]["code"] == status
    assert body["error"]["message"]
    assert body["user_id"].startswith("user_")
    assert "X-Generation-Id" not in answer.headers
    assert ("retry-after" in answer.headers) is (status in {429, 503})


def test_rate_limit_says_its_numbers_twice(sim: Simulator, key: str) -> None:
    answer = sim.chat(key, "status=429,retry_after=7")
    assert answer.headers["Retry-After"] == "7"
    assert answer.headers["X-RateLimit-Reset"] == "1788220800000"
    repeated = answer.json()["error"]["metadata"]["headers"]
    assert repeated == {name: answer.headers[name] for name in repeated}
    assert len(repeated) == 3


def test_provider_error_names_the_provider(sim: Simulator, key: str) -> None:
    error = sim.chat(key, "status=429,error_style=provider").json()["error"]
    assert error["message"] == "Provider returned error"
    assert error["metadata"]["provider_name"] == "OpenAI"
    assert "rate-limited upstream" in error["metadata"]["raw"]


def test_newest_error_shape_has_no_code(sim: Simulator, key: str) -> None:
    answer = sim.chat(key, "status=404,error_style=availability")
    assert answer.status_code == answer.json()["error"]["http_status"] == 404
    assert "code" not in answer.json()["error"]
    assert answer.json()["error"]["availability"]["code"] == "no_endpoints"


def test_error_after_routing_has_an_id_and_a_record(sim: Simulator, key: str) -> None:
    answer = sim.chat(key, "status=502,error_generation")
    record = sim.generation(answer.headers["X-Generation-Id"], key)
    assert (record["total_cost"], record["finish_reason"]) == (0, "error")
    billed = sim.chat(key, "status=502,error_generation,error_billed")
    record = sim.generation(billed.headers["X-Generation-Id"], key)
    assert record["total_cost"] == sim.spent(key) > 0


def test_html_page_from_the_edge(sim: Simulator, key: str) -> None:
    answer = sim.chat(key, "html=503")
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("place", ["top", "choice"])
def test_success_with_an_error_inside(sim: Simulator, key: str, place: str) -> None:
    answer = sim.chat(key, f"ok_error={place},generation_delay_ms=0")
    body = answer.json()
    assert answer.status_code == 200
    if place == "top":
        assert set(body) == {"error", "user_id"}
    else:
        assert body["choices"][0]["finish_reason"] == "error"
        assert body["usage"]["cost"] == 0
    assert sim.generation(answer.headers["X-Generation-Id"], key)["total_cost"] == 0


def test_redirect_points_to_a_place_that_counts(sim: Simulator, key: str) -> None:
    before = sim.control("GET", "requests", last="1")["elsewhere"]
    answer = sim.chat(key, "redirect=307")
    assert (answer.status_code, answer.headers["location"]) == (307, "/__sim/elsewhere")
    assert sim.control("GET", "requests", last="1")["elsewhere"] == before
    sim.client.post(f"{sim.sim_url}{answer.headers['location']}")
    assert sim.control("GET", "requests", last="1")["elsewhere"] == before + 1


@pytest.mark.parametrize("style", ["rst", "fin"])
def test_connection_closes_before_any_header(sim: Simulator, key: str, style: str) -> None:
    raw, was_reset = process.read_all(sim.begin(key, f"close_before_headers={style}"))
    assert (raw, was_reset) == (b"", style == "rst")
    assert sim.calls(key) == 0


def test_headers_can_be_late_early_leaky(sim: Simulator, key: str) -> None:
    assert sim.chat(key, "delay_headers_ms=80").elapsed.total_seconds() > 0.08
    leaky = sim.chat(key, "leaky_headers,set_cookie")
    assert leaky.headers["x-openrouter-user"].startswith("user_")
    assert leaky.headers["set-cookie"].startswith("__cf_bm=")
    with sim.begin(key, "early_headers,first_token_ms=600") as connection:
        head = process.read_until(connection, b"\r\n\r\n")
        assert b"X-Generation-Id" in head
        assert head.endswith(b"\r\n\r\n")
        assert b'"usage"' in process.read_until(connection, b"0\r\n\r\n")


def test_every_answer_has_a_request_id(sim: Simulator, key: str) -> None:
    answers = [sim.chat(key), sim.chat(key, "status=400"), sim.get("/models"), sim.get("/nothing")]
    ids = [answer.headers["request-id"] for answer in answers]
    assert len(set(ids)) == 4
    assert sim.generation(answers[0].headers["X-Generation-Id"], key)["request_id"] == ids[0]


def test_moderation_is_told_in_each_envelope(sim: Simulator, key: str) -> None:
    faults = "status=403,error_style=moderation"
    told = sim.chat(key, faults).json()["error"]
    assert told["metadata"]["reasons"] == ["violence"]
    body = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    told = sim.post("/messages", key, body, faults).json()["error"]
    assert (told["type"], told["error_type"]) == ("permission_error", "content_policy_violation")
    told = sim.post("/responses", key, {"model": MODEL, "input": "x"}, faults).json()
    assert told["error_type"] == "content_policy_violation"


def test_leaky_error_names_the_key_and_the_account(sim: Simulator, key: str) -> None:
    told = sim.chat(key, "status=400,error_style=leaky").text
    assert all(
        secret in told for secret in (key, "org_2", "operator@example.com", "$12.34", "settings/credits")
    )


def test_padding_is_sent_without_being_kept(sim: Simulator, key: str) -> None:
    size = 3_000_000
    padded = sim.chat(key, f"pad_bytes={size}")
    assert len(padded.content) - size == len(padded.content.lstrip())
    assert padded.json()["usage"]["cost"] > 0
    assert sim.chat(key, f"pad_bytes={size},gzip").json()["usage"]["cost"] > 0
    lines = sim.chat(key, f"pad_bytes={size},comments_before=0", stream=True).content.split(b"\n")
    assert lines[0].startswith(b"data:" + b" " * size)
    assert lines[0].endswith(b"}")
    with sim.begin(key, "pad_bytes=100000000000") as connection:
        process.read_until(connection, b" " * 1000)
    process.eventually(lambda: True if sim.calls(key) == 4 else None)


def test_json_answer_can_be_padded_split_and_cut(sim: Simulator, key: str) -> None:
    padded = sim.chat(key, "pad_bytes=1000,split=100")
    assert padded.content.startswith(b" " * 1000 + b"{")
    assert padded.json()["usage"]["cost"] > 0
    raw, was_reset = process.read_all(sim.begin(key, "cut_after=0,cut_bytes=30"))
    assert was_reset
    assert len(raw.partition(b"\r\n\r\n")[2]) == 30
    with pytest.raises(httpx.RemoteProtocolError):
        sim.chat(key, "cut_after=0,cut_style=fin")
    assert sim.calls(key) == 3


def test_free_routes_take_knobs_by_header(sim: Simulator) -> None:
    assert sim.get("/models", faults="status=503").status_code == 503
    assert sim.get("/models", faults="html=502").text.startswith("<!DOCTYPE")
    assert len(sim.get("/models", faults="gzip,split=5000").json()["data"]) >= 300


def test_last_candidate_down_is_a_bad_gateway(sim: Simulator, key: str) -> None:
    answer = sim.chat(key, model=f"{MODEL}:sim=provider_down", models=["openai/gpt-4o:sim=status=503"])
    assert answer.status_code == 503
    answer = sim.chat(key, "provider_down")
    assert answer.status_code == 502
    assert answer.json()["error"]["metadata"]["provider_name"] == "OpenAI"
