"""A company's wallet and its entries: opening, posting, correcting, reading; calls are charged by settlement."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal
from uuid import UUID

from django.db import transaction

from accounts import audit
from accounts.errors import InvalidInput
from billing import money, statements
from billing.errors import (
    BalanceOutOfRange,
    EntryConflict,
    EntryNotFound,
    HoldNotFound,
    LedgerInvariantBroken,
    WalletNotFound,
)

type Action = Literal["credit_topup", "grant", "refund", "correction", "chargeback"]

# The names of corrections that a call's evidence made; nobody else may use them.
CALL_PREFIX = "gen_"
REFERENCE_LENGTH_MAX = 250
NOTE_LENGTH_MAX = 1000
ACTOR_LENGTH_MAX = 100


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
    statements.row("SELECT billing_open_wallet(%s)", company_id)


def freeze(*, company_id: UUID) -> None:
    """Stop new holds; what is open settles as ever. Errors: WalletNotFound."""
    _set_wallet(company_id, action="wallet.frozen", frozen=True)


def unfreeze(*, company_id: UUID) -> None:
    """Take new holds again. Errors: WalletNotFound."""
    _set_wallet(company_id, action="wallet.unfrozen", frozen=False)


def set_credit_line(*, company_id: UUID, nanocredits: int) -> None:
    """Let holds take the balance this far below zero. Errors: WalletNotFound, InvalidInput."""
    if not 0 <= nanocredits <= money.MOVEMENT_NANOCREDITS_MAX:
        raise InvalidInput(f"A credit line of {nanocredits} nanocredits is none: 0 to 10**18.")
    _set_wallet(company_id, action="wallet.credit_line_set", floor_nanocredits=-nanocredits)


def post(
    *,
    company_id: UUID,
    amount_nanocredits: int,
    action: Action,
    reference: str,
    actor: str = "",
    note: str = "",
    corrects: str = "",
) -> Posted:
    """Write a movement that is no call into the ledger, once per (company, action, reference).

    Shape: one entry under the wallet's lock, in the caller's transaction; the same again returns the first. `actor`
    is who moved it, such as `user:<uuid>` or `stripe`, nobody but the platform itself where empty; `corrects` is the
    reference of the entry it sets right, `gen_<hold id>` for a call's.
    Units: nanocredits, positive in the company's favour; top-ups, grants and refunds are positive.
    Errors: WalletNotFound; EntryConflict when the reference stands with another amount; BalanceOutOfRange;
    EntryNotFound when nothing is called `corrects`; InvalidInput for an amount that is zero, has the wrong sign or is
    beyond the books' range, and for a text that cannot be kept or a reference that is a call's own.
    Source: docs/books.md, "The tables".
    """
    _check_amount(action, amount_nanocredits)
    _check_texts(reference=reference, actor=actor, note=note, corrects=corrects)
    if action == "correction" and reference.startswith(CALL_PREFIX):
        raise InvalidInput(
            f"{reference!r} is the name of a call's own correction.",
            hint="Correct a call by ledger.correct; name other corrections otherwise.",
        )
    outcome, seq, amount, balance_after = statements.row(
        "SELECT * FROM billing_post_entry(%s, %s, %s, %s, %s, %s, %s)",
        company_id, action, reference, amount_nanocredits, note, actor, corrects,
    )  # fmt: skip
    if outcome not in ("posted", "already"):
        standing = amount or 0
        raise _refusal(outcome, company_id, action, reference, amount_nanocredits, standing, corrects)
    return Posted(
        seq=seq,
        amount_nanocredits=amount,
        balance_after_nanocredits=balance_after,
        is_new=outcome == "posted",
    )


def refund(
    *,
    company_id: UUID,
    amount_nanocredits: int,
    reference: str,
    hold_id: UUID | None = None,
    corrects: str = "",
    actor: str = "",
    note: str = "",
) -> Posted:
    """Give credits back for a reason that is not a call's cost; that is `correct`'s.

    Shape: one entry `refund`, as `post` writes it, that names what it is for: a call by its hold, or an entry by its
    reference.
    Units, errors: as `post`; EntryNotFound when the call was never charged.
    """
    return post(
        company_id=company_id,
        amount_nanocredits=amount_nanocredits,
        action="refund",
        reference=reference,
        actor=actor,
        note=note,
        corrects=f"{CALL_PREFIX}{hold_id}" if hold_id else corrects,
    )


def correct(
    *,
    company_id: UUID,
    hold_id: UUID,
    cost_usd: Decimal,
    source: str,
    reference: str,
    generation_id: str | None = None,
    actor: str = "",
    note: str = "",
) -> Corrected:
    """Charge a settled call by better evidence: the whole charge is computed anew, the difference posted.

    Shape: one correction, and one entry unless the difference is zero; the same reference twice returns the first.
    A call that was voided can be corrected into a charge. An operator overrules everything; any other source has to
    be better than the one that stands, plausible for the hold and about this call, or its evidence is quarantined;
    of two of upstream's own records (`generation`) the later one is the better.
    Units: USD, the call's whole cost and not the difference; 0 <= cost_usd <= 1000.
    Errors: HoldNotFound (never placed, or not settled yet), ImplausibleCost, InvalidInput (reference or note).
    Source: docs/books.md, "Evidence".
    """
    _check_texts(reference=reference, actor=actor, note=note)
    cost = money.parse_cost_usd(cost_usd)
    charged = charge_of(company_id=company_id, hold_id=hold_id, cost_usd=cost)
    outcome, charged_now, difference, balance_after = statements.row(
        "SELECT * FROM billing_correct(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        company_id, hold_id, reference, cost, charged, source, generation_id, note, actor,
    )  # fmt: skip
    if outcome == "not_settled":
        raise HoldNotFound(f"Hold {hold_id} of company {company_id} is not settled yet: settle it.")
    return Corrected(
        outcome=outcome,
        charged_nanocredits=charged_now,
        difference_nanocredits=difference,
        balance_nanocredits=balance_after,
    )


def charge_of(*, company_id: UUID, hold_id: UUID, cost_usd: Decimal) -> int:
    """What a cost comes to at the prices a call was placed with. Units: USD in, nanocredits out.

    Errors: HoldNotFound, BooksUnavailable.
    """
    prices = statements.rows(
        "SELECT markup, credit_value_usd FROM billing_hold WHERE (company_id, hold_id) = (%s, %s)",
        company_id,
        hold_id,
    )
    if not prices:
        raise HoldNotFound(f"Hold {hold_id} of company {company_id} was never placed.")
    ((markup, credit_value_usd),) = prices
    return money.charge_nanocredits(cost_usd=cost_usd, markup=markup, credit_value_usd=credit_value_usd)


def balance(*, company_id: UUID) -> Balance:
    """Read a company's wallet. Errors: WalletNotFound, BooksUnavailable."""
    found = statements.rows(
        "SELECT posted_nanocredits, held_nanocredits, floor_nanocredits, frozen FROM billing_wallet"
        " WHERE company_id = %s",
        company_id,
    )
    if not found:
        raise WalletNotFound(company_id)
    return Balance(*found[0])


def check(*, action: Action, amount_nanocredits: int, reference: str, note: str, corrects: str = "") -> None:
    """Refuse what `post` would refuse for itself alone, without a look into the books. Errors: InvalidInput."""
    _check_amount(action, amount_nanocredits)
    _check_texts(reference=reference, actor="", note=note, corrects=corrects)


def _check_amount(action: Action, amount_nanocredits: int) -> None:
    if not 0 < abs(amount_nanocredits) <= money.MOVEMENT_NANOCREDITS_MAX:
        raise InvalidInput(f"An entry of {amount_nanocredits} nanocredits cannot be posted.")
    if action in ("credit_topup", "grant", "refund") and amount_nanocredits < 0:
        raise InvalidInput(f"A {action} gives credits: {amount_nanocredits} nanocredits takes them.")


def _check_texts(*, reference: str, actor: str, note: str, corrects: str = "") -> None:
    """PostgreSQL keeps no NUL and no half of a surrogate pair, and indexes no long text."""
    if not reference.strip():
        raise InvalidInput("A reference names the movement and cannot be empty.")
    for name, text, length_max in (
        ("reference", reference, REFERENCE_LENGTH_MAX),
        ("corrects", corrects, REFERENCE_LENGTH_MAX),
        ("actor", actor, ACTOR_LENGTH_MAX),
        ("note", note, NOTE_LENGTH_MAX),
    ):
        if len(text) > length_max:
            raise InvalidInput(f"A {name} has at most {length_max} characters, not {len(text)}.")
        if any(c == "\x00" or "\ud800" <= c <= "\udfff" for c in text):
            raise InvalidInput(f"The {name} {text!a} has characters that cannot be kept.")


def _refusal(
    outcome: str,
    company_id: UUID,
    action: Action,
    reference: str,
    amount_nanocredits: int,
    standing_nanocredits: int,
    corrects: str,
) -> Exception:
    """What the books say to an entry they do not take."""
    wanted = money.json_number(amount_nanocredits)
    match outcome:
        case "no_wallet":
            return WalletNotFound(company_id)
        case "conflict":
            return EntryConflict(
                f"Company {company_id} has {action} {reference!r} over "
                f"{money.json_number(standing_nanocredits)} credits already, not {wanted}.",
                hint="Use a reference of its own for each movement.",
            )
        case "out_of_range":
            return BalanceOutOfRange(
                f"Company {company_id}: {wanted} credits more would make a balance that the books cannot hold."
            )
        case "nothing_to_correct":
            return EntryNotFound(
                f"Company {company_id} has no entry {corrects!r} to set right by {action} {reference!r}.",
                hint="Name the entry by its reference.",
            )
    return LedgerInvariantBroken(f"{action} {reference!r}: unknown answer {outcome!r}.")


@transaction.atomic
def _set_wallet(
    company_id: UUID, *, action: str, frozen: bool | None = None, floor_nanocredits: int | None = None
) -> None:
    before = _standing(company_id)
    statements.row("SELECT billing_set_wallet(%s, %s, %s)", company_id, frozen, floor_nanocredits)
    after = _standing(company_id)
    if before != after:
        audit.record(
            company_id=company_id,
            action=action,
            target_kind="wallet",
            target_id=company_id,
            before=before,
            after=after,
        )


def _standing(company_id: UUID) -> dict[str, object]:
    """Errors: WalletNotFound."""
    found = balance(company_id=company_id)
    return {"is_frozen": found.is_frozen, "credit_line": money.json_number(-found.floor_nanocredits)}
