"""Speech, transcription, images and videos: bytes, base64 and jobs in place of text."""

import base64
import re
from typing import Any

import orjson

from simulator import answers, calls, checks, generations, keys, text, usage
from simulator.calls import Call, Need, Script, Work
from simulator.errors import APIError
from simulator.pricing import Bill, Tally
from simulator.traffic import Body, Reply, Request, json_reply
from simulator.world import JOBS_MAX, World

# A silent MPEG-1 layer III frame: 128 kbit/s at 44.1 kHz.
_SILENCE = b"\xff\xfb\x90\x64" + bytes(413)
_BYTES_PER_SECOND = 16_000
# More than a reader takes at once.
FILM = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 2_000
_FAILURES = {
    "failed": "The provider could not make this video.",
    "cancelled": "The job was cancelled.",
    "expired": "The job has expired.",
}
_DATA_URL = re.compile(r"^data:[^,]*,")


def _words(body: Body, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise checks.invalid(name, "a string")
    return value


def _need(body: Body, output: str, api: str, tokens: int, *, streamed: bool = False) -> Need:
    return Need(
        names=(_words(body, "model"),),
        seed=0,
        prompt_tokens=tokens,
        output=output,
        api=api,
        streamed=streamed,
        provider=checks.section(body, "provider"),
    )


def speech(world: World, request: Request) -> Work:
    """POST /audio/speech: bytes only; the cost is in the generation record, by input character."""
    key, body = calls.read(request)
    said = _words(body, "input")
    call = calls.begin(world, request, key, _need(body, "speech", "tts", len(said)))
    pcm = body.get("response_format") == "pcm"
    # As it is made; once any of it came the call is paid in full, whether or not its client stays.
    sound = bytes(4_800) if pcm else _SILENCE
    frames = [(sound, 1)] * (1 + len(said) // 15)
    content_type = "audio/pcm;rate=24000;channels=1" if pcm else "audio/mpeg"
    script = Script(frames, lambda _: [], lambda _style, _bill: [], done=b"", content_type=content_type)
    return Work(call=call, tokens=len(frames), tally=lambda _: call.tally(completion=0), script=script)


def transcriptions(world: World, request: Request) -> Work:
    """POST /audio/transcriptions: JSON with base64 or a multipart form."""
    key = keys.authenticate(request)
    model, sound = _upload(request)
    seconds = max(len(sound) // _BYTES_PER_SECOND, 1)
    call = calls.begin(world, request, key, _need({"model": model}, "transcription", "stt", 10 * seconds))
    said = text.pieces(f"This is a recording of about {seconds} seconds.")

    def tally(produced: int) -> Tally:
        return call.tally(completion=produced, requests=seconds)

    def render(bill: Bill) -> Reply:
        counts = {"input_tokens": bill.tally.prompt, "output_tokens": bill.tally.completion}
        total = bill.tally.prompt + bill.tally.completion
        used = usage.units(bill, call.faults, seconds=seconds, **counts, total_tokens=total)
        return _reply(call, {"text": "".join(said)}, used)

    return Work(call=call, tokens=len(said), tally=tally, render=render)


def _upload(request: Request) -> tuple[str, bytes]:
    """Model and sound of either form."""
    if request.header("content-type").startswith("multipart/form-data"):
        model = re.search(rb'name="model"[^\r\n]*(?:\r\n[^\r\n]+)*\r\n\r\n([^\r\n]+)\r\n', request.body)
        if model is None:
            raise checks.invalid("model", "a field of the form")
        return model[1].decode(errors="replace"), request.body
    body = checks.json_object(request)
    sound = checks.section(body, "input_audio").get("data") or body.get("file") or ""
    try:
        decoded = base64.b64decode(_DATA_URL.sub("", str(sound)), validate=True)
    except ValueError as exc:
        raise checks.invalid("input_audio.data", "base64") from exc
    if not decoded:
        raise checks.invalid("input_audio.data", "base64")
    return _words(body, "model"), decoded


def _reply(call: Call, value: Body, used: Body | None, *, status: int = 200) -> Reply:
    if used is not None:
        value["usage"] = used
    if call.faults.ok_error:
        value = {"error": {"code": 502, "message": "Provider returned error"}}
    return json_reply(value, status=status, headers=call.headers, spoilt=call.faults)


def images(world: World, request: Request) -> Work:
    """POST /images: pictures are charged all or nothing; as JSON or as a stream of two events."""
    key, body = calls.read(request)
    prompt = _words(body, "prompt")
    number = min(checks.positive(body, "n") or 1, 10)
    streamed = checks.flag(body, "stream")
    call = calls.begin(
        world, request, key, _need(body, "image", "image", text.tokens_in(prompt), streamed=streamed)
    )
    tokens = number * answers.IMAGE_TOKENS
    pictures = [{"b64_json": answers.PIXEL_BASE64, "media_type": "image/png"} for _ in range(number)]

    def used(bill: Bill) -> Body | None:
        tally = bill.tally
        counts = {"prompt_tokens": tally.prompt, "completion_tokens": tally.completion}
        return usage.units(bill, call.faults, **counts, total_tokens=tally.prompt + tally.completion)

    def event(kind: str, **fields: Any) -> bytes:
        return b"data: " + orjson.dumps({"type": f"image_generation.{kind}", **fields}) + b"\n\n"

    def closing(bill: Bill) -> list[bytes]:
        fields: Body = {"created": call.created, "b64_json": answers.PIXEL_BASE64}
        found = used(bill)
        return [event("completed", **fields, **({} if found is None else {"usage": found}))]

    def failure(_style: str, _bill: Bill) -> list[bytes]:
        return [event("failed", error={"code": 502, "message": "Provider returned error"})]

    def tally(produced: int) -> Tally:
        return call.tally(completion=produced, images=produced)

    work = Work(call=call, tokens=tokens, tally=tally)
    if streamed:
        partial = event("partial_image", partial_image_index=0, b64_json=answers.PIXEL_BASE64)
        work.script = Script([(partial, 0)], closing, failure)
    else:
        value: Body = {"created": call.created, "data": pictures}
        work.render = lambda bill: _reply(call, value, used(bill))
    return work


def videos(world: World, request: Request) -> Work:
    """POST /videos: 202 and a job; the cost shows when the job is completed. One that is not costs nothing."""
    key, body = calls.read(request)
    tokens = text.tokens_in(_words(body, "prompt"))
    seconds = checks.positive(body, "duration", "seconds") or 4
    call = calls.begin(world, request, key, _need(body, "video", "video", tokens))
    job = generations.new_id(call.created, "vid")
    url = _job_url(request, job)
    ending = call.faults.job
    failed = ending in _FAILURES

    def render(bill: Bill) -> Reply:
        done: Body = {"id": job, "polling_url": url, "generation_id": call.id, "model": call.model_name}
        done["status"] = ending
        if failed:
            done["error"] = _FAILURES[ending]
        else:
            done["unsigned_urls"] = [f"{url}/content?index=0"]
            if (used := usage.units(bill, call.faults)) is not None:
                done["usage"] = used
        ready_s = float("inf") if ending == "stuck" else call.faults.job_ms / 1000
        world.jobs[job] = (key, world.clock() + ready_s, done)
        if len(world.jobs) > JOBS_MAX:
            world.jobs.popitem(last=False)
        return _reply(call, {"id": job, "polling_url": url, "status": "pending"}, None, status=202)

    def tally(_produced: int) -> Tally:
        return call.tally(completion=0, requests=seconds)

    return Work(call=call, tokens=0, tally=tally, render=render, failed=failed)


def _job_url(request: Request, job: str) -> str:
    """Where a job is asked for: with upstream's own name, wherever the request came from."""
    return f"http://{request.header('host')}/api/v1/videos/{job}"


def _job(world: World, request: Request, job: str) -> tuple[bool, Body]:
    """Whether a job of this key is done, and how it reads when it is; APIError 404 for others."""
    key = keys.authenticate(request)
    owner, ready_at, done = world.jobs.get(job, ("", 0.0, {}))
    if owner != key:
        raise APIError(404, f"Video job {job} not found")
    return world.clock() >= ready_at, done


def video(world: World, request: Request, job: str) -> Reply:
    """GET /videos/{job}."""
    ready, done = _job(world, request, job)
    waiting = {"id": job, "polling_url": _job_url(request, job), "status": "in_progress"}
    return json_reply(done if ready else waiting)


def video_content(world: World, request: Request, job: str) -> Reply:
    """GET /videos/{job}/content."""
    ready, done = _job(world, request, job)
    if not ready or done["status"] != "completed":
        raise APIError(404, "Video content is not ready")
    spoilt = calls.knobs(world, request, scope="models")
    return Reply(200, FILM, content_type="video/mp4", faults=spoilt)
