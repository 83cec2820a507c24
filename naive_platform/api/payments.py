"""/v1/payments/stripe: the payment provider's webhook, which nobody but its signature authenticates."""

from typing import Any, ClassVar

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.errors import Conflict, NotConfigured, NotFound
from billing import payment_events
from naive_platform.api import contract, routes, shapes
from naive_platform.api.routes import Route


class ReceivedShape(shapes.Answer):
    received = shapes.Truth()
    outcome = shapes.Text()


class StripeWebhook(Route):
    """POST /v1/payments/stripe

    Whatever is signed is answered 200 once it is kept: an event that is refused is put before the operator, and sending
    it again would change nothing.
    """

    name = "stripe-webhook"
    authentication_classes: ClassVar[list[Any]] = []
    is_idempotent = False  # By each event's own id.

    @contract.describe(
        summary="Take news of payments from Stripe, signed by it",
        answers={200: ReceivedShape},
        refuses=(NotConfigured, Conflict, NotFound),
    )
    def post(self, request: Request) -> Response:
        outcome = payment_events.receive(
            body=request._request.body,
            signature=request.META.get("HTTP_STRIPE_SIGNATURE"),
            now=timezone.now(),
        )
        return routes.answer({"received": True, "outcome": "ignored" if outcome is None else outcome.value})
