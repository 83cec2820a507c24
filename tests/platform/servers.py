"""A real server in the test's own event loop, and clients that write bytes themselves."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from naive_platform.connections import Connection

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(application: Application, *, grace_s: int = 1) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """Serve `application` as the gateway is served (naive_platform/stack.py); yields the server and its port."""
    config = uvicorn.Config(
        application,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=grace_s,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        yield server, listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running


async def exchange(port: int, sent: bytes, *, within_s: float = 5.0) -> bytes:
    """Send bytes and return all that comes until the server closes; `b"<open>"` at the end where it does not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        writer.write(sent)
        async with asyncio.timeout(within_s):
            while more := await reader.read(65536):
                got += more
    except TimeoutError:
        got += b"<open>"
    except ConnectionError as exc:
        got += f"<{type(exc).__name__}>".encode()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return got


async def until(happened: Callable[[], object], *, within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not happened():
            await asyncio.sleep(0.02)
