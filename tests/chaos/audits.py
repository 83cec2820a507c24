"""The comparison: every generation on upstream's ledger against what our books charged for it, and to whom."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Context, Decimal, localcontext
from pathlib import Path
from typing import Any

from tests.chaos import books, upstream
from tests.chaos.books import Books, Charge
from tests.chaos.upstream import Upstream

_EXACT = Context(prec=200)
NANO = 1_000_000_000
# The lists of an audit that should be empty.
FINDINGS = (
    "lost", "doubled", "wrong", "unattributed", "misreported", "leaked", "overdrawn", "orders", "violations", "broken",
)  # fmt: skip
# The platform's answers that say nothing of whether the call was sent.
DOUBTFUL = {"internal_error"}


@dataclass(slots=True)
class Call:
    """A client's call: whose it was, and what that client was told."""

    company_id: str
    is_refused: bool = True
    # The holds whose headers it has seen: upstream's id was known by then.
    seen: set[str] = field(default_factory=set)
    # (the platform's id of the call, the credits it named).
    told: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Audit:
    """What was found; every list names what is wrong."""

    calls: int = 0
    made: int = 0
    refused: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unattributed: list[str] = field(default_factory=list)
    misreported: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    overdrawn: list[str] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    upstream_usd: Decimal = Decimal(0)
    # Upstream's dollars and the operator's corrections, less ours and less what nobody could know of.
    difference_usd: Decimal = Decimal(0)
    held_nanocredits: int = 0
    open_holds: int = 0
    # Charges that a person had to decide: upstream's news came after the hold was given back.
    decided: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    anomalies: Counter[str] = field(default_factory=Counter)

    def problems(self, *, is_told_of_all: bool) -> list[str]:
        """Everything that must not be, in words; `is_told_of_all`: upstream broadcast every generation."""
        lists = {name: getattr(self, name) for name in FINDINGS if name != "unattributed" or is_told_of_all}
        found = [f"{len(found)} {name}: {found[0]}" for name, found in lists.items() if found]
        if self.difference_usd != 0:
            found.append(f"the dollars differ by {self.difference_usd}")
        if self.held_nanocredits or self.open_holds:
            found.append(f"{self.held_nanocredits} nanocredits are held by {self.open_holds} open holds")
        return found


def audit(folder: Path, sim: Upstream, owner_url: str, *, is_told_of_all: bool) -> Audit:
    """Compare what upstream charged with what the books of a run at rest say."""
    found, kept = Audit(), books.read(owner_url)
    calls = _calls(folder)
    charges = sim.charges()
    corrected = _orders(folder, kept, found)
    _compare(charges, calls, kept, corrected, found, is_told_of_all=is_told_of_all)
    _look_for_inventions(charges, kept, found)
    _look_at_wallets(kept, found)
    _look_at_answers(calls, kept, found)
    found.made = len(calls)
    found.refused = sum(call.is_refused for call in calls.values())
    found.leaked = [
        f"call {n} was refused and sent" for n, call in calls.items() if call.is_refused and n in sim.numbers
    ]
    found.decided = json.loads((folder / "decisions.json").read_text())["charge"]
    if not sim.is_whole():
        found.broken.append("the harness has not seen every request that reached upstream")
    found.open_holds, found.anomalies = kept.open_holds, kept.anomalies
    found.held_nanocredits = sum(w.held_nanocredits for w in kept.wallets) + kept.held_in_budgets
    verified = json.loads((folder / "verified.json").read_text())
    found.violations = sorted({*kept.violations, *verified["violations"]})
    if not verified["ok"] and not found.violations:
        found.violations.append("verify_ledger fails")
    return found


def _calls(folder: Path) -> dict[int, Call]:
    calls: dict[int, Call] = {}
    for line in _lines(folder / "calls.jsonl"):
        call = calls.setdefault(line["number"], Call(line.get("company", "")))
        if "status" not in line:
            continue
        if line["call_id"]:
            call.seen.add(line["call_id"].removeprefix("gen_"))
        is_refusal = line["status"] >= 400 and not line["call_id"] and line["code"] not in DOUBTFUL
        call.is_refused &= is_refusal
        if line["credits_used"] is not None and line["is_whole"]:
            call.told.append((line["call_id"].removeprefix("gen_"), line["credits_used"]))
    return calls


def _orders(folder: Path, kept: Books, found: Audit) -> dict[str, Decimal]:
    """Check that every movement beside the calls happened once; return what a person said calls cost, by hold."""
    orders = list(_lines(folder / "orders.jsonl"))
    done = {line["done"]: line["outcome"] for line in orders if "done" in line}
    corrected: dict[str, Decimal] = {}
    for order in orders:
        if "order" not in order:
            continue
        reference, number = f"chaos-{order['order']}", order["order"]
        if number not in done:
            found.orders.append(f"order {number} was never acknowledged")
        elif order["kind"] == "correction" and done[number] in ("corrected", "already", "unchanged"):
            corrected[order["hold"]] = Decimal(order["cost_usd"])
        elif order["kind"] == "credit_topup":
            amounts = kept.entries.get((order["company"], "credit_topup", reference), [])
            if amounts != [order["nanocredits"]]:
                found.orders.append(
                    f"top-up {reference} over {order['nanocredits']} made the entries {amounts}"
                )
    return corrected


def _compare(
    charges: list[upstream.Charge],
    calls: dict[int, Call],
    kept: Books,
    corrected: dict[str, Decimal],
    found: Audit,
    *,
    is_told_of_all: bool,
) -> None:
    found.calls = len(charges)
    charged_for: dict[int, list[str]] = defaultdict(list)
    with localcontext(_EXACT):
        for charge in charges:
            call = calls.get(charge.number if charge.number is not None else -1)
            hold_id = charge.hold_id or ""
            if call is None or hold_id not in kept.holds:
                found.broken.append(
                    f"{charge.generation_id} is nobody's: call {charge.number}, hold {hold_id}"
                )
                continue
            cost = corrected.get(hold_id, charge.cost_usd)
            standing = kept.standing(hold_id)
            found.upstream_usd += charge.cost_usd
            found.difference_usd += cost
            found.sources[f"{standing.kind} {standing.source}" if standing else "open"] += 1
            if standing is None or (standing.kind == "void" and cost > 0):
                is_knowable = is_told_of_all or hold_id in call.seen or standing is None
                (found.lost if is_knowable else found.unattributed).append(_named(charge, standing))
                if not is_knowable:
                    found.difference_usd -= cost
                continue
            found.difference_usd -= standing.cost_usd
            if cost > 0:
                charged_for[charge.number or 0].append(hold_id)
            _check_amount(charge, call, cost, standing, kept, found)
    if kept.has_claims:
        found.doubled += [
            f"call {number}: {holds}" for number, holds in charged_for.items() if len(holds) > 1
        ]


def _check_amount(
    charge: upstream.Charge, call: Call, cost: Decimal, standing: Charge, kept: Books, found: Audit
) -> None:
    hold_id, hold = standing.hold_id, kept.holds[standing.hold_id]
    entries = kept.entries.get((standing.company_id, "llm_call", f"gen_{hold_id}"), [])
    if len(kept.settlements[hold_id]) > 1 or len(entries) > 1:
        found.doubled.append(_named(charge, standing))
        return
    due = int((cost * hold.markup / hold.credit_value_usd * NANO).to_integral_value(ROUND_CEILING))
    expected = (cost, due, due, call.company_id, call.company_id)
    seen = (
        standing.cost_usd,
        standing.charged_nanocredits,
        kept.taken[hold_id],
        standing.company_id,
        hold.company_id,
    )
    if seen != expected:
        found.wrong.append(f"{_named(charge, standing)}: {seen} instead of {expected}")


def _look_for_inventions(charges: list[upstream.Charge], kept: Books, found: Audit) -> None:
    """A charge without a generation behind it is as wrong as none."""
    real = {charge.hold_id for charge in charges}
    for hold_id in kept.settlements:
        standing = kept.standing(hold_id)
        if hold_id not in real and standing is not None and standing.cost_usd > 0:
            found.wrong.append(f"hold {hold_id} is charged {standing.cost_usd} USD that upstream never saw")


def _look_at_wallets(kept: Books, found: Audit) -> None:
    """A balance is below zero at most by what calls cost more than they had held, and by what corrections took."""
    room: Counter[str] = Counter()
    for hold_id, hold in kept.holds.items():
        charged = 0
        for number, charge in enumerate(
            [*kept.settlements.get(hold_id, ()), *kept.corrections.get(hold_id, ())]
        ):
            more = charge.charged_nanocredits - (hold.amount_nanocredits if number == 0 else charged)
            room[hold.company_id] += max(more, 0)
            charged = charge.charged_nanocredits
    for wallet in kept.wallets:
        least = wallet.floor_nanocredits - room[wallet.company_id]
        if wallet.balance_nanocredits < least:
            found.overdrawn.append(
                f"company {wallet.company_id}: {wallet.balance_nanocredits}, not below {least}"
            )


def _look_at_answers(calls: dict[int, Call], kept: Books, found: Audit) -> None:
    """What a client was told in its answer was charged."""
    for number, call in calls.items():
        for hold_id, credits in call.told:
            known = [*kept.settlements.get(hold_id, ()), *kept.corrections.get(hold_id, ())]
            charged = [charge.charged_nanocredits for charge in known]
            if Decimal(credits) * NANO not in charged:
                found.misreported.append(f"call {number}, hold {hold_id}: told {credits}, charged {charged}")


def _named(charge: upstream.Charge, standing: Charge | None) -> str:
    how = f"{standing.kind} {standing.source} {standing.cost_usd}" if standing else "open"
    return f"{charge.generation_id} ({charge.cost_usd} USD, hold {charge.hold_id}): {how}"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for line in path.read_text().splitlines():
            yield json.loads(line)
