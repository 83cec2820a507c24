"""A payment provider's news, sent or asked for: each acts once, in whatever order they come."""

import logging
from datetime import datetime, timedelta

from django.db import transaction

from accounts import audit, locks
from accounts.errors import Conflict, NotConfigured, NotFound
from billing import disputes, money, topups
from billing.errors import PaymentProviderFailed
from billing.payment_models import Checkout, PaymentEvent
from billing.payments import configured
from billing.payments import provider as providers
from billing.payments.provider import News, Provider
from billing.topups import APPLIED, NOT_OURS, REFUSED, STALE, WAITING, Outcome

log = logging.getLogger(__name__)

# A way to pay may take two weeks; what is open after this is not asked about any more.
ASK_FOR = timedelta(days=30)
ASK_AT_ONCE = 20


def receive(*, body: bytes, signature: str | None, now: datetime) -> Outcome | None:
    """Act on a payment provider's webhook; None where it says nothing that concerns us.

    Shape: `body` as it came, to the byte. All an event does is one transaction with the row that keeps its id, so that
    it acts once however often it is sent; what nobody can act on yet waits for the payment it is about.
    Errors: NotConfigured, InvalidSignature, InvalidInput (signed, and not to be understood). BooksUnavailable, Conflict
    and NotFound (the ledger's): then nothing was done and the provider sends it again; of the last two an alert tells.
    Source: docs/topups.md.
    """
    provider = configured.provider()
    news = provider.read_news(body, signature=signature)
    return None if news is None else _act_or_tell(provider, news, now=now)


def ask(*, now: datetime) -> int:
    """Ask the provider about open checkouts of which it should have told us; how many turned out to be over.

    Shape: what it says acts as a webhook would have, and only the first of both does. A checkout is asked about
    topups.ASK_AFTER it was opened, and then whenever its age has doubled. Safe to run twice, and beside itself; while
    the provider does not answer, the next round goes on with the others.
    Errors: BooksUnavailable, Conflict and NotFound, as `receive`.
    Source: docs/topups.md, "When a webhook never comes".
    """
    try:
        provider = configured.provider()
    except NotConfigured:
        return 0
    count = 0
    due = Checkout.objects.filter(
        provider=provider.name, status=Checkout.Status.OPEN, session_id__isnull=False, ask_at__lte=now
    )
    for row in due.order_by("ask_at")[:ASK_AT_ONCE]:
        age = now - row.created_at
        mine = Checkout.objects.filter(id=row.id, ask_at=row.ask_at)
        if not mine.update(ask_at=now + age if age < ASK_FOR else None):
            continue  # Another worker's by now.
        try:
            news = provider.look_up(row.session_id or "", now=now)
        except PaymentProviderFailed as exc:
            log.warning("%s", exc.message)
            break
        if news is not None:
            count += _act_or_tell(provider, news, now=now) == APPLIED
    return count


def _act_or_tell(provider: Provider, news: News, *, now: datetime) -> Outcome:
    try:
        return act(provider=provider.name, news=news, now=now)
    except (Conflict, NotFound) as exc:
        # It will be said again, and refused again: money came that the ledger does not take.
        topups.tell_operator(provider.name, news, exc.message, company_id=news.company_id)
        raise


@transaction.atomic
def act(*, provider: str, news: News, now: datetime) -> Outcome:
    """Act on one event, once. Errors: BooksUnavailable, and ledger.post's."""
    # Who waits for a payment and who brings it must not pass each other by unseen.
    locks.hold("payment", provider, news.payment_id or news.session_id or news.event_id)
    event, is_new = PaymentEvent.objects.get_or_create(
        provider=provider,
        event_id=news.event_id,
        defaults={
            "kind": news.kind,
            "news": providers.as_kept(news),
            "outcome": WAITING.value,
            "payment_id": news.payment_id or "",
            "received_at": now,
        },
    )
    if not is_new:
        return STALE
    outcome = _apply(event, news, now=now)
    if news.kind == "paid" and outcome == APPLIED and news.payment_id:
        _apply_waiting(provider, news.payment_id, now=now)
    return outcome


def _apply_waiting(provider: str, payment_id: str, *, now: datetime) -> None:
    waiting = PaymentEvent.objects.filter(provider=provider, payment_id=payment_id, outcome=WAITING.value)
    # In the order in which they were said; any other would come to the same.
    for event in sorted(waiting, key=lambda event: str(event.news["said_at"])):
        _apply(event, providers.from_kept(event.news), now=now)


def _apply(event: PaymentEvent, news: News, *, now: datetime) -> Outcome:
    row = topups.find(event.provider, news)
    outcome = _act_without(event.provider, news) if row is None else _act_and_record(row, news, now=now)
    # Not save(): a row with a composite key would be looked for first.
    PaymentEvent.objects.filter(provider=event.provider, event_id=event.event_id).update(
        outcome=outcome.value, checkout_id=row.id if row else None
    )
    return outcome


def _act_and_record(row: Checkout, news: News, *, now: datetime) -> Outcome:
    before = _standing(row)
    outcome = _act_on(row, news, now=now)
    if outcome in (APPLIED, REFUSED):
        audit.record(
            company_id=row.company_id,
            action=f"checkout.{news.kind}" if outcome == APPLIED else "checkout.refused",
            target_kind="checkout",
            target_id=row.id,
            target_label=news.session_id or news.payment_id or "",
            before=before,
            after=_standing(row) | {"event": news.event_id, "amount_cents": news.amount_cents},
            now=now,
        )
    return outcome


def _standing(row: Checkout) -> dict[str, object]:
    return {
        "status": row.status,
        "refunded_cents": row.refunded_cents,
        "returned_credits": money.json_number(row.returned_nanocredits),
    }


def _act_on(row: Checkout, news: News, *, now: datetime) -> Outcome:
    # One payment of a company at a time, and before its wallet is held: two of them would wait for each other there.
    locks.hold("payments of", str(row.company_id))
    match news.kind:
        case "paid":
            return topups.complete(row, news=news, now=now)
        case "unpaid":
            return topups.lapse(row)
        case "refunded":
            return topups.take_back(row, news=news, now=now)
        case _:
            return disputes.act(row, news=news, now=now)


def _act_without(provider: str, news: News) -> Outcome:
    """What becomes of news of a checkout that nobody knows."""
    if news.kind not in ("paid", "unpaid"):
        return WAITING
    # One account may take payments for more than this platform; but nobody else gives a checkout's and a company's id.
    if news.kind == "unpaid" or news.checkout_id is None or news.company_id is None:
        return NOT_OURS
    why = f"checkout {news.checkout_id} is not known here"
    return topups.tell_operator(provider, news, why, company_id=news.company_id)
