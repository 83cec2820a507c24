"""Packs bought through the payment provider: checkouts opened, credited once when paid, taken back when refunded."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from django.db import connection, transaction

from accounts import audit, locks
from accounts.errors import Conflict
from accounts.ids import uuid7
from billing import alerts, credit_events, ledger, money, packs
from billing.errors import PaymentProviderFailed
from billing.packs import Pack
from billing.payment_models import Checkout, PaymentEvent
from billing.payments import configured
from billing.payments.provider import News, Order

CURRENCY = "usd"
# Where a customer comes back to; the page says whether the credits are there yet.
RETURN_PATH = "/dashboard/billing/"
# Nobody buys so often; who only opens checkouts uses up what the provider answers to everybody else in an hour.
OPEN_MAX = 50
OPEN_WITHIN = timedelta(hours=1)
# Webhooks come within seconds; after this the provider is asked (payment_events.ask).
ASK_AFTER = timedelta(minutes=10)

type Outcome = PaymentEvent.Outcome
APPLIED, STALE, WAITING, NOT_OURS, REFUSED = PaymentEvent.Outcome


@dataclass(frozen=True, slots=True)
class OpenCheckout:
    """A checkout that waits for its customer at `checkout_url`."""

    checkout_id: UUID
    checkout_url: str
    session_id: str
    pack: Pack
    expires_at: datetime


def start(*, company_id: UUID, pack_id: object, actor: str, base_url: str, now: datetime) -> OpenCheckout:
    """Open a checkout for a pack at the payment provider; nothing is credited before it is paid.

    Shape: one checkout a call; a second one charges nobody as long as nobody pays it. `base_url` is the platform's own
    address, to which the customer returns; `actor` is who buys, such as `key:<id>`. Never inside a transaction: the
    provider may take seconds, and this thread's connection is given back meanwhile.
    Errors: InvalidInput (the pack), WalletNotFound, NotConfigured, Conflict (OPEN_MAX), PaymentProviderFailed.
    Source: docs/product.md 5, "billing".
    """
    pack = packs.get(pack_id)
    provider = configured.provider()
    ledger.balance(company_id=company_id)  # Without a wallet there would be nowhere to put what was paid for.
    row = _create(company_id=company_id, pack=pack, provider=provider.name, actor=actor, now=now)
    order = Order(
        checkout_id=row.id,
        company_id=company_id,
        description=f"{pack.credits} credits ({pack.name})",
        amount_cents=pack.price_cents,
        success_url=_return_url(base_url, "paid", row.id),
        cancel_url=_return_url(base_url, "cancelled", row.id),
    )
    # Requests share a few connections; who waits for somebody else needs none.
    connection.close()
    mine = Checkout.objects.filter(id=row.id)
    try:
        hosted = provider.open_checkout(order, now=now)
    except PaymentProviderFailed:
        # Should a session be there all the same, nobody was given its address.
        mine.filter(status=Checkout.Status.OPEN).update(status=Checkout.Status.UNPAID.value)
        raise
    mine.update(
        session_id=hosted.session_id, url=hosted.url, expires_at=hosted.expires_at, ask_at=now + ASK_AFTER
    )
    return OpenCheckout(
        checkout_id=row.id,
        checkout_url=hosted.url,
        session_id=hosted.session_id,
        pack=pack,
        expires_at=hosted.expires_at,
    )


@transaction.atomic(durable=True)
def _create(*, company_id: UUID, pack: Pack, provider: str, actor: str, now: datetime) -> Checkout:
    """The row of a checkout that is about to be opened; there before the provider knows of it."""
    locks.hold("checkouts of", str(company_id))
    waiting = Checkout.objects.filter(
        company_id=company_id, status=Checkout.Status.OPEN, created_at__gt=now - OPEN_WITHIN
    )
    if waiting.count() >= OPEN_MAX:
        raise Conflict(
            f"{OPEN_MAX} checkouts that this company opened within an hour wait to be paid; more are not opened.",
            hint="Pay one of them, or wait an hour.",
        )
    row = Checkout.objects.create(
        id=uuid7(),
        company_id=company_id,
        pack_id=pack.id,
        credits_nanocredits=pack.credits * money.NANOCREDITS_PER_CREDIT,
        amount_cents=pack.price_cents,
        currency=CURRENCY,
        provider=provider,
        actor=actor,
        created_at=now,
    )
    audit.record(
        company_id=company_id,
        action="checkout.opened",
        target_kind="checkout",
        target_id=row.id,
        target_label=pack.name,
        after={"pack": pack.id, "credits": pack.credits, "price_usd": pack.price_usd, "provider": provider},
        now=now,
    )
    return row


def find(provider: str, news: News) -> Checkout | None:
    """The checkout that news are about, locked until the transaction ends; None where no payment has named it yet.

    Shape: a session's by the id that we gave it, else by the provider's; a refund's or dispute's by its payment.
    """
    rows = Checkout.objects.select_for_update().filter(provider=provider)
    if news.kind not in ("paid", "unpaid"):
        return rows.filter(payment_id=news.payment_id or "").first()
    if news.checkout_id is not None:
        return rows.filter(id=news.checkout_id).first()
    return rows.filter(session_id=news.session_id).first()


def complete(row: Checkout, *, news: News, now: datetime) -> Outcome:
    """Credit a checkout that was paid, once; what the provider says is held against what was asked.

    Shape: one `credit_topup` entry whose reference is the session's id, in the caller's transaction, which holds the
    checkout's row; it does not matter whether the checkout counted as open, or as over without a payment. A payment of
    another amount, in another currency, or for another company or session is credited to nobody, and an alert says so.
    Units: the checkout's own credits, as they were when it was opened.
    Errors: BooksUnavailable, and ledger.post's.
    Source: docs/topups.md.
    """
    wrong = _contradictions(row, news)
    if wrong:
        if row.status != Checkout.Status.PAID:
            row.status = Checkout.Status.MISMATCHED.value
            row.save(update_fields=["status"])
        return refuse(row, news, ", ".join(wrong))
    if row.status == Checkout.Status.PAID:
        return STALE
    row.status = Checkout.Status.PAID.value
    row.session_id, row.payment_id, row.paid_at = news.session_id, news.payment_id, now
    row.save(update_fields=["status", "session_id", "payment_id", "paid_at"])
    price = money.usd_from_cents(row.amount_cents)
    posted = ledger.post(
        company_id=row.company_id,
        amount_nanocredits=row.credits_nanocredits,
        action="credit_topup",
        reference=row.reference,
        actor=row.provider,
        note=f"Pack {row.pack_id}, {price} USD, payment {row.payment_id or 'none'}, by {row.actor}",
    )
    if posted.is_new:
        credit_events.topped_up(
            company_id=row.company_id,
            amount_nanocredits=row.credits_nanocredits,
            action="credit_topup",
            reference=row.reference,
            now=now,
        )
    return APPLIED


def lapse(row: Checkout) -> Outcome:
    """Note that a checkout is over and was not paid; one that was paid stays paid."""
    if row.status != Checkout.Status.OPEN:
        return STALE
    row.status = Checkout.Status.UNPAID.value
    row.save(update_fields=["status"])
    return APPLIED


def take_back(row: Checkout, *, news: News, now: datetime) -> Outcome:
    """Take back the credits of what was refunded to the customer, once, in whatever order the news come.

    Shape: `correction` entries that name the top-up, in the caller's transaction, which holds the checkout's row; each
    is what the refunds so far take, less what was taken before, so that a full refund takes exactly the pack. The
    balance may pass below zero.
    Units: `news.amount_cents` is the sum of all refunds of the payment.
    Errors: BooksUnavailable, and ledger.post's.
    """
    refunded = news.amount_cents or 0
    if news.total_cents != row.amount_cents or news.currency != row.currency or refunded > row.amount_cents:
        return refuse(row, news, "refunded is not what was paid")
    if refunded <= row.refunded_cents:
        return STALE
    due = share(row, refunded) - share(row, row.refunded_cents)
    row.refunded_cents = refunded
    of_price = f"{money.usd_from_cents(refunded)} of {money.usd_from_cents(row.amount_cents)} USD"
    give_back(
        row,
        nanocredits=due,
        action="correction",
        reference=f"{row.reference}:refunded:{refunded}",
        note=f"{of_price} refunded to the customer",
        now=now,
    )
    return APPLIED


def give_back(
    row: Checkout, *, nanocredits: int, action: ledger.Action, reference: str, note: str, now: datetime
) -> None:
    """Post what a top-up gives back, at most what is left of it; in the caller's transaction, under the row's lock."""
    taken = min(nanocredits, row.credits_nanocredits - row.returned_nanocredits)
    row.returned_nanocredits += taken
    row.save(update_fields=["refunded_cents", "returned_nanocredits"])
    if not taken:
        return
    ledger.post(
        company_id=row.company_id,
        amount_nanocredits=-taken,
        action=action,
        reference=reference,
        corrects=row.reference,
        actor=row.provider,
        note=note,
    )
    credit_events.check(company_id=row.company_id, now=now)


def share(row: Checkout, amount_cents: int) -> int:
    """How many of a checkout's nanocredits this part of its price bought; a rest goes to the customer."""
    return row.credits_nanocredits * amount_cents // row.amount_cents


def refuse(row: Checkout, news: News, why: str) -> Outcome:
    """Do nothing about news that contradict what we know of a checkout, and tell the operator."""
    return tell_operator(row.provider, news, f"checkout {row.id}: {why}", company_id=row.company_id)


def tell_operator(provider: str, news: News, why: str, *, company_id: UUID | None) -> Outcome:
    """Raise the alert that says why nothing was done about news."""
    alerts.raise_alert(
        "payment_mismatch",
        reference=f"{provider}:{news.event_id}",
        message=f"A payment's news was not acted upon: {why}.",
        company_id=company_id,
        details={
            "kind": news.kind,
            "session": news.session_id,
            "payment": news.payment_id,
            "cents": news.amount_cents,
        },
    )
    return REFUSED


def _contradictions(row: Checkout, news: News) -> list[str]:
    found = {
        f"{news.amount_cents} cents were paid, {row.amount_cents} asked for": news.amount_cents
        != row.amount_cents,
        f"paid in {news.currency}": news.currency != row.currency,
        f"paid by company {news.company_id}": news.company_id != row.company_id,
        f"paid in session {news.session_id}": row.session_id not in (None, news.session_id),
        f"paid a second time, by {news.payment_id}": row.payment_id not in (None, news.payment_id),
    }
    return [what for what, is_so in found.items() if is_so]


def _return_url(base_url: str, outcome: str, checkout_id: UUID) -> str:
    query = urlencode({"topup": outcome, "checkout": checkout_id})
    return f"{base_url.rstrip('/')}{RETURN_PATH}?{query}"
