"""Rounds of deliveries: claim what is due, send many at once, note what came of each; one round a process at a time."""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent import futures
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

from accounts import deliveries, webhook_secrets
from accounts.deliveries import Claimed, Outcome
from naive_platform.webhooks import posting

log = logging.getLogger(__name__)

# Attempts under way at once, of one process.
SLOTS = 64
# A round takes new work for so long, then waits for what is under way; the next one does not wait for that.
ROUND_S = 30.0
# Threads that look names up: a look-up that hangs goes on for longer than the attempt that asked for it.
RESOLVERS = 4 * SLOTS
# How soon a free slot finds what became due meanwhile.
POLL_S = 0.5
UNREADABLE = "Its secret cannot be read any more; rotate it."

type Post = Callable[..., Coroutine[Any, Any, Outcome]]

_one_at_a_time = threading.Lock()


def deliver_due(*, clock: Callable[[], datetime], post: Post = posting.post) -> int:
    """Attempt what is due until nothing is; how many attempts there were.

    Shape: where a round runs in this process already it takes the work, and this one ends at once. `clock` says what
    time it is, since a round lasts.
    """
    if not _one_at_a_time.acquire(blocking=False):
        return 0
    with ExitStack() as turn:
        turn.callback(_one_at_a_time.release)
        claimed = deliveries.claim(now=clock(), limit=SLOTS)
        if not claimed:
            return 0
        with _event_loop() as loop:
            return _Round(loop=loop, clock=clock, post=post).run(claimed, end_turn=turn.close)


class _Round:
    """What is under way on an event loop of another thread; the database is this thread's."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop, clock: Callable[[], datetime], post: Post) -> None:
        self._loop, self._clock, self._post = loop, clock, post
        self._flying: dict[futures.Future[Outcome], Claimed] = {}

    def run(self, claimed: list[Claimed], *, end_turn: Callable[[], None]) -> int:
        """Attempt these and what becomes due meanwhile; `end_turn` is called once no more is taken."""
        attempts = 0
        ends_at = time.monotonic() + ROUND_S
        while claimed or self._flying:
            for one in claimed:
                self._flying[asyncio.run_coroutine_threadsafe(self._attempt(one), self._loop)] = one
            attempts += len(claimed)
            done, _ = futures.wait(self._flying, timeout=POLL_S, return_when=futures.FIRST_COMPLETED)
            for future in done:
                self._note(self._flying.pop(future), future)
            if time.monotonic() < ends_at:
                claimed = deliveries.claim(now=self._clock(), limit=SLOTS - len(self._flying))
            else:
                claimed = []
                end_turn()
        return attempts

    async def _attempt(self, claimed: Claimed) -> Outcome:
        if not claimed.secrets:
            return Outcome(error=UNREADABLE)
        headers = webhook_secrets.headers(
            message_id=claimed.message_id, body=claimed.body, signed_with=claimed.secrets, now=self._clock()
        )
        return await self._post(url=claimed.url, headers=headers, body=claimed.body)

    def _note(self, claimed: Claimed, future: futures.Future[Outcome]) -> None:
        try:
            outcome = future.result()
        except Exception as exc:
            # A bug, of which this delivery must not be the end: it is tried again as after any failure.
            log.exception("Delivery %s: its attempt broke", claimed.delivery_id)
            outcome = Outcome(error=f"It could not be sent ({type(exc).__name__}).")
        deliveries.note(claimed, outcome, jitter=random.random(), now=self._clock())  # noqa: S311 - no secret.


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs on a thread of its own, with a thread for each name that is being resolved, to RESOLVERS."""
    loop = asyncio.new_event_loop()
    resolvers = futures.ThreadPoolExecutor(RESOLVERS, thread_name_prefix="webhook-names")
    loop.set_default_executor(resolvers)
    thread = threading.Thread(target=loop.run_forever, name="webhooks", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        # Only where the database went away is there anything left: its claims run out, and it is sent again.
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        # Nobody waits for a resolver that hangs.
        resolvers.shutdown(wait=False, cancel_futures=True)
        loop.close()


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
