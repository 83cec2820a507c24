"""What the SDK sends again, after how long, and under which Idempotency-Key; over the fake, without waiting."""

import asyncio
from typing import Any

import httpx
import pytest

from naive import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ConflictError,
    InsufficientCreditsError,
    NaiveError,
    NotConfiguredError,
    NotFoundError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
    errors,
    retries,
)
from naive.testing import FakePlatform

HELLO: dict[str, Any] = {"model": "openai/gpt-5.2", "prompt": "Hi"}


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_sent_again_under_the_same_key(status: int, platform: FakePlatform) -> None:
    platform.fail(status)
    platform.fail(status)
    platform.client().llm.chat(**HELLO)
    keys = [seen.idempotency_key for seen in platform.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert [seen.headers["x-naive-retry-count"] for seen in platform.requests] == ["0", "1", "2"]


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 409, 412, 413, 415, 422, 501])
def test_what_will_not_pass_is_sent_once(status: int, platform: FakePlatform) -> None:
    platform.fail(status)
    with pytest.raises(errors.APIStatusError) as raised:
        platform.client().llm.chat(**HELLO)
    assert type(raised.value) is errors.BY_STATUS.get(status, errors.APIStatusError)
    assert raised.value.status == status
    assert raised.value.request_id == "req_fake1"
    assert len(platform.requests) == 1


def test_two_calls_have_two_keys(platform: FakePlatform) -> None:
    naive = platform.client()
    naive.llm.chat(**HELLO)
    naive.llm.chat(**HELLO)
    first, second = (seen.idempotency_key for seen in platform.requests)
    assert first != second
    assert platform.balance < 20 - 1 / 4000  # Both are paid.


def test_given_key_is_the_one_that_is_sent_and_does_a_thing_once(platform: FakePlatform) -> None:
    naive = platform.client()
    answers = [naive.llm.chat(**HELLO, idempotency_key="order-42") for _ in range(2)]
    assert {seen.idempotency_key for seen in platform.requests} == {"order-42"}
    assert answers[0].id == answers[1].id
    assert answers[0].credits_remaining == platform.balance


def test_reads_have_no_key(platform: FakePlatform) -> None:
    platform.client().status()
    assert platform.requests[0].idempotency_key is None


def test_every_deed_has_a_key(platform: FakePlatform) -> None:
    naive = platform.client()
    user = naive.users.create(label="Alice")
    naive.users.update(user.id, label="Bob")
    naive.users.delete(user.id)
    keys = [seen.idempotency_key for seen in platform.requests]
    assert [seen.method for seen in platform.requests] == ["POST", "PATCH", "DELETE"]
    assert all(keys)
    assert len(set(keys)) == 3


def test_x_should_retry_decides(platform: FakePlatform) -> None:
    platform.fail(502, headers={"x-should-retry": "false"})
    with pytest.raises(ProviderError):
        platform.client().llm.chat(**HELLO)
    assert len(platform.requests) == 1
    platform.fail(409, headers={"x-should-retry": "true"})
    platform.client().llm.chat(**HELLO)
    assert len(platform.requests) == 3


def test_retry_after_is_waited_for(platform: FakePlatform) -> None:
    platform.fail(429, headers={"retry-after": "7"})
    platform.fail(503, headers={"retry-after": "0"})
    platform.client().llm.chat(**HELLO)
    assert platform.waited_s == [7, 0]


def test_retry_after_of_more_than_a_minute_is_told_at_once(platform: FakePlatform) -> None:
    platform.fail(429, headers={"retry-after": "61"})
    with pytest.raises(RateLimitError) as raised:
        platform.client().llm.chat(**HELLO)
    assert raised.value.retry_after_s == 61
    assert platform.waited_s == []


def test_call_that_runs_under_this_key_is_waited_for(platform: FakePlatform) -> None:
    running = {"retry-after": "1"}
    platform.fail(409, code="idempotency_in_progress", headers=running)
    platform.client().llm.chat(**HELLO)
    assert platform.waited_s == [1]


def test_finished_stream_under_this_key_is_a_conflict_that_names_its_generation(
    platform: FakePlatform,
) -> None:
    naive = platform.client()
    with naive.llm.stream(**HELLO, idempotency_key="order-42") as stream:
        stream.final_message()
    with pytest.raises(ConflictError) as raised:
        naive.llm.stream(**HELLO, idempotency_key="order-42").final_message()
    assert raised.value.code == "already_completed"
    assert len(platform.requests) == 2


@pytest.mark.parametrize(
    ("broken", "raised"),
    [
        (httpx.ReadError, APIConnectionError),
        (httpx.ConnectError, APIConnectionError),
        (httpx.RemoteProtocolError, APIConnectionError),
        (httpx.ReadTimeout, APITimeoutError),
        (httpx.ConnectTimeout, APITimeoutError),
        (httpx.DecodingError, APIConnectionError),
    ],
)
def test_no_answer_is_asked_for_again_and_then_told_with_its_key(
    broken: type[httpx.RequestError], raised: type[NaiveError], platform: FakePlatform
) -> None:
    for _ in range(3):
        platform.disconnect(broken)
    with pytest.raises(raised) as told:
        platform.client().llm.chat(**HELLO)
    assert type(told.value) is raised
    assert told.value.details == {"idempotency_key": platform.requests[0].idempotency_key}
    assert len({seen.idempotency_key for seen in platform.requests}) == 1
    assert len(platform.requests) == 3
    assert isinstance(told.value.__cause__, broken)


def test_sign_ins_are_not_sent_again_where_no_answer_came(platform: FakePlatform) -> None:
    platform.disconnect(httpx.ReadTimeout)
    with pytest.raises(APITimeoutError):
        platform.client().auth.login(email="a@example.com", password="correct horse")
    assert len(platform.requests) == 1


def test_max_retries_of_client_of_options_and_of_a_call(platform: FakePlatform) -> None:
    naive = platform.client(max_retries=1)
    own: dict[str, Any] = {"max_retries": 0}
    for client, options, attempts in (
        (naive, {}, 2),
        (naive.with_options(max_retries=3), {}, 4),
        (naive, own, 1),
    ):
        platform.requests.clear()
        for _ in range(attempts):
            platform.fail(503)
        with pytest.raises(errors.ServiceUnavailableError):
            client.llm.chat(**HELLO, **options)
        assert len(platform.requests) == attempts


def test_async_client_decides_the_same(platform: FakePlatform) -> None:
    async def main() -> None:
        async with platform.async_client() as naive:
            platform.fail(503, headers={"retry-after": "2"})
            platform.disconnect()
            await naive.llm.chat(**HELLO)
            platform.fail(402)
            with pytest.raises(InsufficientCreditsError):
                await naive.llm.chat(**HELLO)

    asyncio.run(main())
    assert len({seen.idempotency_key for seen in platform.requests[:3]}) == 1
    assert platform.waited_s[0] == 2
    assert len(platform.requests) == 4


@pytest.mark.parametrize(("attempt", "most"), [(0, 0.5), (1, 1), (2, 2), (4, 8), (100, 8)])
def test_delays_double_up_to_a_most_less_up_to_a_quarter(attempt: int, most: float) -> None:
    assert retries.delay_s(attempt=attempt, response=None, random=lambda: 0.0) == most
    assert retries.delay_s(attempt=attempt, response=None, random=lambda: 1.0) == most * 0.75


@pytest.mark.parametrize("told", ["soon", "-1", "1e9", "nan", "Wed, 21 Oct 2026 07:28:00 GMT", "٣"])
def test_retry_after_that_is_no_number_is_passed_over(told: str) -> None:
    response = httpx.Response(503, headers=[(b"retry-after", told.encode())])
    assert retries.delay_s(attempt=0, response=response, random=lambda: 0.0) == 0.5


def test_error_tree_is_one() -> None:
    for kind in errors.BY_STATUS.values():
        assert issubclass(kind, errors.APIStatusError)
    assert issubclass(errors.APIStatusError, NaiveError)
    assert issubclass(APITimeoutError, APIConnectionError)
    assert {AuthenticationError, NotConfiguredError, NotFoundError, PermissionDeniedError} <= set(
        errors.BY_STATUS.values()
    )
