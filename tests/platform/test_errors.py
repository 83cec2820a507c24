"""The table of errors: every class of the tree has its row, and every answer the one shape."""

import importlib
import json
from decimal import Decimal
from uuid import uuid4

import pytest

from accounts.errors import DomainError, Forbidden, NotFound
from billing.errors import ImplausibleCost, InsufficientCredits, WalletFrozen
from llm.errors import GatewayFull, RateLimited, UpstreamError, UpstreamRefused, UpstreamTimeout
from naive_platform import errors

# Raised and handled inside billing: it never reaches a door.
INSIDE = {ImplausibleCost}
STATUSES = {
    "invalid_input": 400, "unauthorized": 401, "insufficient_credits": 402, "forbidden": 403, "not_found": 404,
    "method_not_allowed": 405, "duplicate_record": 409, "conflict": 409, "idempotency_in_progress": 409,
    "already_completed": 409, "precondition_failed": 412, "payload_too_large": 413, "unsupported_media_type": 415,
    "idempotency_mismatch": 422, "rate_limited": 429, "internal_error": 500, "not_configured": 501,
    "provider_error": 502, "unavailable": 503, "provider_timeout": 504,
}  # fmt: skip


def tree(kind: type[DomainError]) -> set[type[DomainError]]:
    return {kind, *(below for child in kind.__subclasses__() for below in tree(child))}


def shown(error: DomainError) -> tuple[int, dict[str, object], dict[str, str]]:
    status, body, headers = errors.render(error, request_id="req_1")
    return status, json.loads(body, parse_float=Decimal), headers


def test_every_error_has_a_row() -> None:
    for app in ("accounts", "billing", "llm"):
        importlib.import_module(f"{app}.errors")
    for kind in tree(DomainError) - {DomainError} - INSIDE:
        assert any(parent in errors.TABLE for parent in kind.__mro__), kind.__name__


def test_codes_and_statuses_are_the_documented_ones() -> None:
    rows = [*errors.TABLE.values(), errors.METHOD_NOT_ALLOWED, errors.NOT_FOUND, errors.INTERNAL]
    assert {code: status for code, status in rows} == STATUSES  # noqa: C416


def test_error_has_one_shape() -> None:
    status, body, headers = shown(NotFound("No such kit.", hint="List them.", details={"id": uuid4()}))
    assert status == 404
    assert set(body) == {"error"}
    error = body["error"]
    assert isinstance(error, dict)
    assert list(error) == ["code", "message", "hint", "details", "request_id"]
    assert headers["X-Request-Id"] == error["request_id"] == "req_1"


def test_money_is_402_with_exact_credits_and_packs() -> None:
    status, body, headers = shown(
        InsufficientCredits(
            "Needs more.",
            limit="wallet",
            required_nanocredits=2_100_000_001,
            available_nanocredits=-1,
            balance_nanocredits=10**9,
            held_nanocredits=10**9 + 1,
        )
    )
    assert status == 402
    assert "Retry-After" not in headers
    error = body["error"]
    assert isinstance(error, dict)
    assert error["details"] == {
        "limit": "wallet",
        "required": Decimal("2.100000001"),
        "available": Decimal("-0.000000001"),
        "balance": 1,
        "held": Decimal("1.000000001"),
    }
    packs = body["packs"]
    assert isinstance(packs, list)
    assert [(pack["id"], pack["credits"], pack["price_usd"]) for pack in packs] == [
        ("small", 20, 10), ("medium", 50, 23), ("large", 100, 44), ("xl", 250, 100),
    ]  # fmt: skip


@pytest.mark.parametrize("error", [RateLimited("Full."), GatewayFull("Full.", details={"retry_after_s": 4})])
def test_full_says_when_to_come_back(error: DomainError) -> None:
    status, body, headers = shown(error)
    assert status in (429, 503)
    assert int(headers["Retry-After"]) >= 1
    assert "retry_after_s" not in str(body)


def test_upstreams_retry_after_is_passed_on() -> None:
    status, _, headers = shown(UpstreamRefused("Slow down.", status=429, retry_after="17"))
    assert (status, headers["Retry-After"]) == (429, "17")


@pytest.mark.parametrize(
    "asked", ["3601", "9" * 5000, "-1", "1.5", "²", "Wed, 21 Oct 2015 07:28:00 GMT", "1\r\nx: y"]
)
def test_retry_after_that_nobody_can_wait_for_is_ours_instead(asked: str) -> None:
    _, _, headers = shown(UpstreamRefused("Slow down.", status=429, retry_after=asked))
    assert headers["Retry-After"] == str(errors.RETRY_AFTER_S)


def test_error_of_a_call_that_was_begun_names_it() -> None:
    error = UpstreamTimeout("No answer.", status=504, maybe_charged=True)
    error.headers = {"X-Naive-Generation-Id": "gen_1", "X-Naive-Credits-Held": "0.5"}
    _, _, headers = shown(error)
    assert (headers["X-Naive-Generation-Id"], headers["X-Naive-Credits-Held"]) == ("gen_1", "0.5")


def test_call_that_may_have_cost_is_not_to_be_retried() -> None:
    _, _, headers = shown(UpstreamTimeout("No answer.", status=504, maybe_charged=True))
    assert headers["x-should-retry"] == "false"
    _, _, headers = shown(UpstreamRefused("Overloaded.", status=503, maybe_charged=True))
    assert headers["x-should-retry"] == "false"
    assert "Retry-After" not in headers


def test_upstream_error_has_its_own_status() -> None:
    assert shown(UpstreamError("No.", status=422))[0] == 422


def test_frozen_wallet_is_forbidden() -> None:
    status, body, _ = shown(WalletFrozen(uuid4()))
    assert status == 403
    assert '"wallet_frozen"' in json.dumps(body)


def test_forbidden_is_found_for_a_class_below_it() -> None:
    class Narrower(Forbidden):
        pass

    assert errors.classify(Narrower("No.")) == ("forbidden", 403)
    del Narrower
