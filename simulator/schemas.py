"""The smallest value that satisfies a JSON Schema, for tool arguments and structured answers."""

import math
import re
from typing import Any

type Schema = Any

DEPTH_MAX = 12
_FORMATS = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
    "url": "https://example.com/",
}
# Tried in turn against a `pattern`; the first that matches is the answer.
_GUESSES = (
    "a",
    "A",
    "1",
    "abc",
    "ABC",
    "Abc",
    "123",
    "0000",
    "2026-01-31",
    "12:00",
    "a-b",
    "a_b",
    "ada@example.com",
)


class Generator:
    """Makes instances of one root schema; `hint` is the word that free strings get."""

    def __init__(self, root: Schema, hint: str) -> None:
        self._root = root
        self._hint = hint

    def value(self, schema: Schema, depth: int = 0) -> Any:
        """A minimal instance. Unsatisfiable or unknown schemas give null or an empty object."""
        if not isinstance(schema, dict):
            return self._hint if schema is True else None
        schema = self._flat(schema, depth)
        for key in ("const", "default"):
            if key in schema and (key == "const" or self._fits(schema[key], schema)):
                return schema[key]
        if schema.get("enum"):
            return schema["enum"][0]
        make = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": self._boolean,
        }.get(self._kind(schema))
        return make(schema, depth) if make else None

    def _flat(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """The schema with `$ref`, `allOf` and the first fitting of `anyOf`/`oneOf` laid into it."""
        if depth > DEPTH_MAX:
            return {}
        if "$ref" in schema:
            rest = {key: item for key, item in schema.items() if key != "$ref"}
            return self._flat({**self._pointed(schema["$ref"]), **rest}, depth + 1)
        for part in schema.get("allOf", []):
            schema = _merged(schema, self._flat(part, depth + 1))
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                rest = {name: item for name, item in schema.items() if name != key}
                # The last choice where it gets deep, since recursion usually ends in a trailing null.
                choice = schema[key][-1 if depth > DEPTH_MAX // 2 else 0]
                schema = _merged(rest, self._flat(choice, depth + 1))
        return schema

    def _pointed(self, reference: str) -> dict[str, Any]:
        found: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            if part:
                name = part.replace("~1", "/").replace("~0", "~")
                found = found.get(name, {}) if isinstance(found, dict) else {}
        return found if isinstance(found, dict) else {}

    @staticmethod
    def _kind(schema: dict[str, Any]) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((item for item in kind if item != "null"), "null")
        if kind is None:
            hints = {"properties": "object", "items": "array", "prefixItems": "array", "minimum": "number"}
            kind = next((found for key, found in hints.items() if key in schema), "string")
        return str(kind)

    def _fits(self, value: Any, schema: dict[str, Any]) -> bool:
        kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
        wanted = kinds.get(self._kind(schema), object)
        return isinstance(value, wanted) and ("enum" not in schema or value in schema["enum"])

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        if depth > DEPTH_MAX:
            return {}
        properties = schema.get("properties", {})
        names = list(schema.get("required", []))
        names += [name for name in properties if name not in names][
            : schema.get("minProperties", 0) - len(names)
        ]
        extra = schema.get("additionalProperties", True)
        found = {name: self.value(properties.get(name, extra), depth + 1) for name in names}
        while len(found) < schema.get("minProperties", 0):
            found[f"key_{len(found) + 1}"] = self.value(extra, depth + 1)
        return found

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        heads = schema.get("prefixItems", [])
        length = max(schema.get("minItems", 0), len(heads))
        if depth > DEPTH_MAX:
            length = 0
        found = [
            self.value(heads[n] if n < len(heads) else schema.get("items", True), depth + 1)
            for n in range(length)
        ]
        return _distinct(found, schema.get("items")) if schema.get("uniqueItems") else found

    def _string(self, schema: dict[str, Any], _depth: int) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        least, most = schema.get("minLength", 0), schema.get("maxLength", 100)
        fitted: str = (self._hint * (least // max(len(self._hint), 1) + 1))[
            : max(least, min(len(self._hint), most))
        ]
        if "pattern" in schema:
            return _matching(schema["pattern"], (fitted, *_GUESSES)) or fitted
        return fitted

    @staticmethod
    def _boolean(_schema: dict[str, Any], _depth: int) -> bool:
        return True

    def _integer(self, schema: dict[str, Any], _depth: int) -> int:
        low = schema.get("minimum", 1 if schema.get("maximum", 1) >= 1 else schema.get("maximum"))
        if "exclusiveMinimum" in schema:
            low = max(low, math.floor(schema["exclusiveMinimum"]) + 1)
        if "exclusiveMaximum" in schema and low >= schema["exclusiveMaximum"]:
            low = math.ceil(schema["exclusiveMaximum"]) - 1
        step = schema.get("multipleOf", 1)
        return int(math.ceil(low / step) * step)

    def _number(self, schema: dict[str, Any], _depth: int) -> float | int:
        least, most = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum", schema.get("maximum"))
        if least is not None and most is not None and most - least <= 1:
            return float(least + most) / 2
        return (
            self._integer(schema, 0)
            if "multipleOf" in schema or "minimum" not in schema
            else schema["minimum"]
        )


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    merged = {**first, **second}
    if "properties" in first and "properties" in second:
        merged["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        merged["required"] = list(dict.fromkeys([*first["required"], *second["required"]]))
    return merged


def _distinct(values: list[Any], items: Any) -> list[Any]:
    """The same number of values, no two alike: enumerations in turn, else numbered."""
    choices = items.get("enum") if isinstance(items, dict) else None
    if choices:
        return list(choices[: len(values)])
    return [
        value if number == 0 else f"{value}{number + 1}" if isinstance(value, str) else value + number
        for number, value in enumerate(values)
        if number == 0 or isinstance(value, str | int | float)
    ]


def _matching(pattern: str, guesses: tuple[str, ...]) -> str | None:
    """A guess that matches; else the pattern read as literals and classes, each as short as it may be."""
    try:
        compiled = re.compile(pattern)
    except re.error:
        return None
    for guess in guesses:
        if compiled.search(guess):
            return guess
    built = re.sub(r"\[A-Z[^\]]*\]", "A", pattern)
    built = re.sub(r"\[a-z[^\]]*\]|\[\^[^\]]*\]|\\w", "a", built)
    built = re.sub(r"\[0-9[^\]]*\]|\\d", "1", built)
    built = re.sub(r"(.)\{(\d+)(?:,\d*)?\}", lambda found: found[1] * int(found[2]), built)
    built = re.sub(r"(.)\+", r"\1", re.sub(r".[*?]", "", built)).strip("^$").replace("\\", "")
    return built if compiled.search(built) else None


def instance(schema: Schema, hint: str) -> Any:
    """A minimal instance of a schema whose free strings are `hint`."""
    return Generator(schema, hint).value(schema)
