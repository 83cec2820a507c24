"""What an operator moves by hand: top-ups, grants, refunds, corrections, each with who, why and a reference."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts import audit, locks
from accounts.errors import Conflict, Forbidden, InvalidInput
from billing import credit_events, ledger, money, statements
from billing.errors import BalanceOutOfRange, EntryConflict, EntryNotFound
from billing.ledger import Posted
from billing.models import Entry

type Movement = Literal["credit_topup", "grant", "refund", "correction"]
ACTIONS: tuple[Movement, ...] = ("credit_topup", "grant", "refund", "correction")
_RECORDED_AS: dict[Movement, str] = {
    "credit_topup": "credits.topped_up",
    "grant": "credits.granted",
    "refund": "credits.refunded",
    "correction": "credits.corrected",
}
# The note keeps it, and who approved it beside it.
REASON_LENGTH_MAX = 500

# What calls have cost, their corrections included, and what was given back of it: of one call, or of all.
_CHARGED = """
    SELECT coalesce(-sum(amount_nanocredits) FILTER (WHERE action <> 'refund'), 0)::bigint,
           coalesce(sum(amount_nanocredits) FILTER (WHERE action = 'refund'), 0)::bigint
      FROM billing_entry
     WHERE company_id = %s
       AND (action = 'llm_call' AND reference = %s
            OR action = 'correction' AND (corrects = %s OR starts_with(reference, %s || ':'))
            OR action = 'refund' AND corrects = %s)
"""
# A call that cost nothing at first has only its corrections.
_HAS_ENTRY = """
    SELECT EXISTS (SELECT FROM billing_entry WHERE company_id = %s AND action = ANY (%s) AND reference = %s)
        OR EXISTS (SELECT FROM billing_entry WHERE company_id = %s AND action = 'correction'
                      AND reference >= %s || ':' AND reference < %s || ';')
"""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a movement would do. `posted` is the entry of this reference where it is there already: then nothing.

    Units: nanocredits; USD at today's worth of a credit.
    """

    amount_nanocredits: int
    worth_usd: Decimal
    balance_nanocredits: int
    needs_approval: bool
    posted: Posted | None

    @property
    def balance_after_nanocredits(self) -> int:
        return self.balance_nanocredits + (0 if self.posted else self.amount_nanocredits)


def preview(
    *,
    company_id: UUID,
    action: Movement,
    credits: Decimal,
    actor: str,
    reason: str,
    reference: str,
    corrects: str = "",
) -> Preview:
    """Check a movement as `post` does, and say what it would do; nothing is written.

    Errors: as `post`, but for the second person, of whom it says whether one is needed.
    """
    amount = money.nanocredits_from_credits(credits)
    _require(actor=actor, reason=reason, approved_by="", action=action, corrects=corrects)
    ledger.check(
        action=action, amount_nanocredits=amount, reference=reference, note=reason, corrects=corrects
    )
    balance = ledger.balance(company_id=company_id).balance_nanocredits
    posted = _posted(company_id, action, reference)
    if posted is not None and posted.amount_nanocredits != amount:
        raise EntryConflict(
            f"{action} {reference!r} over {money.json_number(posted.amount_nanocredits)} credits is posted already.",
            hint="Use a reference of its own for each movement.",
            details={"field": "reference"},
        )
    if posted is None and corrects and not _is_entry(company_id, corrects):
        raise EntryNotFound(
            f"This company has no entry {corrects!r}.",
            hint="Name the entry by its reference; a call's is gen_<hold id>.",
            details={"field": "corrects"},
        )
    if posted is None and action == "refund":
        _require_charged(company_id, amount, call=corrects)
    if posted is None and not statements.row("SELECT billing_is_in_range(%s::numeric)", balance + amount)[0]:
        raise BalanceOutOfRange(
            f"{money.json_number(amount)} credits more would make a balance that the books cannot hold.",
            details={"field": "amount"},
        )
    worth_usd = worth(amount)
    return Preview(amount, worth_usd, balance, worth_usd > approval_above_usd(), posted)


@transaction.atomic
def post(
    *,
    company_id: UUID,
    action: Movement,
    credits: Decimal,
    actor: str,
    reason: str,
    reference: str,
    now: datetime,
    corrects: str = "",
    approved_by: str = "",
) -> Posted:
    """Move a company's credits by hand.

    Shape: one entry per (action, reference); the same again returns the first, and a company is told of its top-ups
    and grants once. `credit_topup` is what was paid past the payment provider, as by bank transfer; `grant` what nobody
    pays for; `refund` gives back what a call was charged, all refunds of a call together never more than it cost;
    `correction` puts an entry right, in either direction. The last two name the entry they are about in `corrects`; a
    call's is `gen_<hold id>`, and its cost itself is corrected by ledger.correct.
    Units: credits, negative only in a correction; worth more than APPROVAL_ABOVE_USD only if a second person,
    `approved_by`, has approved it, which is for the caller to have seen.
    Errors: InvalidInput, Forbidden (reason `second_approver`), Conflict (a refund above what is left), WalletNotFound,
    EntryConflict, BalanceOutOfRange, BooksUnavailable.
    Source: docs/topups.md.
    """
    amount = money.nanocredits_from_credits(credits)
    _require(actor=actor, reason=reason, approved_by=approved_by, action=action, corrects=corrects)
    _require_approval(amount, actor=actor, approved_by=approved_by)
    # Two refunds of one call at once: the second counts the first.
    locks.hold("movements of", str(company_id))
    if action == "refund" and _posted(company_id, action, reference) is None:
        _require_charged(company_id, amount, call=corrects)
    posted = ledger.post(
        company_id=company_id,
        amount_nanocredits=amount,
        action=action,
        reference=reference,
        actor=actor,
        corrects=corrects,
        note=f"{reason} (approved by {approved_by})" if approved_by else reason,
    )
    if posted.is_new:
        audit.record(
            company_id=company_id,
            action=_RECORDED_AS[action],
            target_kind="ledger_entry",
            target_id=posted.seq,
            target_label=reference,
            after=_standing(posted) | ({"approved_by": approved_by} if approved_by else {}),
            reason=reason,
            now=now,
        )
    if posted.is_new and action in ("credit_topup", "grant"):
        credit_events.topped_up(
            company_id=company_id, amount_nanocredits=amount, action=action, reference=reference, now=now
        )
    elif posted.is_new:
        credit_events.check(company_id=company_id, now=now)
    return posted


def _standing(posted: Posted) -> dict[str, str]:
    return {
        "amount": money.json_number(posted.amount_nanocredits),
        "balance_after": money.json_number(posted.balance_after_nanocredits),
    }


def _require(*, actor: str, reason: str, approved_by: str, action: Movement, corrects: str) -> None:
    for name, text, least, most in (
        ("actor", actor, 1, ledger.ACTOR_LENGTH_MAX),
        ("reason", reason, 1, REASON_LENGTH_MAX),
        ("approved_by", approved_by, 0, ledger.ACTOR_LENGTH_MAX),
    ):
        if not least <= len(text.strip()) <= most:
            raise InvalidInput(f"{name}: must have {least} to {most} characters.", details={"field": name})
    if action == "refund" and not corrects.startswith(ledger.CALL_PREFIX):
        raise InvalidInput(
            "corrects: a refund gives back what a call was charged; name it gen_<hold id>.",
            hint="What a top-up or a grant was wrong about is put right by a correction.",
            details={"field": "corrects"},
        )
    if action == "correction" and not corrects.strip():
        raise InvalidInput(
            "corrects: a correction names the entry it is about.",
            hint="Give the reference of that entry; a call's is gen_<hold id>.",
            details={"field": "corrects"},
        )


def _require_approval(amount_nanocredits: int, *, actor: str, approved_by: str) -> None:
    worth_usd = worth(amount_nanocredits)
    if worth_usd <= approval_above_usd():
        return
    if approved_by.strip() and approved_by.strip().casefold() != actor.strip().casefold():
        return
    raise Forbidden(
        f"A movement worth {worth_usd:f} USD, above {approval_above_usd():f} USD, needs a second person.",
        hint="Have somebody else approve it, and name them.",
        details={"reason": "second_approver"},
    )


def _require_charged(company_id: UUID, amount_nanocredits: int, *, call: str) -> None:
    charged, refunded = statements.row(_CHARGED, company_id, call, call, call, call)
    left = max(charged - refunded, 0)
    if amount_nanocredits > left:
        raise Conflict(
            f"{call}: of the {money.json_number(charged)} credits it cost, {money.json_number(left)} are not given "
            f"back yet; {money.json_number(amount_nanocredits)} is more.",
            hint="Refund at most what is left, or make it a grant.",
        )


def approval_above_usd() -> Decimal:
    """What a movement may be worth at most that one person makes alone."""
    most: Decimal = settings.APPROVAL_ABOVE_USD
    return most


def worth(amount_nanocredits: int) -> Decimal:
    """What so many credits, given or taken, are worth today in USD."""
    return money.credits_from_nanocredits(abs(amount_nanocredits)) * settings.CREDIT_VALUE_USD


def _posted(company_id: UUID, action: Movement, reference: str) -> Posted | None:
    found = statements.rows(
        "SELECT seq, amount_nanocredits, balance_after_nanocredits FROM billing_entry"
        " WHERE (company_id, action, reference) = (%s, %s, %s)",
        *(company_id, action, reference),
    )
    return Posted(*(*found[0], False)) if found else None


def _is_entry(company_id: UUID, reference: str) -> bool:
    """By the rule of billing_has_entry, which decides."""
    actions = list(Entry.Action.values)
    found = statements.row(_HAS_ENTRY, company_id, actions, reference, company_id, reference, reference)
    return bool(found[0])
