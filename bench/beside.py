"""What the drop-in proxy costs beside the typed route: the same calls on both, in short turns."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bench import cases
from bench.cases import Bench
from bench.report import Goal, Round, Spread

# Short turns, and many: what the machine does meanwhile then falls on both alike.
TURNS_A_ROUND = 2
TURN_S = 2.0
WARM_UP_S = 0.5
CASES = {f"proxy {case.name}": case for case in cases.CASES if case.name in ("json@32", "stream20@32")}


def measure(
    bench: Bench, *, rounds: int, seconds: float, only: Sequence[str] | None
) -> dict[str, list[dict[str, Any]]]:
    """Measure each case in pairs of turns, one typed and one proxied; which of them goes first alternates."""
    targets = {"typed": bench.gateway, "proxy": bench.proxy}
    found: dict[str, list[dict[str, Any]]] = {}
    for name, case in CASES.items():
        if only and name not in only:
            continue
        for target in targets.values():
            bench.send(case, target, seconds=WARM_UP_S)
        for number in range(rounds * TURNS_A_ROUND):
            ways = ("typed", "proxy") if number % 2 == 0 else ("proxy", "typed")
            pair = {
                way: bench.measure(case, seconds=min(TURN_S, seconds), target=targets[way]) for way in ways
            }
            found.setdefault(name, []).append(pair)
        told = ", ".join(f"{way} {pair[way]['gateway_cpu_ms']:.3f}" for way in targets)
        print(f"bench: {name}: {told} ms gateway CPU in the last pair", file=sys.stderr)
    return found


def goals(figures: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Goal]:
    """How much dearer than its typed neighbour each proxied turn was; the limit is how far the typed ones lie apart."""
    found = []
    for name, pairs in figures.items():
        typed = Spread.of(pair["typed"]["gateway_cpu_ms"] for pair in pairs)
        limit = (typed.high - typed.low) / typed.median * 100 if typed and typed.median else 0.0
        found.append(
            Goal(
                kind="budget",
                what=f"gateway CPU, {name} over typed",
                limit=round(limit, 1),
                unit="%",
                digits=1,
                figure=Spread.of(over(pair) for pair in pairs),
            )
        )
    return found


def over(pair: Round) -> float | None:
    """By how many percent the proxied turn of a pair took more of the gateway's processor for a call."""
    typed, proxied = (float(pair[way]["gateway_cpu_ms"]) for way in ("typed", "proxy"))
    return (proxied / typed - 1) * 100 if typed else None
