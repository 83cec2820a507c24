"""Books from before the chain, the sums and the named periods arrive at the same place."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction

from billing import functions, ledger, settlement
from billing.errors import BooksUnavailable
from billing.holds import HoldRequest
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run

ROWS = functions.SQL.parent / "0002_rows.sql"
FUNCTIONS = functions.SQL.parent / "0002_functions.sql"
# What the tables were like before, with the rows of this test alone.
BEFORE = """
    ALTER TABLE billing_hold DISABLE TRIGGER no_rewrite;
    UPDATE billing_hold SET caps = (SELECT jsonb_agg(c - 'period') FROM jsonb_array_elements(caps) c)
     WHERE caps IS NOT NULL;
    ALTER TABLE billing_hold ENABLE TRIGGER no_rewrite;
    ALTER TABLE billing_entry DISABLE TRIGGER no_rewrite;
    ALTER TABLE billing_entry ALTER COLUMN hash DROP NOT NULL;
    UPDATE billing_entry SET hash = NULL, corrects = '';
    ALTER TABLE billing_entry ENABLE TRIGGER no_rewrite;
    UPDATE billing_wallet SET chain_head = '';
    DELETE FROM billing_usage;
    DELETE FROM billing_budget WHERE company_id <> '{company}';
    ALTER TABLE billing_budget DROP CONSTRAINT billing_budget_pkey, ALTER COLUMN period DROP NOT NULL;
    UPDATE billing_budget SET period = NULL;
"""
TOTAL, FIRST, MONDAY, DAY = date(1970, 1, 1), date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 4)


async def busy(made: books.Wallet) -> tuple[HoldRequest, HoldRequest]:
    """Calls of every kind that there was; the last two are settled, and still open."""
    periods: list[tuple[date, Any]] = [(TOTAL, "total"), (FIRST, "month"), (MONDAY, "week"), (DAY, "day")]
    for start, period in periods:
        cap = replace(made.key_cap(9 * CREDIT), period=period, period_start=start)
        await books.settled(made, "0.4", caps=(cap, made.user_cap(9 * CREDIT)))
    given_back = await books.held(made)
    nothing = books.cost(None, details=b'{"tokens_prompt": 7, "tokens_completion": 11}')
    await settlement.void(hold=books.key(given_back), evidence=nothing)
    open_caps = (made.key_cap(9 * CREDIT), made.user_cap(9 * CREDIT))
    return await books.settled(made, "0.8"), await books.held(made, caps=open_caps)


def correct(request: HoldRequest) -> None:
    ledger.correct(
        company_id=request.company_id,
        hold_id=request.hold_id,
        cost_usd=Decimal("0.6"),
        source="operator",
        reference="a|b",
        note="c\nd",
    )


def test_rows_from_before_are_chained_summed_up_and_named(run: Run) -> None:
    acme = books.wallet(20 * CREDIT)
    settled, still_open = run(busy(acme))
    correct(settled)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(BEFORE.format(company=acme.company_id))
        cursor.execute(ROWS.read_text())
        assert books.violations(acme) == []
        named = books.rows(
            "SELECT corrects FROM billing_entry WHERE company_id = %s AND corrects <> ''", acme.company_id
        )
        assert len(named) == 1
        periods = books.rows(
            "SELECT period, period_start FROM billing_budget WHERE company_id = %s AND scope = 'key'",
            acme.company_id,
        )
        assert set(periods) == {("total", TOTAL), ("month", FIRST), ("week", MONDAY), ("day", DAY)}
        # What was placed then ends now, on the same budgets; a refused correction would show there, too.
        assert (
            settlement.settle_now(hold=books.key(still_open), evidence=books.cost("0.4")).outcome == "posted"
        )
        settlement.settle_now(hold=books.key(still_open), evidence=books.cost("0.8", source="operator"))
        assert books.violations(acme) == []
        transaction.set_rollback(True)
    assert books.violations(acme) == []


def test_gateway_that_runs_while_tables_change_finds_no_function_and_tries_again(run: Run) -> None:
    """A refusal would put its settlements aside for a person."""
    request = run(books.held(books.wallet()))
    with transaction.atomic():
        books.rows(FUNCTIONS.read_text().replace("%", "%%"))
        with pytest.raises(BooksUnavailable):
            settlement.settle_now(hold=books.key(request), evidence=books.cost("0.4"))
        transaction.set_rollback(True)
    assert settlement.settle_now(hold=books.key(request), evidence=books.cost("0.4")).outcome == "posted"


def test_gateway_of_before_still_settles_what_runs(run: Run) -> None:
    """What it sends has a parameter less; holds it cannot place any more."""
    acme = books.wallet()
    request = run(books.held(acme))
    row = settlement._post_row(books.key(request), books.cost("0.4", source="generation"))
    of_before = settlement._SETTLE.replace(",\n        %s::double precision)", ")")
    assert of_before != settlement._SETTLE
    ((outcome, *_),) = books.rows(of_before, *settlement._columns([row])[:-1])
    assert outcome == "posted"
    assert books.violations(acme) == []
