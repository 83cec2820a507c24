"""The page of the stand-in for Stripe: a customer pays or cancels, and its webhooks come as Stripe's would.

Only in DEBUG and without a key of Stripe's; the address is as secret as a checkout's own at Stripe.
"""

import http.client
import logging
from urllib.parse import urlsplit

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.errors import DomainError
from billing import money
from billing.payment_models import FakeCheckout, FakeEvent
from billing.payments import configured, fake

log = logging.getLogger(__name__)

WEBHOOK = "/v1/payments/stripe"
DELIVERY_TIMEOUT_S = 10


@never_cache
@require_http_methods(["GET", "POST"])
def checkout(request: HttpRequest, session_id: str) -> HttpResponse:
    if not configured.is_fake():
        raise Http404
    try:
        found = fake.find(session_id)
        if request.method == "POST":
            return _act(request, found)
    except DomainError as exc:
        return _page(request, session_id, problem=exc.message)
    return _page(request, session_id)


def _act(request: HttpRequest, found: FakeCheckout) -> HttpResponse:
    session_id, now = found.session_id, timezone.now()
    match request.POST.get("do"):
        case "pay":
            event = fake.pay(session_id, now=now)
            if not request.POST.get("later"):
                _deliver(event, found)
            return redirect(found.order["success_url"])
        case "cancel":
            return redirect(found.order["cancel_url"])
        case "expire":
            event = fake.expire(session_id, now=now)
        case "refund":
            left = found.order["amount_cents"] - found.refunded_cents
            event = fake.refund(session_id, amount_cents=left, now=now)
        case "dispute":
            event = fake.dispute(session_id, now=now)
        case "win" | "lose" as outcome:
            event = fake.close_dispute(session_id, is_won=outcome == "win", now=now)
        case _:
            sent_again = found.events.filter(event_id=request.POST.get("event", "")).first()
            if sent_again is None:
                raise Http404
            event = sent_again
    _deliver(event, found)
    return redirect(request.path)


def _page(request: HttpRequest, session_id: str, *, problem: str = "") -> HttpResponse:
    found = FakeCheckout.objects.filter(session_id=session_id).first()
    if found is None:
        raise Http404
    context = {
        "checkout": found,
        "price": money.usd_from_cents(found.order["amount_cents"]),
        "events": found.events.order_by("created_at"),
        "problem": problem,
    }
    return render(request, "fake_checkout.html", context, status=409 if problem else 200)


def _deliver(event: FakeEvent, found: FakeCheckout) -> None:
    """Send an event to our own door, over the network as Stripe would."""
    ours = urlsplit(found.order["success_url"])

    def post(body: bytes, signature: str) -> int:
        connection = http.client.HTTPConnection(ours.netloc, timeout=DELIVERY_TIMEOUT_S)
        headers = {"Content-Type": "application/json", "Stripe-Signature": signature}
        try:
            connection.request("POST", WEBHOOK, body=body, headers=headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException) as exc:
            log.warning("The webhook of %s was not delivered: %s", event.event_id, type(exc).__name__)
            return 0
        finally:
            connection.close()

    fake.deliver(event.event_id, secret=configured.fake_secret(), post=post, now=timezone.now())
