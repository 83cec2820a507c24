"""HTTP/1.1 over asyncio: requests parsed by httptools, answered one after another on each connection."""

import asyncio
import sys
import traceback
import urllib.parse
from collections import deque
from typing import cast

import httptools
import orjson

from simulator import delivery, routes
from simulator.calls import Work
from simulator.exchange import Exchange
from simulator.journal import Visit
from simulator.traffic import Reply, Request
from simulator.world import World

BODY_BYTES_MAX = 64 * 1024 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_LARGE = Reply(413, orjson.dumps({"error": {"message": "Request payload too large", "code": 413}}))
_MALFORMED = Reply(400, orjson.dumps({"error": {"message": "Malformed HTTP request", "code": 400}}))


class Connection(asyncio.Protocol):
    """One client connection. Requests that arrive during an answer wait for it."""

    def __init__(self, world: World, tasks: set[asyncio.Task[None]]) -> None:
        self._world = world
        self._tasks = tasks
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._waiting: deque[tuple[Request | Reply, bool]] = deque()
        self._exchange: Exchange | None = None
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._broken = False

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport but are not of its class.
        self._transport = cast("asyncio.Transport", transport)
        self._world.journal.connections += 1

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(_MALFORMED)

    def eof_received(self) -> None:
        """Half a close is a whole one: HTTP clients that still want the answer do not send it."""
        if self._exchange is not None:
            self._exchange.lost()

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.clear()
        if self._exchange is not None:
            self._exchange.lost()

    def pause_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.set_full(full=True)

    def resume_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.set_full(full=False)

    # httptools calls these.

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body, self._body_bytes = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue" and self._exchange is None:
            self._transport.write(_CONTINUE)

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > BODY_BYTES_MAX:
            self._refuse(_TOO_LARGE)
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self._broken:
            return
        url = httptools.parse_url(self._url)
        query = dict(urllib.parse.parse_qsl((url.query or b"").decode("latin-1"), keep_blank_values=True))
        request = Request(
            method=self._parser.get_method().decode("latin-1"),
            path=urllib.parse.unquote((url.path or b"/").decode("latin-1")),
            query=query,
            headers=self._headers,
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
        )
        self._waiting.append((request, self._parser.should_keep_alive()))
        self._next()

    # Answering.

    def _refuse(self, reply: Reply) -> None:
        """Answer a request that cannot be read on, and close."""
        if not self._broken:
            self._broken = True
            self._waiting.append((reply, False))
            self._next()

    def _next(self) -> None:
        while self._exchange is None and self._waiting and not self._transport.is_closing():
            asked, keep_alive = self._waiting.popleft()
            if isinstance(asked, Request):
                self._answer(asked, keep_alive=keep_alive)
            else:
                exchange = self._open(Request("", "", {}, {}, b""), None, keep_alive=False)
                delivery.send_now(exchange, asked)

    def _open(self, request: Request, visit: Visit | None, *, keep_alive: bool) -> Exchange:
        self._exchange = Exchange(
            transport=self._transport,
            request=request,
            visit=visit,
            keep_alive=keep_alive,
            finished=self._finished,
        )
        return self._exchange

    def _answer(self, request: Request, *, keep_alive: bool) -> None:
        visit = None
        if not request.path.startswith("/__sim/") or request.path == "/__sim/elsewhere":
            paid = request.method == "POST" and request.path in routes.INFERENCE
            visit = self._world.journal.note(request, inference=paid)
        exchange = self._open(request, visit, keep_alive=keep_alive)
        outcome = routes.answer(self._world, request)
        if not delivery.sent_at_once(self._world, exchange, outcome):
            task = asyncio.get_running_loop().create_task(self._deliver(exchange, outcome))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, exchange: Exchange, outcome: Reply | Work) -> None:
        try:
            await delivery.send(self._world, exchange, outcome)
        except Exception:
            # A bug must end the connection and show, not leave the client waiting.
            traceback.print_exc(file=sys.stderr)
            self._transport.abort()

    def _finished(self) -> None:
        self._exchange = None
        # Through the loop, so that a row of waiting requests does not nest calls.
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)


async def listen(world: World, *, host: str, port: int) -> asyncio.Server:
    """Open the listening socket; OSError when the port is taken."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    return await loop.create_server(lambda: Connection(world, tasks), host, port, backlog=4096)
