"""How many calls run at once in this process, in all and per company."""

import asyncio
import random
from collections import Counter, deque
from uuid import UUID

from django.conf import settings

from llm.errors import GatewayFull, RateLimited

# A place that comes free this soon is worth waiting for; longer and the client should know.
WAIT_MAX_S = 0.05


class Permits:
    """Places for running calls. One instance a process, used on its event loop only."""

    def __init__(self) -> None:
        self.running = 0
        self._by_company: Counter[UUID] = Counter()
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self, company_id: UUID) -> None:
        """Take a place.

        Errors: RateLimited (this company has its share running), GatewayFull (the process has).
        """
        if self._refusal(company_id) is not None:
            await self._wait(company_id)
        self.running += 1
        self._by_company[company_id] += 1

    def release(self, company_id: UUID) -> None:
        self.running -= 1
        self._by_company[company_id] -= 1
        if not self._by_company[company_id]:
            del self._by_company[company_id]
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait(self, company_id: UUID) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + WAIT_MAX_S
        while refusal := self._refusal(company_id):
            left_s = ends_at - loop.time()
            if left_s <= 0:
                raise refusal
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiting.append(waiter)
            try:
                await asyncio.wait({waiter}, timeout=left_s)
            finally:
                self._waiting.remove(waiter)

    def _refusal(self, company_id: UUID) -> RateLimited | GatewayFull | None:
        if self._by_company[company_id] >= settings.MAX_CALLS_PER_COMPANY:
            return RateLimited(
                f"Your company has {settings.MAX_CALLS_PER_COMPANY} calls running, as many as it may.",
                hint="Retry in a second, or run fewer calls at once.",
                details={
                    "limit": "concurrent_calls",
                    "max": settings.MAX_CALLS_PER_COMPANY,
                    "retry_after_s": 1,
                },
            )
        if self.running >= settings.MAX_CALLS_PER_PROCESS:
            # Spread over some seconds, so that refused clients do not all come back at once.
            return GatewayFull(
                "The gateway is full.",
                hint="Retry in a few seconds.",
                details={"retry_after_s": random.randint(2, 5)},  # noqa: S311 - jitter, not a secret.
            )
        return None


permits = Permits()
