"""Errors of the books; amounts are attributes, in nanocredits, which the door writes as credits.

DomainError
├── InsufficientCredits      the wallet or a cap does not cover the least a call needs
├── ImplausibleCost          evidence that is no amount of money a call can cost
├── Forbidden
│   └── WalletFrozen         no new holds; what is open still settles
├── NotFound
│   ├── WalletNotFound
│   └── HoldNotFound
├── Conflict
│   ├── EntryConflict        the reference is taken by another amount
│   └── BalanceOutOfRange    the movement would make a balance that the books cannot hold
└── Unavailable
    └── BooksUnavailable     the database cannot be reached, or its answer was lost
LedgerInvariantBroken        a bug, not an expected failure
"""

from uuid import UUID

from accounts.errors import Conflict, DomainError, Forbidden, NotFound, Unavailable


class InsufficientCredits(DomainError):
    """The wallet or a cap does not cover the least a call needs."""

    def __init__(
        self,
        message: str,
        *,
        limit: str,
        required_nanocredits: int,
        available_nanocredits: int,
        balance_nanocredits: int,
        held_nanocredits: int,
    ) -> None:
        self.limit = limit
        self.required_nanocredits = required_nanocredits
        self.available_nanocredits = available_nanocredits
        self.balance_nanocredits = balance_nanocredits
        self.held_nanocredits = held_nanocredits
        super().__init__(
            message,
            hint="Top up, or lower max_tokens."
            if limit == "wallet"
            else "Raise the cap, or wait for its next period.",
            details={"limit": limit},
        )

    @property
    def amounts_nanocredits(self) -> dict[str, int]:
        """What the refusal was reckoned with; balance and held are always two numbers."""
        return {
            "required": self.required_nanocredits,
            "available": self.available_nanocredits,
            "balance": self.balance_nanocredits,
            "held": self.held_nanocredits,
        }


class WalletFrozen(Forbidden):
    """The wallet takes no new holds until its operator thaws it."""

    def __init__(self, company_id: UUID) -> None:
        super().__init__(
            f"The wallet of company {company_id} is frozen: no new calls are taken.",
            hint="Ask the operator of this platform to unfreeze it.",
            details={"reason": "wallet_frozen"},
        )


class WalletNotFound(NotFound):
    """The company has no wallet."""

    def __init__(self, company_id: UUID) -> None:
        super().__init__(
            f"Company {company_id} has no wallet yet, and without one no credits.",
            hint="Ask the operator of this platform to open it.",
        )


class HoldNotFound(NotFound):
    """No hold of this id was ever placed for this company, or it is not settled yet where it must be."""


class ImplausibleCost(DomainError):
    """Evidence that is no amount of money a call can cost."""


class EntryConflict(Conflict):
    """This company, action and reference stand in the ledger with another amount."""


class BalanceOutOfRange(Conflict):
    """The movement would make a balance that the books cannot hold: more than 4 * 10**18 nanocredits."""


class BooksUnavailable(Unavailable):
    """The database cannot be reached, or the connection was lost before its answer came."""


class LedgerInvariantBroken(RuntimeError):
    """The books contradict themselves; a bug or somebody's hand, never an expected failure."""
