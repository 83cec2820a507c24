"""Upstream as we last saw it: its catalogue, its key, its providers' errors, and what waits on our side. Nothing is
asked of it by this page."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from asgiref.sync import async_to_sync
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from billing import alerts, metrics, queues
from billing.queues import Ending
from billing.report_models import UpstreamKey
from llm import debt
from llm.models import CatalogSnapshot
from naive_platform import observability
from naive_platform.dashboard import ranges
from naive_platform.dashboard.tables import Cell, Column, Empty, Row, Table
from naive_platform.operator import doors
from naive_platform.operator.doors import Desk

# Calls whose endings are counted, of the last day of the range at most: some 0.1 s.
ENDINGS_MAX = 50_000
ENDINGS_OVER = timedelta(days=1)
ROWS = 50
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What models upstream offered when it was last asked."""

    model_count: int
    fetched_at: datetime
    age_minutes: int
    is_stale: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits on our side. Units: bytes in megabytes; None where the broker does not answer."""

    spool_kilobytes: int
    spool_limit_megabytes: int
    past_due: int
    debt_max: int
    queued_tasks: int | None


@doors.page("upstream")
def overview(request: HttpRequest, desk: Desk) -> HttpResponse:
    now = timezone.now()
    range = ranges.read(request.GET, now=now, default="24h")
    since = max(range.since, range.until - ENDINGS_OVER)
    endings = queues.endings(since=since, until=range.until, limit=ENDINGS_MAX)
    context = {
        "range": range,
        "since": since,
        "until": range.until,
        "is_configured": bool(settings.OPENROUTER_API_KEY or settings.UPSTREAM_IS_SIMULATOR),
        "base_url": settings.OPENROUTER_BASE_URL,
        "has_management_key": bool(settings.OPENROUTER_MANAGEMENT_KEY),
        "is_broadcast_on": bool(settings.BROADCAST_SECRET),
        "catalogue": _catalogue(now),
        "refresh_s": settings.CATALOG_REFRESH_S,
        "trouble": alerts.latest("catalog_not_refreshed"),
        "key": UpstreamKey.objects.first(),
        "waiting": metrics.waiting(),
        "backlog": _backlog(),
        "table": _table(endings),
    }
    return doors.render(request, desk, "operator/upstream.html", context)


def _catalogue(now: datetime) -> Catalogue | None:
    found = CatalogSnapshot.objects.only("model_count", "fetched_at").first()
    if found is None:
        return None
    age = now - found.fetched_at
    return Catalogue(
        model_count=found.model_count,
        fetched_at=found.fetched_at,
        age_minutes=int(age.total_seconds() // 60),
        is_stale=age > 3 * timedelta(seconds=settings.CATALOG_REFRESH_S),
    )


def _backlog() -> Backlog:
    old = sum(one.calls - one.parked for one in metrics.debt() if one.from_s >= debt.PAST_DUE_MIN * 60)
    return Backlog(
        spool_kilobytes=debt.spool_bytes() // 1000,
        spool_limit_megabytes=settings.SPOOL_LIMIT_MB,
        past_due=old,
        debt_max=settings.MAX_SETTLEMENT_DEBT,
        queued_tasks=async_to_sync(observability.queued)(),
    )


def _table(endings: list[Ending]) -> Table:
    return Table(
        name="providers",
        caption="Errors by provider",
        columns=(
            Column(title="Provider", is_title=True),
            Column(title="Calls", kind="count"),
            Column(title="Given back", kind="count"),
            Column(title="Ended with an error", kind="count"),
            Column(title="By estimate or unheard of", kind="count", is_hidden_narrow=True),
        ),
        rows=[
            Row([
                Cell(one.provider or "none reached", note=_author(one)),
                Cell(one.calls), Cell(one.given_back), Cell(one.failed), Cell(one.unsure),
            ])
            for one in _by_provider(endings)[:ROWS]
        ],
        empty=Empty("No call was settled in this time. Choose another day."),
    )  # fmt: skip


def _author(one: Ending) -> str:
    return "" if one.provider else f"models of {one.author or 'nobody'}"


def _by_provider(endings: list[Ending]) -> list[Ending]:
    """One line for each provider, whoever made its models."""
    found: dict[tuple[str, str], Ending] = {}
    for one in endings:
        name = (one.provider, "" if one.provider else one.author)
        was = found.get(name, Ending(*name, 0, 0, 0, 0))
        found[name] = Ending(
            *name,
            calls=was.calls + one.calls,
            given_back=was.given_back + one.given_back,
            failed=was.failed + one.failed,
            unsure=was.unsure + one.unsure,
        )
    return sorted(found.values(), key=lambda one: (-one.errors, -one.calls, one.provider, one.author))
