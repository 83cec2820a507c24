"""A form on its way upstream: its end is held back until nothing more can go wrong with it."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from accounts.errors import InvalidInput
from llm.proxy import conversations
from llm.shapes.forms import HEAD_BYTES_MAX, Form

WHOLE = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\na/b\r\n--b--\r\n'


class Gone(Exception):
    """The client has left."""


def passed(*pieces: bytes, is_gone: bool = False) -> tuple[bytes, Exception | None]:
    """Return what went upstream of these pieces, and why it ended early."""

    async def coming() -> AsyncGenerator[bytes]:
        for piece in pieces:
            yield piece
        if is_gone:
            raise Gone

    passing = conversations._Passing(coming(), Form(b"b"))
    sent: list[bytes] = []

    async def send() -> None:
        async for piece in passing.through():
            sent.append(piece)

    try:
        asyncio.run(send())
    except (Gone, InvalidInput):
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
