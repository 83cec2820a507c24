"""`naive mcp`: the server over this process's stdin and stdout, until its client closes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from mcp.server.stdio import stdio_server

from naive.mcp import server

if TYPE_CHECKING:
    from naive import AsyncNaive


def run(client: AsyncNaive) -> None:
    """Serve until stdin ends; nothing but messages goes to stdout."""
    anyio.run(serve, client)


async def serve(client: AsyncNaive) -> None:
    """The same, inside an event loop that runs already."""
    served = server.build(lambda _: client)
    async with client, stdio_server() as (incoming, outgoing):
        await served.run(incoming, outgoing, served.create_initialization_options())
