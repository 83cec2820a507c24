"""Entries that are no calls: posted once, never edited, corrected by new ones."""

import functools
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import DataError, IntegrityError, ProgrammingError, connection, transaction

from accounts.errors import InvalidInput
from billing import holds, ledger, settlement
from billing.errors import (
    BalanceOutOfRange,
    BooksUnavailable,
    EntryConflict,
    EntryNotFound,
    HoldNotFound,
    ImplausibleCost,
    LedgerInvariantBroken,
    WalletNotFound,
)
from billing.holds import HoldRequest
from billing.ledger import Action, Corrected
from billing.models import Entry, Wallet
from tests import races
from tests.billing import books
from tests.billing.books import CREDIT
from tests.billing.conftest import Away
from tests.conftest import Run

APPEND_ONLY = ["hold", "hold_extension", "settlement", "correction", "entry", "anomaly", "decision"]


def test_entries_are_numbered_and_carry_the_balance() -> None:
    acme = books.wallet(10 * CREDIT)
    ledger.post(company_id=acme.company_id, amount_nanocredits=5, action="credit_topup", reference="pack")
    ledger.post(company_id=acme.company_id, amount_nanocredits=-7, action="chargeback", reference="dispute")
    assert books.entries(acme) == [
        (1, "grant", 10 * CREDIT, 10 * CREDIT),
        (2, "credit_topup", 5, 10 * CREDIT + 5),
        (3, "chargeback", -7, 10 * CREDIT - 2),
    ]
    assert books.violations(acme) == []


@pytest.mark.parametrize(
    ("action", "counter_account"),
    [("credit_topup", "cash"), ("grant", "promo"), ("refund", "revenue"), ("correction", "revenue")],
)
def test_other_side_of_an_entry_follows_from_its_action(action: Action, counter_account: str) -> None:
    acme = books.wallet(0)
    ledger.post(company_id=acme.company_id, amount_nanocredits=1, action=action, reference="r", note="why")
    found = books.rows(
        "SELECT counter_account, note FROM billing_entry WHERE company_id = %s", acme.company_id
    )
    assert found == [(counter_account, "why")]


def test_same_reference_is_posted_once() -> None:
    acme = books.wallet(0)
    posts = [
        ledger.post(company_id=acme.company_id, amount_nanocredits=5, action="grant", reference="r")
        for _ in "12"
    ]
    assert [posted.is_new for posted in posts] == [True, False]
    assert posts[0].seq == posts[1].seq == 1
    assert acme.state() == (5, 0)


def test_same_reference_of_another_action_is_another_entry() -> None:
    acme = books.wallet(0)
    for action in ("grant", "refund"):
        ledger.post(company_id=acme.company_id, amount_nanocredits=5, action=action, reference="r")
    assert acme.state() == (10, 0)


def test_same_reference_with_another_amount_is_refused() -> None:
    acme = books.wallet(CREDIT)
    with pytest.raises(EntryConflict, match="has grant 'opening' over 1 credits already, not 2"):
        ledger.post(
            company_id=acme.company_id, amount_nanocredits=2 * CREDIT, action="grant", reference="opening"
        )


def test_twenty_replays_of_one_top_up_pay_once() -> None:
    acme = books.wallet(0)

    def replay() -> bool:
        posted = ledger.post(
            company_id=acme.company_id, amount_nanocredits=CREDIT, action="credit_topup", reference="session"
        )
        return posted.is_new

    assert sorted(map(str, races.at_once(*[replay] * 20))) == ["False"] * 19 + ["True"]
    assert acme.state() == (CREDIT, 0)


@pytest.mark.parametrize("amount", [0, 10**18 + 1, -(10**18) - 1])
def test_amounts_the_books_cannot_hold_are_refused(amount: int) -> None:
    acme = books.wallet(0)
    with pytest.raises(InvalidInput, match="cannot be posted"):
        ledger.post(company_id=acme.company_id, amount_nanocredits=amount, action="correction", reference="r")


@pytest.mark.parametrize("action", ["credit_topup", "grant", "refund"])
def test_gifts_that_take_are_refused(action: Action) -> None:
    acme = books.wallet()
    with pytest.raises(InvalidInput, match="gives credits"):
        ledger.post(company_id=acme.company_id, amount_nanocredits=-1, action=action, reference="r")


def test_calls_are_charged_by_settlement_only() -> None:
    acme = books.wallet()
    with pytest.raises(DataError, match="written by billing_settle"):
        books.rows("SELECT * FROM billing_post_entry(%s, 'llm_call', 'gen_1', -1, '')", acme.company_id)


def test_names_of_a_calls_corrections_are_its_own() -> None:
    acme = books.wallet()
    with pytest.raises(InvalidInput, match="call's own correction"):
        ledger.post(
            company_id=acme.company_id, amount_nanocredits=1, action="correction", reference="gen_1:mine"
        )
    with pytest.raises(DataError, match="written by billing_correct"):
        books.rows("SELECT * FROM billing_post_entry(%s, 'correction', 'gen_1', 1, '')", acme.company_id)


@pytest.mark.parametrize(
    "texts",
    [
        {"reference": ""},
        {"reference": " "},
        {"reference": "a\x00b"},
        {"reference": "a\ud800"},
        {"reference": "r" * 251},
        {"reference": "r", "note": "n\x00"},
        {"reference": "r", "note": "n" * 1001},
    ],
    ids=ascii,
)
def test_texts_the_books_cannot_keep_are_refused(run: Run, texts: dict[str, str]) -> None:
    acme = books.wallet()
    request = run(books.settled(acme))
    with pytest.raises(InvalidInput, match=r"reference|note"):
        ledger.post(company_id=acme.company_id, amount_nanocredits=1, action="grant", **texts)
    with pytest.raises(InvalidInput, match=r"reference|note"):
        ledger.correct(
            company_id=acme.company_id,
            hold_id=request.hold_id,
            cost_usd=Decimal(1),
            source="operator",
            **texts,
        )


def test_balances_that_would_overflow_are_refused() -> None:
    acme = books.wallet(0)
    for number in range(4):
        ledger.post(
            company_id=acme.company_id, amount_nanocredits=10**18, action="grant", reference=f"g{number}"
        )
    with pytest.raises(BalanceOutOfRange, match="cannot hold"):
        ledger.post(company_id=acme.company_id, amount_nanocredits=1, action="grant", reference="more")
    assert acme.state() == (4 * 10**18, 0)
    again = ledger.post(company_id=acme.company_id, amount_nanocredits=10**18, action="grant", reference="g0")
    assert not again.is_new


@pytest.mark.parametrize("nanocredits", [-5, 10**18 + 1, 2**63])
def test_credit_lines_the_books_cannot_hold_are_refused(nanocredits: int) -> None:
    acme = books.wallet()
    with pytest.raises(InvalidInput, match="credit line"):
        ledger.set_credit_line(company_id=acme.company_id, nanocredits=nanocredits)


def test_other_side_of_an_entry_cannot_be_another(run: Run) -> None:
    acme = books.wallet()
    with pytest.raises(IntegrityError, match="billing_entry_check"):
        books.rows(
            "INSERT INTO billing_entry (company_id, seq, action, reference, amount_nanocredits, counter_account,"
            " balance_after_nanocredits, hash) VALUES (%s, 2, 'grant', 'r', 1, 'cash', 1, sha256(''))",
            acme.company_id,
        )


def test_company_without_a_wallet_gets_no_entry() -> None:
    nobody = books.Wallet()
    with pytest.raises(WalletNotFound, match="has no wallet yet"):
        ledger.post(company_id=nobody.company_id, amount_nanocredits=1, action="grant", reference="r")
    with pytest.raises(WalletNotFound):
        ledger.balance(company_id=nobody.company_id)
    with pytest.raises(WalletNotFound):
        ledger.freeze(company_id=nobody.company_id)


def test_opening_a_wallet_twice_changes_nothing() -> None:
    acme = books.wallet(5)
    ledger.open_wallet(company_id=acme.company_id)
    assert acme.state() == (5, 0)


def test_entry_goes_with_the_callers_transaction() -> None:
    acme = books.wallet(0)
    with transaction.atomic():
        ledger.post(company_id=acme.company_id, amount_nanocredits=5, action="grant", reference="r")
        transaction.set_rollback(True)
    assert books.entries(acme) == []
    assert acme.state() == (0, 0)


def correct(request: HoldRequest, usd: str, reference: str, **more: Any) -> Corrected:
    return ledger.correct(
        company_id=request.company_id,
        hold_id=request.hold_id,
        cost_usd=Decimal(usd),
        reference=reference,
        **({"source": "operator"} | more),
    )


def test_correction_posts_the_difference_of_the_whole_charge(run: Run) -> None:
    acme = books.wallet(10 * CREDIT)
    request = run(books.settled(acme, "0.4"))
    assert correct(request, "0.6", "a") == Corrected(
        "corrected", 3 * CREDIT // 2, -CREDIT // 2, 17 * CREDIT // 2
    )
    assert correct(request, "0.2", "b") == Corrected("corrected", CREDIT // 2, CREDIT, 19 * CREDIT // 2)
    assert correct(request, "0.2", "c").outcome == "unchanged"
    assert [amount for _, action, amount, _ in books.entries(acme) if action == "correction"] == [
        -CREDIT // 2,
        CREDIT,
    ]
    assert books.violations(acme) == []


def test_correction_is_made_once_per_reference(run: Run) -> None:
    acme = books.wallet(10 * CREDIT)
    request = run(books.settled(acme, "0.4"))
    correct(request, "0.6", "a")
    again = correct(request, "0.8", "a")
    assert (again.outcome, again.charged_nanocredits) == ("already", 3 * CREDIT // 2)
    assert acme.state() == (17 * CREDIT // 2, 0)


def test_voided_call_can_be_corrected_into_a_charge(run: Run) -> None:
    acme = books.wallet(10 * CREDIT)
    request = run(books.held(acme))
    settlement.void_now(hold=books.key(request), evidence=books.cost(None))
    assert correct(request, "0.4", "late").difference_nanocredits == -CREDIT
    assert books.violations(acme) == []


def test_correction_moves_the_budgets_of_the_call(run: Run) -> None:
    acme = books.wallet(10 * CREDIT)
    request = run(books.settled(acme, "0.4", caps=(acme.key_cap(5 * CREDIT), acme.user_cap(5 * CREDIT))))
    correct(request, "0.8", "a")
    spent = books.rows("SELECT spent_nanocredits FROM billing_budget WHERE company_id = %s", acme.company_id)
    assert spent == [(2 * CREDIT,)] * 2
    assert books.violations(acme) == []


def test_two_corrections_at_once_follow_each_other(run: Run) -> None:
    acme = books.wallet(10 * CREDIT)
    request = run(books.settled(acme, "0.4"))
    costs = [f"0.{number}" for number in range(1, 10)]
    races.at_once(*(functools.partial(correct, request, usd, f"by {usd}") for usd in costs))
    numbers = books.rows("SELECT number FROM billing_correction WHERE hold_id = %s", request.hold_id)
    assert len(numbers) == len(costs)
    assert books.violations(acme) == []


def test_better_evidence_corrects_and_worse_is_an_anomaly(run: Run) -> None:
    acme = books.wallet(10 * CREDIT)
    request = run(books.settled(acme, "0.4", source="generation"))
    worse = correct(request, "0.8", "a", source="broadcast")
    assert worse == Corrected("quarantined", CREDIT, 0, 9 * CREDIT)
    assert books.anomalies(acme) == ["settled_differently"]
    assert correct(request, "0.4", "b", source="generation").outcome == "unchanged"
    assert correct(request, "0.8", "c", source="stream").charged_nanocredits == 2 * CREDIT
    assert correct(request, "0.4", "d", source="generation").outcome == "quarantined"
    assert books.violations(acme) == []


def test_later_record_of_upstream_is_the_better_one(run: Run) -> None:
    acme = books.wallet(10 * CREDIT)
    request = run(books.settled(acme, "0.4", source="generation"))
    assert correct(request, "0.8", "a", source="generation").charged_nanocredits == 2 * CREDIT
    assert correct(request, "0.4", "b", source="generation").charged_nanocredits == CREDIT
    # A cost that is charged alike is still another cost.
    assert correct(request, "0.3999999999999", "c", source="generation").outcome == "unchanged"
    assert correct(request, "0.3999999999999", "d", source="generation").outcome == "unchanged"
    numbers = books.rows("SELECT reference FROM billing_correction WHERE hold_id = %s", request.hold_id)
    assert numbers == [("a",), ("b",), ("c",)]
    assert books.anomalies(acme) == []
    assert books.violations(acme) == []


def test_refund_names_the_call_or_entry_it_is_for(run: Run) -> None:
    acme = books.wallet(10 * CREDIT)
    charged, late = run(books.settled(acme, "0.4")), run(books.held(acme))
    settlement.void_now(hold=books.key(late), evidence=books.cost(None))
    correct(late, "0.4", "a")
    refund = functools.partial(ledger.refund, company_id=acme.company_id, amount_nanocredits=5)
    assert refund(reference="one", hold_id=charged.hold_id).is_new
    assert not refund(reference="one", hold_id=charged.hold_id).is_new
    refund(reference="two", hold_id=late.hold_id)
    refund(reference="three", corrects="opening", actor="user:1")
    refund(reference="four")
    found = books.rows(
        "SELECT corrects FROM billing_entry WHERE company_id = %s AND action = 'refund' ORDER BY seq",
        acme.company_id,
    )
    assert found == [(f"gen_{charged.hold_id}",), (f"gen_{late.hold_id}",), ("opening",), ("",)]
    assert books.violations(acme) == []


def test_refund_of_what_was_never_charged_is_refused(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    free, theirs = run(books.settled(acme, "0")), run(books.settled(globex, "0.4"))
    for hold_id in (free.hold_id, theirs.hold_id):
        with pytest.raises(EntryNotFound, match="has no entry"):
            ledger.refund(company_id=acme.company_id, amount_nanocredits=5, reference="r", hold_id=hold_id)
    bad: list[dict[str, Any]] = [{"actor": "x" * 101}, {"actor": "\0"}, {"corrects": "x" * 251}]
    for texts in bad:
        with pytest.raises(InvalidInput):
            ledger.refund(company_id=acme.company_id, amount_nanocredits=5, reference="r", **texts)
    assert len(books.entries(acme)) == 1


def test_corrections_know_the_limit_of_twenty_holds(run: Run) -> None:
    acme = books.wallet(10 * CREDIT)
    bound = run(books.settled(acme, "0", 1000, source="estimate"))
    guess = run(books.settled(acme, "0", 1000, source="estimate", is_price_known=False))
    too_much = "0.00000800000000000001"
    assert correct(bound, too_much, "a", source="stream").outcome == "quarantined"
    assert books.anomalies(acme) == ["implausible_cost"]
    assert correct(bound, too_much, "b").outcome == "corrected"
    assert correct(guess, too_much, "a", source="stream").outcome == "corrected"
    assert books.violations(acme) == []


def test_generation_of_another_call_corrects_nothing(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    generation_id = f"gen-{uuid.uuid4().hex}"
    first = run(books.settled(acme, "0", source="estimate"))
    second = run(books.settled(globex, "0", source="estimate"))
    outcomes = [
        correct(request, "0.4", "a", source="stream", generation_id=generation_id).outcome
        for request in (first, second)
    ]
    assert outcomes == ["corrected", "quarantined"]
    assert books.anomalies(globex) == ["generation_conflict"]
    late = run(books.held(globex))
    evidence = books.cost("0.4", generation_id=generation_id)
    assert settlement.settle_now(hold=books.key(late), evidence=evidence).outcome == "quarantined"


@pytest.mark.parametrize("off", [-1, 1])
def test_correction_that_does_not_follow_from_its_cost_is_quarantined(run: Run, off: int) -> None:
    acme = books.wallet()
    request = run(books.settled(acme))
    ((outcome,),) = books.rows(
        "SELECT outcome FROM billing_correct(%s, %s, 'r', 0.8, %s, 'operator', null, '')",
        acme.company_id,
        request.hold_id,
        2 * CREDIT + off,
    )
    assert outcome == "quarantined"
    assert books.anomalies(acme) == ["charge_mismatch"]


def test_calls_that_are_not_settled_cannot_be_corrected(run: Run) -> None:
    acme = books.wallet()
    with pytest.raises(HoldNotFound, match="not settled yet"):
        correct(run(books.held(acme)), "0.4", "a")
    with pytest.raises(HoldNotFound, match="never placed"):
        correct(acme.request(), "0.4", "a")


@pytest.mark.parametrize("usd", ["-0.1", "NaN", "1001"])
def test_implausible_corrections_are_refused(run: Run, usd: str) -> None:
    acme = books.wallet()
    request = run(books.settled(acme))
    with pytest.raises(ImplausibleCost):
        correct(request, usd, "a")


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["UPDATE billing_{} SET created_at = now()", "DELETE FROM billing_{}"])
def test_written_rows_cannot_be_changed(run: Run, table: str, statement: str) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    run(holds.extend(company_id=acme.company_id, hold_id=request.hold_id, number=1, amount_nanocredits=1))
    run(settlement.settle(hold=books.key(request), evidence=books.cost("0.4")))
    correct(request, "0.6", "a")
    run(settlement.settle(hold=books.key(request), evidence=books.cost("-1")))
    books.rows(
        "SELECT billing_decide(kind, reference, 'void', 'user:1', '', null) FROM billing_anomaly WHERE company_id = %s",
        acme.company_id,
    )
    mine = "" if table == "decision" else f" WHERE company_id = '{acme.company_id}'"
    with pytest.raises(ProgrammingError, match="append-only"):
        books.rows(statement.format(table) + mine)


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_written_tables_cannot_be_truncated(table: str) -> None:
    with pytest.raises(ProgrammingError, match="append-only"):
        books.rows(f"TRUNCATE billing_{table}")


def test_books_cannot_be_written_through_models() -> None:
    acme = books.wallet()
    with pytest.raises(LedgerInvariantBroken):
        Wallet.objects.get(company_id=acme.company_id).save()
    with pytest.raises(LedgerInvariantBroken):
        Entry.objects.get(company_id=acme.company_id, seq=1).delete()
    with pytest.raises(LedgerInvariantBroken):
        Entry.objects.create(company_id=acme.company_id, seq=2)


def test_books_that_are_away_say_so(run: Run, away: Away) -> None:
    acme = books.wallet()
    request = run(books.settled(acme))
    more: dict[str, Any] = {"cost_usd": Decimal("0.1"), "source": "operator", "reference": "again"}
    for ask in (
        acme.balance,
        functools.partial(ledger.correct, company_id=acme.company_id, hold_id=request.hold_id, **more),
        functools.partial(ledger.open_wallet, company_id=acme.company_id),
    ):
        connection.close()
        with away(), pytest.raises(BooksUnavailable):
            ask()
