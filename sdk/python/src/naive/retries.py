"""Whether a request is sent again, and after how long. Pure: the transports do the waiting.

Never a second charge: a deed keeps its Idempotency-Key over its repetitions, the platform does it once, and says
`x-should-retry: false` where an answer that failed may have cost something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from naive import lazy

if TYPE_CHECKING:
    from email import utils as dates

    import httpx
else:
    dates = lazy.module("email.utils")

FIRST_DELAY_S = 0.5
DELAY_MAX_S = 8.0
# Whoever is asked to wait longer is told so at once, and decides.
RETRY_AFTER_MAX_S = 60.0
# 409 is not among them: see is_worth_it.
STATUSES = frozenset({408, 429, 500, 502, 503, 504})


def is_worth_it(response: httpx.Response) -> bool:
    """Whether the platform may answer the same request otherwise the next time."""
    wait_s = retry_after_s(response)
    if wait_s is not None and wait_s > RETRY_AFTER_MAX_S:
        return False
    told: str | None = response.headers.get("x-should-retry")
    if told in ("true", "false"):
        return told == "true"
    # A 409 that names a time is a call that still runs under this Idempotency-Key: its answer will be ours.
    return response.status_code in STATUSES or (response.status_code == 409 and wait_s is not None)


def delay_s(*, attempt: int, response: httpx.Response | None, random: Callable[[], float]) -> float:
    """Return how long to wait before the next attempt; `attempt` counts from 0, `random` is in [0, 1).

    Shape: what Retry-After says; else doubled with each attempt, of which up to a quarter is left out at random,
    so that many clients do not come back at once.
    """
    asked_s = None if response is None else retry_after_s(response)
    if asked_s is not None:
        return asked_s
    return min(FIRST_DELAY_S * 2.0 ** min(attempt, 30), DELAY_MAX_S) * (1 - 0.25 * random())


def retry_after_s(response: httpx.Response) -> float | None:
    """Return what Retry-After says in seconds, a date by the answer's own clock; None where it says nothing."""
    told = response.headers.get("retry-after", "").strip()
    if told.isascii() and told.replace(".", "", 1).isdigit():
        return float(told)
    try:
        then, now = (dates.parsedate_to_datetime(date) for date in (told, response.headers.get("date", "")))
        return max((then - now).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None
