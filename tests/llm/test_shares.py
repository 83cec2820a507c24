"""Places are taken by turns, and no company has all of them."""

import asyncio
from uuid import UUID, uuid4

from llm.shares import Shares


def test_company_that_asks_without_end_leaves_places_for_others() -> None:
    greedy, modest = uuid4(), uuid4()
    shares, inside, left = Shares(most=3, company_most=2), [], asyncio.Event()

    async def enter(company_id: UUID) -> None:
        async with shares.place(company_id):
            inside.append(company_id)
            await left.wait()
        inside.remove(company_id)

    async def crowd() -> None:
        entering = [asyncio.create_task(enter(company_id)) for company_id in [greedy] * 9 + [modest] * 3]
        await asyncio.sleep(0)
        assert (inside.count(greedy), inside.count(modest)) == (2, 1)
        entering[5].cancel()  # One that waits.
        entering[0].cancel()  # One that is inside.
        for _ in range(3):
            await asyncio.sleep(0)
        assert inside.count(modest) <= 2
        left.set()
        await asyncio.wait(entering)

    asyncio.run(crowd())
