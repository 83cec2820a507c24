"""A line to Valkey: asked with a deadline, and left alone for a while where it does not answer. Nothing kept there
matters: whoever asks goes on without an answer."""

import asyncio
import contextlib
import logging
from typing import Any

import redis.asyncio
import redis.exceptions
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

log = logging.getLogger(__name__)

# After a failure Valkey is not asked for this long, so that an outage costs one call its deadline, not every call.
REST_S = 1.0


class Away(Exception):
    """Valkey did not answer in time, answered that it cannot (out of memory, read-only, loading), or is not asked
    because it just has not."""


class NoScript(Exception):
    """Valkey is there, and does not know this script: it is new, or was started anew."""


class _End:
    """One event loop's end of a line."""

    def __init__(self) -> None:
        self.client = redis.asyncio.from_url(settings.REDIS_URL, retry=Retry(NoBackoff(), 0))
        self.resting_until = 0.0


class Line:
    """What one part of the gateway has to do with Valkey. One a process; each event loop has connections of its own."""

    def __init__(self, purpose: str, *, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.failures = 0
        self._purpose = purpose
        self.is_away = False
        self._ends: dict[asyncio.AbstractEventLoop, _End] = {}

    def is_resting(self) -> bool:
        """Whether Valkey has just not answered, so that `ask` would not ask it."""
        loop = asyncio.get_running_loop()
        end = self._ends.get(loop)
        return end is not None and loop.time() < end.resting_until

    async def ask(self, *command: bytes | str | int) -> Any:
        """Return what Valkey answers to a command.

        Errors: Away (also without asking, for REST_S after a failure), NoScript.
        """
        loop = asyncio.get_running_loop()
        end = self._ends.get(loop)
        if end is None:
            end = self._ends[loop] = _End()
        if loop.time() < end.resting_until:
            raise Away(f"{self._purpose}: Valkey is left alone for a moment")
        try:
            async with asyncio.timeout(self.timeout_s):
                found = await end.client.execute_command(*command)  # type: ignore[no-untyped-call]
        except redis.exceptions.NoScriptError as exc:
            raise NoScript from exc
        except (redis.exceptions.RedisError, OSError, TimeoutError) as exc:
            end.resting_until = loop.time() + REST_S
            self._note_failure(exc)
            if isinstance(exc, redis.exceptions.ResponseError):
                # Whoever answers so may not be the one to ask any more: the name may lead elsewhere by now.
                await self._hang_up(end)
            raise Away(f"{self._purpose}: Valkey does not answer") from exc
        self._note_answer()
        return found

    async def close(self) -> None:
        """Close this event loop's connections."""
        end = self._ends.pop(asyncio.get_running_loop(), None)
        if end is not None:
            await end.client.aclose()

    async def _hang_up(self, end: _End) -> None:
        with contextlib.suppress(redis.exceptions.RedisError, OSError, TimeoutError):
            async with asyncio.timeout(self.timeout_s):
                await end.client.connection_pool.disconnect(inuse_connections=False)

    def _note_failure(self, error: Exception) -> None:
        self.failures += 1
        if not self.is_away:
            # Once an outage: what it goes on to cost is counted, not written.
            self.is_away = True
            log.warning("%s: Valkey does not answer (%s); calls go on", self._purpose, type(error).__name__)

    def _note_answer(self) -> None:
        if self.is_away:
            self.is_away = False
            log.warning("%s: Valkey answers again", self._purpose)
