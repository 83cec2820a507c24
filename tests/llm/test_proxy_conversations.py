"""A form on its way upstream: its end is held back until nothing more can go wrong with it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from decimal import Decimal
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import pytest

from accounts.errors import InvalidInput
from llm import catalog, pricing
from llm.calls import Call
from llm.proxy import conversations
from llm.shapes.forms import HEAD_BYTES_MAX, Form

WHOLE = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\na/b\r\n--b--\r\n'


class Gone(Exception):
    """The client has left."""


class TooPoor(Exception):
    """What the whole form would cost is not there."""


def passed(
    *pieces: bytes, is_gone: bool = False, cover: Callable[[], Awaitable[None]] | None = None
) -> tuple[bytes, Exception | None]:
    """Return what went upstream of these pieces, and why it ended early."""

    async def coming() -> AsyncGenerator[bytes]:
        for piece in pieces:
            yield piece
        if is_gone:
            raise Gone

    passing = conversations._Passing(coming(), Form(b"b"))
    passing.cover = cover
    sent: list[bytes] = []

    async def send() -> None:
        async for piece in passing.through():
            sent.append(piece)

    try:
        asyncio.run(send())
    except (Gone, InvalidInput, TooPoor):
        assert passing.failure is not None
    return b"".join(sent), passing.failure


@pytest.mark.parametrize("cut", [1, 20, len(WHOLE) - 4, len(WHOLE) - 2, len(WHOLE)])
def test_form_passes_however_it_is_cut(cut: int) -> None:
    pieces = [piece for piece in (WHOLE[:cut], WHOLE[cut:], b"behind", b"it") if piece]
    assert passed(*pieces) == (b"".join(pieces), None)


@pytest.mark.parametrize("behind", [[], [b"\r\n"], [b"x", b"y", b"z"]])
def test_end_of_a_form_whose_client_left_is_not_sent(behind: list[bytes]) -> None:
    sent, failure = passed(WHOLE[:30], WHOLE[30:], *behind, is_gone=True)
    assert isinstance(failure, Gone)
    assert b"--b--" not in sent


def test_form_that_goes_on_behind_its_end_is_refused() -> None:
    sent, failure = passed(WHOLE, *[b"x" * 1024] * (HEAD_BYTES_MAX // 1024 + 1))
    assert isinstance(failure, InvalidInput)
    assert b"--b--" not in sent


def test_long_file_is_not_behind_its_own_end() -> None:
    whole = WHOLE.replace(b"a/b", b"x" * 4 * HEAD_BYTES_MAX)
    assert passed(whole, b"\r\n") == (whole + b"\r\n", None)


def test_end_of_a_form_that_is_not_paid_for_is_not_sent() -> None:
    sent, failure = passed(WHOLE, b"\r\n", cover=AsyncMock(side_effect=TooPoor))
    assert isinstance(failure, TooPoor)
    assert b"--b--" not in sent


def covered(model: bytes, size_bytes: int, monkeypatch: pytest.MonkeyPatch) -> Decimal:
    """Return what a form of this model and size has held for it. Units: USD."""
    listed = {"id": "a/b", "pricing": {"prompt": "0", "completion": "0", "request": "0.0001"}}
    monkeypatch.setattr(catalog, "price_all", AsyncMock(return_value=[pricing.read_price(listed)]))
    passing = conversations._Passing(cast(Any, None), Form(b"b"))
    passing.form.feed(WHOLE.replace(b"a/b", model))
    passing.size_bytes = size_bytes
    call = Mock(hold_at_least=AsyncMock())
    asyncio.run(conversations._cover(cast(Call, call), passing))
    (cost_usd,) = call.hold_at_least.await_args.args
    return cast(Decimal, cost_usd)


def test_form_holds_for_its_size_once_its_model_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert covered(b"a/b", 24_000_000, monkeypatch) == Decimal("0.6")
    assert covered(b"a/b", 1, monkeypatch) == Decimal("0.0001")


@pytest.mark.parametrize("model", [b"", b" a/b", b"a" * 300])
def test_form_without_a_model_is_refused(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="model"):
        covered(model, 10, monkeypatch)
