"""What this gateway answered: counted and timed for `/metrics`, written down in one line a call.

Labels are words of ours, never a client's: routes as the tables spell them, outcomes, classes of statuses. One event
loop counts, on plain numbers; a scrape reads them as they stand.
"""

import bisect
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from llm import denials, prompts, replays, sightings, turns
from llm.permits import permits
from llm.sightings import Sighting

log = logging.getLogger(__name__)

# Upper bounds of the histograms. Unit: seconds.
BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
CLIENT_GONE = 499
# A span for each call, where that is set up (naive_platform/spans.py).
listeners: list[Callable[[Sighting, float], None]] = []


class Histogram:
    """How often something took how long; the last count is of what took longer than all bounds."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return (upper bound, how many took no longer), as Prometheus counts them."""
        found, total = [], 0
        for bound, count in zip((*BOUNDS_S, float("inf")), self.counts, strict=True):
            total += count
            found.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
        return found


class Tally:
    """Since this process began."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str, str]] = Counter()
        self.latencies: dict[str, Histogram] = {}
        self.firsts: dict[str, Histogram] = {}
        self.limited: Counter[str] = Counter()


tally = Tally()


def note(seen: Sighting) -> None:
    """Count a request that is over, and write its line."""
    now = time.monotonic()
    if seen.status >= 400 and seen.outcome == "ok":
        seen.outcome = "provider_error"  # Upstream's own refusal, passed on.
    tally.calls[seen.route, f"{seen.status // 100}xx", seen.outcome] += 1
    _histogram(tally.latencies, seen.route).observe(now - seen.began_at)
    if seen.first_at:
        _histogram(tally.firsts, seen.route).observe(seen.first_at - seen.began_at)
    if log.isEnabledFor(logging.INFO):
        log.info("answered", extra={"fields": _fields(seen, now)})
    for listener in listeners:
        listener(seen, now)


def note_limit(limit: object) -> None:
    """Count a call that was refused for one of our limits, by its name."""
    tally.limited[str(limit)] += 1


def collect() -> Iterator[Metric]:
    """Yield this gateway's own figures; one port may have several gateways behind it, so each says which it is."""
    gateway = str(os.getpid())
    yield from _calls(gateway)
    yield from _holds(gateway)
    yield from _limits(gateway)
    yield from _prompts(gateway)


def _calls(gateway: str) -> Iterator[Metric]:
    labels = ["gateway", "route", "status", "outcome"]
    calls = CounterMetricFamily("naive_calls", "Requests answered.", labels=labels)
    for (route, status, outcome), count in list(tally.calls.items()):
        calls.add_metric([gateway, route, status, outcome], count)
    yield calls
    for name, text, histograms in (
        ("call_seconds", "From a request's headers to the end of its answer.", tally.latencies),
        ("first_token_seconds", "From a request's headers to the first data of a stream.", tally.firsts),
    ):
        family = HistogramMetricFamily(f"naive_{name}", text, labels=["gateway", "route"])
        for route, histogram in list(histograms.items()):
            family.add_metric([gateway, route], histogram.buckets(), histogram.sum_s)
        yield family
    running = GaugeMetricFamily("naive_running_calls", "Calls that run now.", labels=["gateway"])
    running.add_metric([gateway], permits.running)
    yield running


def _holds(gateway: str) -> Iterator[Metric]:
    refused = denials.count
    yield _counter("holds_placed", "Holds that were placed.", gateway, sightings.count.placed)
    yield _counter("refused_calls", "Calls refused for want of credits.", gateway, refused.refused)
    yield _counter("false_refusals", "Those of them that would likely have fitted.", gateway, refused.false)
    settled = CounterMetricFamily(
        "naive_settled_calls", "Calls settled by this gateway itself.", labels=["gateway", "source"]
    )
    for source in ("inline", "stream"):
        settled.add_metric([gateway, source], sightings.count.settled[source])
    yield settled


def _limits(gateway: str) -> Iterator[Metric]:
    limited = CounterMetricFamily(
        "naive_limited_calls", "Calls refused for a limit.", labels=["gateway", "limit"]
    )
    for limit, count in list(tally.limited.items()):
        limited.add_metric([gateway, limit], count)
    yield limited
    found = turns.count
    yield _counter("limits_judged", "Calls that Valkey judged.", gateway, found.judged)
    yield _counter("limits_trips", "Round trips it took.", gateway, found.trips)
    yield _counter(
        "limits_unjudged", "Calls that went on because Valkey did not answer.", gateway, found.unjudged
    )
    failures = CounterMetricFamily(
        "naive_valkey_failures",
        "Questions that Valkey did not answer in time.",
        labels=["gateway", "purpose"],
    )
    for purpose, line in (("limits", turns.line), ("kept_answers", replays.line)):
        failures.add_metric([gateway, purpose], line.failures)
    yield failures
    up = GaugeMetricFamily(
        "naive_limits_up", "Whether Valkey answered when it was last asked.", labels=["gateway"]
    )
    up.add_metric([gateway], 0 if turns.line.is_away else 1)
    yield up


def _prompts(gateway: str) -> Iterator[Metric]:
    yield _counter("prompts_stored", "Calls whose prompt was stored.", gateway, prompts.count.stored)
    yield _counter(
        "prompts_dropped",
        "Calls whose prompt was not stored, for want of room or time.",
        gateway,
        prompts.count.dropped,
    )
    waiting = GaugeMetricFamily(
        "naive_prompts_waiting_bytes", "Of calls that run or wait to be stored.", labels=["gateway"]
    )
    waiting.add_metric([gateway], prompts.waiting_bytes())
    yield waiting


def _counter(name: str, text: str, gateway: str, value: int) -> Metric:
    family = CounterMetricFamily(
        f"naive_{name}", f"{text[:-1]} since this gateway began.", labels=["gateway"]
    )
    family.add_metric([gateway], value)
    return family


def _histogram(histograms: dict[str, Histogram], route: str) -> Histogram:
    found = histograms.get(route)
    if found is None:
        found = histograms[route] = Histogram()
    return found


def _fields(seen: Sighting, now: float) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "request": seen.request_id,
        "method": seen.method,
        "route": seen.route,
        "status": seen.status,
        "outcome": seen.outcome,
        "latency_ms": int((now - seen.began_at) * 1000),
    }
    if seen.first_at:
        fields["first_ms"] = int((seen.first_at - seen.began_at) * 1000)
    if seen.company_id is not None:
        fields["company"], fields["key"] = seen.company_id, seen.key_id
    if seen.hold_id is not None:
        fields["generation"] = f"gen_{seen.hold_id}"
    if seen.generation_id is not None:
        fields["upstream_generation"] = seen.generation_id
    return fields
