"""The truth of the simulator: what it charged, per key, as exact decimals."""

from collections import deque
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext

from simulator import pricing

ENTRIES_MAX = 10_000
# Wide enough that no sum of doubles' literals is ever rounded.
_EXACT = Context(prec=400)


@dataclass(slots=True)
class Account:
    """What one key was charged so far."""

    total_usd: Decimal = Decimal(0)
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One generation that ended, billed or at zero."""

    generation_id: str
    key: str
    amount_usd: Decimal
    cancelled: bool


class Ledger:
    """Totals per key and the latest entries. Every generation that ends is one call, at zero or more."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.entries: deque[Entry] = deque(maxlen=ENTRIES_MAX)

    def charge(self, *, key: str, generation_id: str, amount_usd: Decimal, cancelled: bool) -> None:
        account = self.accounts.setdefault(key, Account())
        with localcontext(_EXACT):
            account.total_usd += amount_usd
        account.calls += 1
        self.entries.append(Entry(generation_id, key, amount_usd, cancelled))

    def usage(self, key: str) -> Decimal:
        return self.accounts[key].total_usd if key in self.accounts else Decimal(0)

    def total(self) -> Decimal:
        with localcontext(_EXACT):
            return sum((account.total_usd for account in self.accounts.values()), Decimal(0))

    def reset(self) -> None:
        self.accounts.clear()
        self.entries.clear()

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
                }
                for entry in list(self.entries)[-entries:]
            ]
        return found
