"""E-mail to a company's owners, of its credits and webhooks, where EMAIL_URL is set; at least once, in plain words."""

import logging
import smtplib
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction

from accounts.models import Company, Membership, Role
from accounts.webhook_models import WebhookEndpoint
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
WEBHOOK_SUBJECT = "{company}: a webhook was disabled"
WEBHOOK_TEXTS = {
    WebhookEndpoint.Disabled.FAILING: "Nothing could be delivered to {address} for five days.",
    WebhookEndpoint.Disabled.GONE: "{address} answered 410: it wants no more events.",
}
WEBHOOK_FOOT = (
    " {company}'s webhook is disabled and hears of nothing any more. Once it answers again, enable it and replay what "
    "it has missed: PATCH and POST …/replay on /v1/webhooks/{id}.\n"
)
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
                written_to = _write_next(now)
        except (smtplib.SMTPException, OSError) as exc:
            log.warning("E-mail to owners not sent yet: %s", type(exc).__name__)
            break
        if written_to is None:
            break
        sent += written_to
    return sent


def _write_next(now: datetime) -> int | None:
    """Write of what has waited longest; how many were written to, None where nothing waits."""
    event = _next(now)
    if event is not None:
        written_to = _send_event(event)
        CreditEvent.objects.filter(id=event.id).update(mailed_at=now)
        return written_to
    endpoint = _next_disabled(now)
    if endpoint is None:
        return None
    written_to = _send_disabled(endpoint)
    WebhookEndpoint.objects.filter(id=endpoint.id).update(mailed_at=now)
    return written_to


def _next(now: datetime) -> CreditEvent | None:
    due = CreditEvent.objects.filter(mailed_at=None, created_at__gt=now - WORTH_SENDING)
    return due.select_for_update(skip_locked=True).order_by("id").first()


def _next_disabled(now: datetime) -> WebhookEndpoint | None:
    due = WebhookEndpoint.objects.filter(
        disabled_reason__in=WEBHOOK_TEXTS, mailed_at=None, disabled_at__gt=now - WORTH_SENDING
    )
    return due.select_for_update(skip_locked=True, no_key=True).order_by("disabled_at").first()


def _send_event(event: CreditEvent) -> int:
    kind = CreditEvent.Kind(event.kind)
    words = {
        "threshold": "0",
        **event.payload,
        "url": f"{settings.PUBLIC_URL.rstrip('/')}/dashboard/",
    }
    return _send(event.company_id, SUBJECTS[kind], TEXTS[kind] + FOOT, words, about=f"event {event.id}")


def _send_disabled(endpoint: WebhookEndpoint) -> int:
    # What follows a question mark is often a password.
    words = {"address": endpoint.url.partition("?")[0], "id": str(endpoint.id)}
    text = WEBHOOK_TEXTS[WebhookEndpoint.Disabled(endpoint.disabled_reason)] + WEBHOOK_FOOT
    return _send(endpoint.company_id, WEBHOOK_SUBJECT, text, words, about=f"webhook {endpoint.id}")


def _send(company_id: UUID, subject: str, text: str, words: Mapping[str, str], *, about: str) -> int:
    company = Company.objects.filter(id=company_id).first()
    owners = Membership.objects.filter(
        company_id=company_id,
        role=Role.OWNER.value,
        user__is_active=True,
        user__email_verified_at__isnull=False,
    )
    addresses = list(owners.order_by("created_at").values_list("user__email", flat=True))
    if company is None or not addresses:
        return 0
    told = {**words, "company": company.name}
    # One letter, so that it goes out once or not at all; owners need not learn each other's addresses.
    letter = EmailMessage(
        subject=subject.format(**told),
        body=text.format(**told),
        bcc=addresses,
        headers={"To": "undisclosed-recipients:;"},
    )
    try:
        letter.send()
    except (smtplib.SMTPException, ValueError) as exc:
        if not _is_final(exc):
            raise
        log.warning("E-mail to owners refused, %s: %s", about, type(exc).__name__)
        return 0
    return len(addresses)


def _is_final(exc: Exception) -> bool:
    """Whether it is this letter or its addresses that are refused, and would be the next time."""
    if isinstance(exc, smtplib.SMTPDataError):
        return exc.smtp_code >= 500
    # An address that cannot be written down, or that this server does not take; a temporary refusal counts as well,
    # since the servers that letters are handed in at take them first and try again themselves.
    return isinstance(exc, ValueError | smtplib.SMTPRecipientsRefused | smtplib.SMTPNotSupportedError)
