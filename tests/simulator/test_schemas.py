"""Minimal instances of JSON Schemas, checked by pydantic where it can."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from simulator import schemas


class Step(BaseModel):
    explanation: str = Field(min_length=3)
    certainty: float = Field(gt=0, lt=1)


class Plan(BaseModel):
    title: str = Field(max_length=4)
    steps: list[Step] = Field(min_length=2)
    unit: Literal["celsius", "fahrenheit"]
    count: int = Field(ge=3, le=9, multiple_of=4)
    parent: "Plan | None"
    code: str = Field(pattern=r"^[A-Z]{3}-\d{4}$")
    done: bool
    tags: set[Literal["a", "b"]] = Field(min_length=2)


def test_instance_of_a_nested_model_is_valid() -> None:
    found = schemas.instance(Plan.model_json_schema(), "Lisbon")
    plan = Plan.model_validate(found)
    assert plan.title == "Lisb"
    assert plan.count in {4, 8}


SMALL: list[tuple[Any, Any]] = [
    ({"type": "string"}, "word"),
    ({"type": "string", "enum": ["x", "y"]}, "x"),
    ({"const": 5}, 5),
    ({"type": ["null", "integer"], "minimum": 7}, 7),
    ({"type": "integer", "exclusiveMinimum": 7}, 8),
    ({"type": "integer", "maximum": -3}, -3),
    ({"type": "array", "items": {"type": "integer"}}, []),
    ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}]}, [1, 2]),
    ({"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True}, ["word", "word2"]),
    ({"type": "string", "format": "date"}, "2026-01-31"),
    ({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"required": ["b"]}]}, None),
    ({"type": "object", "minProperties": 1, "properties": {"k": {"const": 3}}}, {"k": 3}),
    ({}, "word"),
]


@pytest.mark.parametrize(("schema", "wanted"), SMALL, ids=[str(number) for number in range(len(SMALL))])
def test_small_schemas(schema: Any, wanted: Any) -> None:
    found = schemas.instance(schema, "word")
    assert found == ({"a": 1, "b": "word"} if wanted is None else wanted)


def test_schema_that_refers_to_itself_for_ever_ends() -> None:
    schema = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "required": ["n"], "properties": {}}}}
    schema["$defs"]["n"]["properties"] = {"n": {"$ref": "#/$defs/n"}}  # type: ignore[index]
    assert isinstance(schemas.instance(schema, "word"), dict)


def test_optional_properties_are_left_out() -> None:
    schema = TypeAdapter(dict[str, Any]).json_schema() | {"properties": {"x": {"type": "string"}}}
    assert schemas.instance(schema, "word") == {}
