"""Requests per minute, counted in Valkey in one round trip across all workers; only where a limit applies."""

import asyncio
import logging
from uuid import UUID

import redis.asyncio
import redis.exceptions
from django.conf import settings

from llm.errors import RateLimited

log = logging.getLogger(__name__)

# A limit is not worth waiting for: with Valkey slow or down calls go on uncounted.
TIMEOUT_S = 0.2
# After a failure Valkey is not asked for this long, so that an outage costs one call its timeout, not every call.
REST_S = 1.0
# GCRA: a key holds the instant (ms) at which the bucket is full again. A minute's worth may come at once, then one
# call each 60 s / limit. Returns 0, or the milliseconds to wait.
_TAKE = """
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local limit = tonumber(ARGV[1])
local step_ms = 60000 / limit
local full_ms = math.max(tonumber(redis.call('GET', KEYS[1]) or now_ms), now_ms) + step_ms
if full_ms - now_ms > 60000 then
    return math.ceil(full_ms - now_ms - 60000)
end
redis.call('SET', KEYS[1], full_ms, 'PX', 60000)
return 0
"""


class _Counter:
    """One event loop's connection to Valkey."""

    def __init__(self) -> None:
        self.client = redis.asyncio.from_url(
            settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
        self.script = self.client.register_script(_TAKE)
        self.resting_until = 0.0


_counters: dict[asyncio.AbstractEventLoop, _Counter] = {}


async def take(*, user_id: UUID, per_minute: int) -> None:
    """Count one request of a tenant user against its kit's limit.

    Errors: RateLimited with the seconds to wait. None where Valkey does not answer.
    """
    loop = asyncio.get_running_loop()
    counter = _counters.get(loop)
    if counter is None:
        counter = _counters[loop] = _Counter()
    if loop.time() < counter.resting_until:
        return
    try:
        wait_ms = int(await counter.script(keys=[f"rate:user:{user_id}"], args=[per_minute]))
    except (redis.exceptions.RedisError, OSError, TimeoutError) as exc:
        counter.resting_until = loop.time() + REST_S
        log.warning("Requests are not counted, Valkey does not answer: %s", exc)
        return
    if wait_ms:
        raise RateLimited(
            f"This user's kit allows {per_minute} requests a minute.",
            hint="Wait as Retry-After says, or raise requests_per_minute in the kit.",
            details={
                "limit": "requests_per_minute",
                "max": per_minute,
                "retry_after_s": -(-wait_ms // 1000),
            },
        )


async def close() -> None:
    """Close this event loop's connection."""
    counter = _counters.pop(asyncio.get_running_loop(), None)
    if counter is not None:
        await counter.client.aclose()
