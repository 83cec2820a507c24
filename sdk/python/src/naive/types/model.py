"""What every answer is made of: fields as documented, and whatever else came beside them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    PrivateAttr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from naive import numbers

# Credits or USD: the decimal that the platform wrote, and in JSON a number again.
Money = Annotated[Decimal, BeforeValidator(numbers.exact), PlainSerializer(numbers.nearest, when_used="json")]
Role = Literal["owner", "admin", "member", "viewer"]


class Model(BaseModel):
    """An answer, or a part of one. Fields that this version does not know are kept, as attributes too.

    A value of another type than documented is kept as it came: an answer that was paid for is never lost.
    """

    model_config = ConfigDict(
        extra="allow",
        defer_build=True,
        protected_namespaces=(),
        validate_by_name=True,
        validate_by_alias=True,
    )

    _headers: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("*", mode="wrap")
    @classmethod
    def _kept(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            return value

    def __eq__(self, other: object) -> bool:
        """Two answers that say the same are the same, whichever requests they came from."""
        return (
            isinstance(other, Model)
            and type(self) is type(other)
            and self.__dict__ == other.__dict__
            and self.model_extra == other.model_extra
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def read(cls, data: Any) -> Self:
        """Return the JSON object `data` as this. Errors: ValueError where it is none, or lacks a field."""
        return cls.model_validate(data)

    def remember(self, headers: Mapping[str, str]) -> None:
        """Keep the headers that this came with."""
        self._headers = headers

    @property
    def request_id(self) -> str | None:
        """What support asks for: the id of the request that this answers."""
        return self._headers.get("x-request-id")

    def to_dict(self) -> dict[str, Any]:
        """Return it as the JSON it was: numbers, texts, and nothing that was not there."""
        return self.model_dump(mode="json", exclude_unset=True, by_alias=True, warnings=False)

    def to_json(self, *, indent: int | None = None) -> str:
        return self.model_dump_json(exclude_unset=True, by_alias=True, warnings=False, indent=indent)
