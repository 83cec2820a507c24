"""What one tool is: its words, its two schemas, and a function over either client."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, override

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from naive import errors, numbers

# Yields what a client's method returned and is given the answer: the same lines serve Naive, whose methods return
# answers, and AsyncNaive, whose methods return something to await.
type Steps[T] = Generator[Any, Any, T]


# What pydantic says in words of Python, in words of what a model writes; the same for an object and for its JSON.
_IN_JSON = {
    "json_invalid": "Input should be valid JSON",
    "model_type": "Input should be an object",
    "dict_type": "Input should be an object",
    "list_type": "Input should be an array",
}


class _Plain(GenerateJsonSchema):
    """JSON Schema as models read it best: no titles, and what may be left out is simply not required."""

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    @override
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        found = super().default_schema(schema)
        if found.get("default", ...) is None:
            del found["default"]
        return found


class Input(BaseModel):
    """The arguments of a tool. A name that is not known is a mistake, not a wish that nobody heard."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """Return what was given, for a method of the client."""
        return self.model_dump(exclude_none=True, exclude={"user_id"})

    def scoped(self, client: Any) -> Any:
        """Return the client for whom the call is: its own user, where the arguments may name none."""
        return client

    @classmethod
    def read(cls, arguments: Mapping[str, Any] | str | None) -> Self:
        """Return the arguments as they were given, an object or its JSON. Errors: Mistake."""
        try:
            return (
                cls.model_validate_json(arguments or "{}")
                if isinstance(arguments, str)
                else cls.model_validate({} if arguments is None else arguments)
            )
        except ValidationError as exc:
            told = _mistakes(exc, known=cls.model_fields)
            raise Mistake(f"Not sent: {told} Correct the arguments and call again.") from exc


class ForUser(Input):
    """Arguments that may name the tenant user whom it is for."""

    user_id: str | None = Field(
        None,
        min_length=1,
        max_length=259,
        description="The tenant user it is for: an id or `ext:<external_id>`. Left out: the credential's own.",
    )

    @override
    def scoped(self, client: Any) -> Any:
        return client if self.user_id is None else client.for_user(self.user_id)


class Output(BaseModel):
    """What a tool answers: short, and of a stated shape.

    What is not as documented is left out where it may be: an answer that was paid for is not lost for it.
    """

    @field_validator("*", mode="wrap")
    @classmethod
    def _fits(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return handler(value)
        except ValidationError:
            if cls.model_fields[str(info.field_name)].is_required():
                raise
            return None

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it, without what is not there."""
        return self.model_dump(mode="json", exclude_none=True)


# An exact decimal; in JSON the number that is written with the same digits.
Amount = Annotated[
    Decimal, PlainSerializer(numbers.nearest, when_used="json"), WithJsonSchema({"type": "number"})
]


class Mistake(errors.NaiveError):
    """Arguments that no request was made of; the message tells an agent what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What decides which tools a credential is offered."""

    may_write: bool
    may_call_models: bool


def _everybody(standing: Standing) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool, whatever form it is offered in."""

    name: str
    title: str
    description: str
    input: type[Input]
    output: type[Output]
    run: Callable[[Any, Any], Steps[Output]]
    is_read_only: bool
    is_idempotent: bool
    # Whether it reaches beyond the platform, to a model's provider.
    is_open_world: bool
    is_for: Callable[[Standing], bool] = _everybody

    def input_schema(self) -> dict[str, Any]:
        return copy.deepcopy(_schema(self.input, "validation"))

    def output_schema(self) -> dict[str, Any]:
        return copy.deepcopy(_schema(self.output, "serialization"))

    def start(self, client: Any, arguments: Mapping[str, Any] | str | None) -> Steps[Output]:
        """Return the steps of one call. Errors: Mistake, in the first of them."""
        given = self.input.read(arguments)
        try:
            return (yield from self.run(client, given))
        except (KeyError, ValidationError) as exc:
            raise errors.InvalidResponseError(
                f"{self.name}: the answer is of another shape than documented.", code="invalid_response"
            ) from exc


@functools.cache
def _schema(model: type[BaseModel], mode: Literal["validation", "serialization"]) -> dict[str, Any]:
    schema = model.model_json_schema(schema_generator=_Plain, mode=mode)
    for told in (schema, *schema.get("$defs", {}).values()):
        # The class's own docstring and name are for who reads the code.
        told.pop("description", None)
        told.pop("title", None)
    return schema


def _mistakes(exc: ValidationError, *, known: Mapping[str, Any]) -> str:
    told = []
    for mistake in exc.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(str(part) for part in mistake["loc"]) or "arguments"
        if mistake["type"] == "extra_forbidden":
            told.append(f"{where}: is not known here; known: {', '.join(known)}")
        elif mistake["type"] == "missing":
            told.append(f"{where}: is missing")
        else:
            said = _IN_JSON.get(mistake["type"]) or mistake["msg"].removeprefix("Value error, ")
            told.append(f"{where}: {said}")
    return "; ".join(told[:5]) + "."
