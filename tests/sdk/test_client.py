"""The client itself: where its settings come from, what it sends, and how it reads what comes."""

import asyncio
import datetime
import json
import math
import pickle
import subprocess
import sys
import uuid
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naive import (
    AsyncNaive,
    BadRequestError,
    ConfigurationError,
    InvalidResponseError,
    Naive,
    NotFoundError,
    errors,
    numbers,
    types,
)
from naive.testing import FakePlatform

HELLO: dict[str, Any] = {"model": "openai/gpt-5.2", "prompt": "Hi"}


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


@pytest.fixture
def naive(platform: FakePlatform) -> Naive:
    return platform.client()


def settings_in(**environ: str) -> list[str | None]:
    """What a client made of nothing is set to in a program of this environment."""
    program = "import json, naive; s = naive.Naive()._transport.settings; print(json.dumps([s.api_key, s.base_url]))"
    found = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
    )
    told: list[str | None] = json.loads(found.stdout)
    return told


def test_settings_come_from_the_environment() -> None:
    told = settings_in(NAIVE_API_KEY="nv_sk_1", NAIVE_BASE_URL="https://naive.example/v1/")
    assert told == ["nv_sk_1", "https://naive.example"]
    assert settings_in() == [None, "http://localhost:8000"]


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "//x"])
def test_address_of_another_kind_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        Naive(base_url=url)


def test_key_is_sent_and_shown_nowhere(platform: FakePlatform) -> None:
    naive = platform.client(api_key="nv_sk_secret")
    naive.status()
    assert platform.requests[0].headers["authorization"] == "Bearer nv_sk_secret"
    assert "nv_sk_secret" not in repr(naive._transport.settings)
    assert "nv_sk_secret" not in repr(platform.requests)


def test_headers_of_client_and_call(platform: FakePlatform) -> None:
    naive = platform.client(default_headers={"X-Naive-User-Id": "ext:alice", "X-Team": "1"})
    naive.llm.chat(**HELLO, extra_headers={"X-Team": "2"})
    headers = platform.requests[0].headers
    assert (headers["x-naive-user-id"], headers["x-team"]) == ("ext:alice", "2")
    assert headers["user-agent"].startswith("naive-python/0.1.0 Python/3.")


def test_extra_query_and_body_are_put_over(naive: Naive, platform: FakePlatform) -> None:
    naive.users.list(limit=2, extra_query={"limit": 1, "fresh": True})
    naive.users.create(label="A", extra_body={"label": "B", "more": None})
    assert dict(platform.requests[0].query) == {"limit": "1", "fresh": "true"}
    assert platform.requests[1].json == {"label": "B", "more": None}


def test_options_make_another_client_over_the_same_connections(naive: Naive) -> None:
    other = naive.with_options(api_key="nv_sk_2", timeout=1, max_retries=9, default_headers={"X-A": "1"})
    own, changed = naive._transport.settings, other._transport.settings
    assert (changed.api_key, changed.timeout, changed.max_retries, changed.headers) == (
        "nv_sk_2",
        1,
        9,
        {"X-A": "1"},
    )
    assert (own.api_key, own.max_retries) == ("nv_sk_fake", 2)
    assert other._transport.http is naive._transport.http
    other.close()
    assert naive.status()


def test_leaving_closes_its_own_connections_alone() -> None:
    with Naive() as naive:
        pass
    assert naive._transport.http.is_closed
    given = httpx.Client()
    with Naive(http_client=given):
        pass
    assert not given.is_closed
    given.close()

    async def main() -> None:
        async with AsyncNaive() as naive:
            pass
        assert naive._transport.http.is_closed

    asyncio.run(main())


def test_timeout_of_a_call_goes_before_the_clients() -> None:
    seen: list[Any] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(200, json={"packs": []})

    http = httpx.Client(transport=httpx.MockTransport(respond))
    naive = Naive(http_client=http, timeout=7)
    naive.billing.packs()
    naive.billing.packs(timeout=httpx.Timeout(1, read=2))
    assert seen[0] == {"connect": 5, "read": 7, "write": 7, "pool": 7}
    assert seen[1]["read"] == 2


@pytest.mark.parametrize("user_id", ["", ".", "..", "default/usage", "../keys"])
def test_id_that_leads_elsewhere_is_no_id(user_id: str, naive: Naive, platform: FakePlatform) -> None:
    for ask in (naive.users.get, naive.for_user):
        with pytest.raises(ValueError, match="is no id"):
            ask(user_id)
    assert platform.requests == []


def test_id_is_one_segment_whatever_stands_in_it(naive: Naive, platform: FakePlatform) -> None:
    with pytest.raises(NotFoundError):
        naive.users.get("ext:a?b#c%2fd e")
    assert platform.requests[0].path == "/v1/users/ext:a?b#c%2fd e"
    assert platform.requests[0].query == {}


SAID = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ({"prompt": "Hi"}, [SAID]),
        ({"messages": [SAID]}, [SAID]),
        (
            {"messages": [{"role": "system", "content": "Be kind."}]},
            [{"role": "system", "content": "Be kind."}],
        ),
        ({"messages": []}, []),
    ],
)
def test_system_is_the_first_message(
    given: dict[str, Any], messages: list[Any], naive: Naive, platform: FakePlatform
) -> None:
    for ask in (naive.llm.chat, naive.llm.estimate, lambda **asked: list(naive.llm.stream(**asked))):
        ask(model="m", system="Be terse.", **given)
        sent = platform.requests[-1].json
        assert sent["messages"] == [{"role": "system", "content": "Be terse."}, *messages]
        assert not {"system", "prompt"} & set(sent)


def test_no_system_changes_nothing(naive: Naive, platform: FakePlatform) -> None:
    naive.llm.chat(**HELLO, system=None)
    assert platform.requests[-1].json == HELLO


def test_chat_is_no_stream(naive: Naive, platform: FakePlatform) -> None:
    wish: dict[str, Any] = {"stream": True}
    with pytest.raises(TypeError, match=r"llm\.stream"):
        naive.llm.chat(**HELLO, **wish)
    assert platform.requests == []


def test_lists_and_times_in_a_query(naive: Naive, platform: FakePlatform) -> None:
    since = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    naive.llm.models(supported_parameters=["tools", "seed"], max_price=Decimal("0.5"))
    naive.users.list(created_since=since)
    assert platform.requests[0].query == {"supported_parameters": "tools,seed", "max_price": "0.5"}
    assert platform.requests[1].query == {"created_since": "2026-01-01T00:00:00+00:00"}


def test_values_of_python_are_written_as_json() -> None:
    one = uuid.UUID(int=1)
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    body = {
        "a": Decimal("2.50"),
        "b": Decimal(3),
        "c": at,
        "d": one,
        "e": ("x",),
        "f": types.Message(content="ü"),
    }
    assert json.loads(numbers.written(body)) == {
        "a": 2.5, "b": 3, "c": "2026-01-01T00:00:00+00:00", "d": str(one), "e": ["x"], "f": {"content": "ü"},
    }  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("0.1234567890123456789"),
        datetime.datetime(2026, 1, 1),  # noqa: DTZ001 (what is refused)
    ],
    ids=repr,
)
def test_what_json_cannot_say_exactly_is_not_sent(value: Any, naive: Naive, platform: FakePlatform) -> None:
    with pytest.raises(ValueError, match=r"."):
        naive.keys.create(name="CI", cap_credits=value)
    assert platform.requests == []


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**5), max_value=10**5))
def test_money_comes_as_it_was_written(amount: Decimal) -> None:
    text = f'{{"amount":{amount:f},"id":1}}'
    entry = types.Entry.read(_entry(text))
    assert entry.amount == amount
    assert json.loads(entry.to_json(), parse_float=Decimal)["amount"] == amount


def _entry(text: str) -> dict[str, Any]:
    rest = {
        "action": "grant",
        "balance_after": 0,
        "reference": "r",
        "corrects": None,
        "actor": None,
        "note": "",
    }
    found: dict[str, Any] = {**numbers.read(text), **rest, "created_at": "2026-01-01T00:00:00Z"}
    return found


def test_cost_of_any_length_is_exact_and_can_be_written_again() -> None:
    usage = types.ChatUsage.read(numbers.read('{"cost":0.00001234567890123456789,"more":{"rate":0.1}}'))
    assert usage.cost == Decimal("0.00001234567890123456789")
    assert usage.to_dict() == {"cost": 0.00001234567890123456789, "more": {"rate": 0.1}}
    assert json.loads(usage.to_json())["more"] == {"rate": 0.1}


def test_unknown_fields_are_kept(naive: Naive, platform: FakePlatform) -> None:
    platform.reply("Hi", extra={"aura": {"hue": 0.25}, "provider": "Acme"})
    answer = naive.llm.chat(**HELLO)
    assert answer.provider == "Acme"
    assert answer.model_extra is not None
    assert answer.model_extra["aura"] == {"hue": 0.25}
    assert answer.to_dict()["aura"] == {"hue": 0.25}


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": None},
        {"choices": [None]},
        {"choices": [{"message": {"content": 7}}], "usage": "much"},
        {"choices": [{"message": "Hi", "index": "first"}], "created": "now", "credits_used": "some"},
        {},
    ],
    ids=str,
)
def test_paid_answer_of_another_shape_is_not_lost(
    answer: dict[str, Any], naive: Naive, platform: FakePlatform
) -> None:
    platform.respond(json.dumps(answer).encode())
    assert naive.llm.chat(**HELLO).to_dict() == answer


def test_content_in_parts_has_a_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]
    completion = types.ChatCompletion.read({"choices": [{"message": {"content": parts}}]})
    assert completion.text == "ab"
    for odd in (
        {},
        {"choices": None},
        {"choices": ["a"]},
        {"choices": [{"message": "a"}]},
        {"choices": "ab"},
    ):
        assert types.ChatCompletion.read(odd).text == ""
    for content in (7, ["a"], [{"text": 7}], {"text": "a"}):
        assert types.ChatCompletion.read({"choices": [{"message": {"content": content}}]}).text == ""


@pytest.mark.parametrize(
    "content", [b"<html>Sign in</html>", b"", b"[1]", b'"text"', b'{"id":1}', b"\xff"], ids=repr
)
def test_answer_of_somebody_else_is_named(content: bytes, naive: Naive, platform: FakePlatform) -> None:
    platform.respond(content, headers={"content-type": "text/html"})
    with pytest.raises(InvalidResponseError) as raised:
        naive.users.get("default")
    assert raised.value.request_id == "req_fake1"
    assert raised.value.status == 200


@pytest.mark.parametrize(
    "content",
    [b"<html>Bad gateway</html>", b"", b"null", b'{"error":"no"}', b'{"error":null}', b"\xff"],
    ids=repr,
)
def test_error_of_somebody_else_is_an_error_of_its_status(
    content: bytes, naive: Naive, platform: FakePlatform
) -> None:
    platform.respond(content, status=400)
    with pytest.raises(BadRequestError) as raised:
        naive.status()
    assert raised.value.code == "unexpected_answer"
    assert raised.value.request_id == "req_fake1"
    assert raised.value.details == {}


@pytest.mark.parametrize(
    "content", [b'{"users":[1],"next_cursor":null}', b'{"rows":[]}', b"[]", b"7"], ids=repr
)
def test_list_of_another_shape_is_named(content: bytes, naive: Naive, platform: FakePlatform) -> None:
    platform.respond(content)
    with pytest.raises(InvalidResponseError):
        naive.users.list()


def test_redirect_is_followed_by_nobody(naive: Naive, platform: FakePlatform) -> None:
    platform.respond(b"", status=302, headers={"location": "http://elsewhere.test/"})
    with pytest.raises(errors.APIStatusError) as raised:
        naive.status()
    assert raised.value.status == 302
    assert len(platform.requests) == 1


def test_error_says_what_is_to_be_done_and_whom_to_ask(naive: Naive, platform: FakePlatform) -> None:
    platform.fail(
        403, message="The kit says no.", hint="Ask its owner.", details={"reason": "user_suspended"}
    )
    with pytest.raises(errors.PermissionDeniedError) as raised:
        naive.llm.chat(**HELLO)
    assert str(raised.value) == "The kit says no. Ask its owner. [403 forbidden req_fake1]"
    assert raised.value.reason == "user_suspended"


def test_written_floats_can_be_copied() -> None:
    copied = pickle.loads(pickle.dumps(numbers.WrittenFloat("0.10")))  # noqa: S301 (its own)
    assert (copied, copied.text) == (0.1, "0.10")


def test_fake_refuses_what_the_platform_refuses(naive: Naive, platform: FakePlatform) -> None:
    with pytest.raises(BadRequestError):
        naive.llm.chat(model="m")
    with pytest.raises(errors.ConflictError):
        [naive.users.create(external_id="alice") for _ in range(2)]
    with pytest.raises(errors.AuthenticationError):
        platform.client(api_key=None).status()
    with pytest.raises(NotFoundError, match=r"respond\(\)"):
        naive.billing.statement()
    naive.users.create(external_id="bob", idempotency_key="k")
    with pytest.raises(errors.UnprocessableEntityError):
        naive.users.create(external_id="eve", idempotency_key="k")


def test_fake_keeps_what_is_made(naive: Naive, platform: FakePlatform) -> None:
    key = naive.keys.create(name="CI")
    assert naive.keys.revoke(key.id).revoked
    kit = naive.account_kits.create(name="Pro")
    assert naive.account_kits.delete(kit.id).deleted
    alice = naive.users.create(external_id="alice")
    assert naive.users.delete("ext:alice").status == "suspended"
    assert [user.id for user in naive.users.list(status="suspended")] == [alice.id]
    assert [seen.method for seen in platform.requests[-2:]] == ["DELETE", "GET"]
