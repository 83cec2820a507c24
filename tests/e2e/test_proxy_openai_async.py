"""The openai package's async client, as it comes, through the proxy; each call is charged what upstream's books say."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests import factories
from tests.e2e import charges
from tests.e2e.conftest import Platform
from tests.e2e.test_openai_client import CITY, HELLO, MODEL, WEATHER
from tests.e2e.test_proxy_openai import City

EMBEDDER = "openai/text-embedding-3-small"
LOOKUP: Any = {
    "type": "function",
    "name": "get_weather",
    "strict": False,
    "parameters": WEATHER["function"]["parameters"],
}
# Long enough to be left in the middle; max_tokens would otherwise be lowered to what a wallet can pay.
SLOW = "chunk_delay_ms=30,completion_tokens=120"
type Use = Callable[[AsyncOpenAI], Awaitable[None]]


@asynccontextmanager
async def opened(platform: Platform, key: str, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    url = f"{platform.url}/v1/proxy/openrouter"
    async with AsyncOpenAI(api_key=key, base_url=url, **{"max_retries": 0, **options}) as client:
        yield client


def run(platform: Platform, member: factories.Cast, use: Use, **options: Any) -> None:
    """Run `use` with a client of the member's, in a loop of its own."""

    async def talk() -> None:
        async with opened(platform, member.secret, **options) as client:
            await use(client)

    asyncio.run(talk())


def test_chats_at_once(clean: Platform, acme: factories.Cast) -> None:
    async def use(client: AsyncOpenAI) -> None:
        answers = await asyncio.gather(
            *[client.chat.completions.create(model=MODEL, messages=HELLO) for _ in range(8)]
        )
        assert len({answer.id for answer in answers}) == 8
        assert all(answer.choices[0].message.content for answer in answers)

    run(clean, acme, use)
    charges.require_each_charged(clean, acme, calls=8)


def test_stream_and_its_helper(clean: Platform, acme: factories.Cast) -> None:
    async def use(client: AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert chunks[-1].usage is not None
        async with client.chat.completions.stream(model=MODEL, messages=HELLO) as helped:
            final = await helped.get_final_completion()
        assert final.choices[0].message.content

    run(clean, acme, use)
    charges.require_each_charged(clean, acme, calls=2)


def test_tools_round_trip(clean: Platform, acme: factories.Cast) -> None:
    async def use(client: AsyncOpenAI) -> None:
        first = await client.chat.completions.create(model=MODEL, messages=HELLO, tools=[WEATHER])
        assert first.choices[0].finish_reason == "tool_calls"
        call = (first.choices[0].message.tool_calls or [])[0]
        told: list[Any] = [
            *HELLO,
            first.choices[0].message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"},
        ]
        second = await client.chat.completions.create(model=MODEL, messages=told, tools=[WEATHER])
        assert second.choices[0].message.content

    run(clean, acme, use)
    charges.require_each_charged(clean, acme, calls=2)


def test_streamed_tools(clean: Platform, acme: factories.Cast) -> None:
    async def use(client: AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(
            model=MODEL, messages=HELLO, tools=[WEATHER], stream=True
        )
        parts = [
            part
            async for chunk in stream
            for choice in chunk.choices
            for part in choice.delta.tool_calls or []
        ]
        arguments = "".join(part.function.arguments or "" for part in parts if part.function)
        assert json.loads(arguments).keys() == {"city", "unit"}

    run(clean, acme, use)
    charges.require_each_charged(clean, acme, calls=1)


def test_schemas_are_kept_to(clean: Platform, acme: factories.Cast) -> None:
    async def use(client: AsyncOpenAI) -> None:
        told = await client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=City)
        assert told.choices[0].message.parsed is not None
        asked: Any = {"type": "json_schema", "json_schema": CITY}
        plain = await client.chat.completions.create(model=MODEL, messages=HELLO, response_format=asked)
        assert City.model_validate_json(plain.choices[0].message.content or "")

    run(clean, acme, use)
    charges.require_each_charged(clean, acme, calls=2)


def test_embeddings(clean: Platform, acme: factories.Cast) -> None:
    async def use(client: AsyncOpenAI) -> None:
        packed = await client.embeddings.create(model=EMBEDDER, input=["tide", "ebb"])
        plain = await client.embeddings.create(model=EMBEDDER, input=["tide", "ebb"], encoding_format="float")
        assert [len(item.embedding) for item in packed.data] == [len(item.embedding) for item in plain.data]
        assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding)

    run(clean, acme, use)
    charges.require_each_charged(clean, acme, calls=2)


def test_responses(clean: Platform, acme: factories.Cast) -> None:
    async def use(client: AsyncOpenAI) -> None:
        whole = await client.responses.create(model=MODEL, input="Write a haiku.")
        assert whole.output_text
        async with client.responses.stream(model=MODEL, input="Write a haiku.") as stream:
            final = await stream.get_final_response()
        assert final.output_text == whole.output_text
        called = await client.responses.create(model=MODEL, input="Weather in Paris?", tools=[LOOKUP])
        assert [item.type for item in called.output][-1] == "function_call"

    run(clean, acme, use)
    charges.require_each_charged(clean, acme, calls=3)


@pytest.mark.parametrize(
    ("status", "raised"), [
        (400, openai.BadRequestError), (404, openai.NotFoundError), (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError), (503, openai.InternalServerError), (402, openai.InternalServerError),
    ],
)  # fmt: skip
def test_errors_are_the_clients_own_and_cost_nothing(
    status: int, raised: type[openai.APIStatusError], clean: Platform, acme: factories.Cast
) -> None:
    async def use(client: AsyncOpenAI) -> None:
        model = f":sim=status={status}"
        asked: list[Awaitable[Any]] = [
            client.chat.completions.create(model=MODEL + model, messages=HELLO),
            client.chat.completions.create(model=MODEL + model, messages=HELLO, stream=True),
            client.responses.create(model=MODEL + model, input="Hello"),
            client.embeddings.create(model=EMBEDDER + model, input="tide"),
        ]
        for failure in await asyncio.gather(*asked, return_exceptions=True):
            assert type(failure) is raised
            assert failure.request_id
            assert "user_2" not in failure.response.text

    run(clean, acme, use)
    assert clean.upstream.accepted() == 4
    charges.require_each_charged(clean, acme, calls=0)


def test_error_in_a_stream_raises(clean: Platform, acme: factories.Cast) -> None:
    async def use(client: AsyncOpenAI) -> None:
        for faults in ("midstream_error=finish", "cut_after=2"):
            model = f"{MODEL}:sim={faults}"
            stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True)
            with pytest.raises(openai.APIError):
                [chunk async for chunk in stream]
        with pytest.raises(openai.APIError):
            [
                event
                async for event in await client.responses.create(
                    model=f"{MODEL}:sim=cut_after=2", input="Hello", stream=True
                )
            ]

    run(clean, acme, use)
    charges.require_each_charged(clean, acme, calls=2)  # Upstream's own error is free, a cut is not.


def test_timeout_is_charged_and_a_retry_of_a_refusal_is_not(clean: Platform, acme: factories.Cast) -> None:
    async def use(client: AsyncOpenAI) -> None:
        hasty = client.with_options(timeout=0.5)
        with pytest.raises(openai.APITimeoutError):
            await hasty.chat.completions.create(model=f"{MODEL}:sim=delay_headers_ms=1500", messages=HELLO)
        with pytest.raises(openai.InternalServerError):
            await client.with_options(max_retries=1).embeddings.create(
                model=f"{EMBEDDER}:sim=status=503,retry_after=0", input="tide"
            )

    run(clean, acme, use)
    assert clean.upstream.accepted() == 3
    charges.require_each_charged(clean, acme, calls=1)


@pytest.mark.parametrize("way", ["close", "cancel"])
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_stream_that_is_left_is_charged_by_its_record(
    api: str, way: str, clean: Platform, acme: factories.Cast
) -> None:
    async def begin(client: AsyncOpenAI) -> Any:
        model = f"{MODEL}:sim={SLOW}"
        if api == "chat":
            return await client.chat.completions.create(model=model, messages=HELLO, stream=True)
        return await client.responses.create(model=model, input="Hello", stream=True)

    async def use(client: AsyncOpenAI) -> None:
        came = asyncio.Event()

        async def read() -> None:
            number = 0
            stream = await begin(client)
            async for _ in stream:
                number += 1
                if number == 6:
                    came.set()
                    if way == "close":
                        await stream.close()
                        return

        reading = asyncio.create_task(read())
        await asyncio.wait_for(came.wait(), 20)
        if way == "cancel":
            reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert reading.cancelled() == (way == "cancel")

    run(clean, acme, use)
    charges.require_each_charged(clean, acme, calls=1)


def test_call_that_is_cancelled_before_its_answer_is_charged_by_its_record(
    clean: Platform, acme: factories.Cast
) -> None:
    async def use(client: AsyncOpenAI) -> None:
        model = f"{MODEL}:sim=delay_headers_ms=1500"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.chat.completions.create(model=model, messages=HELLO), 0.7)

    run(clean, acme, use)
    charges.require_each_charged(clean, acme, calls=1)
