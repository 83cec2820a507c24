"""Compressed answers are read as far as they make sense, and no further than they may."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm import encodings
from llm.encodings import CannotUnpack, Unpacking

TEXT = b'{"usage":{"cost":0.1}}' * 1000


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [(TEXT, ""), (TEXT, "identity"), (gzip.compress(TEXT, mtime=0), "gzip"), (gzip.compress(TEXT, mtime=0), " X-GZip "),
     (zlib.compress(TEXT), "deflate")],
)  # fmt: skip
def test_body_is_unpacked(raw: bytes, encoding: str) -> None:
    assert encodings.unpack(raw, encoding, most=len(TEXT)) == TEXT


@given(st.binary(max_size=2000), st.integers(1, 100))
def test_pieces_of_any_size_come_to_the_same(raw: bytes, size: int) -> None:
    packed, unpacking = gzip.compress(raw), Unpacking("gzip", most=5000)
    pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
    assert b"".join(found for piece in pieces for found in unpacking.feed(piece)) == raw
    assert unpacking.is_whole


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [(TEXT, "gzip"), (gzip.compress(TEXT, mtime=0)[:-20], "gzip"), (TEXT, "br"), (TEXT, "zstd"), (TEXT, "gzip, gzip"),
     (b"", "gzip")],
)  # fmt: skip
def test_what_is_not_what_it_says_is_not_read(raw: bytes, encoding: str) -> None:
    with pytest.raises(CannotUnpack):
        encodings.unpack(raw, encoding, most=1 << 20)


def test_bomb_is_stopped_at_its_limit() -> None:
    bomb = gzip.compress(bytes(256 * 1024 * 1024), 9)
    unpacking = Unpacking("gzip", most=64 * 1024 * 1024)
    tracemalloc.start()
    with pytest.raises(CannotUnpack, match="more"):
        max(map(len, unpacking.feed(bomb)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 1024 * 1024
