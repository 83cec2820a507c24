"""A company that buys packs from the stand-in for Stripe, and the news that reach the books, in any order."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone
from pytest_django import Settings

from billing import money, payment_events, topups
from billing.payment_models import Checkout, FakeEvent
from billing.payments import configured, fake, stripe_news
from billing.topups import OpenCheckout
from tests import factories

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CREDIT = money.NANOCREDITS_PER_CREDIT
BASE_URL = "http://naive.test"


@dataclass(frozen=True, slots=True)
class Sale:
    """A checkout, and who opened it."""

    member: factories.Cast
    opened: OpenCheckout

    @property
    def session_id(self) -> str:
        return self.opened.session_id

    @property
    def row(self) -> Checkout:
        return Checkout.objects.get(session_id=self.session_id)

    def pay(self) -> FakeEvent:
        return fake.pay(self.session_id, now=NOW)

    def paid(self) -> "Sale":
        assert tell(self.pay()) == "applied"
        return self

    def balance(self) -> int | Decimal:
        return factories.balance(self.member)


def play(settings: Settings) -> None:
    """Let payments be played in this test, by companies that begin without a credit."""
    settings.DEBUG, settings.STRIPE_SECRET_KEY = True, ""
    settings.SIGNUP_GRANT_CREDITS = Decimal(0)


def sale(member: factories.Cast | None = None, *, pack_id: str = "small") -> Sale:
    """A checkout that is open."""
    member = member or factories.initech()
    opened = topups.start(
        company_id=member.company_id,
        pack_id=pack_id,
        actor=f"key:{member.key.id}",
        base_url=BASE_URL,
        now=NOW,
    )
    return Sale(member=member, opened=opened)


def tell(event: FakeEvent, **changes: Any) -> str | None:
    """Bring an event to the books, signed now, its object changed as given; what came of it."""
    return tell_body(event.body, **changes)


def tell_body(body: str, **changes: Any) -> str | None:
    said = json.loads(body)
    said["data"]["object"] |= changes
    return send(json.dumps(said).encode())


def send(body: bytes, *, signature: str | None = None) -> str | None:
    now = timezone.now()
    signed = signature or stripe_news.sign(body, secret=configured.fake_secret(), at=now)
    outcome = payment_events.receive(body=body, signature=signed, now=now)
    return None if outcome is None else outcome.value
