"""Who goes on when the client has left, under the names that upstream uses."""

from typing import Any

import pytest

from llm import providers


@pytest.mark.parametrize(
    "name",
    ["Groq", "groq", "Amazon Bedrock", "Google AI Studio", "google-vertex/global", "Mistral", "AionLabs"],
)
def test_listed_provider_does_not_stop(name: str) -> None:
    assert not providers.stops(name)


@pytest.mark.parametrize("name", [None, "OpenAI", "Azure", "Anthropic", "DeepInfra", "Somebody New"])
def test_every_other_provider_is_taken_to_stop(name: str | None) -> None:
    assert providers.stops(name)


@pytest.mark.parametrize(
    ("models", "preferences"),
    [
        (["openai/gpt-4o-mini"], {}),
        (["openai/gpt-4o-mini"], {"order": ["openai", "azure"], "allow_fallbacks": False, "sort": None}),
        # A closed list decides by itself, whatever else is wished.
        (["meta-llama/llama-3.3-70b-instruct"], {"only": ["deepinfra"], "sort": "throughput"}),
    ],
)
def test_request_that_asks_for_nobody_else_is_expected_to_stop(
    models: list[str], preferences: dict[str, Any]
) -> None:
    assert providers.all_stop(models, preferences)


@pytest.mark.parametrize(
    ("models", "preferences"),
    [
        (["google/gemini-2.5-flash:free"], {}),
        (["~google/gemini-flash-latest"], {}),
        (["openai/gpt-4o-mini", "mistralai/mistral-large"], {}),
        (["meta-llama/llama-3.3-70b-instruct:nitro"], {}),
        (["meta-llama/llama-3.3-70b-instruct:online:floor"], {}),
        (["openai/gpt-oss-120b"], {"only": ["groq"]}),
        (["openai/gpt-oss-120b"], {"only": ["deepinfra"], "order": ["google-vertex/global"]}),
        (["openai/gpt-oss-120b"], {"only": [7]}),
        (["openai/gpt-oss-120b"], {"order": "groq"}),
        # Whoever is fastest, or left when all others are out, is as good as named.
        (["openai/gpt-oss-120b"], {"sort": "throughput"}),
        (["openai/gpt-oss-120b"], {"only": [], "ignore": ["deepinfra"]}),
        (["openai/gpt-oss-120b"], {"preferred_min_throughput": 400}),
    ],
)
def test_request_that_may_choose_who_runs_on_is_not(models: list[str], preferences: dict[str, Any]) -> None:
    assert not providers.all_stop(models, preferences)


@pytest.mark.parametrize(
    ("chunk", "name"),
    [
        (b'{"id":"gen-1","model":"a/b","provider":"Google AI Studio","choices":[]}', "Google AI Studio"),
        (b'{"provider": "Groq"}', "Groq"),
        (b'{"choices":[{"delta":{"content":"{\\"provider\\":\\"Groq\\"}"}}]}', None),
        (b'{"provider":null}', None),
    ],
)
def test_chunk_names_its_provider(chunk: bytes, name: str | None) -> None:
    assert providers.named_in(chunk) == name
