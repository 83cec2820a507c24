"""What upstream says it has charged in all: its key's total, and its activity by model and day."""

import hashlib
import logging
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings

from billing import alerts, days
from billing.days import ModelUsage, Reading
from billing.models import Day
from billing.report_models import UpstreamKey
from llm import metering, upstream
from llm.errors import NotConfigured, UpstreamError
from llm.models import CatalogSnapshot

log = logging.getLogger(__name__)

# Upstream's answers to who may not read the account's activity, or asks for a day it does not tell.
NOT_TOLD = frozenset({400, 401, 403, 404})
# Beyond these a figure is a mistake of upstream's; all within are added up to the last digit.
USAGE_USD_MAX = 10**15
DECIMALS_MAX = 100
ERROR_LENGTH_MAX = 500
# Fetches of the catalogue that fail before anybody is told.
CATALOG_TICKS = 3


def close_days(*, now: datetime) -> list[Day]:
    """Compare every day that is over and not closed with upstream's own books.

    Shape: safe to run twice and beside itself; what upstream does not answer is left for the next time, and an alert.
    Errors: BooksUnavailable.
    """
    due = days.due(now=now)
    if not due:
        return []
    try:
        activity = [_activity(day) for day in due]
        # The reading comes last, right before our own figures: what is charged after it is not in it.
        reading = _reading()
    except (UpstreamError, NotConfigured, ValueError) as exc:
        log.warning("Days from %s on are not compared yet: %s", due[0], exc)
        if len(due) > 1:
            alerts.raise_alert(
                "days_not_compared",
                reference=str(due[0]),
                message=f"The books are not compared with upstream's since {due[0]}: {exc}",
            )
        return []
    alerts.resolve("days_not_compared")
    return [
        days.close(day=day, reading=reading if day == due[-1] else None, activity=told)
        for day, told in zip(due, activity, strict=True)
    ]


def read_key(*, now: datetime) -> UpstreamKey:
    """Ask what the key has used and may use, and keep it with the moment; what is not answered is kept as an error."""
    told: dict[str, Any] = {"asked_at": now, "error": ""}
    try:
        upstream.require_configured()
        data = _data(upstream.look_up("key"))
        told |= {"read_at": now, "usage_usd": _amount(data)}
        told |= {"limit_usd": _amount(data, "limit"), "remaining_usd": _amount(data, "limit_remaining")}
    except (UpstreamError, NotConfigured, ValueError) as exc:
        told["error"] = str(exc)[:ERROR_LENGTH_MAX]
        log.warning("Upstream does not say what its key has used: %s", exc)
    found, _ = UpstreamKey.objects.update_or_create(id=1, defaults=told)
    return found


def catalog_not_refreshed(*, why: Exception, now: datetime) -> None:
    """Tell the operator once upstream's models were not fetched several times in a row."""
    fetched_at = CatalogSnapshot.objects.values_list("fetched_at", flat=True).first()
    if fetched_at is not None and now - fetched_at < CATALOG_TICKS * timedelta(
        seconds=settings.CATALOG_REFRESH_S
    ):
        return
    since = f"since {fetched_at:%Y-%m-%d %H:%M} UTC" if fetched_at else "yet"
    alerts.raise_alert(
        "catalog_not_refreshed",
        reference="models",
        message=f"Upstream's models were not fetched {since}: {why}"[:ERROR_LENGTH_MAX],
    )


def _reading() -> Reading:
    """What the key has used since it was made. Errors: UpstreamError, NotConfigured; ValueError for another shape."""
    upstream.require_configured()
    data = _data(upstream.look_up("key"))
    usage = _amount(data)
    if usage is None or usage < 0:
        raise ValueError("Upstream's answer about its key names no usage.")
    account = f"{settings.OPENROUTER_BASE_URL}|{settings.OPENROUTER_API_KEY}".encode()
    return Reading(usage_usd=usage, key=hashlib.sha256(account).hexdigest()[:16])


def _activity(day: date) -> list[ModelUsage] | None:
    """What each model has cost on a day that is over; None where upstream does not tell.

    Errors: as `_reading`.
    """
    upstream.require_configured()
    key_hash = hashlib.sha256(settings.OPENROUTER_API_KEY.encode()).hexdigest()
    try:
        body = upstream.look_up(
            "activity", params={"date": day.isoformat(), "api_key_hash": key_hash}, as_manager=True
        )
    except UpstreamError as exc:
        if exc.status in NOT_TOLD:
            return None
        raise
    data = _data(body)
    if not isinstance(data, list):
        raise ValueError("Upstream's activity is no list.")
    return [_model_usage(row) for row in data]


def _model_usage(row: Any) -> ModelUsage:
    usage = _amount(row)
    if usage is None:
        raise ValueError("Upstream's activity has a row without usage.")
    model, slug = row.get("model"), row.get("model_permaslug")
    return ModelUsage(model=metering.text(model) or "", slug=metering.text(slug) or "", usage_usd=usage)


def _amount(row: Any, name: str = "usage") -> Decimal | None:
    """Its `usage`, or another amount, as written; None for what no account comes to, or no sum compares with."""
    usage = metering.cost_of(row if isinstance(row, dict) else None, name)
    if usage is None or not usage.is_finite() or usage.copy_abs() > USAGE_USD_MAX:
        return None
    return usage if int(usage.as_tuple().exponent) >= -DECIMALS_MAX else None


def _data(body: bytes) -> Any:
    report = metering.read(body)
    if report is None:
        raise ValueError("Upstream's answer cannot be read.")
    return report.body.get("data")
