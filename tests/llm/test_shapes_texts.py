"""How the four shapes of text are read, and what each holds for."""

from decimal import Decimal
from typing import Any

import orjson
import pytest

from accounts.errors import InvalidInput
from llm import pricing
from llm.pricing import Bound, Price
from llm.shapes import table
from llm.shapes.request import Request

MODEL = {
    "id": "a/b",
    "pricing": {"prompt": "0.000001", "completion": "0.00001", "image": "0"},
    "context_length": 100_000,
    "top_provider": {"max_completion_tokens": 8000},
}
GOOD: dict[str, dict[str, Any]] = {
    "chat": {"model": "a/b", "messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"model": "a/b", "prompt": "Hi"},
    "responses": {"model": "a/b", "input": "Hi"},
    "messages": {"model": "a/b", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]},
}


def price(**changes: Any) -> Price:
    found = pricing.read_price({**MODEL, **changes})
    assert found is not None
    return found


def read(shape: str, **changes: Any) -> Request:
    fields = {name: value for name, value in {**GOOD[shape], **changes}.items() if value is not ...}
    return table.SHAPES[shape].read(orjson.dumps(fields))


def bound(shape: str, *prices: Price | None, **changes: Any) -> Bound:
    return table.SHAPES[shape].bound(read(shape, **changes), prices or (price(),))


@pytest.mark.parametrize("shape", GOOD)
def test_models_and_stream_are_read(shape: str) -> None:
    found = read(shape, models=["c/d", "a/b"], stream=True, preset="mine")
    assert found.models == ("a/b", "c/d", "@preset/mine")
    assert found.is_stream
    assert not read(shape, stream=None).is_stream


@pytest.mark.parametrize("shape", GOOD)
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model": ...}, "model is missing"),
        ({"model": ""}, "model"),
        ({"model": "a/b "}, "model"),
        ({"model": 7}, "model"),
        ({"model": "a" * 300}, "model"),
        ({"service_tier": ["priority"]}, "service_tier"),
        ({"service_tier": {}}, "service_tier"),
        ({"model": "a\x00"}, "model"),
        ({"models": "a/b"}, "models"),
        ({"models": ["a/b", None]}, r"models\[1\]"),
        ({"models": ["a/b"] * 17}, "models has 17"),
        ({"preset": 5}, "preset"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"provider": []}, "provider"),
        ({"trace": "x"}, "trace"),
        ({"user": {}}, "user"),
        ({"session_id": 1}, "session_id"),
        ({"prompt_cache_key": 1}, "prompt_cache_key"),
        ({"safety_identifier": 1}, "safety_identifier"),
        ({"tools": {}}, "tools"),
        ({"plugins": "web"}, "plugins"),
    ],
)
def test_bad_field_is_named(shape: str, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=field) as caught:
        read(shape, **changes)
    assert caught.value.hint


@pytest.mark.parametrize("value", [0, -1, 1.5, "999", True, 2**63, 10_000_001])
@pytest.mark.parametrize(("shape", "name"), [(s, f) for s in GOOD for f in table.SHAPES[s].output_fields])
def test_ceiling_that_is_none_is_refused(shape: str, name: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=name):
        read(shape, **{name: value})


@pytest.mark.parametrize(
    ("shape", "changes", "field"),
    [
        ("completions", {"prompt": ...}, "prompt"),
        ("completions", {"prompt": ""}, "prompt"),
        ("completions", {"prompt": []}, "prompt"),
        ("completions", {"prompt": [None]}, "prompt"),
        ("completions", {"prompt": ["x"] * 2049}, "prompt"),
        ("completions", {"n": 1000}, "n must"),
        ("completions", {"best_of": 0}, "best_of"),
        ("responses", {"input": ...}, "input"),
        ("responses", {"input": []}, "input"),
        ("responses", {"input": 5}, "input"),
        ("responses", {"background": "yes"}, "background"),
        ("messages", {"messages": []}, "messages"),
        ("messages", {"messages": ["Hi"]}, r"messages\[0\]"),
        ("messages", {"fallbacks": ["a/b"]}, r"fallbacks\[0\]"),
        ("messages", {"fallbacks": [{"model": 1}]}, "fallbacks"),
        ("messages", {"fallbacks": [{"model": "a/b"}] * 17}, "fallbacks"),
        ("messages", {"thinking": {"type": "enabled", "budget_tokens": -1}}, "budget_tokens"),
    ],
)
def test_bad_field_of_one_shape_is_named(shape: str, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        read(shape, **changes)


@pytest.mark.parametrize("shape", GOOD)
def test_field_that_is_named_twice_is_refused(shape: str) -> None:
    raw = orjson.dumps(GOOD[shape])[:-1] + b',"model":"dear/er"}'
    with pytest.raises(InvalidInput, match="twice"):
        table.SHAPES[shape].read(raw)


@pytest.mark.parametrize("shape", GOOD)
def test_bound_is_prompt_and_asked_for_output(shape: str) -> None:
    name = table.SHAPES[shape].output_fields[0]
    found = bound(shape, **{name: 50})
    assert found.price_known
    assert found.output_tokens == 50
    assert found.cost_usd() == found.fixed_usd + 50 * Decimal("0.00001")
    assert found.fixed_usd >= len(orjson.dumps(GOOD[shape])) * Decimal("0.000001")


@pytest.mark.parametrize("shape", ["completions", "responses", "messages"])
def test_without_a_ceiling_the_models_own_counts(shape: str) -> None:
    assert bound(shape, **{table.SHAPES[shape].output_fields[0]: None}).output_tokens == 8000


@pytest.mark.parametrize("shape", GOOD)
def test_dearest_of_all_that_may_run_counts(shape: str) -> None:
    dear = price(pricing={"prompt": "0.00001", "completion": "0.0001"})
    assert bound(shape, price(), dear).output_usd_per_token == Decimal("0.0001")
    assert not bound(shape, price(), None).price_known


def test_every_choice_of_every_prompt_counts() -> None:
    found = bound("completions", prompt=["a", "b", "c"], n=2, best_of=4, max_tokens=10)
    assert found.choices == 12
    assert not found.price_known


@pytest.mark.parametrize(
    "hidden",
    [{"reasoning": {"effort": "high"}}, {"reasoning_effort": "low"}, {"include_reasoning": True}, {"new": 1}],
)
def test_completion_whose_output_may_be_hidden_does_not_grow_with_its_stream(hidden: dict[str, Any]) -> None:
    quiet = price(architecture={"output_modalities": ["text"]}, reasoning={"mandatory": False})
    assert bound("completions", quiet, stream=True).shows_output
    assert not bound("completions", quiet, stream=True, **hidden).shows_output


def test_ceiling_that_a_completion_does_not_know_is_none() -> None:
    assert bound("completions", max_completion_tokens=1).output_tokens == 8000


@pytest.mark.parametrize("prompt", ["Hi", [1, 2, 3], ["Hi"], [[1, 2, 3]]])
def test_one_prompt_has_a_price(prompt: object) -> None:
    found = bound("completions", prompt=prompt)
    assert (found.choices, found.price_known) == (1, True)


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ("responses", {"tools": [{"type": "code_interpreter"}]}),
        ("responses", {"tools": [{"type": "openrouter:subagent"}]}),
        ("responses", {"tools": ["function"]}),
        ("responses", {"prompt": {"id": "pmpt_1"}}),
        ("responses", {"background": True}),
        ("responses", {"plugins": [{"id": "fusion"}]}),
        ("messages", {"tools": [{"type": "code_execution_20250522", "name": "x"}]}),
        ("messages", {"tools": [{"type": "web_fetch_20250910", "name": "x"}]}),
        ("messages", {"mcp_servers": [{"url": "https://x"}]}),
        ("messages", {"container": {"skills": [{"type": "anthropic", "skill_id": "pptx"}]}}),
        ("messages", {"speed": "fast"}),
        ("messages", {"plugins": [{"id": "file-parser"}]}),
    ],
)
def test_what_upstream_may_run_by_itself_has_no_price(shape: str, changes: dict[str, Any]) -> None:
    assert not bound(shape, **changes).price_known


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ("responses", {"tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]}),
        ("messages", {"tools": [{"name": "f", "input_schema": {}}, {"type": "custom", "name": "g"}]}),
        ("messages", {"tools": [{"type": "bash_20250124", "name": "bash"}], "speed": "standard"}),
    ],
)
def test_clients_own_tools_cost_their_text(shape: str, changes: dict[str, Any]) -> None:
    assert bound(shape, **changes).price_known


@pytest.mark.parametrize(
    ("shape", "tool"),
    [("responses", {"type": "web_search"}), ("messages", {"type": "web_search_20250305", "name": "x"})],
)
def test_web_search_has_its_allowance(shape: str, tool: dict[str, Any]) -> None:
    found = bound(shape, tools=[tool])
    assert found.price_known
    assert found.fixed_usd >= pricing.WEB_SEARCH_ALLOWANCE_USD


def test_online_variant_of_a_model_searches() -> None:
    assert bound("messages", model="a/b:online").fixed_usd >= pricing.WEB_SEARCH_ALLOWANCE_USD


INLINE = "iVBORw0KGgo=" * 2000


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        (
            "responses",
            {
                "input": [
                    {
                        "role": "user",
                        "content": [{"type": "input_image", "image_url": f"data:image/png;base64,{INLINE}"}],
                    }
                ]
            },
        ),
        (
            "responses",
            {
                "input": [
                    {
                        "type": "function_call_output",
                        "output": [{"type": "input_image", "image_url": f"data:,{INLINE}"}],
                    }
                ]
            },
        ),
        (
            "messages",
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image", "source": {"type": "base64", "data": INLINE}}],
                    }
                ]
            },
        ),
        (
            "messages",
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "tool_result",
                                "content": [{"type": "image", "source": {"type": "base64", "data": INLINE}}],
                            }
                        ],
                    }
                ]
            },
        ),
    ],
)
def test_picture_counts_as_one_and_not_by_its_bytes(shape: str, changes: dict[str, Any]) -> None:
    found = bound(shape, **changes)
    assert pricing.TOKENS_PER_IMAGE < found.prompt_tokens < pricing.TOKENS_PER_IMAGE + 1000


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        (
            "responses",
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://x"}]}]},
        ),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "url"}}]}]},
        ),
    ],
)
def test_document_may_fill_the_context(shape: str, changes: dict[str, Any]) -> None:
    assert bound(shape, **changes).prompt_tokens == 100_000


def test_deep_content_is_looked_into_only_so_far() -> None:
    content: Any = "x"
    for _ in range(100):
        content = [{"type": "tool_result", "content": content}]
    assert bound("messages", messages=[{"role": "user", "content": content}]).price_known


def test_thinking_leaves_room_for_an_answer() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2000}
    assert read("messages", max_tokens=4000, thinking=thinking).least_tokens == 2016
    assert read("messages").least_tokens == pricing.OUTPUT_TOKENS_LEAST


def test_fallbacks_are_models_that_may_run() -> None:
    assert read("messages", fallbacks=[{"model": "c/d"}]).models == ("a/b", "c/d")


def test_priority_is_dearer() -> None:
    assert (
        bound("responses", service_tier="priority").output_usd_per_token
        == 2 * bound("responses").output_usd_per_token
    )


@pytest.mark.parametrize(("shape", "field"), [("messages", "messages"), ("responses", "input")])
def test_document_inside_what_calls_itself_a_picture_may_fill_the_context(shape: str, field: str) -> None:
    document = {"type": "document", "source": {"type": "url", "url": "https://x.test/long.pdf"}}
    item = {"role": "user", "type": "image", "content": [document]}
    assert bound(shape, price(), **{field: [item]}).prompt_tokens == 100_000


@pytest.mark.parametrize(("shape", "field"), [("messages", b"messages"), ("responses", b"input")])
def test_lists_in_lists_are_not_followed(shape: str, field: bytes) -> None:
    deep = b'[{"role":"user","content":%s}]' % (b"[" * 1000 + b"]" * 1000)
    raw = b'{"model":"a/b","max_tokens":9,"%s":%s}' % (field, deep)
    assert table.SHAPES[shape].read(raw).models == ("a/b",)


@pytest.mark.parametrize("metadata", ["bob", ["bob"], {"user_id": 5}, {"user_id": {"a": 1}}])
def test_metadata_in_which_nobody_could_find_the_user_is_refused(metadata: Any) -> None:
    with pytest.raises(InvalidInput, match="metadata"):
        read("messages", metadata=metadata)
    raw = orjson.dumps({**GOOD["messages"], "metadata": {}})[:-3] + b'{"user_id":"a","user_id":"b"}}'
    with pytest.raises(InvalidInput, match="twice"):
        table.SHAPES["messages"].read(raw)
