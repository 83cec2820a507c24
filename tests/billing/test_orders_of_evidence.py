"""Whatever order evidence of a call comes in, and however often: in the end the best of it is what the call costs."""

from dataclasses import replace
from decimal import Decimal

import hypothesis
from hypothesis import strategies as st

from billing import ledger, money, second_looks, settlement
from billing.errors import HoldNotFound
from billing.holds import HoldRequest
from billing.settlement import Evidence, Source
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run

# The best first; `no_evidence` gives the call back.
SOURCES: tuple[Source, ...] = (
    "operator",
    "inline",
    "stream",
    "generation",
    "broadcast",
    "estimate",
    "no_evidence",
)
# At most 20 times a hold of one credit, which 0.4 USD buy.
COSTS = st.decimals(min_value=0, max_value=8, places=14)
# From some worth on: where the best always came, nothing would be seen of the others.
CALLS = st.integers(0, len(SOURCES) - 1).flatmap(
    lambda best: st.lists(st.sampled_from(SOURCES[best:]), min_size=1, max_size=6)
)


@hypothesis.settings(max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    sources=CALLS, costs=st.lists(COSTS, min_size=7, max_size=7), look_at=st.integers(0, 6), later=COSTS
)
def test_call_costs_what_the_best_evidence_says_in_whatever_order_it_came(
    run: Run, sources: list[Source], costs: list[Decimal], look_at: int, later: Decimal
) -> None:
    """`later` is what upstream's record reads at a second look, taken after `look_at` pieces of evidence."""
    acme = books.wallet(100 * CREDIT)
    request = run(books.held(acme))
    told = dict(zip(SOURCES, costs, strict=True)) | {"no_evidence": Decimal(0)}
    looked = False
    for number, source in enumerate(sources):
        tell(request, source, told[source])
        if number == look_at:
            looked = look_again(request, later)
    best = min(sources, key=SOURCES.index)
    expected = later if looked and SOURCES.index(best) >= SOURCES.index("generation") else told[best]
    due = money.charge_nanocredits(
        cost_usd=expected, markup=books.MARKUP, credit_value_usd=books.CREDIT_VALUE_USD
    )
    assert acme.state() == (100 * CREDIT - due, 0)
    assert books.violations(acme) == []
    ((charged, calls, voided),) = books.rows(
        "SELECT sum(charged_nanocredits), sum(calls), sum(voided_calls) FROM billing_usage WHERE company_id = %s",
        acme.company_id,
    )
    assert (charged, calls + voided) == (due, 1)
    assert (calls == 0) == (set(sources) == {"no_evidence"})


def tell(request: HoldRequest, source: Source, usd: Decimal) -> None:
    """What a gateway, a sweep, a broadcast, the policy of estimates or a person does, each by its own way."""
    if source == "operator":
        try:
            ledger.correct(
                company_id=request.company_id,
                hold_id=request.hold_id,
                cost_usd=usd,
                source=source,
                reference="person",
            )
            return
        except HoldNotFound:
            pass  # Still open: it is settled with the person's word.
    evidence = Evidence(source=source, cost_usd=usd, generation_id=f"gen-{request.hold_id.hex}")
    if source == "no_evidence":
        settlement.void_now(hold=books.key(request), evidence=replace(evidence, generation_id=None))
    else:
        settlement.settle_now(hold=books.key(request), evidence=evidence)


def look_again(request: HoldRequest, usd: Decimal) -> bool:
    """Read the record again, where there is a second look to be taken; whether its word was better than what stood."""
    books.rows("UPDATE billing_second_look SET next_at = clock_timestamp() + interval '1 day'")
    books.rows("UPDATE billing_second_look SET next_at = '2020-01-01' WHERE hold_id = %s", request.hold_id)
    looks = second_looks.claim_due(limit=10)
    for look in looks:
        second_looks.apply_record(look, cost_usd=usd)
    return any(look.is_needed for look in looks)
