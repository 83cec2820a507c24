"""Checks of the books as they are asked for and reported: when the last one was, and what it found."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import Error, transaction

from accounts import audit
from billing import watch
from billing.report_models import Verification

# Who asks again before a worker has come to it gets the one that waits. After this long it is taken for lost.
WAITS = timedelta(minutes=30)
ERROR_LENGTH_MAX = 500


def ask(*, asked_by: str, now: datetime) -> tuple[Verification, bool]:
    """Note that somebody wants the books checked; whether that is new, and a worker to be told of."""
    with transaction.atomic():
        waiting = Verification.objects.filter(ended_at=None, asked_at__gt=now - WAITS).order_by("-id").first()
        if waiting is not None:
            return waiting, False
        found = Verification.objects.create(asked_by=asked_by, asked_at=now)
        audit.record(
            company_id=None,
            action="ledger.verification_asked",
            target_kind="ledger",
            target_id=found.id,
            now=now,
        )
    return found, True


def run_asked(*, clock: Callable[[], datetime]) -> int:
    """Do the checks that somebody waits for; says how many. Where one is running already they wait on."""
    waiting = Verification.objects.filter(ended_at=None, asked_at__gt=clock() - WAITS).order_by("id")
    return sum(1 for found in waiting if _run(found, clock))


def run(*, clock: Callable[[], datetime]) -> None:
    """Check the whole of the books and write down what was found, beside the alerts of billing/watch.py."""
    _run(Verification(asked_at=clock()), clock)


def latest(*, limit: int = 10) -> list[Verification]:
    """The last checks, the latest first."""
    return list(Verification.objects.order_by("-id")[:limit])


def _run(found: Verification, clock: Callable[[], datetime]) -> bool:
    """False where another check is running."""
    try:
        report = watch.verify_ledger()
    except Error as exc:
        found.error, found.ended_at = str(exc)[:ERROR_LENGTH_MAX], clock()
        found.save()
        raise
    if report is None:
        return False
    found.violation_count, found.open_holds = report.violation_count, report.open_holds
    found.cost_usd, found.charged_nanocredits = report.cost_usd, Decimal(report.charged_nanocredits)
    found.ended_at = clock()
    found.save()
    return True
