"""How calls stand that somebody outside names, and notes about them for a person: read and written from the gateway."""

import hashlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from accounts import database
from billing.errors import BooksUnavailable
from billing.settlement import HoldKey

log = logging.getLogger(__name__)

# Where a trace's id is a digest, it is this much of the SHA-256 of the hold's id as text.
DIGEST_CHARS = 32

# By key alone: the statistics of these tables are always old (billing/sql/functions/holds.sql).
_PLAN = """
    SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
           set_config('enable_mergejoin', 'off', true)
"""
_BY_GENERATION = """
    SELECT company_id, hold_id, generation_id FROM billing_settlement WHERE generation_id = ANY (%(ids)s)
    UNION ALL
    SELECT company_id, hold_id, generation_id FROM billing_correction WHERE generation_id = ANY (%(ids)s)
"""
# A name says nothing of its company. One look a company is still cheap, and seldom needed: calls that were settled
# with their generation's id, nearly all, are found by that. OFFSET keeps the planner from looking through all holds.
_BY_HOLD = """
    SELECT found.company_id, found.hold_id FROM unnest(%s::uuid[]) AS named (hold_id)
     CROSS JOIN billing_wallet w
     CROSS JOIN LATERAL (SELECT h.company_id, h.hold_id FROM billing_hold h
                          WHERE (h.company_id, h.hold_id) = (w.company_id, named.hold_id) OFFSET 0) found
"""
_BY_DIGEST = """
    SELECT company_id, hold_id FROM billing_open_hold
     WHERE left(encode(sha256(convert_to(hold_id::text, 'UTF8')), 'hex'), 32) = ANY (%s)
"""
_STANDINGS = """
    SELECT h.company_id, h.hold_id, h.markup, h.credit_value_usd, h.details ->> 'user', o.hold_id IS NOT NULL,
           coalesce(o.generation_id, s.generation_id, first.generation_id),
           coalesce(last.source, s.source), coalesce(last.cost_usd, s.cost_usd)
      FROM unnest(%s::uuid[], %s::uuid[]) AS named (company_id, hold_id)
      JOIN billing_hold h ON (h.company_id, h.hold_id) = (named.company_id, named.hold_id)
      LEFT JOIN billing_open_hold o ON (o.company_id, o.hold_id) = (h.company_id, h.hold_id)
      LEFT JOIN billing_settlement s ON (s.company_id, s.hold_id) = (h.company_id, h.hold_id)
      LEFT JOIN LATERAL (SELECT c.source, c.cost_usd FROM billing_correction c
                          WHERE (c.company_id, c.hold_id) = (h.company_id, h.hold_id)
                          ORDER BY c.number DESC LIMIT 1) last ON true
      LEFT JOIN LATERAL (SELECT c.generation_id FROM billing_correction c
                          WHERE (c.company_id, c.hold_id) = (h.company_id, h.hold_id) AND c.generation_id IS NOT NULL
                          ORDER BY c.number LIMIT 1) first ON true
"""
_QUARANTINE = "SELECT billing_quarantine(%s, %s, %s, %s, %s::jsonb)"


@dataclass(frozen=True, slots=True)
class Name:
    """What somebody outside calls a call: its hold's id, or a digest of that; and the generation's id, '' if none."""

    hold_id: UUID | None
    digest: str | None
    generation_id: str

    def is_of(self, hold_id: UUID) -> bool:
        """Whether this names that hold."""
        return hold_id == self.hold_id or (self.digest is not None and digest(hold_id) == self.digest)


@dataclass(frozen=True, slots=True)
class Standing:
    """One call as the books have it now.

    Units: `cost_usd` USD, what the call costs today, None for one that was given back or is open. `user` is what
    upstream was told, None if nothing; `source` on whose word the call stands, None while it is open.
    """

    key: HoldKey
    user: str | None
    is_open: bool
    generation_id: str | None
    source: str | None
    cost_usd: Decimal | None


async def find(names: Sequence[Name]) -> list[Standing | None]:
    """How the named calls stand, in the order they were asked for; None where there is no such call.

    Errors: BooksUnavailable.
    """
    async with _connection() as connection, connection.transaction():
        await connection.execute(_PLAN)
        places = await _places(connection, names)
        wanted = sorted(set(places.values()))
        found = await connection.execute(_STANDINGS, [[one[0] for one in wanted], [one[1] for one in wanted]])
        standings = {(row[0], row[1]): _standing(row) for row in await found.fetchall()}
    return [standings.get(places[name]) if name in places else None for name in names]


async def report(
    kind: Literal["generation_mismatch", "late_broadcast"],
    *,
    reference: str,
    key: HoldKey,
    details: Mapping[str, Any],
) -> bool:
    """Put something about a call before a person, once per (kind, reference); the call itself goes its way.

    Shape: True when this is new. Errors: BooksUnavailable.
    """
    text = orjson.dumps(dict(details)).decode()
    async with _connection() as connection:
        found = await connection.execute(_QUARANTINE, [kind, reference, key.company_id, key.hold_id, text])
        row = await found.fetchone()
    if row and row[0]:
        log.error("Hold %s: %s; see billing_anomaly", key.hold_id, kind)
    return bool(row and row[0])


def digest(hold_id: UUID) -> str:
    """What upstream makes of a hold's id where it wants 16 bytes for its trace."""
    return hashlib.sha256(str(hold_id).encode()).hexdigest()[:DIGEST_CHARS]


async def _places(
    connection: AsyncConnection[TupleRow], names: Sequence[Name]
) -> dict[Name, tuple[UUID, UUID]]:
    """Return (company, hold) of each name that has one: the cheapest way first."""
    places: dict[Name, tuple[UUID, UUID]] = {}
    by_id = {name.generation_id: name for name in names if name.generation_id}
    if by_id:
        found = await connection.execute(_BY_GENERATION, {"ids": list(by_id)})
        holds = {row[2]: (row[0], row[1]) for row in await found.fetchall()}
        places |= {
            name: holds[name.generation_id]
            for name in names
            if name.generation_id in holds and name.is_of(holds[name.generation_id][1])
        }
    for statement, wanted in (
        (_BY_HOLD, [name.hold_id for name in names if name.hold_id and name not in places]),
        (_BY_DIGEST, [name.digest for name in names if name.digest and name not in places]),
    ):
        if not wanted:
            continue
        found = await connection.execute(statement, [wanted])
        for company_id, hold_id in await found.fetchall():
            places |= {
                name: (company_id, hold_id) for name in names if name not in places and name.is_of(hold_id)
            }
    return places


def _standing(row: TupleRow) -> Standing:
    company_id, hold_id, markup, credit_value_usd, user, is_open, generation_id, source, cost_usd = row
    key = HoldKey(company_id=company_id, hold_id=hold_id, markup=markup, credit_value_usd=credit_value_usd)
    return Standing(key, user, is_open, generation_id, source, cost_usd)


@asynccontextmanager
async def _connection() -> AsyncIterator[AsyncConnection[TupleRow]]:
    try:
        async with database.pool().connection() as connection:
            yield connection
    except (psycopg.Error, OSError) as exc:
        raise BooksUnavailable("The database does not answer.", hint="Send it again in a moment.") from exc
