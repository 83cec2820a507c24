"""Splicing: what we change is changed, every other byte stays."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.errors import InvalidInput
from llm import bodies

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=12))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=6)


@given(OBJECTS, st.booleans(), st.sampled_from([None, 1]), st.data())
def test_splice_changes_only_what_it_is_told(
    fields: dict[str, Any], ascii_only: bool, indent: int | None, data: st.DataObject
) -> None:
    raw = json.dumps(fields, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    try:
        body = bodies.read(raw)
    except InvalidInput:  # Lone surrogates are not UTF-8.
        return
    replaced = data.draw(st.lists(st.sampled_from(sorted(fields)), unique=True)) if fields else []
    changes = {**dict.fromkeys(replaced, "ours"), "added_by_us": {"deep": [1]}}
    assert json.loads(body.splice(changes)) == {**fields, **changes}


def test_untouched_bytes_stay_as_they_came() -> None:
    raw = b'{ "model" : "m",\n "user":"bob" , "messages":[ {"role":"user","content":"\\u00e9 1.0"} ], "x":1.50e0 }'
    spliced = bodies.read(raw).splice({"user": "opaque", "trace": {"trace_id": "t"}})
    assert spliced == raw[:-1].replace(b'"bob"', b'"opaque"') + b',"trace":{"trace_id":"t"}}'


def test_nothing_to_change_changes_nothing() -> None:
    raw = b' {"a":1} '
    assert bodies.read(raw).splice({}) == raw


def test_field_is_added_to_an_empty_object() -> None:
    assert bodies.read(b"{}").splice({"a": 1}) == b'{"a":1}'


def test_decimal_is_written_exactly() -> None:
    assert bodies.read(b"{}").splice({"p": {"prompt": Decimal("0.150")}}) == b'{"p":{"prompt":0.15}}'


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"free","model":"dear"}',
        b'{"model":"free","mod\\u0065l":"dear"}',
        b'{"\\u006dodel":"free","messages":[],"model":"dear"}',
    ],
)
def test_name_that_stands_twice_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInput, match="twice"):
        bodies.read(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e400}',
        b'{"a":"\\ud800"}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b"{" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":1}{"b":2}',
        b'{"a":1,}',
    ],
)
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInput, match="not valid JSON"):
        bodies.read(raw)


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"text"', b"null"])
def test_what_is_not_an_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInput, match="not a JSON object"):
        bodies.read(raw)


def test_same_name_deeper_down_is_not_twice() -> None:
    raw = b'{"user":"a","messages":[{"role":"user","content":"user"}]}'
    assert json.loads(bodies.read(raw).splice({"user": "b"}))["user"] == "b"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":[' + b"[]," * 300_000 + b"1]}",
        b'{"a":[' + b'"x",' * 2_100_000 + b"1]}",
        b'{"a":[' + b"1," * 2_100_000 + b"1]}",
        b"{" + b",".join(b'"k%d":1' % number for number in range(40_000)) + b"}",
    ],
    ids=["lists", "texts", "numbers", "names"],
)
def test_body_of_too_many_parts_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"too many parts|has 40000 fields"):
        bodies.read(raw)


def test_long_text_is_no_many_parts() -> None:
    raw = b'{"a":"' + b'word, {word} [word] \\"' * 9_000 + b'"}'
    assert len(raw) > bodies.SMALL_BYTES
    assert bodies.read(raw).splice({"b": 1}) == raw[:-1] + b',"b":1}'


def test_inner_object_is_spliced_with_its_own_bytes() -> None:
    inner = bodies.read(b'{"x":1, "trace": {"a": 12345678901234567890123, "trace_id":"old"} }').inner("trace")
    assert inner.splice({"trace_id": "new"}) == b'{"a": 12345678901234567890123, "trace_id":"new"}'
    assert bodies.read(b'{"x":1}').inner("trace").splice({"trace_id": "new"}) == b'{"trace_id":"new"}'
    assert bodies.read(b'{"trace":null}').inner("trace").raw == b"{}"


def test_name_that_stands_twice_in_an_inner_object_is_refused() -> None:
    with pytest.raises(InvalidInput, match="twice"):
        bodies.read(b'{"provider":{"only":["a"],"only":["b"]}}').inner("provider")
