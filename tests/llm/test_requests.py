"""What a chat request must look like; the message names the field."""

import hashlib
from typing import Any
from uuid import uuid4

import orjson
import pytest

from accounts.errors import InvalidInput
from llm import requests

GOOD: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}


def read(**changes: Any) -> requests.ChatRequest:
    fields = {**GOOD, **changes}
    return requests.read(orjson.dumps({name: value for name, value in fields.items() if value is not ...}))


def test_request_is_read() -> None:
    request = read(models=["anthropic/claude-sonnet-4.6", "openai/gpt-4o-mini"], stream=True)
    assert request.models == ("openai/gpt-4o-mini", "anthropic/claude-sonnet-4.6")
    assert request.is_stream


def test_prompt_instead_of_messages_is_enough() -> None:
    assert read(messages=..., prompt="Hi").models == ("openai/gpt-4o-mini",)


def test_models_instead_of_model_is_enough() -> None:
    assert read(model=..., models=["a/b"]).models == ("a/b",)


def test_preset_is_one_of_the_models() -> None:
    assert read(preset="mine").models == ("openai/gpt-4o-mini", "@preset/mine")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"messages": ...}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": ["Hi"]}, r"messages\[0\]"),
        ({"messages": [{"role": "user", "content": "x"}] * 10_000}, "messages has 10000"),
        ({"messages": ..., "prompt": ""}, "prompt"),
        ({"model": ...}, "model"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"model": " openai/gpt-4o-mini"}, "model"),
        ({"model": "openai/o1-pro "}, "model"),
        ({"model": "a/b\x00"}, "model"),
        ({"model": "a" * 300}, "model"),
        ({"models": "a/b"}, "models"),
        ({"models": ["a/b", None]}, r"models\[1\]"),
        ({"models": ["a/b"] * 17}, "models has 17"),
        ({"preset": 5}, "preset"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": "999"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 2**63}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"n": 1000}, "n must"),
        ({"provider": []}, "provider"),
        ({"trace": "x"}, "trace"),
        ({"user": {}}, "user"),
        ({"session_id": 1}, "session_id"),
        ({"tools": {}}, "tools"),
    ],
)
def test_bad_field_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=field) as caught:
        read(**changes)
    assert caught.value.hint


def test_null_is_as_good_as_absent() -> None:
    assert not read(stream=None, max_tokens=None, provider=None, user=None, models=None).is_stream


def test_key_is_hashed_as_it_was_sent() -> None:
    assert requests.read_key("order-17") == hashlib.sha256(b"order-17").digest()
    assert requests.read_key(None) is None


@pytest.mark.parametrize("key", ["", " ", "a\tb", "a\x00", "x" * 256, "cl\xe9"])
def test_key_that_is_none_is_refused_by_its_name(key: str) -> None:
    with pytest.raises(InvalidInput, match="Idempotency-Key"):
        requests.read_key(key)


def test_fingerprint_tells_bodies_users_and_routes_apart() -> None:
    user, other = uuid4(), uuid4()
    found = {
        requests.fingerprint(b"{}", route="chat", user_id=user),
        requests.fingerprint(b"{ }", route="chat", user_id=user),
        requests.fingerprint(b"{}", route="chat", user_id=other),
        requests.fingerprint(b"{}", route="embeddings", user_id=user),
    }
    assert len(found) == 4
    assert requests.fingerprint(b"{}", route="chat", user_id=user) in found
