"""Only the owner of the books may tell them another instant than the clock's."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from billing import anomalies, clock, holds, ledger, settlement
from billing.errors import BooksUnavailable
from tests import logins
from tests.billing import books
from tests.billing.books import CREDIT

THEN = datetime(2020, 2, 29, 12, 30, 15, 250_000, tzinfo=UTC)
INSTANTS = "SELECT created_at FROM billing_{} WHERE company_id = %s"
WRITTEN = ["wallet", "hold", "open_hold", "hold_extension", "settlement", "entry", "correction", "anomaly"]


def instants(made: books.Wallet, table: str) -> list[Any]:
    found = books.rows(INSTANTS.format(table), made.company_id)
    return [at for (at,) in found]


def backdate(made: books.Wallet) -> None:
    with clock.told() as tell:
        tell(THEN)
        post(made, "backdated")


def post(made: books.Wallet, reference: str) -> ledger.Posted:
    return ledger.post(
        company_id=made.company_id, amount_nanocredits=CREDIT, action="grant", reference=reference
    )


def test_everything_the_books_write_is_of_the_instant_they_were_told() -> None:
    made = books.Wallet()
    with clock.told() as tell:
        tell(THEN)
        ledger.open_wallet(company_id=made.company_id)
        post(made, "opening")
        settled, parked, running = (
            made.request(CREDIT // 8),
            made.request(CREDIT // 8),
            made.request(CREDIT // 8),
        )
        for request in (settled, parked, running):
            holds.place_now(request)
        books.rows(
            "SELECT * FROM billing_extend_holds(%s::uuid[], %s::uuid[], '{1}', '{5}')",
            [made.company_id], [running.hold_id],
        )  # fmt: skip
        settlement.settle_now(hold=books.key(settled), evidence=books.cost("0.01"))
        settlement.settle_now(hold=books.key(parked), evidence=books.cost("900"))
        ledger.correct(
            company_id=made.company_id, hold_id=settled.hold_id, cost_usd=books.CREDIT_COST_USD / 100,
            source="operator", reference="by hand",
        )  # fmt: skip
        # The list has those of every other test before it.
        ((kind, reference),) = books.rows(
            "SELECT kind, reference FROM billing_anomaly WHERE hold_id = %s", parked.hold_id
        )
        anomalies.decide(kind=kind, reference=reference, decision="void", actor="op", reason="absurd")
    for table in WRITTEN:
        assert set(instants(made, table)) == {THEN}, table
    assert anomalies.get(kind=kind, reference=reference).decision.decided_at == THEN  # type: ignore[union-attr]
    assert books.rows("SELECT DISTINCT hour FROM billing_usage WHERE company_id = %s", made.company_id) == [
        (THEN.replace(minute=0, second=0, microsecond=0),)
    ]
    assert books.violations(made) == []
    # So old a hold would be the first that is due to every test after this one.
    settlement.void_now(hold=books.key(running), evidence=settlement.Evidence(source="inline"))


def test_application_that_tells_an_instant_is_refused_and_nothing_is_written() -> None:
    made = books.wallet()
    with logins.as_application(), pytest.raises(BooksUnavailable) as refused:
        backdate(made)
    assert "only the owner of the books" in str(refused.value.__cause__)
    assert made.balance().balance_nanocredits == 10 * CREDIT


@pytest.mark.parametrize("told", ["2020-01-01", "infinity", "not an instant", " "])
def test_application_gets_no_further_by_setting_it_for_its_session(told: str) -> None:
    made = books.wallet()
    with logins.as_application():
        books.rows("SELECT set_config('naive.now', %s, false)", told)
        for call in (lambda: post(made, "backdated"), lambda: holds.place_now(made.request())):
            with pytest.raises(BooksUnavailable), transaction.atomic():
                call()
        connection.close()
    assert made.state() == (10 * CREDIT, 0)


def test_application_that_tells_nothing_writes_by_the_clock() -> None:
    made, before = books.wallet(), timezone.now()
    with logins.as_application():
        post(made, "now")
    assert before <= max(instants(made, "entry")) <= timezone.now() + timedelta(seconds=1)


def test_instant_is_forgotten_with_its_block_and_with_its_transaction() -> None:
    made, before = books.wallet(), timezone.now()
    with transaction.atomic():
        with clock.told() as tell:
            tell(THEN)
        post(made, "after the block")
    with transaction.atomic():
        backdate(made)
        transaction.set_rollback(True)
    post(made, "after the transaction")
    assert min(instants(made, "entry")) >= before - timedelta(seconds=1)
