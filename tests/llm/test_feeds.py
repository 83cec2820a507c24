"""What waits for a client is bounded in pieces and in bytes."""

import asyncio

from llm import feeds
from llm.feeds import Feed
from tests.conftest import Run


def test_feed_is_full_by_bytes_long_before_it_is_by_pieces(run: Run) -> None:
    async def fill() -> None:
        feed = Feed()
        piece = bytes(feeds.BYTES_MAX // 4)
        for _ in range(4):
            assert not feed.full()
            feed.put_nowait(piece)
        assert feed.full()
        giving = asyncio.create_task(feed.put(piece))
        await asyncio.sleep(0)
        assert not giving.done()
        assert await feed.get() == piece
        await giving
        assert feed.full()

    run(fill())


def test_feed_is_full_by_pieces(run: Run) -> None:
    async def fill() -> None:
        feed = Feed()
        for _ in range(feeds.CHUNKS_MAX):
            feed.put_nowait(b"x")
        assert feed.full()
        while not feed.empty():
            feed.get_nowait()
        feed.put_nowait(None)
        assert await feed.get() is None

    run(fill())
