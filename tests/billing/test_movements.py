"""What an operator moves by hand: who, why and for what is on the entry; once per reference; within limits."""

import functools
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from accounts.errors import Conflict, Forbidden, InvalidInput
from billing import movements
from billing.errors import EntryConflict, WalletNotFound
from billing.ledger import Posted
from billing.models import Entry
from billing.payment_models import CreditEvent
from tests import factories
from tests.billing import books
from tests.billing.shop import CREDIT, NOW
from tests.conftest import Run
from tests.races import at_once


def move(wallet: books.Wallet, credits: str, **changes: Any) -> Posted:
    given: dict[str, Any] = {
        "action": "grant",
        "actor": "operator:ada",
        "reason": "Welcome",
        "reference": "r1",
        "now": NOW,
    }
    return movements.post(company_id=wallet.company_id, credits=Decimal(credits), **(given | changes))


def call_of(wallet: books.Wallet, run: Run, usd: str = "2") -> str:
    """A call that was charged, by its reference: at these prices 0.4 USD are a credit."""
    request = run(books.settled(wallet, usd, wanted=5 * CREDIT))
    return f"gen_{request.hold_id}"


def test_movement_says_who_why_and_for_what() -> None:
    wallet = books.wallet()

    posted = move(wallet, "12.5", action="credit_topup", reason="Bank transfer", reference="invoice 7")

    entry = Entry.objects.get(company_id=wallet.company_id, seq=posted.seq)
    assert (entry.action, entry.amount_nanocredits) == ("credit_topup", 12_500_000_000)
    assert (entry.actor, entry.note, entry.reference) == ("operator:ada", "Bank transfer", "invoice 7")


def test_same_reference_again_moves_nothing_and_another_amount_is_refused() -> None:
    wallet = books.wallet(CREDIT)
    first = move(wallet, "2")

    again = move(wallet, "2")

    assert (again.seq, again.is_new) == (first.seq, False)
    with pytest.raises(EntryConflict):
        move(wallet, "3")
    assert wallet.state() == (3 * CREDIT, 0)


def test_twenty_at_once_under_one_reference_are_one() -> None:
    wallet = books.wallet(CREDIT)

    at_once(*[functools.partial(move, wallet, "2")] * 20)

    assert wallet.state() == (3 * CREDIT, 0)
    assert CreditEvent.objects.filter(company_id=wallet.company_id).count() == 1


def test_refund_names_its_call_and_is_never_above_what_it_cost(run: Run) -> None:
    wallet = books.wallet()
    call = call_of(wallet, run)
    refund = functools.partial(move, wallet, action="refund", corrects=call)

    refund("4", reference="r1")
    with pytest.raises(Conflict, match=r"1 are not given back yet; 1\.5 is more"):
        refund("1.5", reference="r2")
    refund("1", reference="r3")

    assert refund("4", reference="r1").is_new is False
    assert wallet.state() == (10 * CREDIT, 0)
    assert Entry.objects.get(company_id=wallet.company_id, reference="r3").corrects == call


def test_ten_refunds_at_once_give_back_no_more_than_the_call_cost(run: Run) -> None:
    wallet = books.wallet()
    call = call_of(wallet, run)
    refunds = [
        functools.partial(move, wallet, "1", action="refund", corrects=call, reference=f"r{number}")
        for number in range(10)
    ]

    outcomes = at_once(*refunds)

    assert sum(isinstance(outcome, Posted) for outcome in outcomes) == 5
    assert wallet.state() == (10 * CREDIT, 0)


def test_what_a_correction_gave_back_is_not_refunded_too(run: Run) -> None:
    wallet = books.wallet()
    call = call_of(wallet, run)
    move(wallet, "3", action="correction", corrects=call, reference="c1")

    with pytest.raises(Conflict, match="2 are not given back yet"):
        move(wallet, "3", action="refund", corrects=call, reference="r1")


def test_call_of_globex_cannot_be_refunded_to_acme(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    call = call_of(globex, run)

    with pytest.raises(Conflict, match="of the 0 credits it cost"):
        move(acme, "1", action="refund", corrects=call)


@pytest.mark.parametrize("entry", ["opening", "gen", "GEN_", " "])
def test_what_was_no_call_is_not_refunded(entry: str) -> None:
    """A correction took credits back, as a refund at Stripe does; that is no charge to be given back again."""
    wallet = books.wallet()
    move(wallet, "-5", action="correction", corrects="opening", reference="c1")

    with pytest.raises(InvalidInput, match="a call was charged"):
        move(wallet, "5", action="refund", corrects=entry, reference="r1")


@pytest.mark.parametrize("action", ["refund", "correction"])
def test_refund_or_correction_of_nothing_in_particular_is_refused(action: str) -> None:
    with pytest.raises(InvalidInput, match="corrects"):
        move(books.wallet(), "1", action=action)


@pytest.mark.parametrize(
    "changes",
    [
        {"actor": " "},
        {"actor": "x" * 101},
        {"reason": ""},
        {"reason": "x" * 501},
        {"reference": ""},
        {"approved_by": "x" * 101},
    ],
    ids=str,
)
def test_movement_without_who_or_why_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        move(books.wallet(), "1", **changes)


def test_correction_takes_and_a_grant_does_not() -> None:
    wallet = books.wallet(CREDIT)

    move(wallet, "-0.5", action="correction", corrects="opening", reference="c1")

    assert wallet.state() == (CREDIT // 2, 0)
    with pytest.raises(InvalidInput, match="gives credits"):
        move(wallet, "-1")


@pytest.mark.parametrize("approved_by", ["", " ", "operator:ada", "Operator:Ada "])
def test_movement_above_the_limit_needs_a_second_person(approved_by: str) -> None:
    """100,000 USD are 200,000 credits."""
    wallet = books.wallet(CREDIT)

    move(wallet, "200000", reference="as much as one may")
    with pytest.raises(Forbidden, match="needs a second person") as refused:
        move(wallet, "200000.000000001", reference="more", approved_by=approved_by)

    assert refused.value.details == {"reason": "second_approver"}
    posted = move(wallet, "200000.000000001", reference="more", approved_by="operator:grace")
    entry = Entry.objects.get(company_id=wallet.company_id, seq=posted.seq)
    assert entry.note == "Welcome (approved by operator:grace)"


def test_limit_is_a_setting_and_holds_for_what_is_taken_too(settings: Settings) -> None:
    settings.APPROVAL_ABOVE_USD = Decimal(10)

    with pytest.raises(Forbidden, match=r"worth 10\.5"):
        move(books.wallet(), "-21", action="correction", corrects="opening")


def test_company_without_a_wallet_is_refused() -> None:
    with pytest.raises(WalletNotFound):
        move(books.Wallet(company_id=uuid4()), "1")


def test_command_credits_a_company_once(capsys: pytest.CaptureFixture[str]) -> None:
    member = factories.initech()
    words = [member.company.slug, "7.25", "--action", "grant", "--reason", "Sorry", "--reference", "ticket 9"]

    call_command("credit", *words)
    call_command("credit", *words)

    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Posted: entry 1")
    assert first.endswith("the balance after it was 7.25.")
    assert second.startswith("Posted before: entry 1")
    assert factories.balance(member) == Decimal("7.25")
    assert Entry.objects.get(company_id=member.company_id).actor.startswith("operator:")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody", "1"], "no company"),
        (["00000000-0000-4000-8000-000000000000", "1"], "no company"),
        (["", "one"], "no number"),
        (["", "NaN"], "no amount"),
        (["", "1e40"], "no amount"),
        (["", "0"], "cannot be posted"),
        (["", "200001"], "second person"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_command_says_what_is_wrong(words: list[str], said: str) -> None:
    named = words[0] or str(factories.initech().company_id)
    rest = ["--action", "grant", "--reason", "x", "--reference", "y"]

    with pytest.raises(CommandError, match=said):
        call_command("credit", named, words[1], *rest)


@pytest.mark.parametrize("approved_by", ["ada", "operator:ada", " Operator: ADA"])
def test_command_takes_nobody_for_two_people(approved_by: str) -> None:
    """However one spells oneself."""
    company = str(factories.initech().company_id)
    rest = ["--action", "grant", "--reason", "x", "--reference", "y", "--actor", "ada"]

    with pytest.raises(CommandError, match="second person"):
        call_command("credit", company, "200001", *rest, "--approved-by", approved_by)
    call_command("credit", company, "200001", *rest, "--approved-by", "grace")

    entry = Entry.objects.get(company_id=company)
    assert (entry.actor, entry.note) == ("operator:ada", "x (approved by operator:grace)")
