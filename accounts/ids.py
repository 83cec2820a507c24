"""Typed ids and the UUIDs behind them; nothing here knows a table."""

import re
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import NewType
from uuid import UUID

CompanyId = NewType("CompanyId", UUID)
UserId = NewType("UserId", UUID)
APIKeyId = NewType("APIKeyId", UUID)
AccountKitId = NewType("AccountKitId", UUID)
TenantUserId = NewType("TenantUserId", UUID)
HoldId = NewType("HoldId", UUID)

_CANONICAL = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_MILLISECONDS_MAX = 2**48 - 1
_RANDOM_BITS = 74
# How far the next one of a millisecond lies ahead at most: far enough that nobody guesses it.
_STEP_BITS = 32
_VERSION_7 = 0x7 << 76
_VARIANT_RFC = 0b10 << 62


def uuid7(at: datetime | None = None) -> UUID:
    """A new UUIDv7 (RFC 9562): 48 bits of milliseconds, then 74 random bits.

    Shape: above every one that this process made before in the same millisecond (method 2 of the RFC), so that what
    one request writes keeps its order; or, `at` another moment, as if made then and in no order.
    """
    if at is None:
        return _uuid(_series.next())
    return _uuid(int(at.timestamp() * 1000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS))


def first_at(at: datetime, *, ahead: timedelta = timedelta(0)) -> UUID:
    """The least UUIDv7 of that millisecond, or of one so far ahead: ids made then or later are not below it."""
    milliseconds = int(at.timestamp() * 1000) + ahead // timedelta(milliseconds=1)
    return UUID(int=min(max(milliseconds, 0), _MILLISECONDS_MAX) << 80)


def made_at(uuid: UUID) -> datetime:
    """The millisecond in which a UUIDv7 was made."""
    return datetime.fromtimestamp((uuid.int >> 80) / 1000, UTC)


def parse(text: str) -> UUID | None:
    """The UUID that `text` spells in its canonical form, or None; `UUID()` also takes braces and URNs."""
    return UUID(text) if _CANONICAL.fullmatch(text) else None


class _Series:
    """Milliseconds and random bits, each above the last while the clock shows the same."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        with self._lock:
            milliseconds = time.time_ns() // 1_000_000
            if self._last >> _RANDOM_BITS == milliseconds:
                self._last += 1 + secrets.randbits(_STEP_BITS)
            else:
                self._last = milliseconds << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
            return self._last


_series = _Series()


def _uuid(bits: int) -> UUID:
    """The UUID of 48 bits of milliseconds and 74 others, with version and variant between them."""
    milliseconds, random = bits >> _RANDOM_BITS, bits & (1 << _RANDOM_BITS) - 1
    return UUID(
        int=milliseconds << 80 | _VERSION_7 | (random >> 62) << 64 | _VARIANT_RFC | random & (1 << 62) - 1
    )
