"""How long the lists of the management API take for a company with 20,000 tenant users and 1,000 kits."""

import http.client
import statistics
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from bench.processes import BenchFailed
from bench.report import Goal, Spread

NAME = "lists"
SCRIPT = "from bench import crowd; crowd.fill_bench()"
# Of each list, one after the other on one connection; the first ones fill caches and prepare statements.
REQUESTS, WARM_UP = 100, 10
LIMIT_MS = 50.0


def measure(addresses: Mapping[str, str], *, url: str, bearer: str) -> dict[str, dict[str, Any]]:
    """Median and 95th percentile of each list, in ms. Errors: BenchFailed where one is not answered 200."""
    found = {}
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        for name, address in addresses.items():
            times_ms = [_ask(connection, address, bearer) for _ in range(WARM_UP + REQUESTS)][WARM_UP:]
            quantiles = statistics.quantiles(times_ms, n=20)
            found[name] = {"p50_ms": statistics.median(times_ms), "p95_ms": quantiles[-1]}
            told = f"median {found[name]['p50_ms']:.1f} ms, p95 {found[name]['p95_ms']:.1f} ms"
            print(f"bench: {NAME}, {name}: {told}", file=sys.stderr)
    return found


def goals(figures: Mapping[str, Mapping[str, float]]) -> list[Goal]:
    """Each list's p95 beside its limit."""
    return [
        Goal(
            kind="budget",
            what=f"list of {name}, p95",
            limit=LIMIT_MS,
            unit="ms",
            digits=1,
            figure=Spread.of([one["p95_ms"]]),
        )
        for name, one in figures.items()
    ]


def _ask(connection: http.client.HTTPConnection, address: str, bearer: str) -> float:
    begun = time.monotonic()
    connection.request("GET", address, headers={"Authorization": f"Bearer {bearer}"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != http.client.OK:
        raise BenchFailed(f"{address}: {answer.status} {body[:200]!r}")
    return (time.monotonic() - begun) * 1000
