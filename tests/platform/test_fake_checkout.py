"""The page of the stand-in for Stripe: what it offers, and where it is not."""

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from billing.payment_models import FakeCheckout, FakeEvent
from billing.payments import fake
from tests.billing import shop


@pytest.fixture(autouse=True)
def _played(settings: Settings) -> None:
    shop.play(settings)


def page(sale: shop.Sale) -> str:
    return f"/demo/checkout/{sale.session_id}"


def test_page_says_that_no_money_moves() -> None:
    answer = Client().get(page(shop.sale(pack_id="medium")))

    text = answer.content.decode()
    assert "No money moves here" in text
    assert "Pay 23.00 USD" in text
    assert "no-store" in answer.headers["Cache-Control"]


def test_page_is_not_there_where_payments_are_real(settings: Settings) -> None:
    sale = shop.sale()
    for debug, key in ((False, ""), (True, "sk_test_1"), (False, "sk_test_1")):
        settings.DEBUG, settings.STRIPE_SECRET_KEY = debug, key
        for answer in (Client().get(page(sale)), Client().post(page(sale), {"do": "pay"})):
            assert answer.status_code == 404
    assert FakeCheckout.objects.get(session_id=sale.session_id).status == "open"


def test_checkout_nobody_opened_has_no_page() -> None:
    assert Client().get("/demo/checkout/cs_fake_x").status_code == 404
    assert Client().post("/demo/checkout/cs_fake_x", {"do": "pay"}).status_code == 404


def test_page_does_nothing_for_another_site() -> None:
    sale = shop.sale()

    assert Client(enforce_csrf_checks=True).post(page(sale), {"do": "pay"}).status_code == 403
    assert FakeCheckout.objects.get(session_id=sale.session_id).status == "open"


def test_paying_leads_back_and_a_webhook_that_is_kept_back_waits() -> None:
    sale = shop.sale()

    answer = Client().post(page(sale), {"do": "pay", "later": "1"})

    assert (answer.status_code, answer.headers["Location"]) == (
        302,
        f"http://naive.test/dashboard/billing/?topup=paid&checkout={sale.row.id}",
    )
    assert FakeEvent.objects.get(checkout_id=sale.session_id).deliveries == 0
    assert sale.balance() == 0
    assert ">Send</button>" in Client().get(page(sale)).content.decode()


def test_cancelling_pays_nothing() -> None:
    sale = shop.sale()

    answer = Client().post(page(sale), {"do": "cancel"})

    assert "topup=cancelled" in answer.headers["Location"]
    assert FakeCheckout.objects.get(session_id=sale.session_id).status == "open"


def test_what_cannot_be_done_is_said() -> None:
    sale = shop.sale()
    fake.pay(sale.session_id, now=timezone.now())

    answer = Client().post(page(sale), {"do": "pay"})

    assert answer.status_code == 409
    assert "This checkout is paid." in answer.content.decode()


@pytest.mark.parametrize("sent", [{}, {"do": "steal"}, {"event": "evt_of_another"}], ids=str)
def test_button_that_is_not_there_is_not_found(sent: dict[str, str]) -> None:
    assert Client().post(page(shop.sale()), sent).status_code == 404


def test_event_of_another_checkout_is_not_sent_from_here() -> None:
    other = fake.pay(shop.sale().session_id, now=timezone.now())

    assert Client().post(page(shop.sale()), {"event": other.event_id}).status_code == 404


def test_webhook_that_did_not_get_there_is_not_called_delivered() -> None:
    sale = shop.sale()
    FakeCheckout.objects.filter(session_id=sale.session_id).update(
        order=fake.find(sale.session_id).order | {"success_url": "http://127.0.0.1:1/dashboard/"}
    )

    assert Client().post(page(sale), {"do": "pay"}).status_code == 302

    text = Client().get(page(sale)).content.decode()
    assert "not delivered yet" in text
    assert "Back to the dashboard" in text
