"""Speech, transcription, images and videos."""

import base64
import json
from typing import Any

import pytest

from tests.simulator.process import Simulator, decoded, eventually, frames, read_until

SPEECH = {"model": "openai/gpt-4o-mini-tts", "input": "Good evening, and welcome. " * 10, "voice": "alloy"}
FILM = {"model": "google/veo-3.1", "prompt": "a red house", "duration": 4}


def test_speech_is_bytes_and_its_cost_is_in_the_record(sim: Simulator, key: str) -> None:
    asked = {"model": "openai/gpt-4o-mini-tts", "input": "Good evening.", "voice": "alloy"}
    answer = sim.post("/audio/speech", key, asked)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.content[:2] == b"\xff\xfb"
    record = sim.generation(answer.headers["X-Generation-Id"], key)
    assert record["api_type"] == "tts"
    assert record["total_cost"] == sim.spent(key) > 0


def test_speech_comes_as_it_is_made(sim: Simulator, key: str) -> None:
    answer = sim.post("/audio/speech", key, SPEECH, "chunk_delay_ms=1,crlf,comments_between=2,after_done")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.content == sim.post("/audio/speech", key, SPEECH).content
    assert len(answer.content) == 19 * 417


@pytest.mark.parametrize("faults", ["first_token_ms=5000", "chunk_delay_ms=50"])
def test_speech_is_paid_in_full_once_any_of_it_came(faults: str, sim: Simulator, key: str) -> None:
    body = json.dumps(SPEECH).encode()
    head = f"POST /api/v1/audio/speech HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    head += f"X-Sim-Faults: {faults}\r\nContent-Length: {len(body)}\r\n\r\n"
    came = "chunk" in faults
    with sim.connect() as connection:
        connection.sendall(head.encode() + body)
        read_until(connection, b"\xff\xfb" if came else b"\r\n\r\n")
    eventually(lambda: True if sim.calls(key) else None)
    left_behind = sim.spent(key)
    sim.post("/audio/speech", key, SPEECH)
    assert sim.spent(key) - left_behind == (left_behind if came else sim.spent(key)) > 0


def test_transcription_takes_json_and_forms(sim: Simulator, key: str) -> None:
    sound = base64.b64encode(bytes(40_000)).decode()
    asked = {"model": "openai/whisper-1", "input_audio": {"data": sound, "format": "wav"}}
    body = decoded(sim.post("/audio/transcriptions", key, asked).text)
    assert body["usage"]["seconds"] == 2
    assert body["usage"]["cost"] == sim.spent(key) > 0
    form = sim.client.post(
        f"{sim.url}/audio/transcriptions",
        data={"model": "openai/whisper-1"},
        files={"file": ("a.wav", bytes(20_000))},
        headers={"Authorization": f"Bearer {key}"},
    )
    assert form.json()["usage"]["seconds"] == 1
    asked["input_audio"] = {"data": "!"}
    assert sim.post("/audio/transcriptions", key, asked).status_code == 400


def test_images_whole_and_streamed(sim: Simulator, key: str) -> None:
    asked = {"model": "openai/gpt-image-1", "prompt": "a red house", "n": 2}
    body = decoded(sim.post("/images", key, asked).text)
    assert len(body["data"]) == 2
    assert base64.b64decode(body["data"][0]["b64_json"]).startswith(b"\x89PNG")
    assert body["usage"]["cost"] == sim.spent(key) > 0
    events = frames(sim.post("/images", key, {**asked, "stream": True}).text)
    assert [event["type"] for event in events[:-1]] == [
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert events[-2]["usage"]["cost"] == body["usage"]["cost"]


def test_video_is_a_job_that_shows_its_cost_when_done(sim: Simulator, key: str) -> None:
    accepted = sim.post("/videos", key, FILM)
    assert accepted.status_code == 202
    job = accepted.json()["id"]
    assert sim.get(f"/videos/{job}", key).json()["status"] == "in_progress"
    assert sim.get(f"/videos/{job}/content", key).status_code == 404
    done = eventually(lambda: _completed(sim, job, key))
    assert done["usage"]["cost"] == sim.spent(key) > 0
    assert done["polling_url"] == accepted.json()["polling_url"] == f"{sim.url}/videos/{job}"
    assert done["generation_id"] == accepted.headers["X-Generation-Id"]
    assert sim.get(f"/videos/{job}/content", key, index="0").headers["content-type"] == "video/mp4"
    assert sim.get(f"/videos/{job}", f"{key}-other").status_code == 404


def _completed(sim: Simulator, job: str, key: str) -> dict[str, Any] | None:
    found: dict[str, Any] = decoded(sim.get(f"/videos/{job}", key).text)
    return found if found["status"] == "completed" else None


@pytest.mark.parametrize("ending", ["failed", "cancelled", "expired"])
def test_job_that_does_not_end_well_costs_nothing_and_has_no_film(
    ending: str, sim: Simulator, key: str
) -> None:
    accepted = sim.post("/videos", key, FILM, f"job={ending},job_ms=0")
    job = accepted.json()["id"]
    told = sim.get(f"/videos/{job}", key).json()
    assert told["status"] == ending
    assert told["error"]
    assert "usage" not in told
    assert sim.get(f"/videos/{job}/content", key).status_code == 404
    assert sim.generation(accepted.headers["X-Generation-Id"], key)["total_cost"] == sim.spent(key) == 0


def test_job_may_hide_its_cost_or_never_end(sim: Simulator, key: str) -> None:
    silent = sim.post("/videos", key, FILM, "omit_usage,job_ms=0").json()["id"]
    told = sim.get(f"/videos/{silent}", key).json()
    assert (told["status"], "usage" in told) == ("completed", False)
    assert sim.spent(key) > 0
    stuck = sim.post("/videos", key, FILM, "job=stuck,job_ms=0").json()["id"]
    assert sim.get(f"/videos/{stuck}", key).json()["status"] == "in_progress"
