"""What Celery does for the management API: watch credits, tell companies, ask about checkouts, forget what is old."""

from celery import shared_task
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from accounts import deliveries, idempotency, sessions
from billing import credit_events, payment_events
from naive_platform import letters
from naive_platform.exports import files, writers
from naive_platform.webhooks import rounds


@shared_task
def watch_credits() -> None:
    """Tell companies whose credits run low or are gone. Safe to run twice, and beside itself."""
    credit_events.check_all(now=timezone.now())


@shared_task
def write_to_owners() -> None:
    """Send what companies were told of to their owners by e-mail, where e-mail is set up."""
    letters.send_due(now=timezone.now())


@shared_task
def ask_about_checkouts() -> None:
    """Ask the payment provider about checkouts whose webhook has not come. Safe to run twice, and beside itself."""
    payment_events.ask(now=timezone.now())


@shared_task
def forget_answers() -> None:
    """Delete what was kept for Idempotency-Keys and is past its day."""
    idempotency.forget(now=timezone.now())


@shared_task
def forget_sessions() -> None:
    """Delete session tokens that have ended, and sessions of browsers, which strangers have too."""
    sessions.forget(now=timezone.now())
    SessionStore.clear_expired()


@shared_task
def deliver_webhooks() -> None:
    """Send companies' endpoints what they were told. Safe to run twice, and beside itself."""
    rounds.deliver_due(clock=timezone.now)


@shared_task
def forget_webhooks() -> None:
    """Delete events and deliveries past their time."""
    deliveries.forget(now=timezone.now())


@shared_task
def write_exports() -> None:
    """Write on at files that companies asked for. Safe to run twice, and beside itself."""
    writers.write_due(clock=timezone.now)


@shared_task
def forget_exports() -> None:
    """Delete files past their day."""
    files.forget(now=timezone.now())
