"""A company's wallet and its entries: opening, posting, correcting, reading; calls are charged by settlement."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from django.db import DataError, Error, IntegrityError, connection

from accounts.errors import InvalidInput
from billing import money
from billing.errors import (
    BalanceOutOfRange,
    BooksUnavailable,
    EntryConflict,
    HoldNotFound,
    LedgerInvariantBroken,
    WalletNotFound,
)
from billing.models import Hold, Wallet

type Action = Literal["credit_topup", "grant", "refund", "correction", "chargeback"]

# The names of corrections that a call's evidence made; nobody else may use them.
CALL_PREFIX = "gen_"
REFERENCE_LENGTH_MAX = 250
NOTE_LENGTH_MAX = 1000


@dataclass(frozen=True, slots=True)
class Balance:
    """A wallet at one moment; what is held is still part of the balance."""

    balance_nanocredits: int
    held_nanocredits: int
    floor_nanocredits: int
    is_frozen: bool

    @property
    def available_nanocredits(self) -> int:
        """What a new hold could be granted; negative after an overrun."""
        return self.balance_nanocredits - self.held_nanocredits - self.floor_nanocredits


@dataclass(frozen=True, slots=True)
class Posted:
    """An entry of the ledger; `is_new` is false when the reference was posted before."""

    seq: int
    amount_nanocredits: int
    balance_after_nanocredits: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class Corrected:
    """What a call costs its company after a correction, and what that gave back (positive) or took (negative).

    `outcome`: corrected, unchanged (the charge is the same), already (this reference before), quarantined (nothing
    moved; `billing_anomaly` says why).
    """

    outcome: Literal["corrected", "unchanged", "already", "quarantined"]
    charged_nanocredits: int
    difference_nanocredits: int
    balance_nanocredits: int


def open_wallet(*, company_id: UUID) -> None:
    """Give a company its wallet; the second time nothing happens."""
    _call("SELECT billing_open_wallet(%s)", company_id)


def freeze(*, company_id: UUID) -> None:
    """Stop new holds; what is open settles as ever. Errors: WalletNotFound."""
    _set_wallet(company_id, frozen=True)


def unfreeze(*, company_id: UUID) -> None:
    """Take new holds again. Errors: WalletNotFound."""
    _set_wallet(company_id, frozen=False)


def set_credit_line(*, company_id: UUID, nanocredits: int) -> None:
    """Let holds take the balance this far below zero. Errors: WalletNotFound, InvalidInput."""
    if not 0 <= nanocredits <= money.MOVEMENT_NANOCREDITS_MAX:
        raise InvalidInput(f"A credit line of {nanocredits} nanocredits is none: 0 to 10**18.")
    _set_wallet(company_id, floor_nanocredits=-nanocredits)


def post(
    *,
    company_id: UUID,
    amount_nanocredits: int,
    action: Action,
    reference: str,
    note: str = "",
) -> Posted:
    """Write a movement that is no call into the ledger, once per (company, action, reference).

    Shape: one entry under the wallet's lock, in the caller's transaction; the same again returns the first.
    Units: nanocredits, positive in the company's favour; top-ups, grants and refunds are positive.
    Errors: WalletNotFound; EntryConflict when the reference stands with another amount; BalanceOutOfRange;
    InvalidInput for an amount that is zero, has the wrong sign or is beyond the books' range, and for a reference or
    note that cannot be kept or is a call's own.
    Source: docs/money.md, "The tables".
    """
    _check_amount(action, amount_nanocredits)
    _check_texts(reference=reference, note=note)
    if action == "correction" and reference.startswith(CALL_PREFIX):
        raise InvalidInput(
            f"{reference!r} is the name of a call's own correction.",
            hint="Correct a call by ledger.correct; name other corrections otherwise.",
        )
    outcome, seq, amount, balance_after = _call(
        "SELECT * FROM billing_post_entry(%s, %s, %s, %s, %s)",
        company_id,
        action,
        reference,
        amount_nanocredits,
        note,
    )
    if outcome == "no_wallet":
        raise WalletNotFound(company_id)
    if outcome == "conflict":
        raise EntryConflict(
            f"Company {company_id} has {action} {reference!r} over {money.json_number(amount)} credits already, "
            f"not {money.json_number(amount_nanocredits)}.",
            hint="Use a reference of its own for each movement.",
        )
    if outcome == "out_of_range":
        raise BalanceOutOfRange(
            f"Company {company_id}: {money.json_number(amount_nanocredits)} credits more would make a balance that the "
            "books cannot hold."
        )
    return Posted(
        seq=seq,
        amount_nanocredits=amount,
        balance_after_nanocredits=balance_after,
        is_new=outcome == "posted",
    )


def correct(
    *,
    company_id: UUID,
    hold_id: UUID,
    cost_usd: Decimal,
    source: str,
    reference: str,
    generation_id: str | None = None,
    note: str = "",
) -> Corrected:
    """Charge a settled call by better evidence: the whole charge is computed anew, the difference posted.

    Shape: one correction, and one entry unless the difference is zero; the same reference twice returns the first.
    A call that was voided can be corrected into a charge. An operator overrules everything; any other source has to
    be better than the one that stands, plausible for the hold and about this call, or its evidence is quarantined.
    Units: USD, the call's whole cost and not the difference; 0 <= cost_usd <= 1000.
    Errors: HoldNotFound (never placed, or not settled yet), ImplausibleCost, InvalidInput (reference or note).
    Source: docs/money.md, "Evidence".
    """
    _check_texts(reference=reference, note=note)
    hold = Hold.objects.filter(company_id=company_id, hold_id=hold_id).first()
    if hold is None:
        raise HoldNotFound(f"Hold {hold_id} of company {company_id} was never placed.")
    cost = money.parse_cost_usd(cost_usd)
    charged = money.charge_nanocredits(
        cost_usd=cost, markup=hold.markup, credit_value_usd=hold.credit_value_usd
    )
    outcome, charged_now, difference, balance_after = _call(
        "SELECT * FROM billing_correct(%s, %s, %s, %s, %s, %s, %s, %s)",
        company_id,
        hold_id,
        reference,
        cost,
        charged,
        source,
        generation_id,
        note,
    )
    if outcome == "not_settled":
        raise HoldNotFound(f"Hold {hold_id} of company {company_id} is not settled yet: settle it.")
    return Corrected(
        outcome=outcome,
        charged_nanocredits=charged_now,
        difference_nanocredits=difference,
        balance_nanocredits=balance_after,
    )


def balance(*, company_id: UUID) -> Balance:
    """Read a company's wallet. Errors: WalletNotFound."""
    wallet = Wallet.objects.filter(company_id=company_id).first()
    if wallet is None:
        raise WalletNotFound(company_id)
    return Balance(
        balance_nanocredits=wallet.posted_nanocredits,
        held_nanocredits=wallet.held_nanocredits,
        floor_nanocredits=wallet.floor_nanocredits,
        is_frozen=wallet.frozen,
    )


def _check_amount(action: Action, amount_nanocredits: int) -> None:
    if not 0 < abs(amount_nanocredits) <= money.MOVEMENT_NANOCREDITS_MAX:
        raise InvalidInput(f"An entry of {amount_nanocredits} nanocredits cannot be posted.")
    if action in ("credit_topup", "grant", "refund") and amount_nanocredits < 0:
        raise InvalidInput(f"A {action} gives credits: {amount_nanocredits} nanocredits takes them.")


def _check_texts(*, reference: str, note: str) -> None:
    """PostgreSQL keeps no NUL and no half of a surrogate pair, and indexes no long text."""
    if not reference.strip():
        raise InvalidInput("A reference names the movement and cannot be empty.")
    for name, text, length_max in (
        ("reference", reference, REFERENCE_LENGTH_MAX),
        ("note", note, NOTE_LENGTH_MAX),
    ):
        if len(text) > length_max:
            raise InvalidInput(f"A {name} has at most {length_max} characters, not {len(text)}.")
        if any(c == "\x00" or "\ud800" <= c <= "\udfff" for c in text):
            raise InvalidInput(f"The {name} {text!a} has characters that cannot be kept.")


def _set_wallet(
    company_id: UUID, *, frozen: bool | None = None, floor_nanocredits: int | None = None
) -> None:
    (found,) = _call("SELECT billing_set_wallet(%s, %s, %s)", company_id, frozen, floor_nanocredits)
    if not found:
        raise WalletNotFound(company_id)


def _call(statement: str, *parameters: Any) -> tuple[Any, ...]:
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            row: tuple[Any, ...] | None = cursor.fetchone()
    except (DataError, IntegrityError):
        raise
    except Error as exc:
        raise BooksUnavailable("The database cannot be reached.", hint="Try again in a moment.") from exc
    if row is None:
        raise LedgerInvariantBroken(f"{statement}: no answer.")
    return row
