"""The life of one gateway process: what it opens at start, says to probes, and finishes before it stops."""

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from types import FrameType
from typing import Any

import orjson
import psycopg

from accounts import auth, database, ids
from accounts.errors import Unavailable
from billing import batches, spool
from llm import catalog, debt, prompts, pumps, rates, replays, upstream, valkey
from naive_platform import boot, errors, tracing
from naive_platform.mcp.door import door as mcp

log = logging.getLogger(__name__)

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]

PROBES = frozenset({"/health", "/readyz"})
READS = ("GET", "HEAD")
# Streams may run on this long after SIGTERM (docs/architecture.md, "How a gateway ends").
DRAIN_GRACE_S = 25.0
LATE_STREAMS_S = 2.0
REPLAY_INTERVAL_S = 10.0


class Gateway:
    """What this process knows about itself."""

    def __init__(self) -> None:
        self.is_draining = False
        self.draining: asyncio.Task[None] | None = None
        self.replaying: asyncio.Task[None] | None = None


gateway = Gateway()
# Shorter than any balancer waits for a probe: a Valkey that says nothing must not look like a gateway that is down.
broker = valkey.Line("readiness", timeout_s=0.5)


async def lifespan(receive: Receive, send: Send) -> None:
    """Serve the ASGI lifespan protocol."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                await _start()
            except (Unavailable, psycopg.Error, OSError) as exc:
                await send({"type": "lifespan.startup.failed", "message": f"The gateway cannot start: {exc}"})
                return
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await _stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def probe(path: str, send: Send, *, method: str = "GET") -> None:
    """Answer /health (the process lives) and /readyz (it takes calls, and what it stands on is there)."""
    if method not in READS:
        await _refuse(method, send)
        return
    found = await _readiness() if path == "/readyz" else {"status": "ok"}
    body = orjson.dumps(found)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    status = 503 if found["status"] == "unavailable" else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse(method: str, send: Send) -> None:
    code, status = errors.METHOD_NOT_ALLOWED
    request_id = f"req_{ids.uuid7().hex}"
    message = f"{method[:20]} is not allowed here; GET and HEAD are."
    body = errors.body(code=code, message=message, request_id=request_id)
    headers = [
        (b"allow", ", ".join(READS).encode()),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _readiness() -> dict[str, Any]:
    """Return how each thing is that calls stand on; `reason` is the first without which none is taken.

    Without the broker they go on. It is away from every gateway at once: a balancer must not drop them all for it.
    """
    database_is_there, broker_is_there = await asyncio.gather(_asks_database(), _asks_broker())
    owed = debt.reason()
    checks = {
        "database": "ok" if database_is_there else "unavailable",
        "settlement": owed or "ok",
        "broker": "ok" if broker_is_there else "unavailable",
    }
    reason = "draining" if gateway.is_draining else "database" if not database_is_there else owed
    if reason is not None:
        return {"status": "unavailable", "reason": reason, "checks": checks}
    return {"status": "ok" if broker_is_there else "degraded", "checks": checks}


async def _asks_database() -> bool:
    try:
        async with database.pool().connection() as connection:
            await connection.execute("SELECT 1")
    except (psycopg.Error, OSError):
        return False
    return True


async def _asks_broker() -> bool:
    try:
        await broker.ask("PING")
    except valkey.Away:
        return False
    return True


async def _start() -> None:
    boot.share_connections()
    # This loop's own from here on: a request of the management API closes it only where it opened it.
    database.pool()
    await asyncio.to_thread(boot.warn_of_one_login)
    await auth.start()
    await batches.start()
    await catalog.start()
    await debt.start()
    await prompts.start()
    gateway.replaying = asyncio.create_task(_replay(), name="spool-replay")
    tracing.start()
    _drain_on_sigterm()
    # What is there now stays: the collector need not walk it again and again (docs/architecture.md, p99 halved).
    gc.collect()
    gc.freeze()
    log.info("takes calls")


async def _stop() -> None:
    if gateway.draining is not None:
        await gateway.draining
    if gateway.replaying is not None:
        gateway.replaying.cancel()
        await asyncio.gather(gateway.replaying, return_exceptions=True)
    await mcp.close()
    # What began while the others ended; those had their time.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LATE_STREAMS_S):
            await pumps.drain(grace_s=0)
    await prompts.stop()
    await debt.stop()
    await catalog.stop()
    await auth.stop()
    await upstream.close()
    await rates.close()
    await replays.close()
    await broker.close()
    await tracing.stop()
    await batches.stop()
    await database.close()
    spool.close()
    log.info("stopped")


async def _replay() -> None:
    """Bring to the books what this process, or one before it on this machine, could not."""
    while True:
        try:
            await asyncio.to_thread(spool.replay)
        except (psycopg.Error, OSError, Unavailable) as exc:
            log.warning("Spool not replayed yet: %s", exc)
        await asyncio.sleep(REPLAY_INTERVAL_S)


def _drain_on_sigterm() -> None:
    """Begin to drain when the server is told to stop; its own handler then does the rest."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGTERM)

    def drain_first(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(_begin_drain)
        if callable(before):
            before(number, frame)

    try:
        signal.signal(signal.SIGTERM, drain_first)
    except ValueError:  # Not the main thread: a test runs the application itself.
        log.debug("no signal handler outside the main thread")


def _begin_drain() -> None:
    if not gateway.is_draining:
        log.info("draining: streams have %g s", DRAIN_GRACE_S)
        gateway.is_draining = True
        gateway.draining = asyncio.create_task(pumps.drain(grace_s=DRAIN_GRACE_S), name="drain")
