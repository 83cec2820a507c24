"""Stripe Checkout behind the provider's interface: sessions opened by Stripe's own client."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime

import stripe

from billing.errors import PaymentProviderFailed
from billing.payments import stripe_news
from billing.payments.provider import Hosted, News, Order

log = logging.getLogger(__name__)

# A customer waits for it. Unit: seconds.
TIMEOUT_S = 10
# Stripe's client repeats under one idempotency key, so that nothing is opened twice.
RETRIES = 1


@dataclass(frozen=True, slots=True)
class StripeCheckout:
    """Stripe with one account's secrets. `api_base` is for tests, which have a Stripe of their own."""

    secret_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    api_base: str = ""

    @property
    def name(self) -> str:
        return "stripe"

    def open_checkout(self, order: Order, *, now: datetime) -> Hosted:
        """Open a session. Errors: PaymentProviderFailed, of which Stripe's own words stay with us."""
        # What comes back with every later event of the payment, to be held against what we know.
        names = {"checkout_id": str(order.checkout_id), "company_id": str(order.company_id)}
        try:
            session = self._client().v1.checkout.sessions.create(
                params={
                    "mode": "payment",
                    "client_reference_id": str(order.checkout_id),
                    "line_items": [
                        {
                            "quantity": 1,
                            "price_data": {
                                "currency": "usd",
                                "unit_amount": order.amount_cents,
                                "product_data": {"name": order.description},
                            },
                        }
                    ],
                    "metadata": names,
                    "payment_intent_data": {"metadata": names},
                    "success_url": order.success_url,
                    "cancel_url": order.cancel_url,
                },
                options={"idempotency_key": f"naive-checkout-{order.checkout_id}"},
            )
        except stripe.StripeError as exc:
            _note(exc)
            raise PaymentProviderFailed(
                f"The payment provider did not open checkout {order.checkout_id}.",
                hint="Nothing was paid; try again in a moment.",
            ) from exc
        if not session.url:
            raise PaymentProviderFailed(
                f"Stripe opened checkout {order.checkout_id} without a page to pay on."
            )
        return Hosted(
            session_id=session.id, url=session.url, expires_at=datetime.fromtimestamp(session.expires_at, UTC)
        )

    def look_up(self, session_id: str, *, now: datetime) -> News | None:
        """As stripe_news.of_session."""
        try:
            session = self._client().v1.checkout.sessions.retrieve(session_id)
        except stripe.StripeError as exc:
            _note(exc)
            raise PaymentProviderFailed(f"Stripe did not say what became of {session_id}.") from exc
        return stripe_news.of_session(session.to_dict(), now=now)

    def read_news(self, body: bytes, *, signature: str | None) -> News | None:
        """As stripe_news.read. Errors: InvalidSignature, InvalidInput."""
        return stripe_news.read(body, signature=signature, secret=self.webhook_secret)

    def _client(self) -> stripe.StripeClient:
        return stripe.StripeClient(
            self.secret_key,
            http_client=stripe.RequestsClient(timeout=TIMEOUT_S),
            base_addresses={"api": self.api_base} if self.api_base else None,
            max_network_retries=RETRIES,
        )


def _note(exc: stripe.StripeError) -> None:
    # Not its text, which may name a part of our key.
    log.warning("Stripe: %s, status %s, request %s", type(exc).__name__, exc.http_status, exc.request_id)
