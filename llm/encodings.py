"""Compressed answers, unpacked a little at a time so that a few bytes never become many at once."""

import zlib
from collections.abc import Iterator

PIECE_BYTES = 256 * 1024
# What zlib expects around its stream: gzip's frame, or (`deflate`) zlib's own; a bare stream is not read.
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
IDENTITY = ("", "identity")


class CannotUnpack(ValueError):
    """The bytes are not what their encoding says, an encoding that we do not read, or too many of them."""


class Unpacking:
    """One compressed body on its way: `feed` each piece as it comes.

    Shape: what comes out is at most PIECE_BYTES at a time and `most` in all.
    """

    __slots__ = ("_inflating", "_left")

    def __init__(self, encoding: str, *, most: int) -> None:
        window = _WINDOWS.get(encoding.strip().lower())
        if window is None:
            raise CannotUnpack(f"an encoding of {encoding[:20]!r}")
        self._inflating = zlib.decompressobj(wbits=window)
        self._left = most

    @property
    def is_whole(self) -> bool:
        """Whether the end of the compressed stream has come."""
        return self._inflating.eof

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece unpacks to. Errors: CannotUnpack."""
        pending = piece
        while pending:
            try:
                found = self._inflating.decompress(pending, PIECE_BYTES)
            except zlib.error as exc:
                raise CannotUnpack("bytes that are not what they say") from exc
            pending = self._inflating.unconsumed_tail
            self._left -= len(found)
            if self._left < 0:
                raise CannotUnpack("more than is ever read")
            if found:
                yield found


def unpack(raw: bytes, encoding: str, *, most: int) -> bytes:
    """Return a whole body unpacked; as it is where it is not packed.

    Errors: CannotUnpack, also where the body ends before its compressed stream does.
    """
    if encoding.strip().lower() in IDENTITY:
        return raw
    unpacking = Unpacking(encoding, most=most)
    found = b"".join(unpacking.feed(raw))
    if not unpacking.is_whole:
        raise CannotUnpack("an end that is missing")
    return found
