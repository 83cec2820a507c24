"""Evidence that comes after the first: better corrects, all other that differs is left to a person."""

import itertools
from typing import Any

import pytest

from billing import settlement
from billing.holds import HoldRequest
from billing.settlement import Evidence, Settlement
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run

BEST_FIRST = ["inline", "stream", "generation", "broadcast", "estimate", "no_evidence"]


def more(request: HoldRequest, source: str, usd: str | None) -> Settlement:
    """Evidence of a cost, or of none at all."""
    evidence = books.cost(usd, source=source)
    way = settlement.void_now if usd is None else settlement.settle_now
    return way(hold=books.key(request), evidence=evidence)


def corrections(request: HoldRequest) -> list[tuple[Any, ...]]:
    return books.rows(
        "SELECT number, source, charged_nanocredits FROM billing_correction WHERE hold_id = %s ORDER BY number",
        request.hold_id,
    )


def settle_raw(request: HoldRequest, *rows: tuple[str, str, int]) -> list[str]:
    """Outcomes of one batch of (kind, cost, charge) for one hold, past Python's own checks."""
    kinds, costs, charges = (list(column) for column in zip(*rows, strict=True))
    count = len(rows)
    found = books.rows(
        "SELECT outcome FROM billing_settle(%s::uuid[], %s::uuid[], %s::text[], %s::numeric[], %s::bigint[],"
        " %s::text[], %s::text[], %s::jsonb[])",
        [request.company_id] * count, [request.hold_id] * count, kinds, costs, charges,
        ["inline"] * count, [""] * count, ["{}"] * count,
    )  # fmt: skip
    return [outcome for (outcome,) in found]


@pytest.mark.parametrize(("better", "worse"), list(itertools.combinations(BEST_FIRST, 2)))
def test_better_evidence_corrects_and_worse_does_not(run: Run, better: str, worse: str) -> None:
    acme = books.wallet()
    upward, downward = (run(books.settled(acme, "0.4", source=source)) for source in (worse, better))
    ended = more(upward, better, "0.8")
    assert (ended.outcome, ended.charged_nanocredits) == ("already", 2 * CREDIT)
    assert (ended.balance_nanocredits, ended.held_nanocredits) == acme.state() == (7 * CREDIT, 0)
    assert books.anomalies(acme) == []
    assert more(downward, worse, "0.8").charged_nanocredits == CREDIT
    assert books.anomalies(acme) == ["settled_differently"]
    assert corrections(upward) == [(1, better, 2 * CREDIT)]
    assert corrections(downward) == []
    assert books.violations(acme) == []


def test_late_evidence_is_weighed_against_the_last_correction(run: Run) -> None:
    acme = books.wallet()
    request = run(books.settled(acme, "0.1", source="estimate"))
    more(request, "generation", "0.4")
    more(request, "generation", "0.2")
    more(request, "broadcast", "0.3")
    more(request, "stream", "0.8")
    more(request, "generation", "0.4")
    assert corrections(request) == [(1, "generation", CREDIT), (2, "stream", 2 * CREDIT)]
    assert books.anomalies(acme) == ["settled_differently"] * 3
    assert books.violations(acme) == []


def test_evidence_that_agrees_with_a_correction_is_no_anomaly(run: Run) -> None:
    acme = books.wallet()
    request = run(books.settled(acme, "0.1", source="estimate"))
    for source in ("stream", "generation"):
        assert more(request, source, "0.4").charged_nanocredits == CREDIT
    assert more(request, "generation", "0.1").charged_nanocredits == CREDIT
    assert books.anomalies(acme) == ["settled_differently"]


def test_better_evidence_of_the_same_amount_is_what_later_evidence_meets(run: Run) -> None:
    acme = books.wallet()
    request = run(books.settled(acme, "0.4", source="estimate"))
    more(request, "generation", "0.4")
    more(request, "broadcast", "0.8")
    assert acme.state() == (9 * CREDIT, 0)
    assert corrections(request) == [(1, "generation", CREDIT)]
    assert books.anomalies(acme) == ["settled_differently"]


def test_gateway_and_worker_correct_alike_and_once(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    assert settlement.void_now(hold=books.key(request), evidence=Evidence(source="no_evidence")).is_charged
    late = books.cost("0.4", source="stream")
    for _ in range(2):
        assert settlement.settle_now(hold=books.key(request), evidence=late).outcome == "already"
        assert run(settlement.settle(hold=books.key(request), evidence=late)).outcome == "already"
    assert books.entries(acme)[1:] == [(2, "correction", -CREDIT, 9 * CREDIT)]
    assert books.anomalies(acme) == []
    assert books.violations(acme) == []


def test_void_takes_back_what_a_stand_in_said_and_nothing_else(run: Run) -> None:
    acme = books.wallet()
    guessed, known = (run(books.settled(acme, source=source)) for source in ("estimate", "generation"))
    assert more(guessed, "inline", None).charged_nanocredits == 0
    assert more(known, "inline", None).charged_nanocredits == CREDIT
    assert acme.state() == (9 * CREDIT, 0)
    assert books.anomalies(acme) == ["settled_differently"]
    assert more(known, "operator", None).charged_nanocredits == 0
    assert books.violations(acme) == []


def test_late_evidence_beyond_twenty_holds_is_left_to_a_person(run: Run) -> None:
    acme = books.wallet()
    request = run(books.settled(acme, "0", 1000, source="estimate"))
    assert more(request, "generation", "900").charged_nanocredits == 0
    assert books.anomalies(acme) == ["implausible_cost"]
    assert acme.state() == (10 * CREDIT, 0)
    more(request, "operator", "0.8")
    assert acme.state() == (8 * CREDIT, 0)


def test_one_generation_is_charged_to_one_company(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    evidence = books.cost("0.4")
    run(settlement.settle(hold=books.key(run(books.held(acme))), evidence=evidence))
    request = run(books.settled(globex, "0", source="estimate"))
    assert settlement.settle_now(hold=books.key(request), evidence=evidence).charged_nanocredits == 0
    assert books.anomalies(globex) == ["generation_conflict"]
    assert globex.state() == (10 * CREDIT, 0)


def test_each_piece_of_refused_evidence_is_kept(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    first = books.cost("-1")
    for evidence in (first, first, books.cost("-2"), books.cost("999", source="generation")):
        run(settlement.settle(hold=books.key(request), evidence=evidence))
    assert books.anomalies(acme) == ["implausible_cost"] * 3


def test_bad_row_before_a_good_one_of_the_same_hold_takes_nothing_from_it(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    outcomes = settle_raw(
        request, ("quarantine", "0", 0), ("post", "0.4", CREDIT), ("post", "0.4", CREDIT), ("void", "0", 0)
    )
    assert outcomes == ["already", "posted", "already", "already"]
    assert acme.state() == (9 * CREDIT, 0)
    assert books.anomalies(acme) == ["settled_differently"] * 2
    assert books.violations(acme) == []


def test_same_hold_id_of_two_companies_are_two_holds_in_one_batch(run: Run) -> None:
    acme, globex = books.wallet(), books.wallet()
    first = run(books.held(acme))
    second = run(books.held(globex, hold_id=first.hold_id))
    found = books.rows(
        "SELECT outcome FROM billing_settle(ARRAY[%s, %s]::uuid[], ARRAY[%s, %s]::uuid[], ARRAY['post', 'post'],"
        " ARRAY[0, 0]::numeric[], ARRAY[0, 0]::bigint[], ARRAY['inline', 'inline'], ARRAY['', ''],"
        " ARRAY['{}', '{}']::jsonb[])",
        first.company_id, second.company_id, first.hold_id, second.hold_id,
    )  # fmt: skip
    assert found == [("posted",), ("posted",)]


@pytest.mark.parametrize(
    "row",
    [("post", "0.4", CREDIT + 1), ("post", "0.4", CREDIT - 1), ("post", "0", 1), ("void", "0", 1)],
    ids=str,
)
def test_charge_that_is_not_the_one_rounding_is_quarantined(run: Run, row: tuple[str, str, int]) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    assert settle_raw(request, row) == ["quarantined"]
    assert books.anomalies(acme) == ["charge_mismatch"]
    assert acme.state() == (10 * CREDIT, CREDIT)
