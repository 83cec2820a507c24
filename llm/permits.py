"""How many calls run at once in this process, in all and per company; the way to the limits that all gateways share."""

import asyncio
import random
from collections import Counter
from uuid import UUID

from django.conf import settings

from llm import rates
from llm.errors import GatewayFull, RateLimited
from llm.rates import Limit, Pass

# A place that comes free this soon is worth waiting for; longer and the client should know.
WAIT_MAX_S = 0.05


class Permits:
    """Places for running calls. One instance a process, used on its event loop only."""

    def __init__(self) -> None:
        self.running = 0
        self._by_company: Counter[UUID] = Counter()
        self._waiting: dict[asyncio.Future[None], UUID] = {}

    async def acquire(self, company_id: UUID, limits: tuple[Limit, ...] = ()) -> Pass:
        """Take a place here and, in one round trip, whatever all gateways together limit.

        Errors: RateLimited (this company has its share running, or a limit of requests is reached), GatewayFull (the
        process has). With Valkey away the process's own places are the bound.
        """
        if self._is_taken(company_id):
            await self._wait(company_id)
        self.running += 1
        self._by_company[company_id] += 1
        try:
            return await rates.enter(company_id, limits)
        except BaseException:
            self._give_back(company_id)
            raise

    def release(self, taken: Pass) -> None:
        rates.leave(taken)
        self._give_back(taken.company_id)

    def _give_back(self, company_id: UUID) -> None:
        self.running -= 1
        self._by_company[company_id] -= 1
        if not self._by_company[company_id]:
            del self._by_company[company_id]
        # One place, one call: were all woken, who waits in vain would cost everybody's calls their time.
        for waiter, waits_for in self._waiting.items():
            if not waiter.done() and not self._is_taken(waits_for):
                waiter.set_result(None)
                return

    async def _wait(self, company_id: UUID) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + WAIT_MAX_S
        while self._is_taken(company_id):
            left_s = ends_at - loop.time()
            if left_s <= 0:
                raise self._refusal(company_id)
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiting[waiter] = company_id
            try:
                await asyncio.wait({waiter}, timeout=left_s)
            finally:
                del self._waiting[waiter]

    def _is_taken(self, company_id: UUID) -> bool:
        return (
            self._by_company[company_id] >= settings.MAX_CALLS_PER_COMPANY
            or self.running >= settings.MAX_CALLS_PER_PROCESS
        )

    def _refusal(self, company_id: UUID) -> RateLimited | GatewayFull:
        if self._by_company[company_id] >= settings.MAX_CALLS_PER_COMPANY:
            return rates.too_many_calls(company_id)
        # Spread over some seconds, so that refused clients do not all come back at once.
        return GatewayFull(
            "The gateway is full.",
            hint="Retry in a few seconds.",
            details={"retry_after_s": random.randint(2, 5)},  # noqa: S311 - jitter, not a secret.
        )


permits = Permits()
