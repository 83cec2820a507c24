"""What waits for one client: bounded in number and in bytes."""

import asyncio
from collections.abc import Iterator

CHUNKS_MAX = 64
# What a client has not taken yet; one piece more may lie on top.
BYTES_MAX = 256 * 1024


class Feed(asyncio.Queue[bytes | None]):
    """The pieces on their way to a client, None for the end."""

    def __init__(self) -> None:
        super().__init__(CHUNKS_MAX)
        self._bytes = 0

    def full(self) -> bool:
        return super().full() or self._bytes >= BYTES_MAX

    def _put(self, item: bytes | None) -> None:
        self._bytes += len(item or b"")
        super()._put(item)

    def _get(self) -> bytes | None:
        item = super()._get()
        self._bytes -= len(item or b"")
        return item


def cut(data: bytes) -> Iterator[bytes]:
    """Yield it in pieces of at most BYTES_MAX."""
    return (data[at : at + BYTES_MAX] for at in range(0, len(data), BYTES_MAX))
