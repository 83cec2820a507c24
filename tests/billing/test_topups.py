"""Packs bought through the payment provider: credited once, whatever is sent, how often, and in which order."""

import functools
import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts.errors import Conflict, InvalidInput, NotConfigured
from billing import ledger, topups
from billing.errors import InvalidSignature, WalletNotFound
from billing.models import Alert, Entry
from billing.payment_models import Checkout, CreditEvent, PaymentEvent
from billing.payments import configured, fake, stripe_news
from tests import factories
from tests.billing import books, shop
from tests.races import at_once


@pytest.fixture(autouse=True)
def _played(settings: Settings) -> None:
    shop.play(settings)


def entries(sale: shop.Sale) -> list[tuple[str, Decimal]]:
    found = Entry.objects.filter(company_id=sale.member.company_id).order_by("seq")
    return [(entry.action, Decimal(entry.amount_nanocredits) / shop.CREDIT) for entry in found]


def alerts(sale: shop.Sale) -> list[str]:
    found = Alert.objects.filter(kind="payment_mismatch", company_id=sale.member.company_id)
    return list(found.values_list("message", flat=True))


def test_opened_checkout_credits_nothing() -> None:
    sale = shop.sale(pack_id="medium")

    assert sale.opened.pack.credits == 50
    assert sale.opened.checkout_url.startswith("http://naive.test/demo/checkout/cs_fake_")
    assert sale.opened.expires_at == shop.NOW + timedelta(hours=24)
    assert sale.balance() == 0


def test_paid_checkout_is_credited_under_the_sessions_id() -> None:
    sale = shop.sale().paid()

    entry = Entry.objects.get(company_id=sale.member.company_id)
    assert (entry.action, entry.amount_nanocredits) == ("credit_topup", 20 * shop.CREDIT)
    assert (entry.reference, entry.actor) == (sale.session_id, "fake_stripe")
    assert f"by key:{sale.member.key.id}" in entry.note
    assert books.violations(books.Wallet(company_id=sale.member.company_id)) == []


def test_twenty_replays_at_once_credit_once() -> None:
    sale = shop.sale()
    event = sale.pay()

    outcomes = at_once(*[functools.partial(shop.tell, event)] * 20)

    assert sorted(map(str, outcomes)) == ["applied"] + ["stale"] * 19
    assert sale.balance() == 20
    topped_up = CreditEvent.objects.filter(company_id=sale.member.company_id, kind="credits.topped_up")
    assert topped_up.count() == 1


def test_event_keeps_what_it_did_however_often_it_is_sent() -> None:
    sale, odd = shop.sale(), shop.sale()
    good, bad = sale.pay(), odd.pay()

    outcomes = [(shop.tell(good), shop.tell(bad, amount_total=1)) for _ in range(3)]

    assert outcomes == [("applied", "refused"), ("stale", "stale"), ("stale", "stale")]
    kept = PaymentEvent.objects.filter(event_id__in=[good.event_id, bad.event_id])
    assert sorted(kept.values_list("outcome", flat=True)) == ["applied", "refused"]
    assert Alert.objects.get(kind="payment_mismatch", company_id=odd.member.company_id).count == 1


def test_two_events_of_one_payment_at_once_credit_once() -> None:
    sale = shop.sale()
    first = json.loads(sale.pay().body)
    second = json.dumps(first | {"id": "evt_other", "type": "checkout.session.async_payment_succeeded"})
    second = second.replace("evt_other", f"evt_{uuid4().hex}")

    at_once(functools.partial(shop.tell_body, json.dumps(first)), functools.partial(shop.tell_body, second))

    assert entries(sale) == [("credit_topup", Decimal(20))]


def test_payment_after_the_checkout_expired_is_credited() -> None:
    sale = shop.sale()
    paid = sale.pay()
    expired = json.dumps(
        json.loads(paid.body) | {"id": f"evt_{uuid4().hex}", "type": "checkout.session.expired"}
    )

    assert shop.tell_body(expired) == "applied"
    assert sale.row.status == "unpaid"
    assert shop.tell(paid) == "applied"
    assert (sale.row.status, sale.balance()) == ("paid", 20)


def test_expiry_after_the_payment_changes_nothing() -> None:
    sale = shop.sale().paid()
    body = json.loads(fake.find(sale.session_id).events.get().body)
    expired = json.dumps(body | {"id": f"evt_{uuid4().hex}", "type": "checkout.session.expired"})

    assert shop.tell_body(expired) == "stale"
    assert (sale.row.status, sale.balance()) == ("paid", 20)


def test_completed_and_not_paid_yet_waits_for_the_money() -> None:
    sale = shop.sale()
    paid = sale.pay()

    assert shop.tell(paid, payment_status="unpaid") is None
    assert sale.balance() == 0
    assert shop.tell(paid) == "applied"
    assert sale.balance() == 20


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"amount_total": 1}, "1 cents were paid, 1000 asked for"),
        ({"amount_total": 1001}, "1001 cents were paid"),
        ({"amount_total": 0, "payment_status": "no_payment_required"}, "0 cents were paid"),
        ({"currency": "idr"}, "paid in idr"),
        ({"metadata": {"company_id": str(uuid4())}}, "paid by company"),
        ({"metadata": {}}, "paid by company None"),
        ({"id": "cs_another"}, "paid in session cs_another"),
    ],
)
def test_payment_of_something_else_is_credited_to_nobody(changes: dict[str, object], said: str) -> None:
    sale = shop.sale()

    assert shop.tell(sale.pay(), **changes) == "refused"

    assert (sale.balance(), sale.row.status) == (0, "mismatched")
    assert len(alerts(sale)) == 1
    assert said in alerts(sale)[0]


def test_payment_for_globex_is_not_credited_to_acme() -> None:
    sale, globex = shop.sale(), factories.globex()
    before = factories.balance(globex)

    shop.tell(sale.pay(), metadata={"company_id": str(globex.company_id)})

    assert (sale.balance(), factories.balance(globex)) == (0, before)


def test_second_payment_of_one_checkout_is_put_before_a_person() -> None:
    sale = shop.sale()
    body = json.loads(sale.pay().body)
    shop.tell_body(json.dumps(body))

    again = json.dumps(body | {"id": f"evt_{uuid4().hex}"})

    assert shop.tell_body(again, payment_intent="pi_second") == "refused"
    assert (sale.balance(), sale.row.status) == (20, "paid")
    assert "a second time, by pi_second" in alerts(sale)[0]


def test_checkout_of_another_product_of_the_account_is_none_of_ours() -> None:
    body = json.loads(shop.sale().pay().body)
    body["data"]["object"] |= {"id": "cs_other", "client_reference_id": "order 5", "metadata": {"order": "5"}}

    assert shop.send(json.dumps(body | {"id": f"evt_{uuid4().hex}"}).encode()) == "not_ours"


def test_paid_checkout_that_nobody_opened_here_is_an_alert() -> None:
    sale = shop.sale()

    assert shop.tell(sale.pay(), client_reference_id=str(uuid4())) == "refused"
    assert sale.balance() == 0
    assert "is not known here" in alerts(sale)[0]


def test_event_types_that_say_nothing_are_ignored() -> None:
    body = json.loads(shop.sale().pay().body)

    assert shop.send(json.dumps(body | {"type": "payment_intent.created"}).encode()) is None


@pytest.mark.parametrize("age_s", [301, 86_400])
def test_signature_that_is_too_old_is_refused(age_s: int) -> None:
    sale = shop.sale()
    body = sale.pay().body.encode()
    at = timezone.now() - timedelta(seconds=age_s)

    with pytest.raises(InvalidSignature, match="too old"):
        shop.send(body, signature=stripe_news.sign(body, secret=configured.fake_secret(), at=at))
    assert sale.balance() == 0


def test_signature_of_five_minutes_ago_is_good() -> None:
    sale = shop.sale()
    body = sale.pay().body.encode()
    at = timezone.now() - timedelta(seconds=280)

    assert (
        shop.send(body, signature=stripe_news.sign(body, secret=configured.fake_secret(), at=at)) == "applied"
    )


type Forge = Callable[[bytes, str], tuple[bytes, str]]
FORGERIES: dict[str, Forge] = {
    "no key": lambda body, good: (body, "t=1,v1=00"),
    "no header": lambda body, good: (body, "nonsense"),
    "no ASCII": lambda body, good: (body, "t=1,v1=\u00e9"),
    "no moment": lambda body, good: (body, good.replace("t=", "t=9" + "9" * 5000)),
    "two moments": lambda body, good: (body, f"t=1,{good}"),
    "too much": lambda body, good: (body + b" " * stripe_news.BODY_BYTES_MAX, good),
    "old scheme": lambda body, good: (body, good.replace("v1=", "v0=")),
    "another amount": lambda body, good: (body.replace(b"1000", b"1001"), good),
    "a byte more": lambda body, good: (body + b" ", good),
    "no UTF-8": lambda body, good: (b"\xff" + body, good),
    "another account": lambda body, good: (
        body,
        stripe_news.sign(body, secret="whsec_other", at=timezone.now()),
    ),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_forged_webhook_is_refused(forge: Forge) -> None:
    sale = shop.sale()
    body = sale.pay().body.encode()
    good = stripe_news.sign(body, secret=configured.fake_secret(), at=timezone.now())
    sent, signature = forge(body, good)

    with pytest.raises(InvalidSignature):
        shop.send(sent, signature=signature)
    assert sale.balance() == 0
    assert not PaymentEvent.objects.filter(event_id=json.loads(body)["id"]).exists()


def test_signed_body_that_is_no_event_is_refused_and_not_kept() -> None:
    with pytest.raises(InvalidInput, match="not as Stripe's are"):
        shop.send(b'{"id": "evt_x", "type": "checkout.session.completed"}')
    with pytest.raises(InvalidInput, match="not as Stripe's are"):
        shop.send(b"[]")


def test_unknown_pack_is_refused() -> None:
    member = factories.initech()

    with pytest.raises(InvalidInput, match="small, medium, large, xl"):
        topups.start(
            company_id=member.company_id, pack_id="huge", actor="x", base_url=shop.BASE_URL, now=shop.NOW
        )
    with pytest.raises(WalletNotFound):
        topups.start(company_id=uuid4(), pack_id="xl", actor="x", base_url=shop.BASE_URL, now=shop.NOW)


def test_company_that_only_opens_checkouts_is_stopped_and_no_other() -> None:
    first = shop.sale()
    row = first.row
    Checkout.objects.bulk_create(
        Checkout(
            company_id=row.company_id,
            pack_id=row.pack_id,
            credits_nanocredits=row.credits_nanocredits,
            amount_cents=row.amount_cents,
            provider=row.provider,
            created_at=row.created_at,
        )
        for _ in range(topups.OPEN_MAX - 2)
    )
    attempts = at_once(*[functools.partial(shop.sale, first.member)] * 4)

    assert sum(isinstance(attempt, Conflict) for attempt in attempts) == 3
    shop.sale()
    # Whoever was stopped, or had it done to them, can buy an hour later.
    Checkout.objects.filter(company_id=row.company_id).update(created_at=shop.NOW - topups.OPEN_WITHIN)
    shop.sale(first.member)


@pytest.mark.parametrize(
    ("key", "secret", "missing"),
    [
        ("", "", ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"]),
        ("sk_test_1", "", ["STRIPE_WEBHOOK_SECRET"]),
    ],
)
def test_without_stripe_nothing_is_sold_and_the_setting_is_named(
    settings: Settings, key: str, secret: str, missing: list[str]
) -> None:
    settings.DEBUG, settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = False, key, secret

    with pytest.raises(NotConfigured) as refused:
        shop.sale()
    assert refused.value.details == {"missing": missing}
    with pytest.raises(NotConfigured):
        shop.send(b"{}", signature="t=1,v1=0")


def test_fake_payment_is_worth_nothing_once_stripe_is_set_up(settings: Settings) -> None:
    sale = shop.sale()
    event = sale.pay()
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = "sk_test_1", "whsec_1"

    with pytest.raises(InvalidSignature):
        shop.tell(event)
    assert sale.balance() == 0


def test_nothing_is_kept_of_an_event_whose_credits_could_not_be_posted() -> None:
    """The reference is taken by another amount: the transaction goes as a whole, and the provider sends it again."""
    sale = shop.sale()
    ledger.post(
        company_id=sale.member.company_id,
        amount_nanocredits=shop.CREDIT,
        action="credit_topup",
        reference=sale.session_id,
    )
    event = sale.pay()

    with pytest.raises(Exception, match="has credit_topup"):
        shop.tell(event)
    assert Checkout.objects.get(session_id=sale.session_id).status == "open"
    assert not PaymentEvent.objects.filter(event_id=event.event_id).exists()
    assert "has credit_topup" in alerts(sale)[0]
