"""What the database says after a run, read as its owner and without a line of the platform's code."""

import fcntl
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

# How the entries of a call are called, before its hold's id.
CALL = "gen_"
_HOLDS = """
    SELECT h.hold_id::text, h.company_id::text, h.amount_nanocredits, h.markup, h.credit_value_usd FROM billing_hold h
"""
_EXTENSIONS = "SELECT hold_id::text, sum(amount_nanocredits) FROM billing_hold_extension GROUP BY 1"
_SETTLEMENTS = """
    SELECT hold_id::text, company_id::text, kind, coalesce(cost_usd, 0), charged_nanocredits, source,
           coalesce(generation_id, '')
      FROM billing_settlement
"""
_CORRECTIONS = """
    SELECT hold_id::text, company_id::text, 'post', cost_usd, charged_nanocredits, source, coalesce(generation_id, '')
      FROM billing_correction ORDER BY hold_id, number
"""
_ENTRIES = "SELECT company_id::text, action, reference, amount_nanocredits FROM billing_entry"
_WALLETS = (
    "SELECT company_id::text, posted_nanocredits, held_nanocredits, floor_nanocredits FROM billing_wallet"
)
_ANOMALIES = "SELECT kind, count(*) FROM billing_anomaly GROUP BY kind"
_BUDGETS = "SELECT coalesce(sum(held_nanocredits), 0) FROM billing_budget"
_VIOLATIONS = "SELECT rule || ' ' || coalesce(reference, '') FROM billing_violations ORDER BY 1"
# What a run may still have to do, by table: the ones that are there.
_LEFT = {
    "billing_open_hold": "SELECT count(*) FROM billing_open_hold",
    "billing_second_look": "SELECT count(*) FROM billing_second_look WHERE next_at IS NOT NULL",
}


@dataclass(frozen=True, slots=True)
class Hold:
    """What was set aside for a call, its extensions included, and the prices it was placed with."""

    company_id: str
    amount_nanocredits: int
    markup: Decimal
    credit_value_usd: Decimal


@dataclass(frozen=True, slots=True)
class Charge:
    """A settlement or a correction: what the call cost from then on."""

    hold_id: str
    company_id: str
    kind: str
    cost_usd: Decimal
    charged_nanocredits: int
    source: str
    generation_id: str


@dataclass(frozen=True, slots=True)
class Wallet:
    """A company's balance and what is held of it."""

    company_id: str
    balance_nanocredits: int
    held_nanocredits: int
    floor_nanocredits: int


@dataclass(slots=True)
class Books:
    """Everything that matters of one database."""

    holds: dict[str, Hold]
    # By hold; two for one hold are a charge too many.
    settlements: dict[str, list[Charge]] = field(default_factory=lambda: defaultdict(list))
    corrections: dict[str, list[Charge]] = field(default_factory=lambda: defaultdict(list))
    # By (company, action, reference).
    entries: dict[tuple[str, str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    # What all entries of a call took from its company, by hold.
    taken: Counter[str] = field(default_factory=Counter)
    wallets: list[Wallet] = field(default_factory=list)
    anomalies: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    open_holds: int = 0
    held_in_budgets: int = 0
    has_claims: bool = False

    def standing(self, hold_id: str) -> Charge | None:
        """What a call costs today; None where it is not settled."""
        known = [*self.settlements.get(hold_id, ()), *self.corrections.get(hold_id, ())]
        return known[-1] if known else None


def read(url: str) -> Books:
    """Read the books of a run that has come to rest."""
    with psycopg.connect(url, autocommit=True) as books:
        rows = books.execute
        extended: dict[str, int] = {}
        if _is_there(books, "billing_hold_extension"):
            extended = {hold_id: int(amount) for hold_id, amount in rows(_EXTENSIONS)}
        found = Books(
            {
                hold_id: Hold(company, amount + extended.get(hold_id, 0), markup, value)
                for hold_id, company, amount, markup, value in rows(_HOLDS)
            }
        )
        for row in rows(_SETTLEMENTS):
            found.settlements[row[0]].append(Charge(*row))
        for row in rows(_CORRECTIONS):
            found.corrections[row[0]].append(Charge(*row))
        for company, action, reference, amount in rows(_ENTRIES):
            found.entries[company, action, reference].append(amount)
            if reference.startswith(CALL):
                found.taken[reference.removeprefix(CALL).partition(":")[0]] -= amount
        found.wallets = [Wallet(*row) for row in rows(_WALLETS)]
        found.anomalies = Counter(dict(rows(_ANOMALIES).fetchall()))
        found.violations = [rule for (rule,) in rows(_VIOLATIONS)]
        found.open_holds = _one(books, _LEFT["billing_open_hold"])
        found.held_in_budgets = _one(books, _BUDGETS)
        found.has_claims = _is_there(books, "billing_idempotency")
    return found


def left(url: str) -> list[str]:
    """What is still to be settled or looked at again, in words."""
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=2) as books:
            counts = {table: _one(books, query) for table, query in _LEFT.items() if _is_there(books, table)}
    except psycopg.OperationalError:
        return ["the database does not answer"]
    return [f"{count} of {table}" for table, count in counts.items() if count]


def has_orphans(spool: Path) -> bool:
    """Whether a spool file is left that no living process writes."""
    return any(not _is_locked(path) for path in spool.glob("*.jsonl"))


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return True
    return False


def _is_there(books: "psycopg.Connection[Any]", table: str) -> bool:
    found = books.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone()
    return bool(found and found[0])


def _one(books: "psycopg.Connection[Any]", query: str) -> int:
    found = books.execute(query.encode()).fetchone()
    return int(found[0]) if found else 0
