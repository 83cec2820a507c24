"""Speech, transcription, images and videos."""

import base64
from typing import Any

from tests.simulator.process import Simulator, decoded, eventually, frames


def test_speech_is_bytes_and_its_cost_is_in_the_record(sim: Simulator, key: str) -> None:
    asked = {"model": "openai/gpt-4o-mini-tts", "input": "Good evening.", "voice": "alloy"}
    answer = sim.post("/audio/speech", key, asked)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.content[:2] == b"\xff\xfb"
    record = sim.generation(answer.headers["X-Generation-Id"], key)
    assert record["api_type"] == "tts"
    assert record["total_cost"] == sim.spent(key) > 0


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
    asked = {"model": "google/veo-3.1", "prompt": "a red house", "duration": 4}
    accepted = sim.post("/videos", key, asked)
    assert accepted.status_code == 202
    job = accepted.json()["id"]
    assert sim.get(f"/videos/{job}", key).json()["status"] == "in_progress"
    assert sim.get(f"/videos/{job}/content", key).status_code == 404
    done = eventually(lambda: _completed(sim, job, key))
    assert done["usage"]["cost"] == sim.spent(key) > 0
    assert done["generation_id"] == accepted.headers["X-Generation-Id"]
    assert sim.get(f"/videos/{job}/content", key, index="0").headers["content-type"] == "video/mp4"
    assert sim.get(f"/videos/{job}", f"{key}-other").status_code == 404


def _completed(sim: Simulator, job: str, key: str) -> dict[str, Any] | None:
    found: dict[str, Any] = decoded(sim.get(f"/videos/{job}", key).text)
    return found if found["status"] == "completed" else None
