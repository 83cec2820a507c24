"""Answers kept for a while for clients that ask twice: encrypted, in Valkey, bounded in time and size."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import orjson
import redis.asyncio
import redis.exceptions
from django.conf import settings

from accounts import ciphers

log = logging.getLogger(__name__)

# Source of the first two: docs/product.md 5.
KEPT_S = 600
ANSWER_BYTES_MAX = 1_000_000
# A megabyte on a network that works; with Valkey slow or away an answer is given and not kept.
TIMEOUT_S = 0.5
# After a failure Valkey is not asked for this long, so that an outage costs one call its timeout, not every call.
REST_S = 1.0
PURPOSE = "completions"


@dataclass(frozen=True, slots=True)
class Kept:
    """A JSON answer with status 200, to the byte, and the headers that were its own."""

    body: bytes
    headers: Mapping[str, str]


class _Store:
    """One event loop's connection to Valkey."""

    def __init__(self) -> None:
        self.client = redis.asyncio.from_url(
            settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
        self.resting_until = 0.0


_stores: dict[asyncio.AbstractEventLoop, _Store] = {}


async def keep(answer: Kept, *, company_id: UUID, hold_id: UUID) -> None:
    """Keep the answer of a call for KEPT_S, where it is not too long; without Valkey it is not kept.

    Shape: encrypted with a key that only SECRET_KEY yields, and bound to its company and call.
    Errors: none; whoever asks again is then told that the call is over, not what it said.
    """
    if len(answer.body) > ANSWER_BYTES_MAX:
        return
    store = _store()
    if store is None:
        return
    sealed = _seal(answer, company_id.bytes + hold_id.bytes)
    try:
        await store.client.set(_name(hold_id), sealed, ex=KEPT_S)
    except (redis.exceptions.RedisError, OSError, TimeoutError) as exc:
        _rest(store, exc)


async def find(*, company_id: UUID, hold_id: UUID) -> Kept | None:
    """Return the answer that was kept for a call; None where there is none, or none that can be opened.

    Errors: none.
    """
    store = _store()
    if store is None:
        return None
    try:
        sealed = await store.client.get(_name(hold_id))
    except redis.exceptions.ResponseError:
        # What somebody put there is no answer; Valkey itself is well, and the next one is asked for.
        return None
    except (redis.exceptions.RedisError, OSError, TimeoutError) as exc:
        _rest(store, exc)
        return None
    return _open(sealed, company_id.bytes + hold_id.bytes) if isinstance(sealed, bytes) else None


async def close() -> None:
    """Close this event loop's connection."""
    store = _stores.pop(asyncio.get_running_loop(), None)
    if store is not None:
        await store.client.aclose()


def _store() -> _Store | None:
    loop = asyncio.get_running_loop()
    store = _stores.get(loop)
    if store is None:
        store = _stores[loop] = _Store()
    return store if loop.time() >= store.resting_until else None


def _rest(store: _Store, error: Exception) -> None:
    store.resting_until = asyncio.get_running_loop().time() + REST_S
    log.warning("Answers are not kept for who asks twice, Valkey does not answer: %s", error)


def _name(hold_id: UUID) -> str:
    return f"replay:{hold_id}"


def _seal(answer: Kept, about: bytes) -> bytes:
    head = orjson.dumps(dict(answer.headers))
    plain = b"".join((len(head).to_bytes(4), head, answer.body))
    return ciphers.encrypt(plain, purpose=PURPOSE, about=about)


def _open(sealed: bytes, about: bytes) -> Kept | None:
    plain = ciphers.decrypt(sealed, purpose=PURPOSE, about=about)
    if plain is None:
        return None
    end = 4 + int.from_bytes(plain[:4])
    return Kept(body=plain[end:], headers=orjson.loads(plain[4:end]))
