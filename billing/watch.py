"""The nightly check of the books, and whom it wakes."""

import contextlib
import logging
from collections.abc import Iterator

from django.db import Error, connection

from billing import alerts, verification
from billing.verification import Report, Violation

log = logging.getLogger(__name__)

# Where everything is broken, the first of it is enough to be woken by.
ALERTS_MAX = 20
# One check at a time is enough: a second one finds this lock taken and leaves it at that.
_LOCK = 0x766572696679


def verify_ledger() -> Report | None:
    """Check the whole of the books, and raise an alert for each thing that is broken, with its company and entry.

    Shape: None where another check is running. What is well again is resolved. A check that fails is an alert, too.
    Source: docs/books.md, "Invariants".
    """
    with _alone() as is_ours:
        if not is_ours:
            log.info("The ledger is being verified already")
            return None
        report = _verified()
    raised = {_reference(found) for found in report.violations}
    alerts.resolve("ledger_broken", but=raised)
    for found in report.violations[:ALERTS_MAX]:
        _raise(found, report)
    log.info("Ledger verified: %d violations, %s USD", report.violation_count, report.cost_usd)
    return report


def _verified() -> Report:
    """Check, however long it takes; a check that does not come to its end is an alert of its own."""
    try:
        with connection.cursor() as cursor:
            # A worker's statements are bounded (naive_platform/boot.py); the books grow beyond any bound.
            cursor.execute("SET statement_timeout = 0")
        report = verification.verify()
    except Error as exc:
        alerts.raise_alert(
            "ledger_not_verified",
            reference="verify_ledger",
            message=f"The nightly check of the ledger did not come to its end: {exc}"[:500],
        )
        raise
    finally:
        with contextlib.suppress(Error), connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")
    alerts.resolve("ledger_not_verified")
    return report


def _raise(found: Violation, report: Report) -> None:
    off = (
        ""
        if found.difference_nanocredits is None
        else f", off by {found.difference_nanocredits:f} nanocredits"
    )
    alerts.raise_alert(
        "ledger_broken",
        reference=_reference(found),
        company_id=found.company_id,
        message=f"Company {found.company_id}, {found.reference}: {found.rule}{off}.",
        details={"rule": found.rule, "entry": found.reference, "violations": report.violation_count},
    )


def _reference(found: Violation) -> str:
    return f"{found.rule.partition(':')[0]} {found.company_id} {found.reference}"[:250]


@contextlib.contextmanager
def _alone() -> Iterator[bool]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
        is_ours = bool(cursor.fetchone()[0])
        try:
            yield is_ours
        finally:
            if is_ours:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
