"""Request bodies on their way in: how large, how slow and how many at once they may be."""

import asyncio
import random
import zlib
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts.errors import InvalidInput
from llm.errors import GatewayFull, PayloadTooLarge, RateLimited, UnsupportedMediaType

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]

# Between two pieces of a body; a client slower than that is not sending.
PIECE_TIMEOUT_S = 15.0
# From the first piece to the last, however steadily they come.
BODY_TIMEOUT_S = 120.0
# What has arrived of bodies that are not whole yet, in this process and of one company.
BYTES_MAX = 256 * 1024 * 1024
COMPANY_BYTES_MAX = 128 * 1024 * 1024
# How long a client that was answered early may go on sending, so that it reads the answer before the end.
LINGER_S = 2.0
# What a form may have beside its file.
FORM_BYTES = 64 * 1024
_IDENTITY = ("", "identity")
_GZIP = ("gzip", "x-gzip")


class ClientGone(Exception):
    """The client left before its request was whole: there is nobody to answer."""


class Room:
    """What bodies that are being read take of this process. Used on its event loop only."""

    def __init__(self) -> None:
        self.taken_bytes = 0
        self._bodies: Counter[UUID] = Counter()
        self._company_bytes: Counter[UUID] = Counter()

    def enter(self, company_id: UUID) -> None:
        """Begin a body. Errors: RateLimited where this company has its share on the way."""
        if self._bodies[company_id] >= settings.MAX_CALLS_PER_COMPANY:
            raise _share_taken(f"{settings.MAX_CALLS_PER_COMPANY} request bodies")
        self._bodies[company_id] += 1

    def take(self, company_id: UUID, size: int) -> None:
        """Make room for a piece. Errors: RateLimited (the company's share is full), GatewayFull (the process is)."""
        if self._company_bytes[company_id] + size > COMPANY_BYTES_MAX:
            raise _share_taken(f"{COMPANY_BYTES_MAX // 1024**2} MB of request bodies")
        if self.taken_bytes + size > BYTES_MAX:
            raise GatewayFull(
                "The gateway is reading as much as it can.",
                hint="Retry in a few seconds.",
                details={"retry_after_s": random.randint(2, 5)},  # noqa: S311 - jitter, not a secret.
            )
        self.taken_bytes += size
        self._company_bytes[company_id] += size

    def leave(self, company_id: UUID, size: int) -> None:
        """End a body that took `size`."""
        self.taken_bytes -= size
        self._company_bytes[company_id] -= size
        self._bodies[company_id] -= 1
        if not self._bodies[company_id]:
            del self._bodies[company_id], self._company_bytes[company_id]


room = Room()


class Upload:
    """The body of one request. It is read when a view asks for it, or not at all."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive) -> None:
        found = {name: value for name, value in scope["headers"] if name in _OF_BODIES}
        self._receive = receive
        self._encoding = found.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
        self._announced = found.get(b"content-length", b"0")
        self._waits_for_us = b"expect" in found
        # Nothing of it is left on the way.
        self.is_whole = self._announced == b"0" and b"transfer-encoding" not in found

    async def read(self, company_id: UUID) -> bytes:
        """Return the whole body.

        Errors: PayloadTooLarge over BODY_LIMIT_MB, UnsupportedMediaType where it is compressed, InvalidInput where it
        does not arrive, RateLimited and GatewayFull where there is no room, ClientGone.
        """
        if self._encoding not in _IDENTITY:
            raise _encoded(self._encoding, hint="Send the JSON uncompressed.")
        return await self._read(company_id)

    async def read_unpacked(self, company_id: UUID) -> bytes:
        """Return the whole body, which may be gzip; BODY_LIMIT_MB holds for what is in it, too.

        Errors: as `read`; InvalidInput where it is no gzip.
        """
        if self._encoding not in (*_IDENTITY, *_GZIP):
            raise _encoded(self._encoding, hint="Send it uncompressed, or as gzip.")
        body = await self._read(company_id)
        return _unpacked(body) if self._encoding in _GZIP else body

    async def _read(self, company_id: UUID) -> bytes:
        limit = settings.BODY_LIMIT_MB * 1024 * 1024
        if self._announced.isdigit() and int(self._announced) > limit:
            raise _too_large()
        ends_at = asyncio.get_running_loop().time() + BODY_TIMEOUT_S
        body = await self._piece(ends_at)
        if not self.is_whole:
            return await self._collect(body, company_id, limit=limit, ends_at=ends_at)
        if len(body) > limit:
            raise _too_large()
        return body

    def pieces(self, company_id: UUID) -> AsyncGenerator[bytes]:
        """Return the body as it comes, one piece in memory at a time; it is not read ahead of who asks.

        Errors: as `read`, with UPLOAD_LIMIT_MB; what the headers tell, at once.
        """
        if self._encoding not in _IDENTITY:
            raise _encoded(self._encoding, hint="Send the form uncompressed.")
        limit = settings.UPLOAD_LIMIT_MB * 1024 * 1024 + FORM_BYTES
        if self._announced.isdigit() and int(self._announced) > limit:
            raise _too_large(settings.UPLOAD_LIMIT_MB)
        return self._pieces(company_id, limit)

    async def _pieces(self, company_id: UUID, limit: int) -> AsyncGenerator[bytes]:
        ends_at = asyncio.get_running_loop().time() + BODY_TIMEOUT_S
        passed = 0
        room.enter(company_id)
        try:
            while True:
                piece = await self._piece(ends_at)
                passed += len(piece)
                if passed > limit:
                    raise _too_large(settings.UPLOAD_LIMIT_MB)
                if piece:
                    yield piece
                if self.is_whole:
                    return
        finally:
            room.leave(company_id, 0)

    async def take_what_is_here(self) -> None:
        """Drop what of the body has arrived already, so that a small one does not cost the connection."""
        if self.is_whole or self._waits_for_us:
            return
        try:
            async with asyncio.timeout(0):
                while not self.is_whole:
                    await self._drop()
        except TimeoutError:
            return

    async def linger(self) -> None:
        """Drop what the client still sends after it was answered: a reset might take the answer from it."""
        try:
            async with asyncio.timeout(LINGER_S):
                while not self.is_whole:
                    await self._drop()
        except TimeoutError:
            return

    async def left(self) -> None:
        """Return once the client has gone. A request that nobody read, as a GET's, is dropped on the way there."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _collect(self, first: bytes, company_id: UUID, *, limit: int, ends_at: float) -> bytes:
        pieces, size = [first], 0
        room.enter(company_id)
        try:
            while True:
                room.take(company_id, len(pieces[-1]))
                size += len(pieces[-1])
                if size > limit:
                    raise _too_large()
                if self.is_whole:
                    return b"".join(pieces)
                pieces.append(await self._piece(ends_at))
        finally:
            # An error's traceback may keep this frame for a while, not the bytes.
            pieces.clear()
            room.leave(company_id, size)

    async def _piece(self, ends_at: float) -> bytes:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(loop.time() + PIECE_TIMEOUT_S, ends_at)):
                message = await self._receive()
        except TimeoutError as exc:
            within = BODY_TIMEOUT_S if loop.time() >= ends_at else PIECE_TIMEOUT_S
            reason = "it was not whole after" if loop.time() >= ends_at else "nothing came for"
            raise InvalidInput(
                f"The body did not arrive: {reason} {within:g} s.", hint="Send it again."
            ) from exc
        if message["type"] == "http.disconnect":
            self.is_whole = True
            raise ClientGone
        self.is_whole = not message.get("more_body")
        body: bytes = message.get("body", b"")
        return body

    async def _drop(self) -> None:
        message = await self._receive()
        self.is_whole = message["type"] == "http.disconnect" or not message.get("more_body")


_OF_BODIES = frozenset({b"content-length", b"content-encoding", b"transfer-encoding", b"expect"})


def _share_taken(what: str) -> RateLimited:
    return RateLimited(
        f"Your company has {what} on the way, as many as it may.",
        hint="Retry in a second, or send fewer at once.",
        details={"limit": "uploads", "retry_after_s": 1},
    )


def _unpacked(body: bytes) -> bytes:
    limit = settings.BODY_LIMIT_MB * 1024 * 1024
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        found = unpacking.decompress(body, limit + 1)
    except zlib.error as exc:
        raise InvalidInput("The body is not the gzip it says it is.", hint="Send it again.") from exc
    if len(found) > limit:
        raise _too_large()
    if not unpacking.eof:
        raise InvalidInput("The body ends in the middle of its gzip.", hint="Send it again.")
    return found


def _encoded(encoding: str, *, hint: str) -> UnsupportedMediaType:
    return UnsupportedMediaType(
        f"Content-Encoding {encoding[:40]!r} is not accepted.",
        hint=hint,
        details={"header": "Content-Encoding"},
    )


def _too_large(limit_mb: int | None = None) -> PayloadTooLarge:
    most = settings.BODY_LIMIT_MB if limit_mb is None else limit_mb
    return PayloadTooLarge(
        f"The body is larger than {most} MB.",
        hint="Send less, for example images as URLs." if limit_mb is None else "Send a shorter file.",
        details={"limit_mb": most},
    )
