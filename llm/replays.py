"""Answers kept for a while for clients that ask twice: encrypted, in Valkey, bounded in time and size."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import orjson

from accounts import ciphers
from llm import valkey

# Source of the first two: docs/product.md 5.
KEPT_S = 600
ANSWER_BYTES_MAX = 1_000_000
# A megabyte on a network that works; with Valkey slow or away an answer is given and not kept.
TIMEOUT_S = 0.5
PURPOSE = "completions"

line = valkey.Line("kept answers", timeout_s=TIMEOUT_S)


@dataclass(frozen=True, slots=True)
class Kept:
    """A JSON answer with status 200, to the byte, and the headers that were its own."""

    body: bytes
    headers: Mapping[str, str]


async def keep(answer: Kept, *, company_id: UUID, hold_id: UUID) -> None:
    """Keep the answer of a call for KEPT_S, where it is not too long; without Valkey it is not kept.

    Shape: encrypted with a key that only SECRET_KEY yields, and bound to its company and call.
    Errors: none; whoever asks again is then told that the call is over, not what it said.
    """
    if len(answer.body) > ANSWER_BYTES_MAX:
        return
    if line.is_resting():
        return
    sealed = _seal(answer, company_id.bytes + hold_id.bytes)
    with contextlib.suppress(valkey.Away):
        await line.ask("SET", _name(hold_id), sealed, "EX", KEPT_S)


async def find(*, company_id: UUID, hold_id: UUID) -> Kept | None:
    """Return the answer that was kept for a call; None where there is none, or none that can be opened.

    Errors: none.
    """
    try:
        sealed = await line.ask("GET", _name(hold_id))
    except valkey.Away:
        return None
    return _open(sealed, company_id.bytes + hold_id.bytes) if isinstance(sealed, bytes) else None


async def close() -> None:
    """Close this event loop's connection."""
    await line.close()


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
