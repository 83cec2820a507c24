"""The chain of entries: whatever the tables' owner changes, the check names company and entry."""

import hashlib
import io
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction

from billing import ledger, settlement, verification
from tests.billing import books
from tests.billing.books import CREDIT
from tests.billing.tampering import tampered, triggers_off
from tests.conftest import Run


@pytest.fixture
def acme(run: Run) -> books.Wallet:
    """Five entries: a grant, a call and its correction, a refund of it, another call."""
    made = books.wallet()
    request = run(books.settled(made, "0.4"))
    ledger.correct(
        company_id=made.company_id,
        hold_id=request.hold_id,
        cost_usd=Decimal("0.5"),
        source="operator",
        reference="better",
        actor="user:1",
    )
    ledger.refund(
        company_id=made.company_id,
        amount_nanocredits=7,
        reference="sorry",
        hold_id=request.hold_id,
        actor="user:2",
        note="a|b\nc — ü",
    )
    run(books.settled(made, "0.1"))
    return made


def found(who: books.Wallet) -> set[tuple[str, str]]:
    """(rule, reference) of every violation that the whole check names for this company."""
    report = verification.verify(company_id=who.company_id)
    return {(one.rule.partition(":")[0], one.reference) for one in report.violations}


def expected_hash(before: bytes, row: dict[str, Any]) -> bytes:
    """The published rule, in another language."""
    texts = [row[name] for name in ("reference", "note", "actor", "corrects")]
    parts = [
        row["company_id"], row["seq"], row["action"], row["amount_nanocredits"], row["counter_account"],
        row["balance_after_nanocredits"], row["epoch"],
        *(part for text in texts for part in (len(text.encode()), text)),
    ]  # fmt: skip
    return hashlib.sha256(before + "|".join(map(str, parts)).encode()).digest()


def entries(who: books.Wallet) -> list[dict[str, Any]]:
    names = (
        "company_id", "seq", "action", "amount_nanocredits", "counter_account", "balance_after_nanocredits",
        "reference", "note", "actor", "corrects", "hash",
    )  # fmt: skip
    read = books.rows(
        f"SELECT {', '.join(names)}, extract(epoch FROM created_at) FROM billing_entry"  # noqa: S608
        " WHERE company_id = %s ORDER BY seq",
        who.company_id,
    )
    return [dict(zip((*names, "epoch"), row, strict=True)) for row in read]


def test_every_way_to_write_an_entry_chains_it_by_the_published_rule(acme: books.Wallet) -> None:
    before = b""
    for row in entries(acme):
        assert bytes(row["hash"]) == expected_hash(before, row)
        before = bytes(row["hash"])
    ((head,),) = books.rows("SELECT chain_head FROM billing_wallet WHERE company_id = %s", acme.company_id)
    assert bytes(head) == before
    assert len(entries(acme)) == 5


def test_hash_does_not_depend_on_the_sessions_zone_or_date_style(acme: books.Wallet) -> None:
    with transaction.atomic():
        books.rows("SET LOCAL timezone = 'Asia/Kathmandu'")
        books.rows("SET LOCAL datestyle = 'German'")
        books.rows("SET LOCAL extra_float_digits = 0")
        assert books.violations(acme) == []


def test_corrections_and_refunds_name_what_they_correct(acme: books.Wallet) -> None:
    call = entries(acme)[1]["reference"]
    assert [row["corrects"] for row in entries(acme)] == ["", "", call, call, ""]
    assert [row["actor"] for row in entries(acme)] == ["", "", "user:1", "user:2", ""]


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ("seq = 9", "4 9 9!"),
        ("action = 'chargeback', counter_account = 'cash'", "3"),
        ("reference = 'x'", "3"),
        ("amount_nanocredits = amount_nanocredits - 1", "3"),
        ("balance_after_nanocredits = 1", "3"),
        ("note = 'x'", "3"),
        ("actor = ''", "3"),
        ("corrects = ''", "3"),
        ("created_at = created_at - interval '1 microsecond'", "3"),
        ("hash = sha256('x')", "3 4"),
    ],
)
def test_edited_column_of_an_entry_is_found_and_the_entry_named(
    acme: books.Wallet, change: str, broken: str
) -> None:
    with tampered("entry", acme, f"UPDATE {{table}} SET {change} WHERE company_id = {{company}} AND seq = 3"):  # noqa: S608
        places = {reference for rule, reference in found(acme) if rule == "T3"}
    assert places == {f"entry {n}".replace("!", " (the last)") for n in broken.split()}
    assert found(acme) == set()


def test_entry_given_to_another_company_is_found_in_both(acme: books.Wallet) -> None:
    globex = books.wallet()
    with triggers_off("entry"), transaction.atomic():
        books.rows(
            "UPDATE billing_entry SET company_id = %s WHERE company_id = %s AND seq = 4",
            globex.company_id,
            acme.company_id,
        )
        places = {(row[0][:2], row[1], row[2]) for who in (acme, globex) for row in books.violations(who)}
        transaction.set_rollback(True)
    assert ("T3", acme.company_id, "entry 5") in places
    assert ("T3", globex.company_id, "entry 4") in places


def test_hash_that_was_taken_away_is_found_and_hides_nothing(acme: books.Wallet) -> None:
    with triggers_off("entry"), transaction.atomic():
        books.rows("ALTER TABLE billing_entry ALTER COLUMN hash DROP NOT NULL")
        books.rows(
            "UPDATE billing_entry SET hash = NULL, note = 'x' WHERE company_id = %s AND seq = 3",
            acme.company_id,
        )
        places = {(row[0][:2], row[2]) for row in books.violations(acme)}
        transaction.set_rollback(True)
    assert places == {("T3", "entry 3"), ("T3", "entry 4")}


def test_deleted_entry_is_found_where_the_chain_goes_on(acme: books.Wallet) -> None:
    with tampered("entry", acme, "DELETE FROM {table} WHERE company_id = {company} AND seq = 3"):
        assert {("T1", "entry 4"), ("T2", "entry 4"), ("T3", "entry 4")} <= found(acme)


def test_two_swapped_entries_are_found(acme: books.Wallet) -> None:
    swap = (
        "UPDATE {table} SET seq = 90 WHERE company_id = {company} AND seq = 3",
        "UPDATE {table} SET seq = 3 WHERE company_id = {company} AND seq = 4",
        "UPDATE {table} SET seq = 4 WHERE company_id = {company} AND seq = 90",
    )
    with tampered("entry", acme, *swap):
        assert {("T3", "entry 3"), ("T3", "entry 4"), ("T3", "entry 5")} <= found(acme)


PUT_WALLET_RIGHT = (
    "UPDATE billing_wallet w SET posted_nanocredits = e.balance_after_nanocredits, version = e.seq{head}"
    " FROM billing_entry e WHERE e.company_id = w.company_id AND e.seq = 4 AND w.company_id = {{company}}"
)


@pytest.mark.parametrize("head", ["", ", chain_head = e.hash"], ids=["head kept", "head put right"])
def test_deleted_last_entry_is_found_though_the_wallet_was_put_right(acme: books.Wallet, head: str) -> None:
    last = entries(acme)[4]["reference"]
    statements = (
        "DELETE FROM {table} WHERE company_id = {company} AND seq = 5",
        PUT_WALLET_RIGHT.format(head=head),
    )
    with tampered(("entry", "wallet"), acme, *statements):
        places = found(acme)
    # Whoever knows the chain must also know that the settlement remembers its entry.
    assert places == {("S1", last)} | (set() if head else {("T3", "entry 4 (the last)")})
    assert found(acme) == set()


def test_deleted_last_top_up_is_found_by_the_anchor_over_it(acme: books.Wallet) -> None:
    ledger.post(company_id=acme.company_id, amount_nanocredits=7, action="credit_topup", reference="paid")
    hidden = PUT_WALLET_RIGHT.format(head=", chain_head = e.hash").replace("seq = 4", "seq = 5")
    with triggers_off("entry"), transaction.atomic():
        books.rows("SELECT billing_anchor_heads('2001-01-01')")
        books.rows("DELETE FROM billing_entry WHERE company_id = %s AND seq = 6", acme.company_id)
        books.rows(hidden.format(company=f"'{acme.company_id}'"))
        places = {(row[0][:2], row[2]) for row in books.violations(acme)}
        transaction.set_rollback(True)
    assert places == {("A1", "entry 6")}


def test_hash_made_good_again_breaks_at_the_next_entry(acme: books.Wallet) -> None:
    rehash = (
        "UPDATE {table} e SET note = 'x', hash = billing_entry_hash(b.hash, e.company_id, e.seq, e.action,"
        " e.amount_nanocredits, e.counter_account, e.balance_after_nanocredits, e.created_at, e.reference, 'x',"
        " e.actor, e.corrects) FROM billing_entry b WHERE e.company_id = {company} AND b.company_id = {company}"
        " AND e.seq = 3 AND b.seq = 2"
    )
    with tampered("entry", acme, rehash):
        assert found(acme) == {("T3", "entry 4")}


def test_command_names_company_and_entry_where_the_chain_breaks(acme: books.Wallet) -> None:
    out = io.StringIO()
    with (
        tampered("entry", acme, "UPDATE {table} SET note = 'x' WHERE company_id = {company} AND seq = 4"),
        pytest.raises(SystemExit),
    ):
        call_command("verify_ledger", stdout=out)
    (line,) = [line for line in out.getvalue().splitlines() if str(acme.company_id) in line]
    assert "entry 4 " in line
    assert "T3" in line


def test_check_of_one_company_passes_over_the_others(run: Run, acme: books.Wallet) -> None:
    globex = books.wallet()
    request = run(books.held(globex))
    settlement.settle_now(hold=books.key(request), evidence=books.cost("0.4"))
    with tampered("entry", acme, "UPDATE {table} SET note = 'x' WHERE company_id = {company} AND seq = 4"):
        report = verification.verify(company_id=globex.company_id)
        assert (report.is_ok, report.charged_nanocredits, report.open_holds) == (True, CREDIT, 0)
        assert not verification.verify(company_id=acme.company_id).is_ok
