"""Values from outside: what is taken, and the path in the message when it is not."""

import json
from decimal import Decimal
from typing import Any

import pytest

from accounts import fields
from accounts.errors import InvalidInput

MILLION = Decimal(1_000_000)


def test_text_loses_its_outer_spaces() -> None:
    assert fields.text("name", "  Acme Ltd ", length_max=8) == "Acme Ltd"


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (None, "must be a string, not null"),
        (7, "must be a string, not a number"),
        ("   ", "must not be empty"),
        ("x" * 9, "at most 8 characters, not 9"),
        ("a\x00b", "control characters"),
        ("a\nb", "control characters"),
        ("\ud800", "control characters"),
    ],
)
def test_text_is_refused_with_its_path(value: object, rule: str) -> None:
    with pytest.raises(InvalidInput, match=f"^name: .*{rule}") as caught:
        fields.text("name", value, length_max=8)
    assert caught.value.details == {"field": "name"}


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (0, "0"),
        (0.1, "0.1"),
        ("0.10", "0.1"),
        (Decimal("0.000000001"), "1E-9"),
        (1e-9, "1E-9"),
        (123456.789012345, "123456.789012345"),
        (1_000_000, "1000000"),
    ],
)
def test_amount_is_exactly_what_was_written(value: object, exact: str) -> None:
    assert fields.amount("cap", value, most=MILLION) == Decimal(exact)


@pytest.mark.parametrize(
    "value",
    [
        -1, "-0.1", 1_000_001, float("nan"), float("inf"), "NaN", "Infinity", "1e400", "", "ten", True, None, [],
        Decimal("NaN"), Decimal("sNaN"), "0.0000000001", 0.1 + 0.2, "1234567890123456",
    ],
)  # fmt: skip
def test_amount_out_of_range_or_inexact_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^cap: "):
        fields.amount("cap", value, most=MILLION)


def test_json_object_is_copied_and_decimals_become_numbers() -> None:
    given: dict[str, Any] = {"a": [1, {"b": 0.1}], "c": Decimal("0.30")}
    copy = fields.json_object("metadata", given, bytes_max=100)
    given["a"].append(2)
    assert json.dumps(copy) == '{"a": [1, {"b": 0.1}], "c": 0.3}'


def test_json_object_is_one_that_other_programs_read() -> None:
    whole = {"least": -(2**63), "most": 2**63 - 1}
    assert fields.json_object("m", whole, bytes_max=100) == whole
    for number in (2**63, -(2**63) - 1, 10**30):
        with pytest.raises(InvalidInput, match=r"^m: must be plain JSON"):
            fields.json_object("m", {"n": number}, bytes_max=100)


def test_json_object_has_a_depth_that_other_programs_follow() -> None:
    def nested(levels: int) -> dict[str, object]:
        return {"a": nested(levels - 1)} if levels > 1 else {}

    assert fields.json_object("m", nested(fields.DEPTH_MAX), bytes_max=1_000)
    for levels in (fields.DEPTH_MAX + 1, 400):
        with pytest.raises(InvalidInput, match=r"^m: must have at most 64 levels"):
            fields.json_object("m", nested(levels), bytes_max=10_000)
    with pytest.raises(InvalidInput, match=r"^m: must have at most 64 levels"):
        fields.json_object("m", {"a": [[nested(60), [nested(61)]]]}, bytes_max=10_000)


def test_json_object_is_measured_in_bytes_of_compact_json() -> None:
    assert fields.json_object("m", {"é": 1}, bytes_max=8) == {"é": 1}
    with pytest.raises(InvalidInput, match=r"^m: must take at most 7 bytes as JSON, not 8"):
        fields.json_object("m", {"é": 1}, bytes_max=7)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        None, [], "{}", 3, {"a": float("nan")}, {"a": float("inf")}, {"a": "\x00"}, {"\x00": 1}, {"a": "\ud800"},
        {"a": object()}, {("a",): 1}, nested(100_000), {"a": Decimal("0.1234567890123456789")}, {"a": Decimal("NaN")},
        {"a": Decimal("1E+400")}, {"a": Decimal("Infinity")},
    ],
    ids=range(16),
)  # fmt: skip
def test_what_postgresql_cannot_keep_as_an_object_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^m: "):
        fields.json_object("m", value, bytes_max=10_000_000)


def test_backslash_that_only_looks_like_nul_is_kept() -> None:
    assert fields.json_object("m", {"a": "\\u0000"}, bytes_max=100) == {"a": "\\u0000"}
