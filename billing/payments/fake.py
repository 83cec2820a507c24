"""A stand-in for Stripe with books of its own: checkouts that somebody pays, refunds or disputes, and signed webhooks.

It says what Stripe would say, in Stripe's words; when, in which order and how often is for its caller to choose.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.db import transaction
from django.db.models import F

from accounts.errors import Conflict, NotFound
from billing.payment_models import FakeCheckout, FakeEvent
from billing.payments import stripe_news
from billing.payments.provider import Hosted, News, Order

NAME = "fake_stripe"
# As long as Stripe's sessions live.
SESSION_TTL = timedelta(hours=24)
PAGE = "/demo/checkout/"

# Gets a webhook's body and signature to our door; returns the status it was answered with, 0 where it got no answer.
type Post = Callable[[bytes, str], int]


@dataclass(frozen=True, slots=True)
class FakeStripe:
    """The stand-in as a provider."""

    webhook_secret: str = field(repr=False)

    @property
    def name(self) -> str:
        return NAME

    def open_checkout(self, order: Order, *, now: datetime) -> Hosted:
        """Open a checkout whose page is on the platform itself."""
        checkout = FakeCheckout.objects.create(
            session_id=f"cs_fake_{secrets.token_urlsafe(24)}",
            payment_id=f"pi_fake_{secrets.token_urlsafe(18)}",
            order={
                "checkout_id": str(order.checkout_id),
                "company_id": str(order.company_id),
                "description": order.description,
                "amount_cents": order.amount_cents,
                "success_url": order.success_url,
                "cancel_url": order.cancel_url,
            },
            created_at=now,
            expires_at=now + SESSION_TTL,
        )
        ours = urlsplit(order.success_url)
        return Hosted(
            session_id=checkout.session_id,
            url=f"{ours.scheme}://{ours.netloc}{PAGE}{checkout.session_id}",
            expires_at=checkout.expires_at,
        )

    def look_up(self, session_id: str, *, now: datetime) -> News | None:
        """As stripe_news.of_session."""
        return stripe_news.of_session(_session(find(session_id)), now=now)

    def read_news(self, body: bytes, *, signature: str | None) -> News | None:
        """As stripe_news.read."""
        return stripe_news.read(body, signature=signature, secret=self.webhook_secret)


def find(session_id: str) -> FakeCheckout:
    """A checkout of the stand-in. Errors: NotFound."""
    checkout = FakeCheckout.objects.filter(session_id=session_id).first()
    if checkout is None:
        raise NotFound("There is no such checkout.")
    return checkout


@transaction.atomic
def pay(session_id: str, *, now: datetime) -> FakeEvent:
    """The customer pays. Errors: NotFound, Conflict (paid or over)."""
    checkout = _in(session_id, "open")
    checkout.status = "paid"
    return _say(checkout, "checkout.session.completed", _session(checkout), now=now)


@transaction.atomic
def expire(session_id: str, *, now: datetime) -> FakeEvent:
    """Nobody pays any more. Errors: NotFound, Conflict (paid or over)."""
    checkout = _in(session_id, "open")
    checkout.status = "expired"
    return _say(checkout, "checkout.session.expired", _session(checkout), now=now)


@transaction.atomic
def refund(session_id: str, *, amount_cents: int, now: datetime) -> FakeEvent:
    """Money goes back to the customer. Errors: NotFound, Conflict (not paid, or more than is left)."""
    checkout = _in(session_id, "paid")
    checkout.refunded_cents += amount_cents
    if not 0 < amount_cents <= checkout.refunded_cents <= checkout.order["amount_cents"]:
        raise Conflict(f"Of checkout {session_id} {amount_cents} cents cannot be refunded.")
    charge = {
        "object": "charge",
        "amount": checkout.order["amount_cents"],
        "amount_refunded": checkout.refunded_cents,
        "currency": "usd",
        "payment_intent": checkout.payment_id,
        "metadata": _names(checkout),
    }
    return _say(checkout, "charge.refunded", charge, now=now)


@transaction.atomic
def dispute(session_id: str, *, now: datetime) -> FakeEvent:
    """The customer's bank asks for what is not refunded yet. Errors: NotFound, Conflict (not paid, or disputed)."""
    checkout = _in(session_id, "paid")
    checkout.status = "disputed"
    checkout.dispute_id = f"du_fake_{secrets.token_urlsafe(18)}"
    return _say(checkout, "charge.dispute.created", _dispute(checkout, "needs_response"), now=now)


@transaction.atomic
def close_dispute(session_id: str, *, is_won: bool, now: datetime) -> FakeEvent:
    """The bank has decided. Errors: NotFound, Conflict (not disputed)."""
    checkout = _in(session_id, "disputed")
    checkout.status = "paid" if is_won else "lost"
    about = _dispute(checkout, "won" if is_won else "lost")
    return _say(checkout, "charge.dispute.closed", about, now=now)


def deliver(event_id: str, *, secret: str, post: Post, now: datetime) -> int:
    """Send an event as a signed webhook, the first time or again; the status it was answered with, 0 for no answer.

    Errors: NotFound.
    """
    event = FakeEvent.objects.filter(event_id=event_id).first()
    if event is None:
        raise NotFound(f"There is no event {event_id}.")
    body = event.body.encode()
    status = post(body, stripe_news.sign(body, secret=secret, at=now))
    if status:
        FakeEvent.objects.filter(event_id=event_id).update(deliveries=F("deliveries") + 1)
    return status


def _in(session_id: str, status: str) -> FakeCheckout:
    found = FakeCheckout.objects.select_for_update().filter(session_id=session_id).first()
    if found is None:
        raise NotFound("There is no such checkout.")
    if found.status != status:
        raise Conflict(f"This checkout is {found.status}.")
    return found


def _say(checkout: FakeCheckout, type_: str, about: dict[str, Any], *, now: datetime) -> FakeEvent:
    checkout.save()
    event_id = f"evt_fake_{secrets.token_urlsafe(18)}"
    body = {
        "id": event_id,
        "object": "event",
        "type": type_,
        "created": int(now.timestamp()),
        "livemode": False,
        "data": {"object": about},
    }
    return FakeEvent.objects.create(
        event_id=event_id, checkout=checkout, type=type_, body=json.dumps(body), created_at=now
    )


def _session(checkout: FakeCheckout) -> dict[str, Any]:
    # What came after a payment is no matter of the session's.
    status = checkout.status if checkout.status in ("open", "expired") else "complete"
    is_paid = status == "complete"
    return {
        "id": checkout.session_id,
        "object": "checkout.session",
        "amount_total": checkout.order["amount_cents"],
        "currency": "usd",
        "client_reference_id": str(UUID(checkout.order["checkout_id"])),
        "metadata": _names(checkout),
        "payment_intent": checkout.payment_id if is_paid else None,
        "payment_status": "paid" if is_paid else "unpaid",
        "status": status,
    }


def _dispute(checkout: FakeCheckout, status: str) -> dict[str, Any]:
    return {
        "id": checkout.dispute_id,
        "object": "dispute",
        "amount": checkout.order["amount_cents"] - checkout.refunded_cents,
        "currency": "usd",
        "payment_intent": checkout.payment_id,
        "status": status,
        "metadata": {},
    }


def _names(checkout: FakeCheckout) -> dict[str, str]:
    return {name: checkout.order[name] for name in ("checkout_id", "company_id")}
