"""Errors pass as they are, but for what in them is the operator's; our own speak the dialect of their shape."""

import json
import time
from typing import Any

import orjson
import pytest

from llm.shapes import faults
from llm.shapes.faults import Dialect

DIALECTS: list[Dialect] = ["chat", "responses", "messages", "images"]
KEY = "sk-or-v1-" + "0123456789abcdef" * 4
# Nothing of the operator's in them: these pass to the byte.
PUBLIC = [
    b'{"error":{"message":"No endpoints found for google/gemini-2.5-flash:free.","code":404}}',
    b'{ "error" : {"code":400,\r\n "message":"a/b is not a valid model ID \\u00e9"} , "x":1.50e-7}\n',
    b'{"error":{"code":429,"message":"Provider returned error","metadata":{"raw":"busy","provider_name":"Google"}}}',
    b'{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens"},"request_id":"gen-1-a"}',
    b'{"error":{"code":400,"message":"user_location must be an object, see user_id_field"}}',
    b'{"error":{"code":413,"message":"x","metadata":{"limit":1000,"is":true}},"openrouter_metadata":{"a":[1,"b"]}}',
    b'{"response":{"error":{"code":"server_error"},"user":"0123456789abcdef0123456789abcdef"}}',
    b"", b"null", b'"text"', b"[]",
    b"<!DOCTYPE html>\n<html><head><title>openrouter.ai | 502: Bad gateway</title></head><p>Ray ID: 8f2c1d9b7a6e5f40",
]  # fmt: skip
PRIVATE: list[tuple[bytes, bytes]] = [
    (
        b'{"error":{"message":"x","code":404},"user_id":"user_2u7AbCdEf"}',
        b'{"error":{"message":"x","code":404},"user_id":null}',
    ),
    (b'{"error":{"code":429},"user_id" : "anything at all"}', b'{"error":{"code":429},"user_id" : null}'),
    (b'{"error":{"code":429},"\\u0075ser_id":"a"}', b'{"error":{"code":429},"\\u0075ser_id":null}'),
    (
        b'{"error":{"message":"Bad key ' + KEY.encode() + b' used"}}',
        '{"error":{"message":"Bad key … used"}}'.encode(),
    ),
    (b'{"error":{"message":"sk-or\\u002dv1-abc\\u0064ef"}}', '{"error":{"message":"…"}}'.encode()),
    (
        b'{"error":{"message":"Manage it using https:\\/\\/openrouter.ai\\/settings\\/keys now"}}',
        '{"error":{"message":"Manage it using … now"}}'.encode(),
    ),
    (
        b'{"error":{"message":"per-day. Add 10 credits to unlock 1000 requests per day"}}',
        '{"error":{"message":"per-day. …"}}'.encode(),
    ),
    (
        b'{"error":{"metadata":{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Reset":"1788220800000"}}}}',
        b'{"error":{"metadata":{"headers":{"X-RateLimit-Limit":null,"X-RateLimit-Reset":null}}}}',
    ),
    (
        b'{"error":{"metadata":{"label":"prod key","balance":-3.2e1,"remedy_hint":"x","api_key_hash":"ab"}}}',
        b'{"error":{"metadata":{"label":null,"balance":null,"remedy_hint":null,"api_key_hash":null}}}',
    ),
    (
        b'{"error":{"message":"limit_rpm/a/b/0197a1b2-0000-7000-8000-123456789abc. High demand"}}',
        '{"error":{"message":"limit_rpm/a/b/…. High demand"}}'.encode(),
    ),
    (
        b'{"error":{"message":"owner ops@example.com, org_2AbCdEfGh"}}',
        '{"error":{"message":"owner …, …"}}'.encode(),
    ),
    (
        b'data: {"error":{"code":502,"message":"x"},"choices":[],"user_id":"user_2u7AbCdEf"}\r\n',
        b'data: {"error":{"code":502,"message":"x"},"choices":[],"user_id":null}\r\n',
    ),
    (b"<p>" + KEY.encode() + b" user_2u7AbCdEf</p>", b"<p>? ?</p>"),
]


@pytest.mark.parametrize("raw", PUBLIC)
def test_error_passes_to_the_byte(raw: bytes) -> None:
    assert faults.scrub(raw) == raw
    assert faults.answer(502, raw, dialect="chat") == faults.Fault(502, raw, is_ours=False)


@pytest.mark.parametrize(("raw", "expected"), PRIVATE)
def test_operators_data_is_taken_out_and_nothing_else(raw: bytes, expected: bytes) -> None:
    assert faults.scrub(raw) == expected
    assert faults.scrub(expected) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"workspace":{"id":"workspace_9AbCdEf","size":3}}', '{"workspace":{"id":"…","size":3}}'),
        (b'{"label":["seen",3],"x":"y"}', '{"label":["seen",3],"x":"y"}'),
    ],
)
def test_what_is_inside_a_private_name_is_looked_through(raw: bytes, expected: str) -> None:
    assert faults.scrub(raw) == expected.encode()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("status", [401, 402, 403, 301, 302, 307, 308, 304])
def test_operators_trouble_and_redirects_become_ours(status: int, dialect: Dialect) -> None:
    raw = (
        b'{"error":{"code":%d,"message":"Key limit exceeded, can only afford 3395"},"user_id":"user_2"}'
        % status
    )
    found = faults.answer(status, raw, dialect=dialect)
    assert (found.status, found.is_ours) == (502, True)
    assert b"3395" not in found.body
    assert b"user_2" not in found.body
    assert json.loads(found.body)["error"]["message"]


@pytest.mark.parametrize("metadata", [{"reasons": ["violence"]}, {"flagged_input": "…"}])
def test_moderation_stays_what_it_is(metadata: dict[str, Any]) -> None:
    raw = orjson.dumps({"error": {"code": 403, "message": "Flagged", "metadata": metadata}})
    assert faults.answer(403, raw, dialect="chat") == faults.Fault(403, raw, is_ours=False)


@pytest.mark.parametrize("raw", [b"<html>", b"{}", b"[]", b'{"error":"x"}', b'{"error":{"metadata":[]}}'])
def test_other_403_is_no_moderation(raw: bytes) -> None:
    assert faults.answer(403, raw, dialect="chat").status == 502


def test_error_that_is_too_long_to_look_through_is_replaced() -> None:
    raw = b'{"user_id":"user_2u7AbCdEf","x":"' + b"x" * (2 * 1024 * 1024) + b'"}'
    found = faults.answer(500, raw, dialect="chat")
    assert (found.status, found.is_ours) == (500, True)
    assert len(found.body) < 500


@pytest.mark.parametrize("dialect", DIALECTS)
def test_our_errors_speak_the_dialect(dialect: Dialect) -> None:
    found = json.loads(faults.body(dialect, code=502, message="Gone", error_type="provider_unavailable"))
    assert found["error"]["message"] == "Gone"
    assert (found.get("type") == "error") is (dialect == "messages")
    if dialect == "messages":
        assert found["error"]["type"] == "api_error"
    else:
        assert found["error"]["code"] == 502


@pytest.mark.parametrize("dialect", DIALECTS)
def test_last_words_end_what_is_open_and_name_the_call(dialect: Dialect) -> None:
    found = faults.frame(
        dialect, code=503, message="Cut", error_type="gateway_draining", model="a/b", call_id="gen_1"
    )
    assert found.startswith(b"\n\n")
    assert found.endswith(b"\n\n")
    lines = found.decode().strip().splitlines()
    event = json.loads(lines[-1].removeprefix("data: "))
    assert "gen_1" in lines[-1]
    assert (event.get("error") or event)["message"] == "Cut"
    assert lines[0] == ("event: error" if dialect == "messages" else lines[-1])


@pytest.mark.parametrize(
    "repeated", [b"g", b"g.", b"g@", b"g@g.", b'\\"', b"user_", b"https://", b"openrouter.ai.", b"\\"]
)
@pytest.mark.parametrize(
    "around", [(b'{"error":{"message":"', b'"}}'), (b'{"error":{"message":"', b""), (b"<p>", b"")]
)
def test_error_that_repeats_its_request_is_read_in_linear_time(
    repeated: bytes, around: tuple[bytes, bytes]
) -> None:
    began = time.monotonic()
    faults.scrub(around[0] + repeated * (400_000 // len(repeated)) + around[1])
    assert time.monotonic() - began < 2


def test_link_and_address_go_whole_wherever_they_stand() -> None:
    raw = b'{"error":{"message":"See (https://eu.openrouter.ai/settings/x) or a.b+c@d-e.example.org, x@y.z"}}'
    assert b"openrouter" not in faults.scrub(raw)
    assert b"@" not in faults.scrub(raw)
    assert b"a.b" not in faults.scrub(raw)
    cut = b'{"error":{"user_id":"user_2u7AbCdEf","message":"mail a@b.org'
    assert faults.scrub(cut) == '{"error":{"user_id":null,"message":"mail …"'.encode()


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages", "images"])
@pytest.mark.parametrize("status", [400, 429, 503])
def test_error_that_cannot_be_read_keeps_its_status_and_says_so(status: int, dialect: Dialect) -> None:
    found = faults.answer(status, None, dialect=dialect)
    assert (found.status, found.is_ours) == (status, True)
    assert str(status) in str(orjson.loads(found.body)["error"]["message"])
    assert faults.answer(403, None, dialect=dialect).status == 502
    assert faults.answer(status, b"", dialect=dialect) == faults.Fault(status, b"", is_ours=False)
