"""What a paid pack gives back: refunds and disputes, in any order, and never more than it was."""

import functools
import json
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from billing import ledger, settlement
from billing.models import Alert, Entry
from billing.payment_models import CreditEvent, Dispute, FakeEvent, PaymentEvent
from billing.payments import fake
from tests import factories
from tests.billing import books, shop
from tests.conftest import Run
from tests.races import at_once


@pytest.fixture(autouse=True)
def _played(settings: Settings) -> None:
    shop.play(settings)


def refund(sale: shop.Sale, cents: int) -> FakeEvent:
    return fake.refund(sale.session_id, amount_cents=cents, now=shop.NOW)


def dispute(sale: shop.Sale) -> FakeEvent:
    return fake.dispute(sale.session_id, now=shop.NOW)


def decide(sale: shop.Sale, *, is_won: bool) -> FakeEvent:
    return fake.close_dispute(sale.session_id, is_won=is_won, now=shop.NOW)


def is_frozen(sale: shop.Sale) -> bool:
    return ledger.balance(company_id=sale.member.company_id).is_frozen


def last(sale: shop.Sale) -> Entry:
    return Entry.objects.filter(company_id=sale.member.company_id).latest("seq")


def test_refund_is_a_correction_that_names_the_top_up() -> None:
    sale = shop.sale().paid()

    assert shop.tell(refund(sale, 1000)) == "applied"

    entry = last(sale)
    assert (entry.action, entry.amount_nanocredits) == ("correction", -20 * shop.CREDIT)
    assert (entry.corrects, entry.actor) == (sale.session_id, "fake_stripe")
    assert sale.balance() == 0


def test_refund_told_twenty_times_at_once_takes_once() -> None:
    sale = shop.sale().paid()
    event = refund(sale, 500)

    at_once(*[functools.partial(shop.tell, event)] * 20)

    assert sale.balance() == 10


def test_later_refund_that_comes_first_takes_all_and_the_earlier_one_nothing() -> None:
    sale = shop.sale(pack_id="medium").paid()
    first, second = refund(sale, 700), refund(sale, 1600)

    assert (shop.tell(second), shop.tell(first)) == ("applied", "stale")
    assert sale.balance() == 0


def test_partial_refunds_never_take_more_than_their_share() -> None:
    """50 credits for 23 USD do not divide; the parts add up to the whole, and the rest is the customer's meanwhile."""
    sale = shop.sale(pack_id="medium").paid()

    for cents, left in ((1, Decimal("49.978260870")), (1, Decimal("49.956521740")), (2298, Decimal(0))):
        shop.tell(refund(sale, cents))
        assert sale.balance() == left


def test_refund_after_the_credits_were_spent_makes_the_balance_negative() -> None:
    sale = shop.sale().paid()
    ledger.post(
        company_id=sale.member.company_id,
        amount_nanocredits=-15 * shop.CREDIT,
        action="correction",
        reference="spent",
    )

    shop.tell(refund(sale, 1000))

    assert sale.balance() == -15
    kinds = CreditEvent.objects.filter(company_id=sale.member.company_id).values_list("kind", flat=True)
    assert sorted(kinds) == ["credits.exhausted", "credits.low", "credits.topped_up"]


@pytest.mark.parametrize(
    "changes", [{"amount": 999}, {"currency": "eur"}, {"amount_refunded": 1001}], ids=lambda c: next(iter(c))
)
def test_refund_that_is_not_of_what_was_paid_is_put_before_a_person(changes: dict[str, object]) -> None:
    sale = shop.sale().paid()

    assert shop.tell(refund(sale, 1000), **changes) == "refused"
    assert sale.balance() == 20
    assert Alert.objects.filter(kind="payment_mismatch", company_id=sale.member.company_id).count() == 1


def test_refund_that_comes_before_the_payment_waits_for_it() -> None:
    sale = shop.sale()
    paid, refunded = sale.pay(), refund(sale, 1000)

    assert shop.tell(refunded) == "waiting"
    assert shop.tell(paid) == "applied"

    assert [
        entry.action for entry in Entry.objects.filter(company_id=sale.member.company_id).order_by("seq")
    ] == [
        "credit_topup",
        "correction",
    ]
    assert PaymentEvent.objects.get(event_id=refunded.event_id).outcome == "applied"


def test_refund_and_payment_at_the_same_moment_both_count() -> None:
    for _ in range(5):
        sale = shop.sale()
        paid, refunded = sale.pay(), refund(sale, 1000)
        at_once(functools.partial(shop.tell, paid), functools.partial(shop.tell, refunded))
        assert (sale.row.returned_nanocredits, sale.balance()) == (20 * shop.CREDIT, 0)


def test_dispute_freezes_the_wallet_and_takes_nothing(run: Run) -> None:
    sale = shop.sale().paid()

    assert shop.tell(dispute(sale)) == "applied"

    assert (is_frozen(sale), sale.balance()) == (True, 20)


def test_calls_that_run_settle_while_a_dispute_freezes_the_wallet(run: Run) -> None:
    sale = shop.sale().paid()
    wallet = books.Wallet(company_id=sale.member.company_id)
    request = run(books.held(wallet))
    shop.tell(dispute(sale))

    with pytest.raises(Exception, match="is frozen"):
        run(books.held(wallet))
    run(settlement.settle(hold=books.key(request), evidence=books.cost("0.4")))
    assert sale.balance() == 19


def test_dispute_that_is_won_thaws_the_wallet() -> None:
    sale = shop.sale().paid()
    shop.tell(dispute(sale))

    assert shop.tell(decide(sale, is_won=True)) == "applied"

    assert (is_frozen(sale), sale.balance()) == (False, 20)


def test_dispute_that_is_lost_is_a_chargeback_and_the_wallet_stays_frozen() -> None:
    sale = shop.sale().paid()
    shop.tell(dispute(sale))

    assert shop.tell(decide(sale, is_won=False)) == "applied"

    entry = last(sale)
    assert (entry.action, entry.amount_nanocredits, entry.corrects) == (
        "chargeback",
        -20 * shop.CREDIT,
        sale.session_id,
    )
    assert is_frozen(sale)
    assert books.violations(books.Wallet(company_id=sale.member.company_id)) == []


def test_decision_that_comes_before_the_dispute_is_not_undone_by_it() -> None:
    sale = shop.sale().paid()
    opened, won = dispute(sale), decide(sale, is_won=True)

    assert (shop.tell(won), shop.tell(opened)) == ("applied", "stale")
    assert not is_frozen(sale)


def test_loss_that_comes_before_the_dispute_freezes_and_takes_back() -> None:
    sale = shop.sale().paid()
    opened, lost = dispute(sale), decide(sale, is_won=False)

    assert (shop.tell(lost), shop.tell(opened)) == ("applied", "stale")
    assert (is_frozen(sale), sale.balance()) == (True, 0)


def test_wallet_that_the_operator_froze_is_not_thawed_by_a_dispute() -> None:
    sale = shop.sale().paid()
    ledger.freeze(company_id=sale.member.company_id)

    shop.tell(dispute(sale))
    shop.tell(decide(sale, is_won=True))

    assert is_frozen(sale)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
def test_wallet_stays_frozen_until_the_last_dispute_is_won(order: tuple[int, int]) -> None:
    first = shop.sale().paid()
    sales = [first, shop.sale(first.member).paid()]
    for sale in sales:
        shop.tell(dispute(sale))

    shop.tell(decide(sales[order[0]], is_won=True))
    assert is_frozen(first)
    shop.tell(decide(sales[order[1]], is_won=True))
    assert not is_frozen(first)


@pytest.mark.parametrize("lost", [0, 1])
def test_wallet_stays_frozen_when_one_of_two_disputes_is_lost(lost: int) -> None:
    first = shop.sale().paid()
    sales = [first, shop.sale(first.member).paid()]
    for sale in sales:
        shop.tell(dispute(sale))

    shop.tell(decide(sales[lost], is_won=False))
    shop.tell(decide(sales[1 - lost], is_won=True))

    assert is_frozen(first)


def test_two_disputes_at_once_are_both_kept_and_one_of_them_froze() -> None:
    first = shop.sale().paid()
    events = [dispute(sale) for sale in (first, shop.sale(first.member).paid())]

    at_once(*(functools.partial(shop.tell, event) for event in events))

    found = Dispute.objects.filter(company_id=first.member.company_id)
    assert sorted(found.values_list("froze_wallet", flat=True)) == [False, True]


def test_payment_with_a_dispute_and_another_dispute_do_not_wait_for_each_other() -> None:
    """Both need the company's wallet and its disputes; whoever took them in another order would stand in the way."""
    for _ in range(8):
        first = shop.sale()
        second = shop.sale(first.member).paid()
        paid, waiting, other = first.pay(), dispute(first), dispute(second)
        assert shop.tell(waiting) == "waiting"

        outcomes = at_once(functools.partial(shop.tell, paid), functools.partial(shop.tell, other))

        assert outcomes == ["applied", "applied"]


def test_dispute_that_is_won_after_it_was_lost_is_put_before_a_person() -> None:
    sale = shop.sale().paid()
    shop.tell(dispute(sale))
    lost = decide(sale, is_won=False)
    shop.tell(lost)
    won = json.dumps(json.loads(lost.body) | {"id": f"evt_{uuid4().hex}"})

    assert shop.tell_body(won, status="won") == "refused"
    assert (is_frozen(sale), sale.balance()) == (True, 0)


def test_refund_and_lost_dispute_together_take_the_pack_once() -> None:
    sale = shop.sale().paid()
    shop.tell(refund(sale, 400))
    shop.tell(dispute(sale))
    lost = decide(sale, is_won=False)

    shop.tell(lost, amount=1000)

    assert sale.balance() == 0
    assert sale.row.returned_nanocredits == 20 * shop.CREDIT


def test_globex_is_not_frozen_by_a_dispute_of_acme() -> None:
    sale, globex = shop.sale().paid(), factories.globex()

    shop.tell(dispute(sale))

    assert not ledger.balance(company_id=globex.company_id).is_frozen


@hypothesis_settings(max_examples=25)
@given(data=st.data())
def test_order_and_repetition_of_events_do_not_matter(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.integers(1, 300), max_size=3), label="refunds")
    outcome = data.draw(st.sampled_from([None, "open", "won", "lost"]), label="dispute")
    sale = shop.sale()
    story = [sale.pay(), *(refund(sale, cents) for cents in parts)]
    story += [dispute(sale)] if outcome else []
    story += [decide(sale, is_won=outcome == "won")] if outcome in ("won", "lost") else []
    told = data.draw(st.permutations(story), label="order")
    again = data.draw(st.lists(st.sampled_from(story), max_size=4), label="again")

    for event in [*told, *again]:
        shop.tell(event)

    left = 0 if outcome == "lost" else 20 * shop.CREDIT - 20 * shop.CREDIT * sum(parts) // 1000
    assert factories.balance_nanocredits(sale.member) in (left, left + (1 if outcome == "lost" else 0))
    assert is_frozen(sale) == (outcome in ("open", "lost"))
    assert books.violations(books.Wallet(company_id=sale.member.company_id)) == []
