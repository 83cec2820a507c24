"""The wire between the platform and PostgreSQL, on which answers get lost after the server has done its work.

    python -m tests.chaos.wire FOLDER SERVER_SOCKET

Some answers to holds and settlements never arrive, as the plan in FOLDER has it, and their connection ends with them:
to the platform it is a lost acknowledgement of a commit. Where the plan says so, the connection that writes generation
ids down breaks whenever it is used. SIGUSR1 makes it an honest wire. It ends on SIGTERM and prints how many answers it
has stolen.
"""

import asyncio
import contextlib
import dataclasses
import json
import random
import signal
import sys
from pathlib import Path
from typing import cast

import uvloop

from tests.chaos import plans
from tests.chaos.plans import Plan

# What libpq says for itself (accounts/database.py), by batcher (billing/batches.py).
HOLDS, SETTLEMENTS, NOTES = b"naive-holds", b"naive-settlements", b"naive-notes"
# How everybody else settles.
SETTLING = b"billing_settle("
# ReadyForQuery outside a transaction: what came before it is committed.
READY = b"Z\x00\x00\x00\x05I"


class Wire:
    """What happens to answers, and how often it did."""

    def __init__(self, plan: Plan, path: str) -> None:
        self.path = path
        self.plan = plan
        self.stolen = 0

    def be_honest(self) -> None:
        self.plan = dataclasses.replace(self.plan, lost_holds=0.0, lost_settlements=0.0, is_noting_lost=False)

    def breaks(self, greeting: bytes) -> bool:
        return self.plan.is_noting_lost and NOTES in greeting

    def steals(self, greeting: bytes, data: bytes) -> bool:
        """Whether the answer to this statement is to be lost."""
        share = self.plan.lost_holds if HOLDS in greeting else 0.0
        if SETTLEMENTS in greeting or SETTLING in data:
            share = self.plan.lost_settlements
        return random.random() < share


class ClientEnd(asyncio.Protocol):
    """One connection of the platform's."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.is_stealing = False
        self._greeting: bytes | None = None
        self._waiting: list[bytes] = []
        self._server: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        if self._greeting is None:
            self._greeting = data
        elif self.wire.breaks(self._greeting):
            self.close()
            return
        elif self.wire.steals(self._greeting, data):
            self.is_stealing = True
        if self._server is None:
            self._waiting.append(data)
        else:
            self._server.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._server is not None:
            self._server.close()

    def close(self) -> None:
        self.transport.abort()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_unix_connection(lambda: ServerEnd(self), self.wire.path)
        except OSError:
            self.close()
            return
        self._server = transport
        if self.transport.is_closing():
            transport.close()
        for data in self._waiting:
            transport.write(data)
        self._waiting.clear()


class ServerEnd(asyncio.Protocol):
    """The connection behind it."""

    def __init__(self, client: ClientEnd) -> None:
        self._client = client
        self._kept = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._client.is_stealing:
            self._client.transport.write(data)
            return
        self._kept = (self._kept + data)[-len(READY) :]
        if self._kept == READY:
            self._client.wire.stolen += 1
            self._client.close()
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.transport.close()


async def _serve(wire: Wire, own: str) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGUSR1, wire.be_honest)
    server = await loop.create_unix_server(lambda: ClientEnd(wire), own)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await ended.wait()
    server.close()
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{wire.stolen}\n")
        sys.stdout.flush()


def main() -> None:
    folder, path = Path(sys.argv[1]), sys.argv[2]
    wire = Wire(plans.of_json(json.loads((folder / "plan.json").read_text())), path)
    uvloop.run(_serve(wire, str(folder / "wire" / Path(path).name)))


if __name__ == "__main__":
    main()
