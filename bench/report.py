"""What a run found: medians with their spread over rounds, held against target and budget, as plain text."""

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

type Round = Mapping[str, Any]
type Rounds = Mapping[str, Sequence[Round]]
type Measure = Callable[[Round], float | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Spread:
    """A figure's median over the rounds, and how far they lie apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread | None":
        known = [value for value in values if value is not None]
        return cls(statistics.median(known), min(known), max(known)) if known else None

    def text(self, digits: int) -> str:
        if self.low == self.high:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A line of the target or of the budget (docs/architecture.md, "What it must cost")."""

    kind: str
    what: str
    limit: float
    unit: str
    digits: int
    figure: Spread | None
    is_floor: bool = False

    @property
    def verdict(self) -> str:
        if self.figure is None:
            return "not measured"
        value = self.figure.median
        return "met" if (value >= self.limit if self.is_floor else value <= self.limit) else "missed"

    @property
    def limit_text(self) -> str:
        return f"{'>=' if self.is_floor else '<='} {self.limit:g} {self.unit}"


def _through(name: str) -> Measure:
    return lambda one: one["gateway"][name]


def _own(name: str) -> Measure:
    return lambda one: one[name]


def _added_ms(kind: str, quantile: str) -> Measure:
    return lambda one: (one["gateway"][kind][quantile] - one["upstream"][kind][quantile]) / 1000


def _alone_ms(one: Round) -> float:
    return float(one["upstream"]["latency"]["p50"]) / 1000


def _longest_gap_ms(one: Round) -> float:
    return float(one["gateway"]["gap"]["max"]) / 1000


type Columns = tuple[tuple[str, Measure, int], ...]
COSTS: Columns = (
    ("calls/s", _through("per_s"), 0),
    ("gateway CPU ms", _through("gateway_cpu_ms"), 3),
    ("PostgreSQL CPU ms", _through("postgres_cpu_ms"), 3),
    ("reads a call", _through("arrivals_per_call"), 1),
)
TIMES: Columns = (
    ("upstream alone ms", _alone_ms, 3),
    ("added median ms", _added_ms("latency", "p50"), 2),
    ("added p99 ms", _added_ms("latency", "p99"), 2),
    ("first byte late ms", _added_ms("first", "p50"), 2),
    ("longest gap ms", _longest_gap_ms, 1),
)
BESIDE: Columns = (
    ("typed CPU ms", lambda one: one["typed"]["gateway_cpu_ms"], 3),
    ("proxy CPU ms", lambda one: one["proxy"]["gateway_cpu_ms"], 3),
    ("typed PostgreSQL ms", lambda one: one["typed"]["postgres_cpu_ms"], 3),
    ("proxy PostgreSQL ms", lambda one: one["proxy"]["postgres_cpu_ms"], 3),
    ("typed calls/s", lambda one: one["typed"]["per_s"], 0),
    ("proxy calls/s", lambda one: one["proxy"]["per_s"], 0),
)
PAIRS: Columns = (
    ("pairs/s", _own("per_s"), 0),
    ("pairs/s a PostgreSQL core", _own("per_core_s"), 0),
    ("PostgreSQL CPU ms", _own("postgres_cpu_ms"), 3),
    ("process CPU ms", _own("process_cpu_ms"), 3),
)


def spread(rounds: Rounds, case: str, measure: Measure) -> Spread | None:
    """A figure of a case over its rounds; None when the case did not run."""
    return Spread.of(measure(one) for one in rounds.get(case, ()))


def goals(rounds: Rounds, silent_stream_kb: float | None, pairs: Rounds) -> list[Goal]:
    """Target and budget with what was measured."""
    cpu = spread(rounds, "json@32", _through("gateway_cpu_ms"))
    postgres = spread(rounds, "json@32", _through("postgres_cpu_ms"))
    silent = None if silent_stream_kb is None else Spread.of([silent_stream_kb])
    budget: tuple[tuple[str, float, str, int, Spread | None], ...] = (
        ("gateway CPU a JSON call at 32", 0.70, "ms", 3, cpu),
        ("PostgreSQL CPU a JSON call at 32", 0.15, "ms", 3, postgres),
        ("added median at 1", 2, "ms", 2, spread(rounds, "json@1", _added_ms("latency", "p50"))),
        ("added p99 at 1", 5, "ms", 2, spread(rounds, "json@1", _added_ms("latency", "p99"))),
        ("gateway CPU a further chunk", 40, "us", 1, _chunk_us(rounds)),
        ("first token late at 1", 3, "ms", 2, spread(rounds, "stream20@1", _added_ms("first", "p50"))),
        ("memory a silent open stream", 40, "kB", 1, silent),
    )
    target = Goal(
        kind="target", what="gateway CPU a JSON call at 32", limit=1.2, unit="ms", digits=3, figure=cpu
    )
    speed = Goal(
        kind="budget",
        what="JSON calls on one gateway core",
        limit=1000,
        unit="calls/s",
        digits=0,
        figure=spread(rounds, "json@32", _through("per_s")),
        is_floor=True,
    )
    lines = [
        Goal(kind="budget", what=what, limit=limit, unit=unit, digits=digits, figure=figure)
        for what, limit, unit, digits, figure in budget
    ]
    return [target, *lines, speed, *_pair_goals(pairs)]


def _pair_goals(pairs: Rounds) -> list[Goal]:
    return [
        Goal(
            kind="target",
            what=f"hold + settle on a core of PostgreSQL, {companies}",
            limit=limit,
            unit="pairs/s",
            digits=0,
            figure=spread(pairs, name, _own("per_core_s")),
            is_floor=True,
        )
        for name, companies, limit in (
            ("pairs@1", "1 company", 1000),
            ("pairs@1000", "1,000 companies", 2000),
        )
    ]


def _chunk_us(rounds: Rounds) -> Spread | None:
    pairs = zip(rounds.get("paced100@32", ()), rounds.get("paced20@32", ()), strict=False)
    cpu = _through("gateway_cpu_ms")
    return Spread.of(((cpu(long) or 0) - (cpu(short) or 0)) * 1000 / 80 for long, short in pairs)


def render(results: Mapping[str, Any], found: Sequence[Goal]) -> str:
    """The whole report."""
    rounds: Rounds = results["cases"]
    lines = [["", "figure", "measured", "limit", ""]]
    for goal in found:
        measured = f"{goal.figure.text(goal.digits)} {goal.unit}" if goal.figure else "-"
        lines.append([goal.kind, goal.what, measured, goal.limit_text, goal.verdict])
    of_cases = ((rounds, COSTS), (rounds, TIMES), (results["beside"], BESIDE), (results["pairs"], PAIRS))
    tables = [*(_table(_of_cases(found, columns)) for found, columns in of_cases if found), _table(lines)]
    return "\n\n".join([_heading(results), *tables, *_remarks(results)])


def _of_cases(rounds: Rounds, columns: Columns) -> list[list[str]]:
    rows = [["case", *(name for name, _, _ in columns)]]
    for case in rounds:
        spreads = ((spread(rounds, case, measure), digits) for _, measure, digits in columns)
        rows.append([case, *(one.text(digits) if one else "-" for one, digits in spreads)])
    return rows


def _heading(results: Mapping[str, Any]) -> str:
    machine, versions, options = results["machine"], results["versions"], results["options"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores; Python {versions['python']}, "
        f"PostgreSQL {versions['postgresql']}; "
        f"{options['rounds']} rounds of {options['seconds']:g} s a case.\n"
        "Medians over the rounds (lowest-highest); CPU and added time are per call, added to upstream alone."
    )


def _remarks(results: Mapping[str, Any]) -> list[str]:
    idle, after, books = results["memory"]["idle"], results["memory"]["after"], results["books"]
    agree = "agree" if books["agree"] else "DO NOT AGREE"
    remarks = [
        f"Gateway: ready in {results['ready_s']:.1f} s; memory RSS {idle['rss_kb'] / 1024:.0f} MB, "
        f"PSS {idle['pss_kb'] / 1024:.0f} MB idle; RSS {after['rss_kb'] / 1024:.0f} MB, "
        f"PSS {after['pss_kb'] / 1024:.0f} MB after the run.\n"
        f"Books {agree}: {books['settlements']} settlements, {books['completions']} completions upstream and "
        f"{books['pairs']} pairs, "
        f"{books['cost_usd']} USD in the ledger of {books['expected_cost_usd']} spent; "
        f"{books['violations']} violations, {books['open_holds']} open holds."
    ]
    failed = sum(sum(one["errors"].values()) for one in loads(results["cases"], results["beside"]))
    if (silent := results["silent_streams"]["load"]) and silent["errors"]:
        remarks.append(f"Silent streams: {silent['calls'] - silent['ok']} of {silent['calls']} did not open.")
    if failed:
        remarks.append(f"{failed} calls FAILED; the figures above do not count.")
    if (busy := _others_cores(results)) > 0.1:
        remarks.append(f"Other processes used up to {busy:.2f} cores meanwhile: read the figures with care.")
    return remarks


def loads(rounds: Rounds, beside: Rounds) -> list[Any]:
    """What the load generator said of each turn through the gateway."""
    turns = [turn for pairs in beside.values() for pair in pairs for turn in pair.values()]
    return [*turns, *(one["gateway"] for case in rounds.values() for one in case)]


def _others_cores(results: Mapping[str, Any]) -> float:
    found = loads(results["cases"], results["beside"])
    found += [one for kind in results["pairs"].values() for one in kind]
    return max((one["others_cores"] for one in found), default=0.0)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
