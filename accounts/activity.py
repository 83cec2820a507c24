"""Who was active, noted in memory and written every half minute: never on the way of a call."""

import asyncio
import logging
from typing import LiteralString
from uuid import UUID

import psycopg

from accounts import database

WRITE_INTERVAL_S = 30.0

log = logging.getLogger(__name__)


class Marks:
    """Ids of one table's rows that were active since the last write."""

    def __init__(self, statement: LiteralString) -> None:
        self._statement = statement
        self._ids: set[UUID] = set()

    def note(self, row_id: UUID) -> None:
        self._ids.add(row_id)

    async def write(self) -> None:
        """Write what was noted; what cannot be written now is kept for the next time."""
        noted, self._ids = self._ids, set()
        if not noted:
            return
        try:
            async with database.pool().connection() as connection:
                await connection.execute(self._statement, (list(noted),), binary=True)
        except (psycopg.Error, OSError) as exc:
            self._ids |= noted
            log.warning("Activity of %d rows not written yet: %s", len(noted), type(exc).__name__)


# Two processes may note the same rows: the second passes over what the first holds, so neither waits.
keys = Marks(
    "UPDATE accounts_apikey SET last_used_at = now() WHERE id IN"
    " (SELECT id FROM accounts_apikey WHERE id = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED)"
)
users = Marks(
    "UPDATE accounts_tenantuser SET last_active_at = now() WHERE id IN"
    " (SELECT id FROM accounts_tenantuser WHERE id = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED)"
)

_writers: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}


def start() -> None:
    """Begin to write every half minute, on the running loop."""
    loop = asyncio.get_running_loop()
    if loop not in _writers:
        _writers[loop] = asyncio.create_task(_keep_writing(), name="accounts-activity")


async def stop() -> None:
    """Write what is left and stop."""
    task = _writers.pop(asyncio.get_running_loop(), None)
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await write()


async def write() -> None:
    """Write what was noted, now."""
    await keys.write()
    await users.write()


async def _keep_writing() -> None:
    while True:
        await asyncio.sleep(WRITE_INTERVAL_S)
        await write()
