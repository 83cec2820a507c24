"""The current anthropic package, as it comes, through the proxy: change the base URL and the key, nothing else."""

import asyncio
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import MessageParam, ToolParam

from tests import factories
from tests.e2e import charges
from tests.e2e.conftest import KEY, NO_TLS, Platform, open_holds

MODEL = "anthropic/claude-haiku-4.5"
HELLO: list[MessageParam] = [{"role": "user", "content": "Write a haiku about Paris."}]
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "Current weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
        "required": ["city", "unit"],
    },
}
# It puts v1/messages behind the base URL it is given.
BASE = "/v1/proxy/openrouter/api"


@pytest.fixture
def client(clean: Platform, acme: factories.Cast) -> Anthropic:
    return Anthropic(api_key=acme.secret, base_url=f"{clean.url}{BASE}", max_retries=0)


@pytest.fixture
def async_client(clean: Platform, acme: factories.Cast) -> AsyncAnthropic:
    return AsyncAnthropic(api_key=acme.secret, base_url=f"{clean.url}{BASE}", max_retries=0)


def asked(faults: str = "", **more: Any) -> dict[str, Any]:
    model = f"{MODEL}:sim={faults}" if faults else MODEL
    return {"model": model, "max_tokens": 60, "messages": HELLO, **more}


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_message(client: Anthropic, clean: Platform, acme: factories.Cast) -> None:
    answer = client.messages.create(**asked(system="Be brief."))
    assert answer.type == "message"
    assert answer.stop_reason in ("end_turn", "max_tokens")
    assert text_of(answer)
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    charges.require_each_charged(clean, acme, calls=1)


def test_bearer_token_opens_as_the_key_does(clean: Platform, acme: factories.Cast) -> None:
    client = Anthropic(auth_token=acme.secret, base_url=f"{clean.url}{BASE}", max_retries=0)
    assert text_of(client.messages.create(**asked()))
    charges.require_each_charged(clean, acme, calls=1)


def test_streams(client: Anthropic, clean: Platform, acme: factories.Cast) -> None:
    events = list(client.messages.create(**asked(stream=True)))
    assert events[0].type == "message_start"
    assert events[-1].type == "message_stop"
    with client.messages.stream(**asked()) as stream:
        told = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert told == text_of(final)
    assert told
    assert final.usage.output_tokens > 0
    charges.require_each_charged(clean, acme, calls=2)


def heard(client: Anthropic) -> tuple[list[str], type[ValueError] | None]:
    """The events of a stream, and what the client breaks at in the end."""
    kinds: list[str] = []
    stream = client.messages.create(**asked(stream=True))
    try:
        kinds.extend(event.type for event in stream)
    except ValueError as exc:
        return kinds, type(exc)
    return kinds, None


def test_stream_ends_without_the_event_that_this_client_breaks_at(
    client: Anthropic, clean: Platform, acme: factories.Cast
) -> None:
    kinds, failure = heard(client)
    charges.require_each_charged(clean, acme, calls=1)
    straight = Anthropic(api_key=KEY, base_url=f"{clean.upstream.url}/api", max_retries=0)
    # Upstream's own streams end with `event: data` and [DONE], which is no JSON.
    theirs, breaks = heard(straight)
    assert breaks is not None
    assert (kinds, kinds[-1], failure) == (theirs, "message_stop", None)


@pytest.mark.parametrize("speaks_anthropics", [True, False])
@pytest.mark.parametrize("faults", ["", "crlf", "split=3"])
def test_only_that_line_is_left_out_and_only_for_who_speaks_anthropics(
    faults: str, speaks_anthropics: bool, clean: Platform, acme: factories.Cast
) -> None:
    headers = {"Authorization": acme.authorization} | (
        {"anthropic-version": "2023-06-01"} if speaks_anthropics else {}
    )
    url = f"{clean.url}{BASE}/v1/messages"
    answer = httpx.post(url, json=asked(faults, stream=True), headers=headers, verify=NO_TLS, timeout=30)
    end = b"\r\n" if faults == "crlf" else b"\n"
    event = b"" if speaks_anthropics else b"event: data" + end
    assert answer.content.endswith(
        b'data: {"type":"message_stop"}' + 2 * end + event + b"data: [DONE]" + 2 * end
    )
    charges.require_each_charged(clean, acme, calls=1)


def test_thinking_streams(client: Anthropic, clean: Platform, acme: factories.Cast) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    with client.messages.stream(**asked(max_tokens=2000, thinking=thinking)) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    charges.require_each_charged(clean, acme, calls=1)


def test_tools_round_trip(client: Anthropic, clean: Platform, acme: factories.Cast) -> None:
    first = client.messages.create(**asked(tools=[WEATHER], max_tokens=500))
    assert first.stop_reason == "tool_use"
    used = first.content[-1]
    assert used.type == "tool_use"
    assert isinstance(used.input, dict)
    assert used.input.keys() == {"city", "unit"}
    result = {"type": "tool_result", "tool_use_id": used.id, "content": "18 degrees"}
    told: list[Any] = [
        *HELLO,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]
    second = client.messages.create(**asked(tools=[WEATHER], messages=told))
    assert text_of(second)
    charges.require_each_charged(clean, acme, calls=2)


def test_streamed_tool(client: Anthropic, clean: Platform, acme: factories.Cast) -> None:
    with client.messages.stream(**asked(tools=[WEATHER], max_tokens=500)) as stream:
        used = stream.get_final_message().content[-1]
    assert used.type == "tool_use"
    assert isinstance(used.input, dict)
    assert used.input.keys() == {"city", "unit"}
    charges.require_each_charged(clean, acme, calls=1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "raised"), [
        (400, anthropic.BadRequestError), (404, anthropic.NotFoundError), (413, anthropic.ContentTooLargeError),
        (422, anthropic.UnprocessableEntityError), (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError), (503, anthropic.ServiceUnavailableError),
        (529, anthropic.OverloadedError), (401, anthropic.InternalServerError),
    ],
)  # fmt: skip
def test_upstreams_errors_are_the_clients_own(
    status: int,
    raised: type[anthropic.APIStatusError],
    stream: bool,
    client: Anthropic,
    clean: Platform,
    acme: factories.Cast,
) -> None:
    with pytest.raises(raised) as caught:
        client.messages.create(**asked(f"status={status}", stream=stream))
    assert "user_2" not in caught.value.response.text
    assert caught.value.request_id
    charges.require_each_charged(clean, acme, calls=0)


def test_naives_errors_are_the_clients_own(clean: Platform) -> None:
    url = f"{clean.url}{BASE}"
    with pytest.raises(anthropic.AuthenticationError) as caught:
        Anthropic(api_key="sk-ant-mine", base_url=url, max_retries=0).messages.create(**asked())
    assert (caught.value.request_id or "").startswith("req_")
    broke = factories.initech()
    with pytest.raises(anthropic.PaymentRequiredError) as refused:
        Anthropic(api_key=broke.secret, base_url=url, max_retries=2).messages.create(**asked())
    assert (refused.value.request_id or "").startswith("req_")
    acme = factories.acme()
    client = Anthropic(api_key=acme.secret, base_url=url, max_retries=0)
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model=MODEL, messages=HELLO)
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.list()
    assert clean.upstream.accepted() == 0
    assert open_holds(broke.company.id) == open_holds(acme.company.id) == 0


def test_error_in_a_stream_raises(client: Anthropic, clean: Platform, acme: factories.Cast) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        list(client.messages.create(**asked("midstream_error=finish", stream=True)))
    assert "Overloaded" in str(caught.value)
    clean.upstream.reset()
    with pytest.raises(anthropic.APIStatusError) as caught:
        list(client.messages.create(**asked("cut_after=3", stream=True)))
    assert "gen_" in str(caught.value)


def test_stream_that_is_cut_is_charged(client: Anthropic, clean: Platform, acme: factories.Cast) -> None:
    with pytest.raises(anthropic.APIStatusError):
        list(client.messages.create(**asked("cut_after=3", stream=True)))
    charges.require_each_charged(clean, acme, calls=1)


def test_retries_of_the_client_are_charged_once(
    client: Anthropic, clean: Platform, acme: factories.Cast
) -> None:
    clean.upstream.faults(status=529)
    with pytest.raises(anthropic.OverloadedError):
        client.with_options(max_retries=2).messages.create(**asked())
    assert clean.upstream.accepted() == 3
    clean.upstream.faults()
    assert text_of(client.with_options(max_retries=2).messages.create(**asked()))
    assert clean.upstream.accepted() == 4
    charges.require_each_charged(clean, acme, calls=1)


def test_timeout_of_the_client_is_charged_by_its_record(
    client: Anthropic, clean: Platform, acme: factories.Cast
) -> None:
    with pytest.raises(anthropic.APITimeoutError):
        client.with_options(timeout=0.5).messages.create(**asked("delay_headers_ms=1500"))
    charges.require_each_charged(clean, acme, calls=1)


def test_retry_after_a_timeout_is_a_second_call(
    client: Anthropic, clean: Platform, acme: factories.Cast
) -> None:
    with pytest.raises(anthropic.APITimeoutError):
        client.with_options(timeout=0.5, max_retries=1).messages.create(**asked("delay_headers_ms=1500"))
    charges.require_each_charged(clean, acme, calls=2)


@pytest.mark.parametrize("provider", ["cancellable", "cancellable=0"])
def test_stream_that_is_left_is_charged_by_its_record(
    provider: str, client: Anthropic, clean: Platform, acme: factories.Cast
) -> None:
    faults = f"chunk_delay_ms=30,completion_tokens=120,{provider}"
    with client.messages.stream(**asked(faults, max_tokens=400)) as stream:
        for text in stream.text_stream:
            assert text
            break
    charges.require_each_charged(clean, acme, calls=1)


def test_async_calls_streams_and_one_that_is_cancelled(
    async_client: AsyncAnthropic, clean: Platform, acme: factories.Cast
) -> None:
    async def read(began: asyncio.Event) -> None:
        faults = "chunk_delay_ms=30,completion_tokens=120"
        async with async_client.messages.stream(**asked(faults, max_tokens=400)) as stream:
            async for _ in stream.text_stream:
                began.set()

    async def talk() -> set[str]:
        answers = await asyncio.gather(*[async_client.messages.create(**asked()) for _ in range(4)])
        began = asyncio.Event()
        reading = asyncio.create_task(read(began))
        await asyncio.wait_for(began.wait(), 20)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await async_client.close()
        return {text_of(answer) for answer in answers}

    assert len(asyncio.run(talk())) == 1
    charges.require_each_charged(clean, acme, calls=5)
