"""The current openai package, as it comes, through the proxy: change the base URL and the key, nothing else."""

import asyncio
from decimal import Decimal
from typing import Any

import openai
import pydantic
import pytest
from openai import AsyncOpenAI, OpenAI

from billing import money
from tests import factories
from tests.e2e.conftest import Platform, eventually, open_holds
from tests.e2e.test_openai_client import CITY, HELLO, MODEL, WEATHER


class City(pydantic.BaseModel):
    """What the model is to answer with."""

    name: str
    population: int


@pytest.fixture(params=["", "/api/v1"])
def client(clean: Platform, acme: factories.Cast, request: pytest.FixtureRequest) -> OpenAI:
    url = f"{clean.url}/v1/proxy/openrouter{request.param}"
    return OpenAI(api_key=acme.secret, base_url=url, max_retries=0)


@pytest.fixture
def async_client(clean: Platform, acme: factories.Cast) -> AsyncOpenAI:
    return AsyncOpenAI(api_key=acme.secret, base_url=f"{clean.url}/v1/proxy/openrouter", max_retries=0)


def require_paid(platform: Platform, member: factories.Cast) -> None:
    eventually(lambda: open_holds(member.company.id) == 0, what="every call is settled")
    spent = factories.GRANT_NANOCREDITS - factories.balance_nanocredits(member)
    cost_usd = Decimal(platform.upstream.ledger()["total_usd"])
    owed = money.charge_nanocredits(
        cost_usd=cost_usd, markup=Decimal("1.25"), credit_value_usd=Decimal("0.5")
    )
    assert 0 < owed <= spent <= owed + 20  # Each call is charged up to a whole nanocredit.


def test_chat_tools_and_schemas(client: OpenAI, clean: Platform, acme: factories.Cast) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.content
    assert "credits_used" not in (answer.model_extra or {})
    called = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Weather in Paris?"}], tools=[WEATHER]
    )
    assert called.choices[0].finish_reason == "tool_calls"
    schema: Any = {"type": "json_schema", "json_schema": CITY}
    told = client.chat.completions.create(model=MODEL, messages=HELLO, response_format=schema)
    assert City.model_validate_json(told.choices[0].message.content or "")
    parsed = client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=City)
    assert parsed.choices[0].message.parsed is not None
    require_paid(clean, acme)


def test_streams(client: OpenAI, clean: Platform, acme: factories.Cast) -> None:
    chunks = list(client.chat.completions.create(model=MODEL, messages=HELLO, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage is not None
    with client.responses.stream(model=MODEL, input="Write a haiku.") as stream:
        kinds = [event.type for event in stream]
    assert kinds[-1] == "response.completed"
    texts = list(client.completions.create(model=MODEL, prompt="Once upon", stream=True, max_tokens=20))
    assert "".join(chunk.choices[0].text for chunk in texts if chunk.choices)
    require_paid(clean, acme)


def test_other_shapes(client: OpenAI, clean: Platform, acme: factories.Cast) -> None:
    assert client.responses.create(model=MODEL, input="Write a haiku.").output_text
    found = client.embeddings.create(model="openai/text-embedding-3-small", input=["tide", "ebb"])
    assert len(found.data) == 2
    spoken = client.audio.speech.create(model="hexgrad/kokoro-82m", input="The tide.", voice="af")
    assert spoken.content.startswith(b"\xff\xfb")
    heard = client.audio.transcriptions.create(model="openai/whisper-1", file=("a.mp3", bytes(100_000)))
    assert heard.text
    assert len(list(client.models.list())) > 5
    require_paid(clean, acme)


@pytest.mark.parametrize(
    ("status", "raised"), [
        (400, openai.BadRequestError), (404, openai.NotFoundError), (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError), (503, openai.InternalServerError), (401, openai.InternalServerError),
    ],
)  # fmt: skip
def test_errors_are_the_clients_own(status: int, raised: type[openai.APIStatusError], client: OpenAI) -> None:
    with pytest.raises(raised) as caught:
        client.chat.completions.create(model=f"{MODEL}:sim=status={status}", messages=HELLO)
    assert "user_2" not in caught.value.response.text


def test_key_and_credit_errors_are_the_clients_own(clean: Platform) -> None:
    url = f"{clean.url}/v1/proxy/openrouter"
    stranger = OpenAI(api_key="sk-or-v1-mine", base_url=url, max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model=MODEL, messages=HELLO)
    broke = OpenAI(api_key=factories.initech().secret, base_url=url, max_retries=0)
    with pytest.raises(openai.APIStatusError) as caught:
        broke.chat.completions.create(model=MODEL, messages=HELLO)
    assert caught.value.status_code == 402
    closed = OpenAI(api_key=factories.acme().secret, base_url=url, max_retries=0)
    with pytest.raises(openai.NotFoundError):
        closed.files.list()


def test_retries_of_the_client_are_charged_once(
    client: OpenAI, clean: Platform, acme: factories.Cast
) -> None:
    clean.upstream.faults(status=429)
    with pytest.raises(openai.RateLimitError):
        client.with_options(max_retries=1).chat.completions.create(model=MODEL, messages=HELLO)
    assert clean.upstream.accepted() == 2
    clean.upstream.faults()
    client.with_options(max_retries=1).chat.completions.create(model=MODEL, messages=HELLO)
    require_paid(clean, acme)


def test_timeout_of_the_client_is_charged_by_its_record(
    client: OpenAI, clean: Platform, acme: factories.Cast
) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(
            model=f"{MODEL}:sim=delay_headers_ms=1500", messages=HELLO
        )
    require_paid(clean, acme)


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_stream_that_is_left_is_charged_by_its_record(
    api: str, client: OpenAI, clean: Platform, acme: factories.Cast
) -> None:
    model = f"{MODEL}:sim=chunk_delay_ms=30,completion_tokens=120"
    stream: Any = (
        client.chat.completions.create(model=model, messages=HELLO, stream=True)
        if api == "chat"
        else client.responses.create(model=model, input="Hello", stream=True)
    )
    with stream:
        parts = [part for part, _ in zip(stream, range(6), strict=False)]
    assert len(parts) == 6
    require_paid(clean, acme)


def test_async_stream_that_is_left_is_charged_by_its_record(
    async_client: AsyncOpenAI, clean: Platform, acme: factories.Cast
) -> None:
    async def leave() -> None:
        model = f"{MODEL}:sim=chunk_delay_ms=50,completion_tokens=400"
        stream = await async_client.chat.completions.create(model=model, messages=HELLO, stream=True)
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break
        await stream.close()
        await async_client.close()

    asyncio.run(leave())
    require_paid(clean, acme)
