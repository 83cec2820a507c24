"""The truth of the simulator: what it charged, per key, model and UTC day, as exact decimals."""

import datetime
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext

from simulator import pricing
from simulator.pricing import Tally
from simulator.traffic import Body

ENTRIES_MAX = 10_000
# Wide enough that no sum of doubles' literals is ever rounded.
_EXACT = Context(prec=400)


@dataclass(slots=True)
class Account:
    """What one key was charged so far."""

    total_usd: Decimal = Decimal(0)
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Charge:
    """One generation that ended, billed or at zero; `byok_usd` is what its own provider key paid.

    `trace` is the request's own, whole.
    """

    generation_id: str
    key: str
    amount_usd: Decimal
    cancelled: bool
    date: datetime.date
    model: str = ""
    permaslug: str = ""
    provider: str = ""
    byok_usd: Decimal = Decimal(0)
    tally: Tally = field(default_factory=Tally)
    trace: Body = field(default_factory=dict)


@dataclass(slots=True)
class Row:
    """What one key used of one model at one provider on one UTC day."""

    date: datetime.date
    key: str
    model: str
    permaslug: str
    provider: str
    usage_usd: Decimal = Decimal(0)
    byok_usd: Decimal = Decimal(0)
    requests: int = 0
    prompt: int = 0
    completion: int = 0
    reasoning: int = 0

    def add(self, usage_usd: Decimal, byok_usd: Decimal, requests: int, tally: Tally) -> None:
        with localcontext(_EXACT):
            self.usage_usd += usage_usd
            self.byok_usd += byok_usd
        self.requests += requests
        self.prompt += tally.prompt
        self.completion += tally.completion
        self.reasoning += tally.reasoning


class Ledger:
    """Totals per key, per day and the latest entries. Every generation that ends is one call, at zero or more."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.entries: deque[Charge] = deque(maxlen=ENTRIES_MAX)
        self._rows: dict[tuple[datetime.date, str, str, str], Row] = {}

    def charge(self, charge: Charge) -> None:
        account = self.accounts.setdefault(charge.key, Account())
        with localcontext(_EXACT):
            account.total_usd += charge.amount_usd
        account.calls += 1
        self.entries.append(charge)
        place = (charge.date, charge.key, charge.model, charge.provider)
        row = self._rows.get(place)
        if row is None:
            row = self._rows[place] = Row(
                charge.date, charge.key, charge.model, charge.permaslug, charge.provider
            )
        row.add(charge.amount_usd, charge.byok_usd, 1, charge.tally)

    def usage(self, key: str) -> Decimal:
        return self.accounts[key].total_usd if key in self.accounts else Decimal(0)

    def usage_between(self, key: str, first: datetime.date, last: datetime.date) -> tuple[Decimal, Decimal]:
        """(charged, paid with the account's own provider keys) from the first day to the last, both included."""
        mine = [row for row in self._rows.values() if row.key == key and first <= row.date <= last]
        with localcontext(_EXACT):
            zero = Decimal(0)
            return sum((row.usage_usd for row in mine), zero), sum((row.byok_usd for row in mine), zero)

    def days(self, first: datetime.date, last: datetime.date, *, key: str | None = None) -> Iterator[Row]:
        """What was used from the first day to the last, newest day first: a row per day, model and provider."""
        merged: dict[tuple[datetime.date, str, str], Row] = {}
        for row in self._rows.values():
            if not first <= row.date <= last or key not in (None, row.key):
                continue
            place = (row.date, row.model, row.provider)
            into = merged.setdefault(place, Row(row.date, "", row.model, row.permaslug, row.provider))
            into.add(
                row.usage_usd,
                row.byok_usd,
                row.requests,
                Tally(prompt=row.prompt, completion=row.completion, reasoning=row.reasoning),
            )
        yield from sorted(merged.values(), key=lambda row: (-row.date.toordinal(), row.model, row.provider))

    def total(self) -> Decimal:
        with localcontext(_EXACT):
            return sum((account.total_usd for account in self.accounts.values()), Decimal(0))

    def reset(self) -> None:
        self.accounts.clear()
        self.entries.clear()
        self._rows.clear()

    def summary(self, *, entries: int = 0) -> dict[str, object]:
        """`{total_usd, calls, by_key}`, and the latest entries when asked; money as strings."""
        found: dict[str, object] = {
            "total_usd": pricing.plain(self.total()),
            "calls": sum(account.calls for account in self.accounts.values()),
            "by_key": {
                key: {"total_usd": pricing.plain(account.total_usd), "calls": account.calls}
                for key, account in self.accounts.items()
            },
        }
        if entries:
            found["entries"] = [
                {
                    "id": entry.generation_id,
                    "key": entry.key,
                    "usd": pricing.plain(entry.amount_usd),
                    "cancelled": entry.cancelled,
                    "trace": entry.trace,
                }
                for entry in list(self.entries)[-entries:]
            ]
        return found
