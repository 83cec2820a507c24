"""E-mail to a company's owners about its credits, where EMAIL_URL is set; at least once, and in plain words."""

import logging
import smtplib
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction

from accounts.models import Company, Membership, Role
from billing.payment_models import CreditEvent

log = logging.getLogger(__name__)

# What could not be sent within this time is not sent any more: by then it would only confuse.
WORTH_SENDING = timedelta(hours=24)
LETTERS_AT_ONCE = 20

SUBJECTS = {
    CreditEvent.Kind.LOW: "{company}: credits are running low",
    CreditEvent.Kind.EXHAUSTED: "{company}: credits are used up",
    CreditEvent.Kind.TOPPED_UP: "{company}: {credits} credits were added",
}
TEXTS = {
    CreditEvent.Kind.LOW: "{company} has {available} credits left; you asked to be told below {threshold}.",
    CreditEvent.Kind.EXHAUSTED: "{company} has {available} credits left. Calls are refused until credits are added.",
    CreditEvent.Kind.TOPPED_UP: "{credits} credits were added to {company}. The balance is {balance} credits.",
}
FOOT = "\n\nBalance {balance}, held for running calls {held}.\nTop up: {url}\n"


def send_due(*, now: datetime) -> int:
    """Write to the owners of companies that were told something; how many of them were written to.

    Shape: each event's row is locked while its letter is sent, so that two workers do not send it twice; one whose
    worker dies between sending and noting it is sent again. What the mail server refuses is not tried again, and keeps
    nobody else's letter back; while it cannot be reached, all of them wait, for WORTH_SENDING at most.
    """
    if not settings.EMAIL_URL:
        return 0
    sent = 0
    for _ in range(LETTERS_AT_ONCE):
        try:
            with transaction.atomic():
                event = _next(now)
                if event is None:
                    break
                sent += _send(event)
                CreditEvent.objects.filter(id=event.id).update(mailed_at=now)
        except (smtplib.SMTPException, OSError) as exc:
            log.warning("E-mail about credits not sent yet: %s", type(exc).__name__)
            break
    return sent


def _next(now: datetime) -> CreditEvent | None:
    due = CreditEvent.objects.filter(mailed_at=None, created_at__gt=now - WORTH_SENDING)
    return due.select_for_update(skip_locked=True).order_by("id").first()


def _send(event: CreditEvent) -> int:
    company = Company.objects.filter(id=event.company_id).first()
    owners = Membership.objects.filter(
        company_id=event.company_id,
        role=Role.OWNER.value,
        user__is_active=True,
        user__email_verified_at__isnull=False,
    )
    addresses = list(owners.order_by("created_at").values_list("user__email", flat=True))
    if company is None or not addresses:
        return 0
    kind = CreditEvent.Kind(event.kind)
    words = {
        "threshold": "0",
        **event.payload,
        "company": company.name,
        "url": f"{settings.PUBLIC_URL.rstrip('/')}/dashboard/",
    }
    # One letter, so that it goes out once or not at all; owners need not learn each other's addresses.
    letter = EmailMessage(
        subject=SUBJECTS[kind].format(**words),
        body=(TEXTS[kind] + FOOT).format(**words),
        bcc=addresses,
        headers={"To": "undisclosed-recipients:;"},
    )
    try:
        letter.send()
    except (smtplib.SMTPException, ValueError) as exc:
        if not _is_final(exc):
            raise
        log.warning("E-mail about credits refused, event %s: %s", event.id, type(exc).__name__)
        return 0
    return len(addresses)


def _is_final(exc: Exception) -> bool:
    """Whether it is this letter or its addresses that are refused, and would be the next time."""
    if isinstance(exc, smtplib.SMTPDataError):
        return exc.smtp_code >= 500
    # An address that cannot be written down, or that this server does not take; a temporary refusal counts as well,
    # since the servers that letters are handed in at take them first and try again themselves.
    return isinstance(exc, ValueError | smtplib.SMTPRecipientsRefused | smtplib.SMTPNotSupportedError)
