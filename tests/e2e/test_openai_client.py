"""The current openai package, as it comes, against /v1/llm: change the base URL and the key, nothing else."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam

from tests import factories
from tests.e2e.conftest import Platform

MODEL = "openai/gpt-4o-mini"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Write a haiku about Paris."}]
WEATHER: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
            "required": ["city", "unit"],
        },
    },
}
CITY: Any = {
    "name": "city",
    "strict": True,
    "schema": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "population": {"type": "integer"}},
        "required": ["name", "population"],
        "additionalProperties": False,
    },
}


@pytest.fixture
def client(clean: Platform, acme: factories.Cast) -> OpenAI:
    return OpenAI(api_key=acme.secret, base_url=f"{clean.url}/v1/llm", max_retries=0)


def test_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.model_extra is not None
    assert answer.model_extra["credits_used"] > 0


def test_stream(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model=MODEL, messages=HELLO, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    assert text == client.chat.completions.create(model=MODEL, messages=HELLO).choices[0].message.content
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.model_extra is not None
    assert chunks[-1].usage.model_extra["cost"] > 0


def test_stream_helper(client: OpenAI) -> None:
    with client.chat.completions.stream(model=MODEL, messages=HELLO) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content


def test_tools_round_trip(client: OpenAI) -> None:
    question: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Weather in Paris?"}]
    first = client.chat.completions.create(model=MODEL, messages=question, tools=[WEATHER])
    assert first.choices[0].finish_reason == "tool_calls"
    assert first.choices[0].message.tool_calls
    call = first.choices[0].message.tool_calls[0]
    assert call.type == "function"
    assert set(json.loads(call.function.arguments)) == {"city", "unit"}
    answered: list[ChatCompletionMessageParam] = [
        *question,
        {"role": "assistant", "tool_calls": [call.model_dump()]},  # type: ignore[list-item]
        {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"},
    ]
    second = client.chat.completions.create(model=MODEL, messages=answered, tools=[WEATHER])
    assert second.choices[0].message.content


def test_streamed_tools(client: OpenAI) -> None:
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, tools=[WEATHER], stream=True)
    parts = [call for chunk in stream for choice in chunk.choices for call in choice.delta.tool_calls or []]
    arguments = "".join(part.function.arguments or "" for part in parts if part.function)
    assert set(json.loads(arguments)) == {"city", "unit"}


def test_json_schema_output(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Describe Paris."}],
        response_format={"type": "json_schema", "json_schema": CITY},
    )
    found = json.loads(answer.choices[0].message.content or "")
    assert isinstance(found["name"], str)
    assert isinstance(found["population"], int)


def test_openrouter_fields_pass(client: OpenAI, clean: Platform) -> None:
    routing = {
        "models": [MODEL, "anthropic/claude-sonnet-4.6"],
        "provider": {"sort": "throughput", "data_collection": "deny"},
    }
    client.chat.completions.create(model=MODEL, messages=HELLO, extra_body=routing)
    sent = json.loads(clean.upstream.last_request()["body"])
    assert sent["models"] == routing["models"]
    assert sent["provider"] == routing["provider"]


def test_models_can_be_listed(client: OpenAI) -> None:
    ids = [model.id for model in client.models.list()]
    assert MODEL in ids
    assert len(ids) >= 300


def test_async_calls_and_streams(clean: Platform, acme: factories.Cast) -> None:
    async def talk() -> tuple[list[str | None], str]:
        async with AsyncOpenAI(api_key=acme.secret, base_url=f"{clean.url}/v1/llm", max_retries=0) as client:
            calls = [client.chat.completions.create(model=MODEL, messages=HELLO) for _ in range(8)]
            texts = [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]
            stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
            return texts, "".join(
                [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            )

    texts, streamed = asyncio.run(talk())
    assert set(texts) == {streamed}


def test_response_headers_tell_the_generation(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO)
    assert raw.headers["x-naive-generation-id"].startswith("gen_")
    assert raw.headers["x-request-id"].startswith("req_")


CASES: dict[str, tuple[type[openai.APIStatusError], dict[str, Any]]] = {
    "bad request": (openai.BadRequestError, {"messages": []}),
    "unknown model": (openai.BadRequestError, {"model": "nobody/nothing"}),
    "upstream 400": (openai.BadRequestError, {"model": f"{MODEL}:sim=status=400"}),
    "upstream 404": (openai.NotFoundError, {"model": f"{MODEL}:sim=status=404"}),
    "upstream 422": (openai.UnprocessableEntityError, {"model": f"{MODEL}:sim=status=422"}),
    "upstream 429": (openai.RateLimitError, {"model": f"{MODEL}:sim=status=429"}),
    "upstream 500": (openai.InternalServerError, {"model": f"{MODEL}:sim=status=500"}),
    "upstream 503": (openai.InternalServerError, {"model": f"{MODEL}:sim=status=503"}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_raise_their_own_class(client: OpenAI, case: str, stream: bool) -> None:
    expected, changes = CASES[case]
    with pytest.raises(expected) as caught:
        client.chat.completions.create(**{"model": MODEL, "messages": HELLO, "stream": stream, **changes})
    assert caught.value.request_id
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["request_id"] == caught.value.request_id


def test_wrong_key_is_an_authentication_error(clean: Platform) -> None:
    client = OpenAI(api_key="nv_sk_live_wrong", base_url=f"{clean.url}/v1/llm", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model=MODEL, messages=HELLO)


def test_no_money_is_402_and_not_retried(clean: Platform) -> None:
    initech = factories.initech()
    client = OpenAI(api_key=initech.secret, base_url=f"{clean.url}/v1/llm", max_retries=2)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model=MODEL, messages=HELLO)
    assert caught.value.status_code == 402
    assert clean.upstream.accepted() == 0


def test_error_in_a_stream_raises(client: OpenAI) -> None:
    model = f"{MODEL}:sim=cut_after=2"
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
