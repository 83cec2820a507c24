"""What the harness says at the end: a table for people, or JSON."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.chaos.audits import Audit
from tests.chaos.runs import Outcome

# What is added up over the runs, and what it is called.
COUNTS: tuple[tuple[str, Callable[[Outcome], Any]], ...] = (
    ("calls at upstream", lambda o: o.audit.calls),
    ("calls made by clients", lambda o: o.audit.made),
    ("  of them refused", lambda o: o.audit.refused),
    ("kill -9", lambda o: o.kills),
    ("PostgreSQL restarts (immediate)", lambda o: o.restarts),
    ("Valkey flushes", lambda o: o.flushes),
    ("answers of the database lost", lambda o: o.stolen),
    ("lost", lambda o: len(o.audit.lost)),
    ("doubled", lambda o: len(o.audit.doubled)),
    ("wrong", lambda o: len(o.audit.wrong)),
    ("unattributed", lambda o: len(o.audit.unattributed)),
    ("charged by a person, on late news", lambda o: o.audit.decided),
    ("USD difference", lambda o: o.audit.difference_usd),
    ("open holds", lambda o: o.audit.open_holds),
    ("violations of the books", lambda o: len(o.audit.violations)),
    ("wallets overdrawn", lambda o: len(o.audit.overdrawn)),
    ("refused and sent all the same", lambda o: len(o.audit.leaked)),
    ("answers that named another charge", lambda o: len(o.audit.misreported)),
    ("top-ups and corrections not once", lambda o: len(o.audit.orders)),
)  # fmt: skip
TIMES: tuple[tuple[str, Callable[[Outcome], float]], ...] = (
    ("drain, seconds", lambda o: o.drain_s),
    ("whole run, seconds", lambda o: o.total_s),
)
NAME_WIDTH, WIDTH = 36, 16


def table(outcomes: list[Outcome]) -> str:
    """One column a run, and the sum of all."""
    heads = [f"{o.plan.name}, seed {o.plan.seed}"[: WIDTH - 1] for o in outcomes]
    lines = [_line("", [*heads, "total"])]
    for name, count in COUNTS:
        found = [count(o) for o in outcomes]
        lines.append(_line(name, [_plain(n) for n in [*found, sum(found)]]))
    for name, seconds in TIMES:
        took = [seconds(o) for o in outcomes]
        lines.append(_line(name, [f"{s:.1f}" for s in [*took, sum(took)]]))
    for outcome in outcomes:
        title = f"{outcome.plan.name}, seed {outcome.plan.seed}"
        lines.append(f"{title}: deaths {_counts(outcome.deaths)}")
        lines.append(f"{title}: settled by {_counts(outcome.audit.sources)}")
        lines.append(f"{title}: anomalies {_counts(outcome.audit.anomalies)}")
        lines += [f"{title}: {problem}" for problem in outcome.problems]
    return "\n".join(lines)


def as_json(outcomes: list[Outcome]) -> dict[str, Any]:
    """The same for programs; amounts of money as strings."""
    return {
        "ok": all(outcome.is_as_expected for outcome in outcomes),
        "runs": [
            {
                "name": outcome.plan.name,
                "seed": outcome.plan.seed,
                "mutant": outcome.plan.mutant,
                "kills": outcome.kills,
                "restarts": outcome.restarts,
                "flushes": outcome.flushes,
                "stolen": outcome.stolen,
                "deaths": outcome.deaths,
                "load_s": round(outcome.load_s, 1),
                "drain_s": round(outcome.drain_s, 1),
                "total_s": round(outcome.total_s, 1),
                **{field.name: _jsonable(outcome.audit, field.name) for field in dataclasses.fields(Audit)},
                "problems": outcome.problems,
            }
            for outcome in outcomes
        ],
    }


def _jsonable(audit: Audit, name: str) -> Any:
    value = getattr(audit, name)
    return str(value) if isinstance(value, Decimal) else value


def _line(name: str, values: list[str]) -> str:
    return f"{name:<{NAME_WIDTH}}" + "".join(f"{value:>{WIDTH}}" for value in values)


def _plain(number: Any) -> str:
    return f"{number:f}" if isinstance(number, Decimal) and number else str(number if number else 0)


def _counts(found: Counter[str] | dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(found.items())) or "none"
