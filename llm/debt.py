"""Whether the books have fallen so far behind that selling on would be selling blind (docs/money.md)."""

import asyncio
import logging
from collections.abc import Mapping
from uuid import UUID

import psycopg
from django.conf import settings

from accounts import database
from billing import spool
from llm.errors import RateLimited, SettlementDebt

log = logging.getLogger(__name__)

# How often a gateway looks, and how long a refused client should wait. Unit: seconds.
LOOK_INTERVAL_S = 5.0
RETRY_AFTER_S = 30
# An open hold this long past due is debt; until then it is only late. Unit: minutes.
PAST_DUE_MIN = 10
# One company's part of MAX_SETTLEMENT_DEBT: what it owes beyond that stops it alone, and counts for nobody else. Else
# whoever leaves calls open faster than upstream may be asked for them would stop everybody.
SHARES = 10
# No more rows are looked at than so many times MAX_SETTLEMENT_DEBT.
LOOKED_AT_TIMES = 20
# Parked holds have no next look-up: they wait for a person, who is not to keep others from calling. What is held for
# nothing (a free model) owes nothing.
_COUNT = b"""
    SELECT company_id, count(*) FROM (
        SELECT company_id FROM billing_open_hold
         WHERE next_at < clock_timestamp() - make_interval(mins => %(minutes)s) AND amount_nanocredits > 0
         ORDER BY next_at LIMIT %(most)s) AS due
     GROUP BY company_id
"""
_MEGABYTE = 1_000_000


class _Watch:
    """What this process saw when it last looked."""

    def __init__(self) -> None:
        self.refusal: SettlementDebt | None = None
        self.companies: frozenset[UUID] = frozenset()  # Those with more than their share of it.
        self.task: asyncio.Task[None] | None = None


_watch = _Watch()


def require_none(company_id: UUID) -> None:
    """Refuse a new call while there is too much that is not settled, of this company or of all.

    Errors: RateLimited, SettlementDebt, with the reason and the seconds to wait. Source: money.md 2.7.
    """
    if _watch.refusal is not None:
        found = _watch.refusal
        raise SettlementDebt(found.message, hint=found.hint, details=found.details)
    if company_id in _watch.companies:
        raise RateLimited(
            f"More than {_share()} calls of your company wait for their settlement.",
            hint="Read streams to their end instead of leaving them, and retry later; nothing was sent or charged.",
            details={"limit": "unsettled_calls", "max": _share(), "retry_after_s": RETRY_AFTER_S},
        )


def reason() -> str | None:
    """Return why no new calls are taken of anybody, None where they are."""
    return None if _watch.refusal is None else str(_watch.refusal.details["reason"])


async def start() -> None:
    """Look now, then every LOOK_INTERVAL_S until `stop`."""
    await look()
    _watch.task = asyncio.create_task(_look_on(), name="settlement-debt")


async def stop() -> None:
    task, _watch.task = _watch.task, None
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    _watch.refusal, _watch.companies = None, frozenset()


async def look() -> None:
    """Count what is past due and weigh the spool; a database that does not answer changes nothing."""
    refusal = await _spool_refusal()
    if refusal is None:
        try:
            past_due = await _count()
        except (psycopg.Error, OSError) as exc:
            # It refuses new holds by itself.
            log.warning("Open holds are not counted, the database does not answer: %s", exc)
            return
        _note_companies(past_due)
        refusal = _holds_refusal(past_due)
    if refusal is not None and _watch.refusal is None:
        log.error("No new calls are taken: %s", refusal.message)
    elif refusal is None and _watch.refusal is not None:
        log.warning("New calls are taken again")
    _watch.refusal = refusal


async def _look_on() -> None:
    while True:
        await asyncio.sleep(LOOK_INTERVAL_S)
        await look()


async def _spool_refusal() -> SettlementDebt | None:
    size = await asyncio.to_thread(spool_bytes)
    if size <= settings.SPOOL_LIMIT_MB * _MEGABYTE:
        return None
    return _refusal("spool", f"{size // _MEGABYTE} MB of evidence wait in the spool.")


async def _count() -> dict[UUID, int]:
    """Return how many calls of each company are past due."""
    most = LOOKED_AT_TIMES * settings.MAX_SETTLEMENT_DEBT
    async with database.pool().connection() as connection:
        cursor = await connection.execute(_COUNT, {"minutes": PAST_DUE_MIN, "most": most})
        return dict(await cursor.fetchall())


def _note_companies(past_due: Mapping[UUID, int]) -> None:
    companies = frozenset(company_id for company_id, count in past_due.items() if count > _share())
    for company_id in companies - _watch.companies:
        log.error("No new calls of company %s are taken: %d are past due", company_id, past_due[company_id])
    _watch.companies = companies


def _holds_refusal(past_due: Mapping[UUID, int]) -> SettlementDebt | None:
    most = settings.MAX_SETTLEMENT_DEBT
    if sum(min(count, _share()) for count in past_due.values()) <= most:
        return None
    return _refusal("settlement_debt", f"More than {most} calls wait for their settlement.")


def _share() -> int:
    return max(1, int(settings.MAX_SETTLEMENT_DEBT) // SHARES)


def spool_bytes() -> int:
    """Return how much lies in SPOOL_DIR that is to be applied; what is kept for a person does not count."""
    size = 0
    for path in settings.SPOOL_DIR.glob(f"*{spool.SUFFIX}"):
        try:
            size += path.stat().st_size
        except FileNotFoundError:  # Applied meanwhile.
            continue
    return size


def _refusal(reason: str, message: str) -> SettlementDebt:
    return SettlementDebt(
        f"No new calls are taken: {message}",
        hint="Nothing was sent or charged; retry later. The operator finds the cause in `manage.py verify_ledger`.",
        details={"reason": reason, "retry_after_s": RETRY_AFTER_S},
    )
