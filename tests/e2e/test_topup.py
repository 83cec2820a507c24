"""A pack bought through the running platform: page, signed webhooks over the network, ledger, and what is told."""

import re
from decimal import Decimal
from typing import Any

import httpx
import pytest
from django.utils import timezone

from billing.payment_models import CreditEvent, CreditLevel, FakeEvent
from billing.payments import fake
from tests import factories
from tests.e2e.conftest import Platform, eventually

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


@pytest.fixture
def broke() -> factories.Cast:
    """A fresh company without a credit."""
    return factories.initech()


class Customer:
    """Somebody in front of the hosted page, with a browser's cookies."""

    def __init__(self, url: str) -> None:
        self.url = url

    def click(self, **button: str) -> httpx.Response:
        with httpx.Client(timeout=30) as browser:
            found = TOKEN.search(browser.get(self.url).text)
            assert found
            return browser.post(self.url, data={"csrfmiddlewaretoken": found[1], **button})


def buy(
    platform: Platform, member: factories.Cast, pack_id: str = "small"
) -> tuple[Customer, dict[str, Any]]:
    answer = platform.post(member.secret, {"pack_id": pack_id}, path="/v1/billing/topup")
    assert answer.status_code == 201, answer.text
    return Customer(answer.json()["checkout_url"]), answer.json()


def credits(platform: Platform, member: factories.Cast) -> Any:
    return platform.get(member.secret, "/v1/status").json()["credits"]["balance"]


def test_customer_pays_and_the_credits_are_there_before_they_return(
    platform: Platform, broke: factories.Cast
) -> None:
    customer, opened = buy(platform, broke)

    back = customer.click(do="pay")

    assert (back.status_code, "topup=paid" in back.headers["Location"]) == (302, True)
    assert credits(platform, broke) == 20
    (entry,) = platform.get(broke.secret, "/v1/billing/ledger").json()["entries"]
    assert (entry["action"], entry["reference"]) == ("credit_topup", opened["session_id"])


def test_webhook_that_comes_later_and_five_times_credits_once(
    platform: Platform, broke: factories.Cast
) -> None:
    customer, opened = buy(platform, broke)
    customer.click(do="pay", later="1")
    assert credits(platform, broke) == 0
    event = FakeEvent.objects.get(checkout_id=opened["session_id"])

    for _ in range(5):
        assert customer.click(event=event.event_id).status_code == 302

    assert credits(platform, broke) == 20
    assert FakeEvent.objects.get(event_id=event.event_id).deliveries == 5


def test_refund_told_before_the_payment_comes_to_nothing_left(
    platform: Platform, broke: factories.Cast
) -> None:
    customer, opened = buy(platform, broke)
    customer.click(do="pay", later="1")
    paid = FakeEvent.objects.get(checkout_id=opened["session_id"])

    customer.click(do="refund")
    customer.click(event=paid.event_id)

    found = platform.get(broke.secret, "/v1/billing/ledger").json()["entries"]
    assert [(entry["action"], entry["amount"]) for entry in found] == [
        ("correction", -20),
        ("credit_topup", 20),
    ]
    assert found[0]["corrects"] == opened["session_id"]


def test_dispute_refuses_calls_until_it_is_won(platform: Platform, broke: factories.Cast) -> None:
    customer, _ = buy(platform, broke)
    customer.click(do="pay")
    call = {"model": "anthropic/claude-sonnet-4.6", "messages": [{"role": "user", "content": "Hello"}]}

    customer.click(do="dispute")
    refused = platform.post(broke.secret, call)
    customer.click(do="win")

    assert refused.status_code == 403
    assert refused.json()["error"]["details"]["reason"] == "wallet_frozen"
    assert platform.post(broke.secret, call).status_code == 200


def test_company_is_told_of_its_credits_by_the_worker(platform: Platform, broke: factories.Cast) -> None:
    customer, _ = buy(platform, broke)
    customer.click(do="pay")
    customer.click(do="refund")

    def told() -> list[str]:
        found = CreditEvent.objects.filter(company_id=broke.company_id)
        return sorted(found.values_list("kind", flat=True))

    assert told() == ["credits.exhausted", "credits.low", "credits.topped_up"]
    factories.give(broke, credits=Decimal(6))
    level = CreditLevel.objects.filter(company_id=broke.company_id, level="fine")
    eventually(level.exists, what="the worker has seen the new credits")


def test_forged_webhook_over_the_network_is_refused(platform: Platform, broke: factories.Cast) -> None:
    _, opened = buy(platform, broke)
    event = fake.pay(opened["session_id"], now=timezone.now())

    answer = httpx.post(
        f"{platform.url}/v1/payments/stripe",
        content=event.body,
        headers={"Stripe-Signature": "t=1,v1=00", "Content-Type": "application/json"},
    )

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_input")
    assert credits(platform, broke) == 0
