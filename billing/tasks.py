"""What Celery does for the books alone: check them every night, and watch for calls that wait too long."""

from celery import shared_task
from django.utils import timezone

from billing import holds, reconciliation, sums, verifications

# Claims that are removed at once: a transaction of some milliseconds.
FORGET_CLAIMS_MAX = 1000


@shared_task
def verify_ledger() -> None:
    """Check every invariant, charge and chain of the books; what is broken is an alert."""
    verifications.run(clock=timezone.now)


@shared_task
def verify_asked() -> None:
    """Check the books where an operator has asked for it. Safe to run twice, and beside itself."""
    verifications.run_asked(clock=timezone.now)


@shared_task
def sum_days() -> None:
    """Take the sums of days that are over. Safe to run twice, and beside itself."""
    sums.take(now=timezone.now())


@shared_task
def watch_records() -> None:
    """Tell the operator when upstream keeps the records of calls back."""
    reconciliation.warn_of_missing_records()


@shared_task
def forget_claims() -> None:
    """Remove what clients' Idempotency-Keys stood for a day ago."""
    while holds.forget_claims(limit=FORGET_CLAIMS_MAX) == FORGET_CLAIMS_MAX:
        pass
