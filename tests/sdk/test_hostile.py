"""What a foreign address, key, header or answer can do to the Python SDK: nothing but a documented error."""

import itertools
import json
import math
import pickle
import traceback
from decimal import Decimal
from typing import Any

import httpx
import pytest

from naive import (
    APIConnectionError,
    APIStatusError,
    ConfigurationError,
    InvalidResponseError,
    Naive,
    NaiveError,
    StreamInterruptedError,
    WebhookVerificationError,
    calls,
    numbers,
    options,
    retries,
    sse,
    webhooks,
)
from naive.requests import Request
from naive.testing import FakePlatform

HELLO: dict[str, Any] = {"model": "openai/gpt-5.2", "prompt": "Hi"}
KEY = "nv_sk_live_Kept2Itself"
DEEP = b"[" * 100_000
EVENTS = {"content-type": "text/event-stream"}


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


@pytest.mark.parametrize("key", ["", KEY + "\n", KEY + "\r\nX-Evil: 1", KEY[:-1] + "…", f" {KEY}"])
def test_key_that_no_header_carries_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Naive(api_key=key)
    assert raised.value.code == "invalid_api_key"
    assert "Kept2Itself" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    "url",
    [
        "http://user:pa55word@host.test", "http://host.test?a=1", "http://host.test#", "http://", "http:///path",
        "http://[", "http://host.test:99999", "http://host.test\n", "http://ho st.test",
    ],
)  # fmt: skip
def test_address_that_would_lead_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Naive(api_key=KEY, base_url=url)
    assert raised.value.code == "invalid_base_url"
    assert "pa55word" not in str(raised.value)


@pytest.mark.parametrize("value", ["one\r\nX-Evil: 1", "bestellung-ü", "\x00"])
def test_header_that_http_cannot_say_is_not_sent(value: str, platform: FakePlatform) -> None:
    with pytest.raises(ConfigurationError, match="idempotency-key"):
        platform.client().llm.chat(**HELLO, idempotency_key=value)
    with pytest.raises(ConfigurationError) as raised:
        platform.client().llm.chat(**HELLO, extra_headers={"X-Mine": value, value: "x"})
    assert raised.value.code == "invalid_header"
    assert platform.requests == []


def test_header_is_one_however_it_is_written(platform: FakePlatform) -> None:
    naive = platform.client().with_options(default_headers={"AUTHORIZATION": "Bearer other"})
    naive.llm.chat(**HELLO, extra_headers={"Idempotency-key": "mine", "content-TYPE": "application/json"})
    headers = httpx.Headers(platform.requests[-1].headers)
    assert headers.get_list("authorization") == ["Bearer other"]
    assert headers.get_list("idempotency-key") == ["mine"]
    assert headers.get_list("content-type") == ["application/json"]


def refused(answer: httpx.Response | Exception) -> NaiveError:
    """Return the error of a client whose every call is answered so."""

    def answering(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    http = httpx.Client(transport=httpx.MockTransport(answering))
    with (
        http,
        pytest.raises((APIStatusError, APIConnectionError)) as raised,
        Naive(api_key=KEY, http_client=http, sleep=lambda _: None) as naive,
    ):
        naive.status()
    return raised.value


@pytest.mark.parametrize("answer", [httpx.Response(402), httpx.ConnectError("no")])
def test_error_takes_no_key_along(answer: httpx.Response | Exception) -> None:
    error = refused(answer)
    assert KEY.encode() not in pickle.dumps((error, error.__cause__ and vars(error.__cause__)))


@pytest.mark.parametrize("details", [[{"@type": "ErrorInfo", "reason": "X", "domain": "Y"}], ["x"], "x", 5])
def test_error_of_a_proxys_shape_is_an_error(details: object) -> None:
    told = {"message": "No.", "hint": ["x"], "request_id": 7, "details": details}
    error = refused(httpx.Response(403, json={"error": told}))
    assert (error.message, error.hint, error.request_id, error.details) == ("No.", None, None, {})


@pytest.mark.parametrize("wait", ["86400", "9" * 400])
def test_longest_wait_holds_for_x_should_retry_too(wait: str) -> None:
    answer = httpx.Response(429, headers={"x-should-retry": "true", "retry-after": wait})
    assert not retries.is_worth_it(answer)


def test_retry_after_may_be_a_date_by_the_answers_own_clock() -> None:
    dates = {"date": "Wed, 21 Oct 2015 07:28:00 GMT", "retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}
    assert retries.retry_after_s(httpx.Response(503, headers=dates)) == 30
    assert retries.retry_after_s(httpx.Response(503, headers=dates | {"date": dates["retry-after"]})) == 0
    assert retries.retry_after_s(httpx.Response(503, headers={"retry-after": dates["retry-after"]})) is None


@pytest.mark.parametrize(
    ("given", "connect_s"), [(600.0, 5.0), (2, 2), (None, None), (httpx.Timeout(60), 60)]
)
def test_host_that_is_not_there_is_found_out_before_an_answer_is_late(
    given: options.Timeout, connect_s: float | None
) -> None:
    settings = options.Settings(api_key=None, base_url="http://host.test", timeout=given)
    call = calls.Call(Request(method="GET", path="/", answer=dict), settings)
    with httpx.Client() as http:
        assert call.built(http).extensions["timeout"]["connect"] == connect_s


def test_json_nested_without_end_is_no_answer(platform: FakePlatform) -> None:
    platform.respond(DEEP)
    with pytest.raises(InvalidResponseError):
        platform.client().status()
    platform.respond(b"data: " + DEEP + b"\n\n", headers=EVENTS)
    with pytest.raises(StreamInterruptedError, match="no chunk"):
        list(platform.client().llm.stream(**HELLO))


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": "abc"}, {"choices": 5}, {"choices": [1]}, {"choices": [{"delta": "x"}]},
    ],
)  # fmt: skip
def test_chunk_of_another_shape_breaks_the_stream_as_documented(
    chunk: object, platform: FakePlatform
) -> None:
    platform.respond(b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n", headers=EVENTS)
    with pytest.raises(StreamInterruptedError) as raised:
        list(platform.client().llm.stream(**HELLO).text)
    assert raised.value.code == "malformed_stream"


def test_event_without_end_is_not_held_for_ever() -> None:
    decoder = sse.Decoder(event_bytes_max=1000)
    lines = itertools.repeat(b"data: xx\n", 200)
    with pytest.raises(sse.EventTooLong):
        list(itertools.chain.from_iterable(map(decoder.feed, lines)))


def test_amount_that_nobody_could_write_out_is_not_written_out(platform: FakePlatform) -> None:
    platform.respond(b'{"id":"g","choices":[],"credits_used":1e300000000}')
    answer = platform.client().llm.chat(**HELLO)
    assert answer.to_dict()["credits_used"] is None
    assert math.isinf(numbers.nearest(Decimal("-1e300000000")))


@pytest.mark.parametrize(
    "change",
    [{"webhook-timestamp": "9" * 5000}, {"webhook-id": "\udce9"}, {"webhook-signature": "v1,\udce9"}],
)
def test_delivery_of_any_bytes_is_refused_and_nothing_else(change: dict[str, str]) -> None:
    told = {"webhook-id": "msg_1", "webhook-timestamp": "1790000000", "webhook-signature": "v1,x"}
    with pytest.raises(WebhookVerificationError):
        webhooks.verify(b"{}", told | change, secret="whsec_c2VjcmV0", clock=lambda: 1_790_000_000)
