"""Errors of the books; amounts are attributes, in nanocredits, which the door writes as credits.

DomainError
├── InsufficientCredits      the wallet or a cap does not cover the least a call needs
├── ImplausibleCost          evidence that is no amount of money a call can cost
├── InvalidInput
│   └── InvalidSignature     a webhook that the payment provider has not signed, or not just now
├── Forbidden
│   └── WalletFrozen         no new holds; what is open still settles
├── NotFound
│   ├── WalletNotFound
│   ├── HoldNotFound
│   ├── EntryNotFound        nothing to correct or refund under this name
│   ├── AnomalyNotFound
│   └── DayNotFound          no books of that day
├── accounts.IdempotencyMismatch, IdempotencyInProgress, AlreadyCompleted
│   └── of the same name here: the client's key stands for another call, which `hold_id` names
├── Conflict
│   ├── EntryConflict        the reference is taken by another amount
│   ├── AnomalyDecided       a person has decided otherwise already
│   └── BalanceOutOfRange    the movement would make a balance that the books cannot hold
└── Unavailable
    ├── PaymentProviderFailed  it did not open a checkout, or say what became of one
    └── BooksUnavailable     the database cannot be reached, or its answer was lost
LedgerInvariantBroken        a bug, not an expected failure
"""

from uuid import UUID

from accounts import errors as accounts
from accounts.errors import Conflict, DomainError, Forbidden, InvalidInput, NotFound, Unavailable


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


class AnomalyNotFound(NotFound):
    """No anomaly of this kind and reference was ever reported."""


class DayNotFound(NotFound):
    """Nobody has compared this day's books with upstream's."""


class EntryNotFound(NotFound):
    """The ledger has no entry of the name that is to be corrected or refunded."""


class IdempotencyMismatch(accounts.IdempotencyMismatch):
    """The client's key stands for a call with another body; nothing was held for this one."""

    def __init__(self, hold_id: UUID) -> None:
        self.hold_id = hold_id
        super().__init__(
            f"This Idempotency-Key was used for another request, gen_{hold_id}.",
            hint="Use a new key for a new request.",
            details={"generation_id": f"gen_{hold_id}"},
        )


class IdempotencyInProgress(accounts.IdempotencyInProgress):
    """The first call with the client's key is not settled yet; nothing was held for this one."""

    def __init__(self, hold_id: UUID) -> None:
        self.hold_id = hold_id
        super().__init__(
            f"The first request with this Idempotency-Key, gen_{hold_id}, is still running.",
            hint="Wait for its answer, or read it at /v1/llm/generation.",
            details={"generation_id": f"gen_{hold_id}"},
        )


class AlreadyCompleted(accounts.AlreadyCompleted):
    """The first call with the client's key is done; nothing was held for this one."""

    def __init__(self, hold_id: UUID) -> None:
        self.hold_id = hold_id
        super().__init__(
            f"The first request with this Idempotency-Key, gen_{hold_id}, is completed.",
            hint="Read it at /v1/llm/generation, or use a new key.",
            details={"generation_id": f"gen_{hold_id}"},
        )


class ImplausibleCost(DomainError):
    """Evidence that is no amount of money a call can cost."""


class EntryConflict(Conflict):
    """This company, action and reference stand in the ledger with another amount."""


class AnomalyDecided(Conflict):
    """A person has decided about this anomaly otherwise; a decision is for good."""


class BalanceOutOfRange(Conflict):
    """The movement would make a balance that the books cannot hold: more than 4 * 10**18 nanocredits."""


class BooksUnavailable(Unavailable):
    """The database cannot be reached, or the connection was lost before its answer came."""


class InvalidSignature(InvalidInput):
    """A webhook that the payment provider has not signed, or so long ago that it may be a replay."""


class PaymentProviderFailed(Unavailable):
    """The payment provider did not open a checkout, or say what became of one; nothing was moved."""


class LedgerInvariantBroken(RuntimeError):
    """The books contradict themselves; a bug or somebody's hand, never an expected failure."""
