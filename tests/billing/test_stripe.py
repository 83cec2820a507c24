"""Stripe Checkout through Stripe's own client, against a server that answers as Stripe does."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import pytest
from django.db import connections
from django.utils import timezone
from pytest_django import Settings

from billing import payment_events, topups
from billing.errors import PaymentProviderFailed
from billing.payment_models import Checkout
from billing.payments import configured, stripe_news
from tests import factories
from tests.billing import books, shop

KEY, SECRET = "sk_test_51naive", "whsec_test"
COMPANY = uuid4()
EXPIRES_AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass
class Stripe:
    """What was asked, and what is answered: (status, body) in turn, the last one again and again."""

    answers: list[tuple[int, dict[str, Any]]]
    asked: list[tuple[str, dict[str, str], dict[str, list[str]]]] = field(default_factory=list)
    # What somebody looks at while Stripe thinks.
    meanwhile: Callable[[], object] = lambda: None

    def session(self, number: int = 0) -> dict[str, list[str]]:
        return self.asked[number][2]


SESSION = {
    "id": "cs_test_a1",
    "object": "checkout.session",
    "url": "https://checkout.stripe.com/c/pay/cs_test_a1",
    "expires_at": int(EXPIRES_AT.timestamp()),
}


@pytest.fixture
def stripe(settings: Settings) -> Iterator[Stripe]:
    """A Stripe on a socket of its own, which settings point at."""
    state = Stripe(answers=[(200, SESSION)])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            state.meanwhile()
            state.asked.append((self.path, dict(self.headers), parse_qs(body)))
            status, found = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            written = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(written)))
            self.end_headers()
            self.wfile.write(written)

        def do_GET(self) -> None:
            self.headers["Content-Length"] = "0"
            self.do_POST()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = KEY, SECRET
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()
    # Each test's session is called the same; Stripe's never are.
    Checkout.objects.filter(provider="stripe").update(session_id=None)


def start(member: factories.Cast | None = None) -> topups.OpenCheckout:
    member = member or factories.initech()
    return topups.start(
        company_id=member.company_id, pack_id="medium", actor="key:1", base_url=shop.BASE_URL, now=shop.NOW
    )


def test_session_is_asked_for_with_the_price_and_what_must_come_back(stripe: Stripe) -> None:
    member = factories.initech()

    opened = start(member)

    assert (opened.session_id, opened.checkout_url) == ("cs_test_a1", SESSION["url"])
    assert opened.expires_at == EXPIRES_AT
    row = Checkout.objects.get(company_id=member.company_id)
    path, headers, sent = stripe.asked[0]
    assert path == "/v1/checkout/sessions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Idempotency-Key"] == f"naive-checkout-{row.id}"
    assert sent["line_items[0][price_data][unit_amount]"] == ["2300"]
    assert sent["line_items[0][price_data][currency]"] == ["usd"]
    assert sent["client_reference_id"] == [str(row.id)]
    for place in ("metadata", "payment_intent_data[metadata]"):
        assert sent[f"{place}[company_id]"] == [str(member.company_id)]
        assert sent[f"{place}[checkout_id]"] == [str(row.id)]
    assert sent["success_url"] == [f"http://naive.test/dashboard/billing/?topup=paid&checkout={row.id}"]


def test_no_connection_is_kept_while_stripe_thinks(stripe: Stripe) -> None:
    """Requests of everybody share a few; a company that tops up slowly must not take them from the others."""
    ((pid,),) = books.rows("SELECT pg_backend_pid()")
    connected: list[int] = []

    def look() -> None:
        ((count,),) = books.rows("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid)
        connected.append(count)
        connections.close_all()

    stripe.meanwhile = look

    start()

    assert connected == [0]


def test_paid_session_is_credited_by_stripes_own_event(stripe: Stripe) -> None:
    """The event as Stripe's documentation has it, with more in it than is read here."""
    member = factories.initech()
    start(member)
    row = Checkout.objects.get(company_id=member.company_id)
    about = {
        "id": "cs_test_a1",
        "object": "checkout.session",
        "amount_subtotal": 2300,
        "amount_total": 2300,
        "client_reference_id": str(row.id),
        "currency": "usd",
        "customer_details": {"email": "someone@example.test"},
        "metadata": {"company_id": str(member.company_id), "checkout_id": str(row.id)},
        "payment_intent": f"pi_{row.id.hex}",
        "payment_status": "paid",
        "status": "complete",
    }
    event = {
        "id": f"evt_{row.id.hex}",
        "object": "event",
        "api_version": "2026-10-28",
        "created": int(timezone.now().timestamp()),
        "livemode": True,
        "type": "checkout.session.completed",
        "data": {"object": about},
    }
    body = json.dumps(event).encode()
    now = timezone.now()
    signature = stripe_news.sign(body, secret=SECRET, at=now)

    assert payment_events.receive(body=body, signature=signature, now=now) == "applied"
    assert factories.balance(member) == Decimal(50)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, {"type": "invalid_request_error", "message": f"Invalid API Key provided: {KEY}"}),
        (400, {"type": "invalid_request_error", "message": "Invalid integer"}),
        (429, {"type": "rate_limit_error", "message": "Slow down"}),
        (500, {"type": "api_error", "message": "Oops"}),
    ],
)
def test_what_stripe_refuses_is_unavailable_and_says_nothing_of_our_key(
    stripe: Stripe, caplog: pytest.LogCaptureFixture, status: int, error: dict[str, str]
) -> None:
    member = factories.initech()
    stripe.answers = [(status, {"error": error})]

    with pytest.raises(PaymentProviderFailed) as failed:
        start(member)

    assert KEY not in f"{failed.value.message}{failed.value.hint}{failed.value.details}{caplog.text}"
    assert Checkout.objects.get(company_id=member.company_id).status == "unpaid"


def test_attempt_that_stripe_broke_off_is_repeated_under_one_key(stripe: Stripe) -> None:
    stripe.answers = [(500, {"error": {"message": "Oops"}}), (200, SESSION | {"id": "cs_test_b2"})]

    opened = start()

    assert opened.session_id == "cs_test_b2"
    keys = [headers["Idempotency-Key"] for _, headers, _ in stripe.asked]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_stripe_that_cannot_be_reached_is_unavailable(stripe: Stripe, settings: Settings) -> None:
    settings.STRIPE_API_BASE = "http://127.0.0.1:1"

    with pytest.raises(PaymentProviderFailed):
        start()


@pytest.mark.parametrize(
    ("state", "news"),
    [
        (("open", "unpaid"), None),
        (("complete", "unpaid"), None),
        (("complete", "paid"), "paid"),
        (("complete", "no_payment_required"), "paid"),
        (("expired", "unpaid"), "unpaid"),
    ],
    ids=str,
)
def test_session_that_is_looked_up_says_what_a_webhook_would(
    stripe: Stripe, state: tuple[str, str], news: str | None
) -> None:
    found = SESSION | {
        "status": state[0],
        "payment_status": state[1],
        "amount_total": 2300,
        "currency": "usd",
        "payment_intent": "pi_1" if news == "paid" else None,
        "client_reference_id": str(COMPANY),
        "metadata": {"company_id": str(COMPANY)},
    }
    stripe.answers = [(200, found)]

    said = configured.provider().look_up("cs_test_a1", now=shop.NOW)

    assert (said.kind if said else None) == news
    if said and said.kind == "paid":
        assert (said.amount_cents, said.currency, said.payment_id) == (2300, "usd", "pi_1")
        assert (said.checkout_id, said.company_id) == (COMPANY, COMPANY)
    assert stripe.asked[0][0] == "/v1/checkout/sessions/cs_test_a1"


@pytest.mark.parametrize(
    "answer", [(404, {"error": {"message": f"No such session, {KEY}"}}), (200, {"id": "cs_test_a1"})], ids=str
)
def test_session_that_stripe_says_nothing_of_is_unavailable(
    stripe: Stripe, caplog: pytest.LogCaptureFixture, answer: tuple[int, dict[str, Any]]
) -> None:
    stripe.answers = [answer]

    with pytest.raises(PaymentProviderFailed) as failed:
        configured.provider().look_up("cs_test_a1", now=shop.NOW)

    assert KEY not in f"{failed.value.message}{caplog.text}"
