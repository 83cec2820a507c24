"""Upstream's errors: the caller's faults keep their status, the operator's account is never shown."""

import orjson
import pytest

from llm import refusals

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"


def envelope(message: str, **metadata: object) -> bytes:
    body = {"error": {"code": 400, "message": message, "metadata": metadata}, "user_id": "user_2uABCDEFGHIJ"}
    return orjson.dumps(body)


@pytest.mark.parametrize(
    ("upstream", "ours"),
    [(status, status) for status in (400, 404, 408, 413, 422, 429)]
    + [(status, 502) for status in (307, 401, 402, 403, 451, 500, 502, 504, 524)]
    + [(503, 503), (529, 503)],
)
def test_status_is_the_callers_or_a_bad_gateway(upstream: int, ours: int) -> None:
    assert refusals.read(upstream, envelope("no")).status == ours


def test_moderation_stays_forbidden() -> None:
    refusal = refusals.read(
        403, envelope("flagged", reasons=["violence"], flagged_input="x", provider_name="OpenAI")
    )
    assert refusal.status == 403
    assert refusal.details["reasons"] == ["violence"]


@pytest.mark.parametrize("status", [401, 402, 403])
def test_operators_trouble_is_not_told(status: int) -> None:
    refusal = refusals.read(
        status, envelope("Insufficient credits. Add more using https://openrouter.ai/credits")
    )
    assert "credits" not in refusal.message
    assert set(refusal.details) == {"upstream_status"}
    assert "operator" in str(refusal.hint)


def test_private_words_are_taken_out() -> None:
    text = f"key {KEY} (sk-or-v1-0a1b...9z8) of user_2uABCDEFGHIJ, boss@corp.com, see openrouter.ai/settings/keys"
    body = {"error": {"code": KEY, "message": text, "metadata": {"provider_name": f"P {KEY}"}}}
    refusal = refusals.read(400, orjson.dumps(body))
    told = refusal.message + str(refusal.details)
    for private in (KEY, "9z8", "user_2u", "boss@", "openrouter.ai"):
        assert private not in told


def test_what_upstream_said_is_passed_on() -> None:
    refusal = refusals.read(404, envelope("No endpoints found for a/b.", provider_name="Google"))
    assert refusal.details["upstream_message"] == "No endpoints found for a/b."
    assert refusal.details["provider"] == "Google"


@pytest.mark.parametrize(
    "raw", [b"", b"<html>bad gateway</html>", b"[]", b'{"error":"text"}', b'{"error":{"metadata":[]}}']
)
def test_any_body_gives_an_error(raw: bytes) -> None:
    assert refusals.read(502, raw).status == 502


def test_retry_after_is_passed_on_where_waiting_helps() -> None:
    assert refusals.read(429, b"", retry_after="7").retry_after == "7"
    assert refusals.read(400, b"", retry_after="7").retry_after is None
