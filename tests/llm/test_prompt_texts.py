"""The words in what was stored, whatever its shape; what is cut, hostile or unknown is shown as it is, not guessed."""

import orjson
import pytest

from llm import prompt_texts

REQUESTS = [
    ({"prompt": "Once"}, [("user", "Once")]),
    ({"prompt": ["Once", "Twice"]}, [("user", "Once"), ("user", "Twice")]),
    (
        {"system": "Be brief.", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        [("system", "Be brief."), ("user", "Hi")],
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
        [("user", "[image_url]")],
    ),
    (
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]}]},
        [("assistant", '[tool calls] [{"id":"c1"}]')],
    ),
    ({"instructions": "Rhyme.", "input": "Moon"}, [("system", "Rhyme."), ("user", "Moon")]),
    (
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Moon"}]}]},
        [("user", "Moon")],
    ),
    ({"input": [{"type": "function_call_output", "output": "42"}]}, [("user", "42")]),
    ({"messages": "no list", "prompt": None}, [("user", "no list")]),
    ({"messages": [None, 3, [], {}, {"role": 7, "content": {"text": 5}}]}, []),
    ({"model": "a/b"}, []),
]
ANSWERS = [
    (b'{"choices":[{"message":{"role":"assistant","content":"Hello"}}]}', "Hello"),
    (b'{"choices":[{"text":"One"},{"text":"Two"}]}', "One\n\nTwo"),
    (b'{"type":"message","content":[{"type":"text","text":"Hi"},{"type":"tool_use"}]}', "Hi\n[tool_use]"),
    (b'{"output":[{"content":[{"type":"output_text","text":"Moon"}]}]}', "Moon"),
    (b'{"error":{"message":"Too long."}}', "Too long."),
    (
        b': wait\n\ndata: {"choices":[{"delta":{"content":"Hel"}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"lo"}}]}\n\ndata: [DONE]\n\n',
        "Hello",
    ),
    (b'data: {"choices":[{"text":"Once"}]}\r\n\r\n', "Once"),
    (b'event: content_block_delta\ndata: {"delta":{"type":"text_delta","text":"Hi"}}\n\n', "Hi"),
    (b'data: {"type":"response.output_text.delta","delta":"Moon"}\n\n', "Moon"),
    (b'data: {"type":"response.other.delta","delta":"Moon"}\n\n', ""),
    (b'data: {"choices":[{"delta":{"content":"cut"}}]}\n\ndata: {"choices":[{"del', "cut"),
    (b'data: {"choices":[null,{"delta":null},{"delta":{"content":3}}]}\n\n', ""),
    (b'{"choices":"none","content":7,"output":{}}', ""),
    (b"\xff\xfe", ""),
    (b"", ""),
]


@pytest.mark.parametrize(("body", "expected"), REQUESTS)
def test_messages_of_a_request(body: dict[str, object], expected: list[tuple[str, str]]) -> None:
    assert [(turn.role, turn.text) for turn in prompt_texts.turns(orjson.dumps(body))] == expected


@pytest.mark.parametrize(("answer", "expected"), ANSWERS)
def test_words_of_an_answer(answer: bytes, expected: str) -> None:
    assert prompt_texts.answered(answer) == expected


@pytest.mark.parametrize("request_", [b'{"messages":[{"role":"user","cont', b"[1]", b"", b"\xff"])
def test_request_that_is_cut_or_none_has_no_messages(request_: bytes) -> None:
    assert prompt_texts.turns(request_) == []


def test_tool_calls_nested_deeper_than_can_be_written_end_nobody() -> None:
    nested = b'{"messages":[{"role":"assistant","tool_calls":' + b"[" * 900 + b"]" * 900 + b"}]}"
    assert [turn.text for turn in prompt_texts.turns(nested)] == ["[tool calls] …"]


def test_lists_within_lists_end_nobody() -> None:
    nested = b'{"prompt":' + b"[" * 900 + b'"x"' + b"]" * 900 + b"}"
    assert prompt_texts.turns(nested) == []
