"""Where tests have this process killed in the middle of a call; nothing happens unless CRASH_AT names a point."""

import asyncio
import logging
import os
import random
import signal
from collections.abc import Mapping

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

log = logging.getLogger(__name__)

# How long a process that is to die still has to send what it queued for a client.
SENDING_S = 0.05
# Source: docs/reconciliation.md, "What happens at each crash".
POINTS: Mapping[str, str] = {
    "A": "before the hold is committed",
    "B": "after the hold, before the request is sent",
    "C": "after the request was sent, before upstream's headers",
    "D": "after the headers, before the generation id is spooled",
    "E": "in a stream, after its first bytes went to the client",
    "F": "after the cost was seen, before it is settled",
    "G": "after the settlement, before the client is told",
}


def parse(text: str) -> dict[str, float]:
    """Read CRASH_AT: `C` (always), or `A:0.01,F:0.02` (each time with this probability); empty for never.

    Errors: ImproperlyConfigured naming what cannot be read.
    """
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        point, has_chance, chance = part.partition(":")
        if point not in POINTS:
            raise ImproperlyConfigured(f"CRASH_AT: {point!r} is none of {', '.join(POINTS)}.")
        try:
            found[point] = float(chance) if has_chance else 1.0
        except ValueError as exc:
            raise ImproperlyConfigured(f"CRASH_AT: {part!r} has no probability from 0 to 1.") from exc
        if not 0 <= found[point] <= 1:
            raise ImproperlyConfigured(f"CRASH_AT: {part!r} has no probability from 0 to 1.")
    return found


def arm(text: str) -> None:
    """Take other points than CRASH_AT's from now on: for a worker forked from a process that must not die.

    Errors: as `parse`.
    """
    global _chances
    _chances = parse(text)


def reach(point: str) -> None:
    """Kill this process at once, as `kill -9` would, where CRASH_AT has drawn this point."""
    if _chances and _is_drawn(point):
        _kill(point)


async def reach_sent(point: str) -> None:
    """`reach`, once what was queued for the client has had the time to leave this process."""
    if _chances and _is_drawn(point):
        await asyncio.sleep(SENDING_S)
        _kill(point)


def is_armed(point: str) -> bool:
    """Whether the process may die at this point at all: what it takes to get there is else not set up."""
    return point in _chances


def _is_drawn(point: str) -> bool:
    return random.random() < _chances.get(point, 0.0)  # noqa: S311 - which call dies is no secret.


def _kill(point: str) -> None:
    log.warning("Killed at point %s: %s", point, POINTS[point])
    os.kill(os.getpid(), signal.SIGKILL)


_chances = parse(settings.CRASH_AT)
