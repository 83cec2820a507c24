"""Stripe's webhooks: their signature checked by Stripe's own code, their events read as news."""

import json
import logging
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import stripe

from accounts import ids
from accounts.errors import InvalidInput
from billing.errors import InvalidSignature, PaymentProviderFailed
from billing.payments.provider import Kind, News

log = logging.getLogger(__name__)

# How old a signature may be: what Stripe's own libraries allow. Unit: seconds.
TOLERANCE_S = 300
# Stripe's events are a few kilobytes.
BODY_BYTES_MAX = 256 * 1024
_AMOUNT_MAX = 10**12
# A dispute that ended without the money being taken; "warning_closed" was an inquiry.
_WON = frozenset({"won", "warning_closed", "prevented"})


def read(body: bytes, *, signature: str | None, secret: str) -> News | None:
    """The news in a webhook's body, whose signature and age are checked first; None for what does not concern us.

    Shape: `body` is the request's, to the byte. What is signed and cannot be understood raises, so that it is sent
    again and seen, rather than being lost.
    Errors: InvalidSignature; InvalidInput for a signed event that is not as Stripe's are.
    Source: Stripe's API, "Events" and "Check the webhook signatures".
    """
    if len(body) > BODY_BYTES_MAX:
        raise InvalidSignature("The webhook's body is longer than any event.")
    if signature is not None and not signature.isascii():
        signature = None  # Nothing that is compared in constant time, and nothing of Stripe's.
    try:
        stripe.WebhookSignature.verify_header(body, signature, secret, TOLERANCE_S)
    except (stripe.SignatureVerificationError, UnicodeDecodeError) as exc:
        raise InvalidSignature(
            "The Stripe-Signature of this webhook is missing, too old or not ours.",
            hint="Check that STRIPE_WEBHOOK_SECRET is this endpoint's secret, and the clock.",
        ) from exc
    try:
        event = json.loads(body)
        return _news(event, event["data"]["object"])
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        log.error("A signed event cannot be read: %r", exc)
        raise InvalidInput("This event is signed and is not as Stripe's are.") from exc


def of_session(session: dict[str, Any], *, now: datetime) -> News | None:
    """What a session of Stripe's, read and not told, has to say; None while it may still be paid.

    Errors: PaymentProviderFailed for an answer that is not as Stripe's are.
    """
    try:
        # Named so that asking again says nothing new.
        event = {"id": f"asked_{session['id']}_{session['status']}", "created": int(now.timestamp())}
        match session["status"], session["payment_status"]:
            case "expired", _:
                return _of_session(event, session, "unpaid")
            case "complete", "paid" | "no_payment_required":
                return _of_session(event, session, "paid")
            case _:
                return None
    except (KeyError, TypeError, ValueError) as exc:
        raise PaymentProviderFailed("Stripe's answer about a checkout is not as Stripe's are.") from exc


def sign(body: bytes, *, secret: str, at: datetime) -> str:
    """The header Stripe would send with this body; for those who stand in for Stripe."""
    return str(stripe.WebhookSignature.generate_signature_header(body.decode(), secret, int(at.timestamp())))


def _news(event: dict[str, Any], about: dict[str, Any]) -> News | None:
    match event["type"]:
        case "checkout.session.completed":
            # Some ways to pay take days: the money is there when payment_status says so.
            return _of_session(event, about, "paid") if about["payment_status"] != "unpaid" else None
        case "checkout.session.async_payment_succeeded":
            return _of_session(event, about, "paid")
        case "checkout.session.expired" | "checkout.session.async_payment_failed":
            return _of_session(event, about, "unpaid")
        case "charge.refunded":
            refunded = _cents(about["amount_refunded"])
            return _of_payment(
                event, about, "refunded", amount_cents=refunded, total_cents=_cents(about["amount"])
            )
        case "charge.dispute.created":
            return _of_dispute(event, about, "dispute_opened")
        case "charge.dispute.closed":
            return _of_dispute(event, about, "dispute_won" if about["status"] in _WON else "dispute_lost")
        case _:
            return None


def _of_session(event: dict[str, Any], session: dict[str, Any], kind: Kind) -> News:
    named = session.get("metadata") or {}
    return News(
        event_id=_text(event["id"]),
        kind=kind,
        said_at=_said_at(event),
        session_id=_text(session["id"]),
        checkout_id=_uuid(session.get("client_reference_id")),
        company_id=_uuid(named.get("company_id")),
        payment_id=_text_or_none(session.get("payment_intent")),
        amount_cents=_cents(session["amount_total"]) if kind == "paid" else None,
        currency=_text(session["currency"]) if kind == "paid" else None,
    )


def _of_dispute(event: dict[str, Any], dispute: dict[str, Any], kind: Kind) -> News | None:
    return _of_payment(
        event, dispute, kind, amount_cents=_cents(dispute["amount"]), dispute_id=_text(dispute["id"])
    )


def _of_payment(
    event: dict[str, Any],
    about: dict[str, Any],
    kind: Kind,
    *,
    amount_cents: int,
    total_cents: int | None = None,
    dispute_id: str | None = None,
) -> News | None:
    payment_id = _text_or_none(about.get("payment_intent"))
    if payment_id is None:
        return None  # Charged without a payment intent, so not through a checkout of ours.
    named = about.get("metadata") or {}
    return News(
        event_id=_text(event["id"]),
        kind=kind,
        said_at=_said_at(event),
        checkout_id=_uuid(named.get("checkout_id")),
        company_id=_uuid(named.get("company_id")),
        payment_id=payment_id,
        dispute_id=dispute_id,
        amount_cents=amount_cents,
        total_cents=total_cents,
        currency=_text(about["currency"]),
    )


def _said_at(event: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(_cents(event["created"]), UTC)


def _cents(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _AMOUNT_MAX:
        raise TypeError(f"{value!r:.40} is no amount")
    return value


def _text(value: object) -> str:
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= 255
        or not value.isascii()
        or not value.isprintable()
    ):
        raise TypeError(f"{value!r:.40} is no name")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _uuid(value: object) -> UUID | None:
    return ids.parse(value) if isinstance(value, str) else None
