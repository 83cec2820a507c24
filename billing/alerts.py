"""What an operator must hear of: one line in the log and one row to read, however often it is found."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson
from django.db import Error, connection, transaction

from accounts import audit
from accounts.errors import Conflict, InvalidInput, NotFound

# Whoever watches the logs watches this name; one JSON object a line.
log = logging.getLogger("naive.alert")

type Kind = Literal[
    "ledger_broken",
    "ledger_not_verified",
    "day_mismatch",
    "days_not_compared",
    "records_missing",
    "payment_mismatch",
    "catalog_not_refreshed",
]

# What a person alone can put right; the others know by themselves when they are over.
CLOSED_BY_HAND = frozenset({"payment_mismatch"})
RESOLVED_BY = {
    "ledger_broken": "the next check of the ledger that finds it whole resolves it.",
    "ledger_not_verified": "the next check of the ledger that comes to its end resolves it.",
    "day_mismatch": "decide about its anomaly, or wait for the reading that explains it.",
    "days_not_compared": "the next comparison with upstream resolves it.",
    "records_missing": "it is over when upstream's records come again.",
    "catalog_not_refreshed": "the next catalogue that is fetched resolves it.",
}

# An alert that nobody resolves is said again after this long. Unit: seconds.
TOLD_AGAIN_S = 86_400
ALERTS_MAX = 200

# `told_at` moves when this is news: the first time, again after it was resolved, or a day after it was last told.
_RAISE = """
    INSERT INTO billing_alert AS a (kind, reference, company_id, message, details, count, raised_at, last_at, told_at)
    VALUES (%s, %s, %s, %s, %s::jsonb, 1, statement_timestamp(), statement_timestamp(), statement_timestamp())
    ON CONFLICT (kind, reference) DO UPDATE SET
        company_id = excluded.company_id, message = excluded.message, details = excluded.details,
        count = a.count + 1, last_at = excluded.last_at, resolved_at = NULL,
        raised_at = CASE WHEN a.resolved_at IS NULL THEN a.raised_at ELSE excluded.raised_at END,
        told_at = CASE WHEN a.resolved_at IS NULL AND a.told_at > excluded.told_at - make_interval(secs => %s)
                       THEN a.told_at ELSE excluded.told_at END
    RETURNING told_at = statement_timestamp()
"""
_RESOLVE = """
    UPDATE billing_alert SET resolved_at = statement_timestamp()
     WHERE kind = %s AND resolved_at IS NULL AND (%s::text IS NULL OR reference = %s) AND reference <> ALL (%s)
"""
_OPEN = """
    SELECT id, kind, reference, company_id, message, details, count, raised_at, last_at FROM billing_alert
     WHERE resolved_at IS NULL AND id < coalesce(%s, 9223372036854775807) ORDER BY id DESC LIMIT %s
"""


_LATEST = """
    SELECT id, kind, reference, company_id, message, details, count, raised_at, last_at FROM billing_alert
     WHERE kind = %s ORDER BY last_at DESC LIMIT 1
"""
_ONE = """
    SELECT id, kind, reference, company_id, message, details, count, raised_at, last_at FROM billing_alert
     WHERE id = %s AND resolved_at IS NULL FOR UPDATE
"""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is wrong until it is resolved; `count` says how often it was found."""

    id: int
    kind: str
    reference: str
    company_id: UUID | None
    message: str
    details: dict[str, Any]
    count: int
    raised_at: datetime
    last_at: datetime


def raise_alert(
    kind: Kind,
    *,
    reference: str,
    message: str,
    company_id: UUID | None = None,
    details: Mapping[str, Any] | None = None,
) -> bool:
    """Tell the operator that something is wrong.

    Shape: one row per (kind, reference), one ERROR line on `naive.alert` when it is news; True then. The same again
    only counts, until it is resolved or a day old. Where the database cannot be reached the line is written anyway.
    Errors: none.
    """
    told = orjson.dumps(dict(details or {}), default=str).decode()
    try:
        with connection.cursor() as cursor:
            cursor.execute(_RAISE, [kind, reference, company_id, message, told, TOLD_AGAIN_S])
            is_news = bool(cursor.fetchone()[0])
    except Error:
        is_news = True
    if is_news:
        line = {"alert": kind, "reference": reference, "company_id": company_id, "message": message}
        log.error("%s", orjson.dumps({**line, "details": orjson.Fragment(told)}, default=str).decode())
    return is_news


def resolve(kind: Kind, *, reference: str | None = None, but: Collection[str] = ()) -> int:
    """Note that it is well again: this reference, or every one of the kind save those in `but`; says how many were."""
    with connection.cursor() as cursor:
        cursor.execute(_RESOLVE, [kind, reference, reference, list(but)])
        return int(cursor.rowcount)


def close(*, alert_id: int, reason: str) -> Alert:
    """Resolve one that nothing but a person resolves, for a reason; whoever acts leaves the entry of it.

    Errors: NotFound; Conflict where the platform itself says when it is well again; InvalidInput without a reason.
    """
    if not reason.strip():
        raise InvalidInput("reason: say why it is well again.", details={"field": "reason"})
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_ONE, [alert_id])
        rows = cursor.fetchall()
        if not rows:
            raise NotFound(f"Alert {alert_id} is not open.")
        found = _alert(rows[0])
        if found.kind not in CLOSED_BY_HAND:
            raise Conflict(f"{found.kind}: {RESOLVED_BY.get(found.kind, 'it resolves itself.')}")
        resolve("payment_mismatch", reference=found.reference)
        audit.record(
            company_id=None,
            action="alert.resolved",
            target_kind="alert",
            target_id=found.reference,
            target_label=found.kind,
            reason=reason,
        )
    return found


def latest(kind: Kind) -> Alert | None:
    """Return the last one of its kind, resolved or not; None where there never was one."""
    with connection.cursor() as cursor:
        cursor.execute(_LATEST, [kind])
        rows = cursor.fetchall()
    return _alert(rows[0]) if rows else None


def list_open(*, limit: int = 50, before_id: int | None = None) -> list[Alert]:
    """Return what is wrong now, the latest first; `before_id` is the last id of the page before."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, [before_id, max(1, min(limit, ALERTS_MAX))])
        rows = cursor.fetchall()
    return [_alert(row) for row in rows]


def _alert(row: tuple[Any, ...]) -> Alert:
    return Alert(*(*row[:5], orjson.loads(row[5]), *row[6:]))
