"""The fields that bodies, queries and answers are made of: REST framework's, but nothing is taken for another type.

Each field says beside its check what the OpenAPI document says of it (`json_schema`), so that the two cannot differ.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from rest_framework import serializers

from accounts import fields, ids
from accounts.errors import InvalidInput
from accounts.models import NAME_LENGTH_MAX

LIMIT, LIMIT_MAX = 50, 200
EMAIL_LENGTH_MAX = 254
# What str.strip drops, as a regular expression of JSON Schema's writes it; control characters are refused anyway.
SPACES = r"\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
LINE = r"^[^\u0000-\u001f\u007f]*$"
FILLED_LINE = rf"^[^\u0000-\u001f\u007f]*[^\u0000-\u0020\u007f{SPACES}][^\u0000-\u001f\u007f]*$"
# RFC 3339, of this century and the last: farther ones cannot be told in every time zone.
INSTANT = (
    r"^(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,6})?"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DIGITS = re.compile(r"[0-9]{1,9}", re.ASCII)
_INSTANT = re.compile(rf"{INSTANT}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$", re.ASCII)


class Text(serializers.CharField):
    """One line of text; where it has a `pattern`, it `says` in words what that is."""

    def __init__(
        self, *, max_length: int = NAME_LENGTH_MAX, pattern: str | None = None, says: str = "", **rest: Any
    ) -> None:
        super().__init__(max_length=max_length, **rest)
        self.pattern, self.says = pattern, says
        self._shape = re.compile(pattern, re.ASCII) if pattern else None

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("must be a string.")
        if _CONTROL.search(data):
            raise serializers.ValidationError("must not hold control characters.")
        if self.max_length is not None and len(data) > self.max_length:
            raise serializers.ValidationError(f"must have at most {self.max_length} characters.")
        if self._shape and data and not self._shape.search(data):
            raise serializers.ValidationError(self.says or f"must match {self.pattern}.")
        return str(super().to_internal_value(data))

    def json_schema(self) -> dict[str, Any]:
        if isinstance(self.root, Answer):
            return {"type": "string"}
        return {
            "type": "string",
            **({} if self.allow_blank else {"minLength": max(1, self.min_length or 0)}),
            "maxLength": self.max_length,
            "pattern": self.pattern or (LINE if self.allow_blank else FILLED_LINE),
        }


class Email(Text):
    """An e-mail address."""

    def __init__(self, *, max_length: int = EMAIL_LENGTH_MAX, **rest: Any) -> None:
        super().__init__(max_length=max_length, **rest)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            if text:
                validate_email(text)
        except ValidationError as exc:
            raise serializers.ValidationError("must be an e-mail address.") from exc
        return text

    def json_schema(self) -> dict[str, Any]:
        if isinstance(self.root, Answer):
            return {"type": "string"}
        address = {"type": "string", "format": "email", "maxLength": self.max_length}
        return {"anyOf": [address, {"type": "string", "const": ""}]} if self.allow_blank else address


class Choice(serializers.ChoiceField):
    """One of a few words."""

    def __init__(self, choices: Iterable[str], **rest: Any) -> None:
        super().__init__(choices=list(choices), **rest)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            raise serializers.ValidationError(f"must be one of {', '.join(self.choices)}.")
        return data

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.choices)}


class Truth(serializers.BooleanField):
    """true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("must be true or false.")
        return data

    def json_schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


class Whole(serializers.IntegerField):
    """A whole number; in a query, where everything is text, its digits."""

    def __init__(self, *, min_value: int, max_value: int, **rest: Any) -> None:
        super().__init__(min_value=min_value, max_value=max_value, **rest)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(self.parent, Query) and isinstance(data, str) and _DIGITS.fullmatch(data):
            data = int(data)
        if (
            not isinstance(data, int)
            or isinstance(data, bool)
            or not self.min_value <= data <= self.max_value
        ):
            raise serializers.ValidationError(
                f"must be a whole number from {self.min_value} to {self.max_value}."
            )
        return data

    def json_schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.min_value, "maximum": self.max_value}


class Amount(serializers.DecimalField):
    """A number of credits or USD, exact to 9 decimals."""

    def __init__(self, *, max_value: Decimal | None = None, **rest: Any) -> None:
        super().__init__(max_digits=19, decimal_places=9, max_value=max_value, coerce_to_string=False, **rest)

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, int | Decimal):
            raise serializers.ValidationError("must be a number.")
        try:
            return fields.amount("", data, most=self._most)
        except InvalidInput as exc:
            raise serializers.ValidationError(exc.message.removeprefix(": ")) from exc

    def json_schema(self) -> dict[str, Any]:
        if isinstance(self.root, Answer):
            return {"type": "number"}
        return {"type": "number", "minimum": 0, "maximum": int(self._most)}

    @property
    def _most(self) -> Decimal:
        return Decimal(self.max_value or 10**9)


class Object(serializers.Field[Any, Any, Any, Any]):
    """A JSON object whose inside the function behind the route checks, by `schema`; its errors name the path."""

    def __init__(self, *, schema: Mapping[str, Any] | None = None, **rest: Any) -> None:
        super().__init__(**rest)
        self.schema = dict(schema or {"additionalProperties": True})

    def to_internal_value(self, data: Any) -> Mapping[str, Any]:
        if not isinstance(data, Mapping):
            raise serializers.ValidationError("must be an object.")
        return data

    def to_representation(self, value: Any) -> Any:
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "object", **({"additionalProperties": True} if self._is_answer else self.schema)}

    @property
    def _is_answer(self) -> bool:
        return isinstance(self.root, Answer)


class Id(serializers.UUIDField):
    """A UUID."""

    def to_internal_value(self, data: Any) -> UUID:
        found = ids.parse(data) if isinstance(data, str) else None
        if found is None:
            raise serializers.ValidationError("must be a UUID.")
        return found

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "uuid"}


class Instant(serializers.DateTimeField):
    """A moment in ISO 8601 with its time zone."""

    def to_internal_value(self, value: Any) -> datetime:
        try:
            is_one = isinstance(value, str) and _INSTANT.fullmatch(value)
            found = datetime.fromisoformat(value) if is_one else None
        except ValueError:  # Such as February 30.
            found = None
        if found is None:
            raise serializers.ValidationError(
                "must be an instant with a time zone, such as 2026-11-23T12:00:00Z."
            )
        # Offsets of up to a day are told here, and of fewer hours in PostgreSQL.
        return found.astimezone(UTC)

    def json_schema(self) -> dict[str, Any]:
        is_answer = isinstance(self.root, Answer)
        pattern = rf"{INSTANT}Z$" if is_answer else _INSTANT.pattern
        return {"type": "string", "format": "date-time", "pattern": pattern}


class _Named(serializers.Serializer[Any]):
    # What holds among several fields, in JSON Schema's words; the function behind the route checks it.
    json_rules: ClassVar[Mapping[str, Any]] = {}

    def to_internal_value(self, data: Any) -> Any:
        for name in data if isinstance(data, Mapping) else ():
            if name not in self.fields:
                shown = name[: fields.SHOWN_LENGTH_MAX]
                known = ", ".join(self.fields) or "none"
                raise serializers.ValidationError({shown: f"is not known here; known: {known}."})
        return super().to_internal_value(data)


class Body(_Named):
    """What is sent as JSON; a field that is not named is refused, in what it holds too."""


class Answer(serializers.Serializer[Any]):
    """What is answered."""


class DeletedShape(Answer):
    """What was there, and is no more."""

    id = Id()
    deleted = Truth()


class Query(_Named):
    """The parameters of an address; one that is not named is refused."""


class Page(Query):
    """Where in a list, and how much of it."""

    limit = Whole(
        min_value=1, max_value=LIMIT_MAX, default=LIMIT, help_text="How many rows, 50 if it is left out."
    )
    cursor = Text(
        max_length=100,
        default=None,
        help_text="The `next_cursor` of the page before; absent: the first page.",
    )
