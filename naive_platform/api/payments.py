"""/v1/payments/stripe: the payment provider's webhook, which nobody but its signature authenticates."""

from typing import Any, ClassVar

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from billing import payment_events
from naive_platform.api import routes
from naive_platform.api.routes import Route


class StripeWebhook(Route):
    """POST /v1/payments/stripe

    Whatever is signed is answered 200 once it is kept: an event that is refused is put before the operator, and sending
    it again would change nothing.
    """

    authentication_classes: ClassVar[list[Any]] = []
    is_idempotent = False  # By each event's own id.

    def post(self, request: Request) -> Response:
        outcome = payment_events.receive(
            body=request._request.body,
            signature=request.META.get("HTTP_STRIPE_SIGNATURE"),
            now=timezone.now(),
        )
        return routes.answer({"received": True, "outcome": "ignored" if outcome is None else outcome.value})
