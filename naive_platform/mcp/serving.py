"""Answers MCP's messages with the SDK's own tools, which call this platform's REST routes without leaving the process.

So there is one registry of tools, and nothing that REST would refuse passes here. Loaded by the first message.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx
from django.http import HttpResponse
from django.http.request import split_domain_port
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from llm import answers, sightings
from naive import AsyncNaive
from naive.mcp import server
from naive_platform import asgi
from naive_platform.mcp.door import DoorRequest

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]

# Where the caller's own client is, in the scope of its message.
CLIENT = "naive.client"
# What of a message's headers goes on, byte for byte, to the calls that it makes.
PASSED_ON = frozenset({b"user-agent", b"x-naive-user-id", b"traceparent"})


class Serving:
    """MCP's session manager, kept for as long as the gateway lives; it keeps nothing from one message to the next."""

    def __init__(self) -> None:
        self._manager = StreamableHTTPSessionManager(
            server.build(_client_of),
            stateless=True,
            json_response=True,
        )
        self._stopping = asyncio.Event()
        self._living: asyncio.Task[None] | None = None

    async def start(self) -> None:
        is_ready = asyncio.Event()
        self._living = asyncio.create_task(self._live(is_ready), name="mcp")
        await is_ready.wait()

    async def stop(self) -> None:
        self._stopping.set()
        if self._living is not None:
            await self._living

    async def answer(self, request: DoorRequest, message: bytes) -> HttpResponse:
        """Return the answer to one message; whose request it is was checked at the door."""
        said: list[Message] = []

        async def send(part: Message) -> None:
            said.append(part)

        async with _inside(request) as http:
            scope = {**request.scope, CLIENT: _client(request, http)}
            await self._manager.handle_request(scope, _receive(message), send)
        start, *parts = said
        response = answers.json_bytes(
            b"".join(part.get("body", b"") for part in parts), status=start["status"]
        )
        for name, value in start["headers"]:
            if name not in (b"content-length", b"connection"):
                response[name.decode("latin-1")] = value.decode("latin-1")
        return response

    async def _live(self, is_ready: asyncio.Event) -> None:
        async with self._manager.run():
            is_ready.set()
            await self._stopping.wait()


def _client_of(context: server.Context) -> AsyncNaive:
    if context.request is None:
        raise RuntimeError("a message without its request")
    found: AsyncNaive = context.request.scope[CLIENT]
    return found


def _receive(message: bytes) -> Receive:
    """Return what gives a message whole, and then nothing: whoever leaves does not end their calls, as in REST."""
    left: list[Message] = [{"type": "http.request", "body": message, "more_body": False}]

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return left.pop()

    return receive


def _client(request: DoorRequest, http: httpx.AsyncClient) -> AsyncNaive:
    """Return a client that asks as whoever sent the message asks; nothing is tried twice, for they are told when to."""
    # No port: nothing is connected to, and a Host header may name one that there is not.
    host, _ = split_domain_port(request.get_host())
    return AsyncNaive(
        api_key=request.META["HTTP_AUTHORIZATION"].removeprefix("Bearer "),
        base_url=f"{request.scope['scheme']}://{host}",
        max_retries=0,
        http_client=http,
    )


def _inside(request: DoorRequest) -> httpx.AsyncClient:
    """Return what leads to this platform's own application, for calls that belong to this request."""
    passed_on = [header for header in request.scope["headers"] if header[0] in PASSED_ON]

    async def serve(scope: Message, receive: Receive, send: Send) -> None:
        own = [header for header in scope["headers"] if header[0] not in PASSED_ON]
        changed = {"headers": own + passed_on, sightings.REQUEST_ID: request.request_id}
        outer = sightings.current()
        try:
            await asgi.serve({**scope, **changed}, receive, send)
        finally:
            # The call has noted what it saw in a sighting of its own.
            sightings.begin(outer)

    address = tuple(request.scope.get("client") or ("", 0))
    transport = httpx.ASGITransport(app=serve, raise_app_exceptions=False, client=address)
    return httpx.AsyncClient(transport=transport, trust_env=False)
