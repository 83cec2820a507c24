"""`GET /metrics` in Prometheus' text form, for the operator's monitoring alone: the books' figures, and this gateway's
own (traffic.py)."""

import asyncio
import hmac
import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import Error, connections
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from accounts import webhook_figures
from billing import metrics, money
from billing.errors import BooksUnavailable
from llm import debt, valkey
from llm.models import CatalogSnapshot
from naive_platform import gateway, traffic
from naive_platform.gateway import Send

log = logging.getLogger(__name__)

PATH = "/metrics"
# However often it is scraped, the database is asked no more often than this.
KEPT_S = 5.0
# What holds, charges and overruns are summed over.
WINDOW = timedelta(days=1)
# What settlements are counted over, each of them.
MINUTE = timedelta(minutes=1)
SOURCES = ("inline", "stream", "generation", "broadcast", "estimate", "no_evidence", "operator")
# Celery's own name for its list of tasks.
QUEUE = "celery"
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
# A proxy on this machine makes everybody look like one of us.
_PASSED_ON = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via"})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})


class Exposition:
    """What was last said, and the one reading that may be under way."""

    def __init__(self) -> None:
        self._text, self._read_at = b"", float("-inf")
        self._reading: asyncio.Task[bytes] | None = None

    async def text(self) -> bytes:
        """Return the figures, at most KEPT_S old; however many ask at once, the database is asked once."""
        if time.monotonic() - self._read_at < KEPT_S:
            return self._text
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="metrics")
        # A scraper that leaves takes the figures away from nobody else.
        return await asyncio.shield(self._reading)

    async def _read(self) -> bytes:
        waiting = await queued()
        self._text = await asyncio.to_thread(render, now=timezone.now(), queued=waiting)
        self._read_at = time.monotonic()
        return self._text


exposition = Exposition()


async def respond(scope: Any, send: Send) -> None:
    """Answer one scrape; to whom it is not for, there is nothing here."""
    status, body = 200, b""
    if scope["method"] not in {"GET", "HEAD"}:
        status = 405
    elif not settings.METRICS_TOKEN:
        status = 200 if _is_local(scope) else 404
    elif not _has_token(scope):
        status = 401
    if status == 200:
        body = await exposition.text()
    headers = [(b"content-type", CONTENT_TYPE), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})


async def queued() -> int | None:
    """Return how many tasks wait for a worker; None where the broker does not answer."""
    try:
        return int(await gateway.broker.ask("LLEN", QUEUE))
    except valkey.Away:
        return None


def render(*, now: datetime, queued: int | None = None) -> bytes:
    """Read all figures; where the database does not answer, say that and what is known without it."""
    registry = CollectorRegistry()
    registry.register(_Read(now, queued))
    try:
        return generate_latest(registry)
    except (BooksUnavailable, Error) as exc:
        log.warning("Figures of the books cannot be read: %s", exc)
    finally:
        # This thread serves others next.
        connections.close_all()
    registry = CollectorRegistry()
    registry.register(_Read(None, queued))
    return generate_latest(registry)


class _Read(Collector):
    """One reading; without the books where there is no `now`."""

    def __init__(self, now: datetime | None, queued: int | None) -> None:
        self._now, self._queued = now, queued

    def collect(self) -> Iterator[Metric]:
        up = 0 if self._now is None else 1
        yield _gauge("books_up", "Whether the database answered.", up)
        yield _gauge(
            "spool_bytes", "Evidence on this machine that the database does not have.", debt.spool_bytes()
        )
        yield _gauge("broker_up", "Whether Valkey answered.", 0 if self._queued is None else 1)
        if self._queued is not None:
            yield _gauge("queued_tasks", "Tasks that wait for a worker.", self._queued)
        yield from traffic.collect()
        if self._now is not None:
            yield from _holds()
            yield from _waiting()
            yield from _settled(self._now)
            yield from _fit(self._now)
            yield from _unattributed(self._now)
            yield from _catalog(self._now)
            yield from _webhooks(self._now)

    def describe(self) -> list[Metric]:
        # Else the registry would read everything once more to learn the names.
        return []


def _holds() -> Iterator[Metric]:
    calls = _family(
        "open_holds", "Calls that are not settled, by age from this many seconds on.", "age_s", "stage"
    )
    held = _family("open_holds_credits", "What they hold.", "age_s")
    for row in metrics.debt():
        age = str(row.from_s)
        calls.add_metric([age, "parked"], row.parked)
        calls.add_metric([age, "queued"], row.calls - row.parked)
        held.add_metric([age], _credits(row.held_nanocredits))
    yield calls
    yield held


def _waiting() -> Iterator[Metric]:
    found = metrics.waiting()
    yield _gauge("lookups_due", "Open holds whose look-up is due.", found.due)
    yield _gauge("lookups_late_seconds", "How late the latest of them is.", found.late_s)
    yield _gauge("second_looks", "Settled calls that are looked at again.", found.second_looks)
    yield _gauge("anomalies_undecided", "Evidence that waits for a person.", found.anomalies)
    yield _gauge("alerts_open", "Alerts that nobody has resolved.", found.alerts)


def _settled(now: datetime) -> Iterator[Metric]:
    calls = _family("minute_settlements", "Calls settled in the last minute, by whose word.", "source")
    found = {row.source: row.calls for row in metrics.settled(since=now - MINUTE, until=now)}
    for source in SOURCES:
        calls.add_metric([source], found.get(source, 0))
    yield calls


def _catalog(now: datetime) -> Iterator[Metric]:
    fetched_at = CatalogSnapshot.objects.values_list("fetched_at", flat=True).first()
    if fetched_at is not None:
        age_s = (now - fetched_at).total_seconds()
        yield _gauge("catalog_age_seconds", "Since models and prices were last fetched.", age_s)


def _webhooks(now: datetime) -> Iterator[Metric]:
    found = webhook_figures.read(now=now)
    on_their_way = _family("webhook_deliveries", "Of the last 30 days; retrying is pending too.", "state")
    for state in ("pending", "retrying", "failed"):
        on_their_way.add_metric([state], getattr(found, state))
    yield on_their_way
    yield _gauge("webhook_late_seconds", "How late the latest delivery that is due is.", found.late_s)
    endpoints = _family("webhook_endpoints", "Those that fail, and those disabled for it.", "state")
    endpoints.add_metric(["failing"], found.failing_endpoints)
    endpoints.add_metric(["disabled"], found.disabled_endpoints)
    yield endpoints


def _fit(now: datetime) -> Iterator[Metric]:
    found = metrics.fit(since=now - WINDOW, until=now)
    yield _gauge("day_calls", "Calls settled in the last 24 hours.", found.calls)
    yield _gauge("day_held_credits", "What they had held.", _credits(found.held_nanocredits))
    yield _gauge("day_charged_credits", "What they were charged.", _credits(found.charged_nanocredits))
    yield _gauge(
        "day_overrun_credits", "What they cost above their holds.", _credits(found.overrun_nanocredits)
    )
    ratio = _family("day_held_ratio", "Held ÷ charged, of hours and models weighted by calls.", "quantile")
    for quantile, value in (("0.5", found.median_ratio), ("0.95", found.p95_ratio)):
        if value is not None:
            ratio.add_metric([quantile], float(value))
    yield ratio


def _unattributed(now: datetime) -> Iterator[Metric]:
    found = metrics.unattributed(first=(now - WINDOW).date(), last=now.date())
    text = "Calls of today and yesterday (UTC) of which nothing was ever heard."
    yield _gauge("unattributed_calls", text, sum(day.calls for day in found))
    bound = sum((day.bound_usd for day in found), Decimal(0))
    yield _gauge("unattributed_usd_bound", "The most that they can have cost.", bound)


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"naive_{name}", text, labels=labels)


def _gauge(name: str, text: str, value: float | Decimal) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"naive_{name}", text, value=float(value))


def _credits(nanocredits: int) -> float:
    # Prometheus knows no other numbers.
    return float(money.credits_from_nanocredits(nanocredits))


def _is_local(scope: Any) -> bool:
    client = scope.get("client") or ("",)
    return client[0] in _LOOPBACK and _PASSED_ON.isdisjoint(name for name, _ in scope["headers"])


def _has_token(scope: Any) -> bool:
    said = [value for name, value in scope["headers"] if name == b"authorization"]
    wanted = b"Bearer " + settings.METRICS_TOKEN.encode()
    return len(said) == 1 and hmac.compare_digest(said[0], wanted)
