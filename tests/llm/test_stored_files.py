"""What upstream stores for the deployment is out of every request's reach, whoever asks and however it is put."""

import re
from typing import Any

import orjson
import pytest

from accounts.errors import InvalidInput
from llm.shapes import table
from llm.shapes.request import Request

GOOD: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"prompt": "Hi"},
    "responses": {"input": "Hi"},
    "messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
    "embeddings": {"input": "Hi"},
    "rerank": {"query": "q", "documents": ["one"]},
    "images": {"prompt": "A fox"},
    "speech": {"input": "Hello"},
    "transcriptions": {"input_audio": {"data": "UklGRg=="}},
    "videos": {"prompt": "A fox"},
}
FILE = "file_011CN"
TOOL = {"type": "openrouter:files"}
STORED: dict[str, dict[str, Any]] = {
    "the tool": {"tools": [TOOL]},
    "the tool in other letters": {"tools": [{"type": " OpenRouter:Files"}]},
    "a version of the tool": {"tools": [{"type": "openrouter:files_20270101"}]},
    "the tool of a tool": {"tools": [{"type": "openrouter:subagent", "parameters": {"tools": [TOOL]}}]},
    "a list in a list of tools": {"tools": [[[TOOL]]]},
    "a deferred tool": {"deferred_tools": [TOOL]},
    "a plugin": {"plugins": [{"id": "openrouter:files"}]},
    "chat file": {"x": [{"type": "file", "file": {"file_id": FILE}}]},
    "responses file": {"x": [{"type": "input_file", "file_id": FILE}]},
    "responses picture": {"x": [{"type": "input_image", "file_id": FILE}]},
    "screenshot": {"x": [{"type": "computer_screenshot", "file_id": FILE}]},
    "picture of an assistant": {"x": [{"type": "image_file", "image_file": {"file_id": FILE}}]},
    "sound": {"x": [{"type": "input_audio", "input_audio": {"file_id": FILE}}]},
    "mask": {"tools": [{"type": "image_generation", "input_image_mask": {"file_id": FILE}}]},
    "messages file": {"x": [{"type": "document", "source": {"type": "file", "file_id": FILE}}]},
    "upload": {"x": [{"type": "container_upload", "file_id": FILE}]},
    "no kind": {"x": {"file_id": FILE}},
    "any field": {"file_id": FILE},
    "reference of a picture": {"input_references": [{"file_id": FILE}]},
    "files of a container": {"tools": [{"type": "code_interpreter", "container": {"file_ids": [FILE]}}]},
    "attachments": {"attachments": [{"file_id": FILE}]},
    "stores": {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
    "container": {"container": "container_011"},
    "container with skills": {"container": {"id": "container_011", "skills": []}},
    "container of a tool": {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
    "container of a shell": {
        "tools": [{"type": "shell", "environment": {"type": "container_reference", "container_id": "cntr_1"}}]
    },
    "own skill": {"container": {"skills": [{"type": "custom", "skill_id": "skill_01"}]}},
    "own skill of a shell": {
        "tools": [{"environment": {"skills": [{"type": "skill_reference", "skill_id": "skill_01"}]}}]
    },
    "skill of no kind": {"container": {"skills": [{"skill_id": "skill_01"}]}},
    "response": {"previous_response_id": "resp_1"},
    "conversation": {"conversation": {"id": "conv_1"}},
    "item": {"x": [{"type": "item_reference", "id": "rs_1"}]},
}


def read(shape: str, raw: bytes) -> Request:
    return table.SHAPES[shape].read(raw)


def written(shape: str, changes: dict[str, Any]) -> bytes:
    return orjson.dumps({"model": "a/b", **GOOD[shape], **changes})


def escaped(raw: bytes) -> bytes:
    """The same JSON with every letter of a text escaped."""
    return re.sub(
        rb'"[^"]*"',
        lambda text: re.sub(rb"[a-z:_]", lambda c: b"\\u%04x" % ord(c.group()), text.group()),
        raw,
    )


@pytest.mark.parametrize("shape", GOOD)
@pytest.mark.parametrize("case", STORED)
def test_what_is_stored_upstream_is_out_of_reach(case: str, shape: str) -> None:
    raw = written(shape, STORED[case])
    assert orjson.loads(escaped(raw)) == orjson.loads(raw)
    for spelling in (raw, escaped(raw)):
        with pytest.raises(InvalidInput) as caught:
            read(shape, spelling)
        assert caught.value.hint


@pytest.mark.parametrize(
    "twice",
    [
        b'{"type":"openrouter:files","type":"function"}',
        b'{"type":"function","type":"openrouter:files"}',
        b'{"type":"openrouter:subagent","type":"function","parameters":{"tools":[{"type":"openrouter:files"}]}}',
        b'{"type":"file","file":{"file_id":"file_1","file_id":null}}',
        b'{"type":"file_citation","type":"input_file","file_id":"file_1"}',
        b'{"type":"tool_use","type":"document","input":{"file_id":"file_1"}}',
    ],
)
def test_name_that_stands_twice_hides_nothing(twice: bytes) -> None:
    with pytest.raises(InvalidInput):
        read("chat", b'{"model":"a/b","messages":[{"role":"user","content":"Hi"}],"tools":[%s]}' % twice)


@pytest.mark.parametrize("shape", GOOD)
def test_own_files_and_talk_of_files_pass(shape: str) -> None:
    schema = {"type": "object", "properties": {"file_id": {"type": "string", "default": FILE}}}
    example = {**schema, "examples": [{"file_id": FILE, "container": "c"}]}
    mine = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
    passing: list[Any] = [
        mine,
        {"type": "tool_use", "name": "x", "input": {"type": "file", "file_id": "mine"}},
        {"type": "output_text", "text": "", "annotations": [{"type": "file_citation", "file_id": FILE}]},
        {"type": "code_interpreter_call", "container_id": "cntr_1", "code": "1"},
        {"type": "text", "text": "openrouter:files, file_id, container, conversation and \u00e9"},
        {"type": ["file"], "file_id": None, "file_ids": []},
    ]
    tools: list[Any] = [
        {"type": "function", "function": {"name": "openrouter:files", "parameters": example}},
        {"type": "function", "name": "x", "parameters": example},
        {"name": "x", "input_schema": example},
        {"type": "code_interpreter", "container": {"type": "auto"}},
    ]
    form = {"type": "json_schema", "json_schema": {"schema": example}}
    notes = {"file_id": FILE, "container": "blue", "conversation": "c-1"}
    vendors = {"skills": [{"type": "anthropic", "skill_id": "pptx"}]}
    raw = written(
        shape,
        {"x": passing, "tools": tools, "response_format": form, "metadata": notes, "container": vendors}
        | {"previous_response_id": None, "conversation": None},
    )
    assert read(shape, raw).models == ("a/b",)


def test_large_numbers_and_depth_do_not_hide_or_break_anything() -> None:
    deep = b"[" * 900 + b'{"file_id":"file_1"}' + b"]" * 900
    raw = b'{"model":"a/b","prompt":"x","seed":%s,"y":%s}' % (b"9" * 5000, deep)
    with pytest.raises(InvalidInput):
        read("completions", raw)
