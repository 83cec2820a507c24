"""What waits and what was set right, row by row, for the operator: parked holds, corrections, how calls ended."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from billing import statements

# By the partial order of the work queue: what waits for a person has no next look-up.
_PARKED = """
    SELECT o.company_id, o.hold_id, o.amount_nanocredits, o.attempts, o.estimate_usd, o.created_at, a.kind, a.reference
      FROM (SELECT * FROM billing_open_hold WHERE next_at IS NULL ORDER BY created_at LIMIT %s) o
      LEFT JOIN LATERAL (
           SELECT kind, reference FROM billing_anomaly a
            WHERE a.reference >= 'gen_' || o.hold_id AND a.reference < 'gen_' || o.hold_id || ';'
              AND a.kind = ANY (ARRAY['no_record', 'generation_conflict', 'charge_mismatch', 'implausible_cost',
                                      'generation_mismatch', 'settled_differently', 'never_confirmed'])
              AND NOT EXISTS (SELECT FROM billing_decision d WHERE (d.kind, d.reference) = (a.kind, a.reference))
            LIMIT 1) a ON true
     ORDER BY o.created_at
"""
_CORRECTIONS = """
    SELECT company_id, hold_id, number, source, cost_usd, charged_nanocredits, created_at FROM billing_correction
     WHERE created_at >= %s AND created_at < %s ORDER BY created_at DESC LIMIT %s
"""
# Some of the calls settled in a time: who answered them, and how they ended. Who is never reached has no provider; the
# model's author stands for it then.
_ENDINGS = """
    SELECT coalesce(nullif(e.details ->> 'provider', ''), ''),
           split_part(coalesce(e.details ->> 'model', h.details ->> 'model', ''), '/', 1), count(*),
           count(*) FILTER (WHERE e.kind = 'void'),
           count(*) FILTER (WHERE e.kind = 'post' AND e.details ->> 'finish_reason' = 'error'),
           count(*) FILTER (WHERE e.source IN ('estimate', 'no_evidence'))
      FROM (SELECT * FROM billing_settlement WHERE created_at >= %s AND created_at < %s LIMIT %s) e
      LEFT JOIN billing_hold h
        ON e.kind = 'void' AND (h.company_id, h.hold_id) = (e.company_id, e.hold_id)
     GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Parked:
    """A call of which upstream has no record; `anomaly` (kind, reference) is where a person decides, if anywhere."""

    company_id: UUID
    hold_id: UUID
    amount_nanocredits: int
    attempts: int
    estimate_usd: Decimal | None
    created_at: datetime
    anomaly: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Correction:
    """What a settled call turned out to cost. Units: USD, nanocredits; both the whole of it."""

    company_id: UUID
    hold_id: UUID
    number: int
    source: str
    cost_usd: Decimal
    charged_nanocredits: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Ending:
    """How calls ended that one provider answered; '' where none did, and only the model's author is known."""

    provider: str
    author: str
    calls: int
    given_back: int
    failed: int
    unsure: int

    @property
    def errors(self) -> int:
        return self.given_back + self.failed


def endings(*, since: datetime, until: datetime, limit: int) -> list[Ending]:
    """How calls settled in this time ended, `limit` of them at most, the worst first. Errors: BooksUnavailable."""
    found = [Ending(*row) for row in statements.rows(_ENDINGS, since, until, limit)]
    return sorted(found, key=lambda one: (-one.errors, -one.calls, one.provider, one.author))


def parked(*, limit: int) -> list[Parked]:
    """Calls that wait for a person, the oldest first. Errors: BooksUnavailable."""
    rows = statements.rows(_PARKED, limit)
    return [Parked(*(*row[:6], (row[6], row[7]) if row[6] else None)) for row in rows]


def corrections(*, since: datetime, until: datetime, limit: int) -> list[Correction]:
    """The latest corrections of calls in this time. Errors: BooksUnavailable."""
    return [Correction(*row) for row in statements.rows(_CORRECTIONS, since, until, limit)]
