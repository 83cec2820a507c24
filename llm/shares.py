"""Room for a few at once in this process, of which no company takes all, however much it asks for."""

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID


class Shares:
    """So many places on each event loop, and so many of them for one company; the others wait in turn."""

    def __init__(self, *, most: int, company_most: int) -> None:
        self._most = most
        self._company_most = company_most
        self._rooms: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Room] = weakref.WeakKeyDictionary()

    @asynccontextmanager
    async def place(self, company_id: UUID) -> AsyncIterator[None]:
        """Wait for a place, and have it while the context lasts."""
        room = self._rooms.setdefault(asyncio.get_running_loop(), _Room(self._most))
        async with room.share(company_id, self._company_most), room.all:
            yield


class _Room:
    def __init__(self, most: int) -> None:
        self.all = asyncio.Semaphore(most)
        # Kept as long as one of its company has a place or waits for one.
        self._shares: weakref.WeakValueDictionary[UUID, asyncio.Semaphore] = weakref.WeakValueDictionary()

    def share(self, company_id: UUID, most: int) -> asyncio.Semaphore:
        found = self._shares.get(company_id)
        if found is None:
            found = self._shares[company_id] = asyncio.Semaphore(most)
        return found
