"""Typed ids and the UUIDs behind them; nothing here knows a table."""

import re
import secrets
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
_VERSION_7 = 0x7 << 76
_VARIANT_RFC = 0b10 << 62


def uuid7(at: datetime | None = None) -> UUID:
    """A new UUIDv7 (RFC 9562): 48 bits of milliseconds, then 74 random bits, so unordered within one ms.

    Shape: of this moment, or as if made at another.
    """
    milliseconds = time.time_ns() // 1_000_000 if at is None else int(at.timestamp() * 1000)
    random = secrets.randbits(74)
    return UUID(
        int=milliseconds << 80 | _VERSION_7 | (random >> 62) << 64 | _VARIANT_RFC | random & (1 << 62) - 1
    )


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
