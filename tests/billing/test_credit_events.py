"""What companies are told about their credits: each crossing once, whoever looks, and however often."""

import functools
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import companies
from accounts.errors import InvalidInput
from billing import credit_events, ledger
from billing.credit_events import EXHAUSTED, FINE, LOW
from billing.payment_models import CreditEvent, CreditLevel
from tests import factories
from tests.billing import books
from tests.billing.shop import CREDIT, NOW
from tests.conftest import Run
from tests.races import at_once


def company(credits: str) -> factories.Cast:
    return factories.acme(credits=Decimal(credits))


def move(member: factories.Cast, credits: str, reference: str) -> None:
    """Change a balance without anybody looking at it."""
    ledger.post(
        company_id=member.company_id,
        amount_nanocredits=int(Decimal(credits) * CREDIT),
        action="correction",
        reference=reference,
    )


def told(member: factories.Cast) -> list[str]:
    found = CreditEvent.objects.filter(company_id=member.company_id).order_by("created_at", "id")
    return sorted(event.kind.removeprefix("credits.") for event in found)


def look(member: factories.Cast) -> list[str]:
    """Let the periodic task look; what this company was told so far."""
    credit_events.check_all(now=NOW)
    return told(member)


def test_company_is_told_once_that_credits_run_low() -> None:
    member = company("6")
    assert look(member) == []

    move(member, "-1.5", "spent")

    assert look(member) == ["low"]
    assert look(member) == ["low"]
    event = CreditEvent.objects.get(company_id=member.company_id)
    assert event.payload == {"balance": "4.5", "held": "0", "available": "4.5", "threshold": "5"}
    assert event.id.version == 7


def test_threshold_is_the_companys_own() -> None:
    member = company("6")
    companies.set_low_credits(company_id=member.company_id, credits=Decimal("6.000000001"))

    assert look(member) == ["low"]


def test_company_with_threshold_zero_is_told_only_when_nothing_is_left() -> None:
    member = company("6")
    companies.set_low_credits(company_id=member.company_id, credits=Decimal(0))

    move(member, "-5.9", "spent")
    assert look(member) == []
    move(member, "-0.1", "rest")
    assert look(member) == ["exhausted"]


def test_what_is_held_is_not_there_to_be_spent(run: Run) -> None:
    member = company("6")
    run(books.held(books.Wallet(company_id=member.company_id), 2 * CREDIT))

    assert look(member) == ["low"]


def test_falling_through_both_thresholds_tells_of_both() -> None:
    member = company("6")
    move(member, "-6", "spent")

    assert look(member) == ["exhausted", "low"]


def test_going_back_and_forth_across_the_threshold_is_told_once() -> None:
    member = company("6")
    for number in range(4):
        move(member, "-1.2", f"down {number}")
        look(member)
        move(member, "1.2", f"up {number}")
        look(member)
    # 6 is six fifths of the threshold: enough to be told again.
    assert told(member).count("low") == 4
    move(member, "-0.1", "a little")
    look(member)
    for number in range(4):
        move(member, "-1.2", f"down again {number}")
        look(member)
        move(member, "1.2", f"up again {number}")
        look(member)
    assert told(member).count("low") == 5


def test_each_new_crossing_is_told_again() -> None:
    member = company("6")
    for number in range(3):
        move(member, "-3", f"spent {number}")
        look(member)
        move(member, "3", f"given {number}")
        look(member)

    assert told(member) == ["low"] * 3


def test_twenty_looks_at_once_tell_once() -> None:
    """Also where the company was looked at before, so that no new row makes the others wait."""
    for number in range(5):
        member = company("6")
        if number:
            credit_events.check(company_id=member.company_id, now=NOW)
        move(member, "-2", "spent")

        at_once(*[functools.partial(credit_events.check, company_id=member.company_id, now=NOW)] * 20)

        assert told(member) == ["low"]


def test_company_that_never_had_a_credit_is_told_nothing() -> None:
    assert look(factories.initech()) == []


def test_closed_company_is_told_nothing() -> None:
    member = company("1")
    companies.close(company_id=member.company_id, now=NOW)

    assert look(member) == []


@pytest.mark.parametrize("credits", [-1, Decimal("1e10"), Decimal("0.0000000001"), "many"])
def test_threshold_that_is_no_amount_is_refused(credits: Any) -> None:
    with pytest.raises(InvalidInput):
        companies.set_low_credits(company_id=company("1").company_id, credits=credits)


@given(
    available=st.integers(-(10**12), 10**12),
    threshold=st.integers(0, 10**12),
    was=st.sampled_from(CreditLevel.Level),
)
def test_level_is_settled_at_once_and_never_says_fine_below_the_threshold(
    available: int, threshold: int, was: CreditLevel.Level
) -> None:
    level = functools.partial(
        credit_events.level, available_nanocredits=available, threshold_nanocredits=threshold
    )
    now = level(told=was)

    assert level(told=now) is now
    assert now is EXHAUSTED or available >= credit_events.EXHAUSTED_BELOW
    assert now is not FINE or available >= threshold
    assert now is not LOW or threshold > 0
    if available < min(threshold, credit_events.EXHAUSTED_BELOW):
        assert now is EXHAUSTED


@pytest.mark.parametrize("was", list(CreditLevel.Level))
def test_query_finds_every_company_whose_level_changes(was: CreditLevel.Level) -> None:
    """The two spellings of the rule, in SQL and in Python, side by side around every edge."""
    members = {}
    for credits in (
        "0.005",
        "0.01",
        "0.0999",
        "0.1",
        "0.999",
        "1",
        "4.999999999",
        "5",
        "5.999999999",
        "6",
        "7",
    ):
        member = company(credits)
        CreditLevel.objects.create(company_id=member.company_id, level=was.value, since=NOW)
        members[credits] = member

    credit_events.check_all(now=NOW)

    for credits, member in members.items():
        available = int(Decimal(credits) * CREDIT)
        due = credit_events.level(available_nanocredits=available, threshold_nanocredits=5 * CREDIT, told=was)
        assert CreditLevel.objects.get(company_id=member.company_id).level == due.value, credits
    # Nobody is looked at again and again for nothing.
    assert credit_events.check_all(now=NOW) == 0
    left = {row[0] for row in books.rows(credit_events._CROSSED, 10**7, 10**7, 10**8, 1000)}
    assert not left & {member.company_id for member in members.values()}
