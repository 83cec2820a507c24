"""Checkouts whose webhook never comes: the provider is asked, and whoever says it first is the only one who acts."""

import functools
import json
from datetime import datetime, timedelta

import pytest
from pytest_django import Settings

from billing import ledger, payment_events
from billing.errors import EntryConflict
from billing.models import Alert
from billing.payment_models import Checkout
from billing.payments import fake
from naive_platform import tasks
from tests.billing import shop
from tests.races import at_once

SOON = shop.NOW + timedelta(minutes=10)


@pytest.fixture(autouse=True)
def _played(settings: Settings) -> None:
    shop.play(settings)
    # What other tests have left open.
    Checkout.objects.update(ask_at=None)


def ask(at: datetime = SOON) -> int:
    return payment_events.ask(now=at)


def test_payment_of_which_nobody_told_is_credited_when_it_is_asked_about() -> None:
    sale = shop.sale()
    told = sale.pay()

    assert ask(SOON - timedelta(seconds=1)) == 0
    assert sale.balance() == 0
    assert ask() == 1
    assert (sale.balance(), sale.row.status, sale.row.payment_id) == (
        20,
        "paid",
        json.loads(told.body)["data"]["object"]["payment_intent"],
    )
    # The webhook that comes after all says nothing new, and a refund finds its payment.
    assert shop.tell(told) == "stale"
    assert shop.tell(fake.refund(sale.session_id, amount_cents=1000, now=shop.NOW)) == "applied"
    assert sale.balance() == 0


def test_checkout_that_is_heard_of_is_not_asked_about() -> None:
    sale = shop.sale().paid()

    assert ask() == 0
    assert sale.balance() == 20


def test_webhook_and_answer_at_the_same_moment_credit_once() -> None:
    for _ in range(5):
        sale = shop.sale()
        told = sale.pay()
        at_once(functools.partial(shop.tell, told), ask, ask)
        assert sale.balance() == 20


def test_checkout_that_nobody_paid_is_over_when_the_provider_says_so() -> None:
    sale = shop.sale()
    fake.expire(sale.session_id, now=shop.NOW)

    assert ask() == 1
    assert (sale.row.status, sale.balance()) == ("unpaid", 0)


def test_open_checkout_is_asked_about_whenever_its_age_has_doubled() -> None:
    sale = shop.sale()
    asked = []
    for minute in range(0, 24 * 60, 5):
        before = sale.row.ask_at
        ask(shop.NOW + timedelta(minutes=minute))
        if sale.row.ask_at != before:
            asked.append(minute)

    assert asked == [10, 20, 40, 80, 160, 320, 640, 1280]
    ask(shop.NOW + timedelta(days=40))
    assert sale.row.ask_at is None


def test_refund_that_waited_for_the_payment_comes_with_the_answer() -> None:
    sale = shop.sale()
    sale.pay()
    assert shop.tell(fake.refund(sale.session_id, amount_cents=500, now=shop.NOW)) == "waiting"

    ask()

    assert sale.balance() == 10


def test_dispute_does_not_hide_that_the_session_was_paid() -> None:
    sale = shop.sale()
    sale.pay()
    assert shop.tell(fake.dispute(sale.session_id, now=shop.NOW)) == "waiting"

    ask()

    assert sale.balance() == 20
    assert ledger.balance(company_id=sale.member.company_id).is_frozen


def test_provider_that_does_not_answer_is_asked_again_later_and_one_checkout_blocks_no_other(
    settings: Settings,
) -> None:
    sales = [shop.sale() for _ in range(3)]
    for sale in sales:
        sale.pay()
        Checkout.objects.filter(session_id=sale.session_id).update(provider="stripe")
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = "sk_test_1", "whsec_1"
    settings.STRIPE_API_BASE = "http://127.0.0.1:1"

    assert [ask() for _ in range(3)] == [0, 0, 0]

    assert {sale.row.ask_at for sale in sales} == {SOON + timedelta(minutes=10)}
    assert all(sale.row.status == "open" for sale in sales)


def test_payment_that_the_ledger_does_not_take_is_an_alert() -> None:
    sale = shop.sale()
    sale.pay()
    ledger.post(
        company_id=sale.member.company_id, amount_nanocredits=1, action="grant", reference=sale.session_id
    )
    ledger.post(
        company_id=sale.member.company_id,
        amount_nanocredits=1,
        action="credit_topup",
        reference=sale.session_id,
    )

    with pytest.raises(EntryConflict):
        ask()

    assert Alert.objects.filter(kind="payment_mismatch", company_id=sale.member.company_id).count() == 1
    assert sale.row.status == "open"


def test_task_asks_nobody_where_top_ups_are_not_set_up(settings: Settings) -> None:
    shop.sale()
    settings.DEBUG = False

    tasks.ask_about_checkouts()
