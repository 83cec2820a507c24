"""verify_ledger: right books pass, and every kind of tampering is found and named."""

import io
from decimal import Decimal

import orjson
import pytest
from django.core.management import call_command
from django.db import IntegrityError

from billing import holds, ledger, verification
from billing.holds import HoldRequest
from billing.verification import Violation
from tests.billing import books
from tests.billing.books import CREDIT
from tests.billing.tampering import tampered, triggers_off
from tests.conftest import Run


@pytest.fixture
def acme(run: Run) -> books.Wallet:
    """A company with a bit of everything."""
    made = books.wallet()
    cap = made.key_cap(9 * CREDIT)
    request = run(books.settled(made, "0.4", caps=(cap,)))
    correct(request)
    run(books.settled(made, "0"))
    run(books.settled(made, "0.1"))
    run(books.held(made, CREDIT, caps=(cap,)))
    return made


@pytest.fixture
def plain(run: Run) -> books.Wallet:
    """A company without caps: two corrections, a call that cost nothing and one that still runs."""
    made = books.wallet()
    request = run(books.settled(made, "0.4"))
    correct(request, "0.5", "better")
    correct(request, "0.3", "best")
    run(books.settled(made, "0"))
    running = run(books.held(made))
    run(holds.extend(company_id=made.company_id, hold_id=running.hold_id, number=1, amount_nanocredits=7))
    return made


def correct(request: HoldRequest, usd: str = "0.5", reference: str = "better") -> None:
    ledger.correct(
        company_id=request.company_id,
        hold_id=request.hold_id,
        cost_usd=Decimal(usd),
        source="operator",
        reference=reference,
    )


def found(acme: books.Wallet) -> list[Violation]:
    return verification.verify(company_id=acme.company_id).violations


def test_right_books_pass(acme: books.Wallet) -> None:
    assert found(acme) == []


@pytest.mark.parametrize(
    ("table", "statement", "rules"),
    [
        ("wallet", "UPDATE {table} SET posted_nanocredits = posted_nanocredits + 1 WHERE company_id = {company}", "W1"),
        ("wallet", "UPDATE {table} SET held_nanocredits = 0 WHERE company_id = {company}", "W2"),
        ("wallet", "DELETE FROM {table} WHERE company_id = {company}", "W1 W2"),
        ("open_hold", "DELETE FROM {table} WHERE company_id = {company}", "B1 H1 W2"),
        ("open_hold", "UPDATE {table} SET amount_nanocredits = 5 WHERE company_id = {company}", "B1 H2 W2"),
        ("hold", "UPDATE {table} SET markup = 1.26 WHERE company_id = {company}", "R1"),
        ("settlement", "UPDATE {table} SET cost_usd = 0.3 WHERE company_id = {company} AND cost_usd = 0.4", "R1"),
        ("settlement", "DELETE FROM {table} WHERE company_id = {company} AND cost_usd = 0.1", "H1 S1 U1"),
        ("correction", "UPDATE {table} SET cost_usd = 0.6 WHERE company_id = {company}", "R1 U1"),
        ("correction", "DELETE FROM {table} WHERE company_id = {company}", "B2 S2 U1"),
        ("entry", "UPDATE {table} SET amount_nanocredits = -5 WHERE company_id = {company} AND seq = 2", "S1 T2 T3 W1"),
        ("entry", "DELETE FROM {table} WHERE company_id = {company} AND seq = 2", "S1 T1 T2 T3 W1"),
        ("entry", "DELETE FROM {table} WHERE company_id = {company} AND seq = 4", "S1 T3 W1 W3"),
        ("entry", "DELETE FROM {table} WHERE company_id = {company} AND action = 'correction'", "S2 T1 T2 T3 W1"),
        ("budget", "UPDATE {table} SET held_nanocredits = 0 WHERE company_id = {company}", "B1"),
        ("budget", "UPDATE {table} SET spent_nanocredits = 0 WHERE company_id = {company}", "B2"),
    ],
)  # fmt: skip
def test_tampering_is_found(acme: books.Wallet, table: str, statement: str, rules: str) -> None:
    with tampered(table, acme, statement):
        names = {violation.rule.partition(":")[0] for violation in found(acme)}
    assert names == set(rules.split())
    assert found(acme) == []


@pytest.mark.parametrize(
    ("table", "statement", "rules"),
    [
        ("correction", "DELETE FROM {table} WHERE company_id = {company}", "S2 U1"),
        ("correction", "DELETE FROM {table} WHERE company_id = {company} AND number = 2", "S2 U1"),
        ("correction", "DELETE FROM {table} WHERE company_id = {company} AND number = 1", "S2 S3"),
        ("correction", "UPDATE {table} SET number = 3 WHERE company_id = {company} AND number = 1", "S2 S3 U1"),
        ("correction", "UPDATE {table} SET number = 9 WHERE company_id = {company} AND number = 2", "S3"),
        ("correction", "UPDATE {table} SET reference = reference || '?' WHERE company_id = {company}", "S2"),
        ("entry", "UPDATE {table} SET reference = 'x' WHERE company_id = {company} AND seq = 3", "S2 T3"),
        ("entry", "UPDATE {table} SET reference = reference || '?' WHERE company_id = {company}", "S1 S2 T3"),
        ("hold", "UPDATE {table} SET credit_value_usd = 1e-12 WHERE company_id = {company}", "R1"),
        ("hold", "UPDATE {table} SET markup = 1 + 1e-9000 WHERE company_id = {company}", "R1"),
        ("hold_extension", "DELETE FROM {table} WHERE company_id = {company}", "H2"),
        ("hold_extension", "UPDATE {table} SET amount_nanocredits = 6 WHERE company_id = {company}", "H2"),
        ("usage", "DELETE FROM {table} WHERE company_id = {company}", "U1"),
        ("usage", "UPDATE {table} SET calls = calls + 1 WHERE company_id = {company}", "U1"),
        ("usage", "UPDATE {table} SET tokens_prompt = 1 WHERE company_id = {company}", "U1"),
        ("usage", "UPDATE {table} SET hour = hour - interval '1 hour' WHERE company_id = {company}", "U1"),
        ("wallet", "UPDATE {table} SET chain_head = '' WHERE company_id = {company}", "T3"),
        ("settlement", "UPDATE {table} SET created_at = created_at - interval '1 day' WHERE company_id = {company}",
         "U1"),
        ("hold", "UPDATE {table} SET caps = '7' WHERE company_id = {company}", ""),
        ("hold", "UPDATE {table} SET caps = '[{{\"scope_id\": 7}}, 8]' WHERE company_id = {company}",
         "B1 B2"),
        ("settlement",
         "UPDATE {table} SET charged_nanocredits = 9000000000000000000 WHERE company_id = {company} AND cost_usd > 0",
         "R1 S1 S2"),
        ("open_hold",
         "UPDATE {table} SET generation_id = s.generation_id FROM billing_settlement s"
         " WHERE {table}.company_id = {company} AND s.company_id = {company}", "G1"),
    ],
)  # fmt: skip
def test_tampering_with_calls_that_no_cap_counts_is_found(
    plain: books.Wallet, table: str, statement: str, rules: str
) -> None:
    with tampered(table, plain, statement):
        names = {violation.rule.partition(":")[0] for violation in found(plain)}
    assert names == set(rules.split())
    assert found(plain) == []


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("entry", "UPDATE {table} SET counter_account = 'promo' WHERE company_id = {company} AND action = 'llm_call'"),
        ("entry", "UPDATE {table} SET action = 'credit_topup' WHERE company_id = {company} AND action = 'grant'"),
        ("open_hold", "UPDATE {table} SET next_at = 'infinity' WHERE company_id = {company}"),
        ("wallet", "UPDATE {table} SET floor_nanocredits = -9000000000000000000 WHERE company_id = {company}"),
    ],
)  # fmt: skip
def test_tables_refuse_what_can_never_be(plain: books.Wallet, table: str, statement: str) -> None:
    with pytest.raises(IntegrityError), triggers_off(table):
        books.rows(statement.format(table=f"billing_{table}", company=f"'{plain.company_id}'"))


def test_changed_entry_is_named_where_the_balance_breaks(acme: books.Wallet) -> None:
    opening = 10 * CREDIT
    statement = (
        f"UPDATE {{table}} SET amount_nanocredits = {opening - 7} WHERE company_id = {{company}} AND seq = 1"  # noqa: S608
    )
    with tampered("entry", acme, statement):
        places = {(one.rule[:2], one.reference): one.difference_nanocredits for one in found(acme)}
    assert places == {("T2", "entry 1"): 7, ("T3", "entry 1"): None, ("W1", "wallet"): 7}


def test_report_adds_up_what_calls_cost(run: Run) -> None:
    before = verification.verify()
    acme = books.wallet()
    request = run(books.settled(acme, "0.00012104999999999999"))
    run(books.settled(acme, "0.4"))
    run(books.held(acme))
    after = verification.verify()
    assert after.cost_usd - before.cost_usd == Decimal("0.40012104999999999999")
    assert after.charged_nanocredits - before.charged_nanocredits == CREDIT + 302_625
    assert after.open_holds - before.open_holds == 1
    correct(request)
    assert verification.verify().cost_usd - before.cost_usd == Decimal("0.9")


def verify_ledger(*arguments: str) -> tuple[int, str]:
    """(exit code, output)."""
    out = io.StringIO()
    try:
        call_command("verify_ledger", *arguments, stdout=out)
    except SystemExit as exc:
        return int(exc.code or 0), out.getvalue()
    return 0, out.getvalue()


@pytest.fixture
def _others_at_rest() -> None:
    """Other tests leave running calls that upstream gave one generation's id: G1 until they are settled."""
    found = books.rows("SELECT DISTINCT company_id FROM billing_violations WHERE rule LIKE 'G1%%'")
    books.tidy_up(*(company_id for (company_id,) in found))


@pytest.mark.usefixtures("_others_at_rest")
def test_command_ends_with_one_line_of_json(acme: books.Wallet) -> None:
    code, output = verify_ledger("--json")
    report = orjson.loads(output.splitlines()[-1])
    assert code == 0
    assert list(report) == ["ok", "violations", "open_holds", "cost_usd", "charged_credits", "found"]
    assert (report["ok"], report["violations"]) == (True, 0)
    assert report["open_holds"] >= 1
    assert Decimal(report["cost_usd"]) == verification.verify().cost_usd
    assert isinstance(report["charged_credits"], str)


def test_command_names_company_and_entry_and_exits_1(acme: books.Wallet) -> None:
    statement = "UPDATE {table} SET balance_after_nanocredits = 0 WHERE company_id = {company} AND seq = 2"
    with tampered("entry", acme, statement):
        code, output = verify_ledger("--json")
    assert code == 1
    assert f"company {acme.company_id}  entry 2 " in output
    report = orjson.loads(output.splitlines()[-1])
    assert report["ok"] is False
    named = {(one["company_id"], one["reference"], one["rule"][:2]) for one in report["found"]}
    assert (str(acme.company_id), "entry 2", "T3") in named


@pytest.mark.usefixtures("_others_at_rest")
def test_command_prints_a_table_for_people(acme: books.Wallet) -> None:
    code, output = verify_ledger()
    assert code == 0
    assert output.splitlines()[-1] == "The books are right."
    assert "Cost of all calls, USD" in output


def test_flood_of_violations_is_counted_and_its_first_hundred_are_printed(acme: books.Wallet) -> None:
    statement = (
        "INSERT INTO {table} (company_id, seq, action, reference, amount_nanocredits, counter_account,"
        " balance_after_nanocredits, hash) SELECT company_id, 10 * n, 'grant', 'r' || n, 1, 'promo', 0, sha256('')"
        " FROM billing_wallet, generate_series(1, 150) AS n WHERE company_id = {company}"
    )
    with tampered("entry", acme, statement):
        code, output = verify_ledger("--json")
    lines = output.splitlines()
    report = orjson.loads(lines[-1])
    assert code == 1
    assert lines[-2] == f"... and {report['violations'] - 100} more"
    assert len(lines) == 102
    assert report["violations"] > 300
