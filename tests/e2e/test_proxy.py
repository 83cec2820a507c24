"""The drop-in proxy over real sockets: upstream's own bytes for every shape, and the right charge for each."""

import gzip
import json
import re
from decimal import Decimal
from typing import Any

import httpx
import pytest

from billing import money
from llm.shapes import table
from simulator.media import FILM
from tests import factories
from tests.e2e import threats
from tests.e2e.conftest import KEY, NO_TLS, Platform, eventually, open_holds
from tests.llm.test_shapes_simulated import BODIES

# That they may be late is tested elsewhere.
pytestmark = pytest.mark.usefixtures("prompt_records")

BASE = "/v1/proxy/openrouter"
STREAMS = ["chat", "completions", "responses", "messages", "images"]
INLINE = [shape for shape in BODIES if shape not in ("speech", "videos")]
# What differs between any two answers.
_IDS = re.compile(rb"(?:gen|msg|embd|resp|rs|chatcmpl|item|call|toolu)[-_][A-Za-z0-9_-]{6,}")
_TIMES = re.compile(rb'"(created|created_at|completed_at)":\d+')
FAULTS = [
    "", "crlf", "split=7", "comments_between=2", "event_lines", "unicode", "gzip", "no_done", "after_done",
    "usage_style=empty", "usage_style=null-finish", "usage_every_chunk", "midstream_error=finish",
    "midstream_error=usage", "midstream_error=empty", "midstream_error=choice", "midstream_error=string",
    "key_order=old,cost=noisy,comments_before=0", "byok,usage_style=empty,comments_before=30",
    "server_tool_usd=0.0001,split=1", "cost=exponent,permaslug,usage_style=null-finish,comments_between=5",
    "cached_tokens=3,cache_write_tokens=2,split=2",
]  # fmt: skip


def ask(platform: Platform, key: str, shape: str, faults: str = "", **more: Any) -> httpx.Response:
    body = {**BODIES[shape], **more}
    body["model"] += f":sim={faults}" if faults else ""
    return platform.post(key, body, path=f"{BASE}/{table.SHAPES[shape].path}")


def straight(platform: Platform, shape: str) -> httpx.Response:
    """The request that reached the upstream last, asked of the upstream itself."""
    url = f"{platform.upstream.url}/api/v1/{table.SHAPES[shape].path}"
    sent = platform.upstream.last_request()["body"]
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    return httpx.post(url, content=sent.encode(), headers=headers, verify=NO_TLS)


def alike(body: bytes) -> bytes:
    return _TIMES.sub(rb'"\1":0', _IDS.sub(b"id", body))


def spent_usd(member: factories.Cast) -> Decimal:
    spent = factories.GRANT_NANOCREDITS - factories.balance_nanocredits(member)
    return Decimal(spent) / 10**9 * Decimal("0.50") / Decimal("1.25")


def require_charged(platform: Platform, member: factories.Cast) -> None:
    """The company has paid what upstream's own books say, to the nanocredit, and nothing is held."""
    eventually(lambda: open_holds(member.company.id) == 0, what="the call is settled")
    cost_usd = Decimal(platform.upstream.ledger()["total_usd"])
    expected = money.charge_nanocredits(
        cost_usd=cost_usd, markup=Decimal("1.25"), credit_value_usd=Decimal("0.50")
    )
    assert factories.GRANT_NANOCREDITS - factories.balance_nanocredits(member) == expected


@pytest.mark.parametrize("faults", ["", "gzip", "pad_bytes=5000", "split=13", "early_headers"])
@pytest.mark.parametrize("shape", INLINE)
def test_json_answer_is_upstreams_to_the_byte(
    shape: str, faults: str, clean: Platform, acme: factories.Cast
) -> None:
    answer = ask(clean, acme.secret, shape, faults)
    assert answer.status_code == 200
    require_charged(clean, acme)
    assert spent_usd(acme) > 0
    theirs = straight(clean, shape)
    assert alike(answer.content) == alike(theirs.content)
    assert answer.headers["content-type"] == theirs.headers["content-type"]
    assert answer.headers.get("content-encoding") == theirs.headers.get("content-encoding")
    assert answer.headers["x-generation-id"].startswith("gen-")
    assert answer.headers["x-naive-generation-id"].startswith("gen_")


@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("shape", STREAMS)
def test_stream_is_upstreams_to_the_byte(
    shape: str, faults: str, clean: Platform, acme: factories.Cast
) -> None:
    answer = ask(clean, acme.secret, shape, faults, stream=True)
    assert answer.headers["content-type"] == "text/event-stream"
    require_charged(clean, acme)
    assert alike(answer.content) == alike(straight(clean, shape).content)


@pytest.mark.parametrize("shape", [*INLINE, "speech"])
def test_cost_that_the_answer_does_not_tell_is_asked_for(
    shape: str, clean: Platform, acme: factories.Cast
) -> None:
    answer = ask(clean, acme.secret, shape, "omit_cost")
    assert answer.status_code == 200
    require_charged(clean, acme)
    assert spent_usd(acme) > 0


@pytest.mark.parametrize("shape", STREAMS)
def test_stream_without_cost_ends_as_upstreams_does(
    shape: str, clean: Platform, acme: factories.Cast
) -> None:
    answer = ask(clean, acme.secret, shape, "omit_cost", stream=True)
    require_charged(clean, acme)
    assert alike(answer.content) == alike(straight(clean, shape).content)


def test_sound_passes_and_is_charged_by_its_record(clean: Platform, acme: factories.Cast) -> None:
    answer = ask(clean, acme.secret, "speech")
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.content == straight(clean, "speech").content
    clean.upstream.reset()
    answer = ask(clean, factories.globex().secret, "speech")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_sound_that_breaks_is_not_taken_for_a_whole_one(clean: Platform, acme: factories.Cast) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        ask(clean, acme.secret, "speech", "cut_after=0,cut_bytes=300")
    require_charged(clean, acme)


@pytest.mark.parametrize("status", [400, 404, 408, 413, 422, 429, 500, 502, 503, 529])
@pytest.mark.parametrize("shape", ["chat", "responses", "messages", "embeddings"])
def test_upstreams_error_keeps_status_and_shape(
    shape: str, status: int, clean: Platform, acme: factories.Cast
) -> None:
    answer = ask(clean, acme.secret, shape, f"status={status}")
    assert answer.status_code == status
    theirs = straight(clean, shape)
    assert answer.json().keys() == theirs.json().keys()
    assert b"user_2" not in answer.content
    assert answer.headers.get("retry-after") == theirs.headers.get("retry-after")
    assert open_holds(acme.company.id) == 0
    assert spent_usd(acme) == 0


@pytest.mark.parametrize("status", [401, 402, 403])
def test_operators_own_refusal_is_a_502(status: int, clean: Platform, acme: factories.Cast) -> None:
    answer = ask(clean, acme.secret, "chat", f"status={status}")
    assert answer.status_code == 502
    assert "operator" in answer.json()["error"]["message"]
    assert open_holds(acme.company.id) == 0


def test_page_of_upstreams_edge_passes_as_text(clean: Platform, acme: factories.Cast) -> None:
    answer = ask(clean, acme.secret, "chat", "html=503")
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.content == straight(clean, "chat").content


@pytest.mark.parametrize("place", ["top", "choice"])
def test_error_in_an_answer_that_succeeded_stays_there(
    place: str, clean: Platform, acme: factories.Cast
) -> None:
    answer = ask(clean, acme.secret, "chat", f"ok_error={place}")
    assert answer.status_code == 200
    assert "error" in answer.text
    assert b"user_2" not in answer.content
    require_charged(clean, acme)


def test_error_in_a_stream_loses_the_account_wherever_it_is_split(
    clean: Platform, acme: factories.Cast
) -> None:
    for split in (1, 2, 3, 50):
        answer = ask(clean, acme.secret, "chat", f"midstream_error=finish,split={split}", stream=True)
        assert b'"error"' in answer.content
        assert b"user_2" not in answer.content


@pytest.mark.parametrize("shape", STREAMS)
def test_stream_that_is_cut_ends_with_an_error_of_its_shape(
    shape: str, clean: Platform, acme: factories.Cast
) -> None:
    answer = ask(clean, acme.secret, shape, "cut_after=1", stream=True)
    assert b"error" in answer.content.strip().splitlines()[-1]
    assert answer.headers["x-naive-generation-id"].encode() in answer.content
    require_charged(clean, acme)


def test_only_what_must_is_changed_in_a_request(clean: Platform, acme: factories.Cast) -> None:
    ask(clean, acme.secret, "chat", user="bob", session_id="s1", trace={"x": 1}, provider={"order": ["a"]})
    sent = json.loads(clean.upstream.last_request()["body"])
    assert sent["provider"] == {"order": ["a"]}
    assert sent["user"] not in ("", "bob")
    assert sent["session_id"] not in ("", "s1")
    assert sent["trace"].keys() == {"x", "trace_id"}
    ask(clean, acme.secret, "rerank")
    assert json.loads(clean.upstream.last_request()["body"]) == BODIES["rerank"]


def test_headers_of_the_client_stay_here(clean: Platform, acme: factories.Cast) -> None:
    theirs = {
        "Cookie": "a=b", "X-Forwarded-For": "127.0.0.1", "X-OpenRouter-Cache": "true", "HTTP-Referer": "https://x.test",
        "X-Title": "x", "Proxy-Authorization": "Basic x", "TE": "trailers", "Connection": "authorization",
        "anthropic-beta": "tools-1", "x-session-id": "mine", "Accept-Encoding": "gzip",
    }  # fmt: skip
    platform_path = f"{BASE}/chat/completions"
    assert clean.post(acme.secret, BODIES["chat"], path=platform_path, headers=theirs).is_success
    headers = {name.lower(): value for name, value in dict(clean.upstream.last_request()["headers"]).items()}
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["anthropic-beta"] == "tools-1"
    assert headers["x-session-id"] not in ("", "mine")
    assert headers["accept-encoding"] == "identity"
    left = {
        "cookie",
        "x-forwarded-for",
        "x-openrouter-cache",
        "http-referer",
        "x-title",
        "te",
        "proxy-authorization",
    }
    assert not left & headers.keys()
    assert acme.secret not in json.dumps(headers)


def test_headers_of_the_operators_account_stay_there(clean: Platform, acme: factories.Cast) -> None:
    answer = ask(clean, acme.secret, "chat", "leaky_headers,set_cookie")
    assert answer.is_success
    allowed = {
        "content-type", "content-length", "content-encoding", "date", "server", "x-generation-id", "x-provider-name",
        "x-content-type-options", "content-security-policy", "x-request-id", "x-naive-generation-id",
        "x-naive-credits-held",
    }  # fmt: skip
    assert set(answer.headers) <= allowed


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_not_followed(status: int, clean: Platform, acme: factories.Cast) -> None:
    answer = ask(clean, acme.secret, "chat", f"redirect={status}")
    assert answer.status_code == 502
    assert "location" not in answer.headers
    assert clean.upstream.accepted() == 1
    assert open_holds(acme.company.id) == 0


@pytest.mark.parametrize("base", [BASE, f"{BASE}/api/v1"])
def test_both_base_urls_and_both_keys_open(base: str, clean: Platform, acme: factories.Cast) -> None:
    body = BODIES["messages"]
    assert clean.post(acme.secret, body, path=f"{base}/messages").is_success
    answer = clean.post(None, body, path=f"{base}/messages", headers={"x-api-key": acme.secret})
    assert answer.is_success
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    require_charged(clean, acme)


def test_kit_does_not_gate_the_proxy(clean: Platform, acme: factories.Cast) -> None:
    assert ask(clean, acme.secret, "chat", max_tokens=None).is_success
    require_charged(clean, acme)


def test_repeated_request_with_a_key_is_made_once(clean: Platform, acme: factories.Cast) -> None:
    path, headers = f"{BASE}/embeddings", {"Idempotency-Key": "proxy-embeddings-1"}
    first, second = (
        clean.post(acme.secret, BODIES["embeddings"], path=path, headers=headers) for _ in range(2)
    )
    assert first.content == second.content
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["content-type"] == "application/json"
    assert clean.upstream.accepted() == 1


def test_broke_company_reaches_nothing(clean: Platform) -> None:
    initech = factories.initech()
    for shape in BODIES:
        answer = ask(clean, initech.secret, shape)
        assert answer.status_code == 402, shape
    assert clean.upstream.accepted() == 0
    assert open_holds(initech.company.id) == 0


@pytest.mark.parametrize(
    "path", [
        "models", "models/count", "embeddings/models", "images/models", "videos/models", "providers", "endpoints/zdr",
        "models/openai/gpt-4o/endpoints", "model/openai/gpt-4o", "images/models/openai/gpt-5-image/endpoints",
    ],
)  # fmt: skip
def test_free_lists_are_upstreams(path: str, clean: Platform, acme: factories.Cast) -> None:
    answer = clean.get(acme.secret, f"{BASE}/{path}")
    theirs = httpx.get(
        f"{clean.upstream.url}/api/v1/{path}", headers={"Authorization": f"Bearer {KEY}"}, verify=NO_TLS
    )
    assert (answer.status_code, answer.content) == (200, theirs.content)


def test_balance_and_records_are_the_companys(clean: Platform, acme: factories.Cast) -> None:
    generation = ask(clean, acme.secret, "chat").headers["x-generation-id"]
    told = clean.get(acme.secret, f"{BASE}/generation?id={generation}").json()["data"]
    assert told["id"] == generation
    assert clean.get(factories.globex().secret, f"{BASE}/generation?id={generation}").status_code == 404
    balance_usd = (Decimal(factories.balance_nanocredits(acme)) / 10**9) * Decimal("0.50") / Decimal("1.25")
    data = clean.get(acme.secret, f"{BASE}/credits").json()["data"]
    left = Decimal(str(data["total_credits"])) - Decimal(str(data["total_usage"]))
    assert abs(left - balance_usd) < Decimal("0.0000001")
    assert clean.get(acme.secret, f"{BASE}/key").json()["data"]["label"].startswith("nv_sk")
    assert clean.get(acme.secret, f"{BASE}/activity").status_code == 200


def test_body_that_is_compressed_or_a_form_is_refused(clean: Platform, acme: factories.Cast) -> None:
    packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    content = gzip.compress(json.dumps(BODIES["chat"]).encode())
    path = f"{BASE}/chat/completions"
    assert clean.post(acme.secret, content, path=path, headers=packed).status_code == 415
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert clean.post(acme.secret, b"--x--", path=path, headers=form).status_code == 415
    assert clean.upstream.accepted() == 0
    assert open_holds(acme.company.id) == 0


SOUND = bytes(range(256)) * 400


def form(*parts: bytes, boundary: str = "a1b2c3") -> tuple[bytes, dict[str, str]]:
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), part) for part in parts)
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return body + b"--%s--\r\n" % boundary.encode(), headers


MODEL_PART = b'Content-Disposition: form-data; name="model"\r\n\r\nopenai/whisper-1'
FILE_PART = (
    b'Content-Disposition: form-data; name="file"; filename="../../a.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n'
    + SOUND
)
TRANSCRIPTIONS = f"{BASE}/audio/transcriptions"


@pytest.mark.parametrize("parts", [(MODEL_PART, FILE_PART), (FILE_PART, MODEL_PART)])
@pytest.mark.parametrize("chunked", [False, True])
def test_form_goes_upstream_to_the_byte(
    parts: tuple[bytes, ...], chunked: bool, clean: Platform, acme: factories.Cast
) -> None:
    body, headers = form(*parts)
    sent = iter([body[:5000], body[5000:]]) if chunked else body
    url = f"{clean.url}{TRANSCRIPTIONS}"
    answer = httpx.post(url, content=sent, headers={**headers, "Authorization": acme.authorization})
    assert answer.status_code == 200
    request = clean.upstream.last_request()
    assert request["body_bytes"] == len(body)
    require_charged(clean, acme)
    theirs = httpx.post(
        f"{clean.upstream.url}/api/v1/audio/transcriptions",
        content=body,
        headers={**headers, "Authorization": f"Bearer {KEY}"},
    )
    assert alike(answer.content) == alike(theirs.content)
    told = clean.get(acme.secret, f"/v1/llm/generation?id={answer.headers['x-generation-id']}").json()["data"]
    assert told["state"] == "settled"


@pytest.mark.parametrize(
    "body", [
        b"no form at all", b"--a1b2c3\r\n" + MODEL_PART + b"\r\n", form(*[MODEL_PART] * 2)[0],
        form(*[b'Content-Disposition: form-data; name="x"\r\n\r\ny'] * 100)[0],
    ],
)  # fmt: skip
def test_form_that_is_none_costs_and_holds_nothing(
    body: bytes, clean: Platform, acme: factories.Cast
) -> None:
    answer = clean.post(acme.secret, body, path=TRANSCRIPTIONS, headers=form()[1])
    assert answer.status_code == 400
    assert "form" in answer.json()["error"]["message"]
    assert open_holds(acme.company.id) == 0
    assert spent_usd(acme) == 0
    assert Decimal(clean.upstream.ledger()["total_usd"]) == 0


def test_form_over_the_limit_is_refused(clean: Platform, acme: factories.Cast) -> None:
    headers = {**form()[1], "Authorization": acme.authorization}
    path = f"{clean.url}{TRANSCRIPTIONS}"
    large = b"\0" * (26 * 1024 * 1024)
    assert httpx.post(path, content=large, headers=headers).status_code == 413
    pieces = iter([form(MODEL_PART, FILE_PART)[0][:-12], *([b"\0" * 1024 * 1024] * 26)])
    assert httpx.post(path, content=pieces, headers=headers, timeout=60).status_code == 413
    eventually(lambda: open_holds(acme.company.id) == 0, what="it is given back")
    assert spent_usd(acme) == 0


def test_form_takes_no_idempotency_key(clean: Platform, acme: factories.Cast) -> None:
    body, headers = form(MODEL_PART, FILE_PART)
    headers["Idempotency-Key"] = "proxy-form-1"
    assert clean.post(acme.secret, body, path=TRANSCRIPTIONS, headers=headers).status_code == 400
    assert clean.upstream.accepted() == 0


def test_job_is_charged_when_its_owner_hears_that_it_is_done(clean: Platform, acme: factories.Cast) -> None:
    begun = ask(clean, acme.secret, "videos")
    assert begun.status_code == 202
    job, path = begun.json()["id"], f"{BASE}/videos/{begun.json()['id']}"
    assert open_holds(acme.company.id) == 1
    assert clean.get(factories.globex().secret, path).json()["error"]["message"] == "There is no such job."
    assert clean.get(factories.globex().secret, f"{path}/content").status_code == 404
    assert clean.get(acme.secret, f"{BASE}/videos/gen-none").status_code == 404
    eventually(lambda: clean.get(acme.secret, path).json()["status"] == "completed", what="the film is done")
    assert open_holds(acme.company.id) == 0
    require_charged(clean, acme)
    assert spent_usd(acme) > 0
    done = clean.get(acme.secret, path)
    url = f"{clean.upstream.url}/api/v1/videos/{job}"
    assert done.content == httpx.get(url, headers={"Authorization": f"Bearer {KEY}"}, verify=NO_TLS).content
    film = clean.get(acme.secret, f"{path}/content?index=0&x=1")
    assert film.headers["content-type"] == "video/mp4"
    assert (
        film.content
        == httpx.get(f"{url}/content", headers={"Authorization": f"Bearer {KEY}"}, verify=NO_TLS).content
    )


def test_job_that_nobody_asks_for_is_charged_all_the_same(clean: Platform, acme: factories.Cast) -> None:
    assert ask(clean, acme.secret, "videos").status_code == 202
    require_charged(clean, acme)
    assert spent_usd(acme) > 0


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("ending", ["failed", "cancelled", "expired"])
def test_job_that_does_not_end_well_is_given_back(
    ending: str, asks: bool, clean: Platform, acme: factories.Cast
) -> None:
    job = ask(clean, acme.secret, "videos", f"job={ending},job_ms=0").json()["id"]
    assert open_holds(acme.company.id) == 1
    if asks:
        told = clean.get(acme.secret, f"{BASE}/videos/{job}").json()
        assert (told["status"], "error" in told) == (ending, True)
        assert clean.get(acme.secret, f"{BASE}/videos/{job}/content").status_code == 404
    require_charged(clean, acme)
    assert spent_usd(acme) == 0


def test_job_that_hides_its_cost_is_charged_by_its_record(clean: Platform, acme: factories.Cast) -> None:
    job = ask(clean, acme.secret, "videos", "omit_usage,job_ms=0").json()["id"]
    assert clean.get(acme.secret, f"{BASE}/videos/{job}").json()["status"] == "completed"
    require_charged(clean, acme)
    assert spent_usd(acme) > 0


@pytest.mark.parametrize("cut", [1, 500, len(FILM) // 2])
def test_film_that_breaks_off_is_cut_and_costs_no_more(
    cut: int, clean: Platform, acme: factories.Cast
) -> None:
    job = ask(clean, acme.secret, "videos", "job_ms=0").json()["id"]
    require_charged(clean, acme)
    clean.upstream.faults(cut_after=0, cut_bytes=cut, on="models")
    with pytest.raises(httpx.RemoteProtocolError):
        clean.get(acme.secret, f"{BASE}/videos/{job}/content")
    clean.upstream.faults()
    assert clean.get(acme.secret, f"{BASE}/videos/{job}/content").content == FILM
    require_charged(clean, acme)


def test_sound_that_breaks_off_is_cut_and_charged(clean: Platform, acme: factories.Cast) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        ask(clean, acme.secret, "speech", "cut_after=2", input="The tide comes in. " * 20)
    require_charged(clean, acme)
    assert spent_usd(acme) > 0


@pytest.mark.parametrize("provider", ["cancellable=1", "cancellable=0"])
def test_sound_that_is_left_is_charged_in_full(provider: str, clean: Platform, acme: factories.Cast) -> None:
    body = {**BODIES["speech"], "input": "The tide comes in. " * 20}
    body["model"] += f":sim=chunk_delay_ms=20,{provider}"
    headers = {"Authorization": acme.authorization}
    url = f"{clean.url}{BASE}/audio/speech"
    with httpx.stream("POST", url, json=body, headers=headers, verify=NO_TLS) as answer:
        assert next(answer.iter_raw()).startswith(b"\xff\xfb")
    require_charged(clean, acme)
    left_usd = spent_usd(acme)
    other = factories.acme()
    clean.post(other.secret, {**BODIES["speech"], "input": body["input"]}, path=f"{BASE}/audio/speech")
    eventually(lambda: open_holds(other.company.id) == 0, what="the whole sound is settled")
    assert left_usd == spent_usd(other) > 0


@pytest.mark.parametrize("length", [b"Content-Length: 5000", b"Transfer-Encoding: chunked"])
def test_form_whose_client_leaves_costs_nothing(length: bytes, clean: Platform, acme: factories.Cast) -> None:
    kind = form()[1]["Content-Type"].encode()
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Type: %s\r\n%s\r\n\r\n" % (
        TRANSCRIPTIONS.encode(), acme.authorization.encode(), kind, length,
    )  # fmt: skip
    begun = form(MODEL_PART, FILE_PART)[0][:3000]
    for upload in (begun[:50], begun, begun[:200]):
        with threats.dial(clean) as client:
            client.sendall(
                head + (b"%x\r\n%s\r\n" % (len(upload), upload) if b"chunked" in length else upload)
            )
            eventually(lambda: open_holds(acme.company.id) == 1, what="the call is held for")
        eventually(lambda: open_holds(acme.company.id) == 0, what="it is given back")
    assert clean.upstream.accepted() == 0
    assert spent_usd(acme) == 0


def test_job_with_a_callback_is_refused(clean: Platform, acme: factories.Cast) -> None:
    assert ask(clean, acme.secret, "videos", callback_url="https://x.test").status_code == 400
    assert clean.upstream.accepted() == 0


@pytest.mark.parametrize(
    ("shape", "name"), [("messages", "message_stop"), ("responses", "response.completed")]
)
def test_tool_with_the_name_of_the_last_event_ends_nothing(
    shape: str, name: str, clean: Platform, acme: factories.Cast
) -> None:
    tools = [{"type": "function", "name": name, "input_schema": {}, "parameters": {"type": "object"}}]
    answer = ask(clean, acme.secret, shape, "cut_after=2", stream=True, tools=tools)
    assert answer.headers["x-naive-generation-id"].encode() in answer.content
    require_charged(clean, acme)
