"""Checks the books against themselves: SQL's invariants, and every charge computed again; it changes nothing."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from billing import money
from billing.errors import ImplausibleCost

# Rows of a settlement read at once; a company may have millions.
ROWS_AT_ONCE = 2000
# Where everything is wrong, the first of it is enough to start with, and a count.
VIOLATIONS_KEPT = 100

# Every cost that was ever charged: settlements, then the corrections after them.
_CHARGES = """
    SELECT * FROM (
    SELECT s.company_id, 'gen_' || s.hold_id, s.cost_usd, s.charged_nanocredits, h.markup, h.credit_value_usd
      FROM billing_settlement s JOIN billing_hold h USING (company_id, hold_id) WHERE s.kind = 'post'
    UNION ALL
    SELECT c.company_id, 'gen_' || c.hold_id || ':' || c.reference, c.cost_usd, c.charged_nanocredits, h.markup,
           h.credit_value_usd
      FROM billing_correction c JOIN billing_hold h USING (company_id, hold_id)) charges (company_id)
     WHERE %(company)s::uuid IS NULL OR company_id = %(company)s
"""
_VIOLATIONS = """
    SELECT rule, company_id, reference, difference FROM billing_violations
     WHERE %(company)s::uuid IS NULL OR company_id = %(company)s ORDER BY rule, company_id, reference
"""
_TOTALS = """
    SELECT (SELECT count(*) FROM billing_open_hold o WHERE %(company)s::uuid IS NULL OR o.company_id = %(company)s),
           coalesce(sum(cost_usd), 0), coalesce(sum(charged_nanocredits), 0)
      FROM (SELECT coalesce(last.cost_usd, s.cost_usd) AS cost_usd,
                   coalesce(last.charged_nanocredits, s.charged_nanocredits) AS charged_nanocredits
              FROM billing_settlement s
              LEFT JOIN (SELECT DISTINCT ON (company_id, hold_id) * FROM billing_correction
                          ORDER BY company_id, hold_id, number DESC) last USING (company_id, hold_id)
             WHERE %(company)s::uuid IS NULL OR s.company_id = %(company)s) calls
"""


@dataclass(frozen=True, slots=True)
class Violation:
    """One place where the books are wrong; `reference` names the entry, the hold or the budget.

    The difference is null where what should stand there cannot even be computed.
    """

    rule: str
    company_id: UUID
    reference: str
    difference_nanocredits: Decimal | None


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, and the totals over what was checked: what calls cost today, corrections included.

    `violations` are the first VIOLATIONS_KEPT of `violation_count`.
    """

    violations: list[Violation]
    violation_count: int
    open_holds: int
    cost_usd: Decimal
    charged_nanocredits: int

    @property
    def is_ok(self) -> bool:
        return self.violation_count == 0


def verify(*, company_id: UUID | None = None) -> Report:
    """Check every invariant, the chains and every charge on one snapshot, while the platform runs.

    Shape: all companies, or one; reads only; streams all it reads, so memory does not grow with the books. Not inside
    another transaction.
    Source: docs/books.md, "Invariants".
    """
    company = {"company": company_id}
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute(_TOTALS, company)
            open_holds, cost_usd, charged = cursor.fetchone()
        found = itertools.chain(
            (Violation(*row) for row in _streamed(_VIOLATIONS, company)), _wrong_charges(company)
        )
        violations = list(itertools.islice(found, VIOLATIONS_KEPT))
        count = len(violations) + sum(1 for _ in found)
    return Report(
        violations=violations,
        violation_count=count,
        open_holds=open_holds,
        cost_usd=cost_usd,
        charged_nanocredits=int(charged),
    )


def _wrong_charges(company: Mapping[str, UUID | None]) -> Iterator[Violation]:
    for company_id, reference, cost_usd, charged, markup, credit_value_usd in _streamed(_CHARGES, company):
        try:
            due = money.charge_nanocredits(
                cost_usd=cost_usd, markup=markup, credit_value_usd=credit_value_usd
            )
            difference: Decimal | None = Decimal(charged - due)
        except (ImplausibleCost, ArithmeticError):
            difference = None  # Nothing follows from this cost and these prices: somebody's hand.
        if difference != 0:
            rule = "R1: a charge follows from its cost and the prices of its hold"
            yield Violation(rule, company_id, reference, difference)


def _streamed(statement: str, company: Mapping[str, UUID | None]) -> Iterator[tuple[Any, ...]]:
    with connection.chunked_cursor() as cursor:
        cursor.execute(statement, company)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield from rows
