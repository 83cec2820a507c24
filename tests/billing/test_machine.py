"""The books against a model in Python, over every order of holds, settlements, corrections and entries."""

import asyncio
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from billing import batches, holds, ledger, settlement
from billing.errors import (
    AlreadyCompleted,
    EntryConflict,
    EntryNotFound,
    HoldNotFound,
    IdempotencyInProgress,
    InsufficientCredits,
)
from billing.holds import Claim, HoldRequest
from tests.billing import books

OPENING = 10_000
# Nanocredits; at these prices a cost of 0.4 billionths of a dollar is one.
AMOUNTS = st.integers(0, 5000)
CAPS = st.sampled_from([None, 3000, 8000])
CLAIMS = st.sampled_from([None, None, Claim(b"1" * 32, b"body"), Claim(b"2" * 32, b"body")])
REFERENCES = st.sampled_from("abc")


def cost_of(nanocredits: int) -> Decimal:
    return nanocredits * books.CREDIT_COST_USD / books.CREDIT


class Books(RuleBasedStateMachine):
    """What stands in PostgreSQL is always what the model says."""

    requests: Bundle[HoldRequest] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.balance = OPENING
        self.open: dict[Any, int] = {}
        self.charged: dict[Any, int] = {}
        # A hold under the key's cap, and the limit that went with it.
        self.capped: dict[Any, int] = {}
        self.claimed: dict[Claim, Any] = {}
        self.given_back: set[Any] = set()
        self.extended: dict[tuple[Any, int], int] = {}
        self.posted: dict[tuple[str, str], int] = {}
        self.corrected: set[tuple[Any, str]] = set()

    @initialize()
    def found(self) -> None:
        self.acme = books.wallet(OPENING)

    def teardown(self) -> None:
        self.run(batches.stop())
        self.runner.close()

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def under_cap(self) -> int:
        """What the calls under the key's cap hold and cost."""
        return sum(self.open.get(one, 0) + self.charged.get(one, 0) for one in self.capped)

    def room(self, cap: int | None) -> int:
        left = self.balance - sum(self.open.values())
        return min(left, cap - self.under_cap()) if cap else left

    def is_claimed(self, claim: Claim | None) -> bool:
        """Whether a call has this claim; one that was given back for nothing has lost it."""
        hold_id = self.claimed.get(claim) if claim else None
        return hold_id is not None and hold_id not in self.given_back

    @rule(target=requests, wanted=AMOUNTS, least=AMOUNTS, cap=CAPS, claim=CLAIMS)
    def place(self, wanted: int, least: int, cap: int | None, claim: Claim | None) -> HoldRequest:
        least = min(least, wanted)
        caps = (self.acme.key_cap(cap),) if cap else ()
        request = self.acme.request(wanted, least_nanocredits=least, caps=caps, claim=claim)
        room = self.room(cap)
        if claim and self.is_claimed(claim):
            first = self.claimed[claim]
            kind = IdempotencyInProgress if first in self.open else AlreadyCompleted
            with pytest.raises(kind, match=f"gen_{first},"):
                self.run(holds.place(request))
            return request
        if room < least and wanted:
            with pytest.raises(InsufficientCredits) as refused:
                self.run(holds.place(request))
            assert refused.value.available_nanocredits == room
            return request
        granted = self.run(holds.place(request)).granted_nanocredits
        assert granted == (min(wanted, room) if wanted else 0)
        self.open[request.hold_id] = granted
        if cap:
            self.capped[request.hold_id] = cap
        if claim:
            self.claimed[claim] = request.hold_id
        return request

    @rule(request=requests, number=st.integers(1, 3), amount=AMOUNTS)
    def extend(self, request: HoldRequest, number: int, amount: int) -> None:
        hold_id, amount = request.hold_id, amount + 1
        more = holds.extend(
            company_id=request.company_id, hold_id=hold_id, number=number, amount_nanocredits=amount
        )
        before = self.extended.get((hold_id, number))
        if hold_id not in self.open:
            with pytest.raises(HoldNotFound):
                self.run(more)
        elif before is not None:
            assert self.run(more).amount_nanocredits == before
        elif self.room(self.capped.get(hold_id)) < amount:
            with pytest.raises(InsufficientCredits):
                self.run(more)
        else:
            assert self.run(more).amount_nanocredits == amount
            self.extended[hold_id, number] = amount
            self.open[hold_id] += amount

    @rule(request=requests, charge=AMOUNTS, live=st.booleans())
    def settle(self, request: HoldRequest, charge: int, live: bool) -> None:
        evidence = books.cost(cost_of(charge))
        self.end(request, charge, evidence, settlement.settle if live else settlement.settle_now)

    @rule(request=requests, live=st.booleans())
    def void(self, request: HoldRequest, live: bool) -> None:
        self.end(request, 0, books.cost(None), settlement.void if live else settlement.void_now)

    def end(self, request: HoldRequest, charge: int, evidence: settlement.Evidence, way: Any) -> None:
        hold_id = request.hold_id
        held = self.open.get(hold_id)
        try:
            ended = way(hold=books.key(request), evidence=evidence)
            ended = self.run(ended) if asyncio.iscoroutine(ended) else ended
        except HoldNotFound:
            assert held is None
            assert hold_id not in self.charged
            return
        if held is None:
            assert ended.outcome == "already"
        elif held > 0 and charge > 20 * held:
            assert ended.outcome == "quarantined"
        else:
            assert (ended.outcome, ended.charged_nanocredits) == ("posted", charge)
            self.charged[hold_id] = charge
            self.balance -= charge
            del self.open[hold_id]
            if evidence.cost_usd is None:
                self.given_back.add(hold_id)
            assert (ended.balance_nanocredits, ended.held_nanocredits) == (
                self.balance,
                sum(self.open.values()),
            )

    @rule(request=requests, charge=AMOUNTS, reference=REFERENCES)
    def correct(self, request: HoldRequest, charge: int, reference: str) -> None:
        hold_id = request.hold_id
        try:
            made = ledger.correct(
                company_id=request.company_id,
                hold_id=hold_id,
                cost_usd=cost_of(charge),
                source="operator",
                reference=reference,
            )
        except HoldNotFound:
            assert hold_id not in self.charged
            return
        before = self.charged[hold_id]
        if (hold_id, reference) in self.corrected:
            assert made.outcome == "already"
            return
        self.corrected.add((hold_id, reference))
        self.given_back.discard(hold_id)
        assert made.outcome == ("unchanged" if charge == before else "corrected")
        assert made.difference_nanocredits == before - charge
        self.charged[hold_id] = charge
        self.balance += before - charge

    @rule(
        amount=AMOUNTS,
        action=st.sampled_from(["grant", "refund", "credit_topup", "chargeback"]),
        reference=REFERENCES,
    )
    def post(self, amount: int, action: Any, reference: str) -> None:
        amount = -amount - 1 if action == "chargeback" else amount + 1
        before = self.posted.setdefault((action, reference), amount)
        try:
            made = ledger.post(
                company_id=self.acme.company_id, amount_nanocredits=amount, action=action, reference=reference
            )
        except EntryConflict:
            assert before != amount
            return
        assert made.amount_nanocredits == before
        if made.is_new:
            self.balance += amount

    @rule(request=requests, amount=AMOUNTS, reference=REFERENCES)
    def refund(self, request: HoldRequest, amount: int, reference: str) -> None:
        name, hold_id = f"of {reference}", request.hold_id
        was_charged = books.rows(
            "SELECT 1 FROM billing_entry WHERE company_id = %s AND starts_with(reference, 'gen_' || %s)",
            request.company_id,
            hold_id,
        )
        before = self.posted.get(("refund", name))
        try:
            made = ledger.refund(
                company_id=request.company_id, amount_nanocredits=amount + 1, reference=name, hold_id=hold_id
            )
        except EntryNotFound:
            assert before is None
            assert not was_charged
            return
        except EntryConflict:
            assert before not in (None, amount + 1)
            return
        if made.is_new:
            assert was_charged
            self.posted["refund", name] = amount + 1
            self.balance += amount + 1
        assert made.amount_nanocredits == self.posted["refund", name]

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "acme"):
            assert self.acme.state() == (self.balance, sum(self.open.values()))
            assert books.violations(self.acme) == []


@pytest.mark.parametrize("examples", [50], ids=["fifty lives"])
def test_books_agree_with_their_model(examples: int) -> None:
    run_state_machine_as_test(
        Books,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
