"""Payments that a customer's bank asks back: the wallet is frozen meanwhile, and thawed or charged when it is over."""

from datetime import datetime

from billing import ledger, topups
from billing.payment_models import Checkout, Dispute
from billing.payments.provider import News
from billing.topups import APPLIED, STALE, Outcome


def act(row: Checkout, *, news: News, now: datetime) -> Outcome:
    """Act on what the provider says of a dispute, in whatever order it comes.

    Shape: in the caller's transaction, which holds the checkout's row and is alone with the company's disputes. While
    one is open the wallet takes no new calls; what runs is settled as ever. One that is won thaws the wallet, unless
    it was frozen for another reason too; one that is lost is a `chargeback` that names the top-up.
    Units: `news.amount_cents` is what the bank asks for, or has taken.
    Errors: BooksUnavailable, and ledger.post's.
    Source: docs/topups.md, "Life of a checkout".
    """
    if news.currency != row.currency or (news.amount_cents or 0) > row.amount_cents:
        return topups.refuse(row, news, "disputed is not what was paid")
    dispute = Dispute.objects.filter(provider=row.provider, dispute_id=news.dispute_id).first()
    match news.kind:
        case "dispute_opened" if dispute is None:
            _open(row, news)
        case "dispute_won" if dispute is None or dispute.status == Dispute.Status.OPEN:
            _win(dispute or _keep(row, news, froze_wallet=False), now=now)
        case "dispute_lost" if dispute is None or dispute.status == Dispute.Status.OPEN:
            _lose(dispute or _open(row, news), row, news, now=now)
        case "dispute_won" if dispute and dispute.status == Dispute.Status.LOST:
            return topups.refuse(row, news, "a dispute that was lost was won")
        case "dispute_lost" if dispute and dispute.status == Dispute.Status.WON:
            return topups.refuse(row, news, "a dispute that was won was lost")
        case _:
            return STALE
    return APPLIED


def _open(row: Checkout, news: News) -> Dispute:
    is_frozen = ledger.balance(company_id=row.company_id).is_frozen
    ledger.freeze(company_id=row.company_id)
    return _keep(row, news, froze_wallet=not is_frozen)


def _win(dispute: Dispute, *, now: datetime) -> None:
    _change(dispute, status=Dispute.Status.WON.value, closed_at=now)
    if not dispute.froze_wallet:
        return
    # The wallet stays frozen for another dispute that is open, or was lost meanwhile.
    others = Dispute.objects.filter(company_id=dispute.company_id)
    heirs = [
        other
        for other in others.exclude(provider=dispute.provider, dispute_id=dispute.dispute_id)
        if other.status == Dispute.Status.OPEN
        or (other.status == Dispute.Status.LOST and other.closed_at and other.closed_at >= dispute.opened_at)
    ]
    if heirs:
        _change(heirs[0], froze_wallet=True)
    else:
        ledger.unfreeze(company_id=dispute.company_id)


def _lose(dispute: Dispute, row: Checkout, news: News, *, now: datetime) -> None:
    """Take back what the bank took; the wallet stays frozen until the operator thaws it."""
    _change(dispute, status=Dispute.Status.LOST.value, closed_at=now)
    topups.give_back(
        row,
        nanocredits=topups.share(row, news.amount_cents or 0),
        action="chargeback",
        reference=dispute.dispute_id,
        note=f"Dispute {dispute.dispute_id} was lost",
        now=now,
    )


def _keep(row: Checkout, news: News, *, froze_wallet: bool) -> Dispute:
    return Dispute.objects.create(
        provider=row.provider,
        dispute_id=news.dispute_id or "",
        checkout=row,
        company_id=row.company_id,
        status=Dispute.Status.OPEN.value,
        amount_cents=news.amount_cents or 0,
        froze_wallet=froze_wallet,
        opened_at=news.said_at,
    )


def _change(dispute: Dispute, **values: object) -> None:
    # Not save(): a row with a composite key would be looked for first.
    mine = Dispute.objects.filter(provider=dispute.provider, dispute_id=dispute.dispute_id)
    mine.update(**values)
