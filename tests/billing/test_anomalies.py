"""Anomalies: listed for a person, decided once, and the decision carried out in the books."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.db import connection

from accounts.errors import InvalidInput
from billing import anomalies, reconciliation, settlement
from billing.anomalies import Anomaly, Decision
from billing.errors import AnomalyDecided, AnomalyNotFound, BooksUnavailable, ImplausibleCost
from billing.holds import HoldRequest
from tests import logins, races
from tests.billing import books
from tests.billing.books import CREDIT
from tests.billing.conftest import Away
from tests.conftest import Run

WHO: dict[str, Any] = {"actor": "user:ada", "reason": "Upstream's support says so."}


def parked(run: Run, acme: books.Wallet, usd: str = "9.3") -> HoldRequest:
    """A call whose evidence, more than 20 times its hold, was quarantined."""
    request = run(books.held(acme))
    run(settlement.settle(hold=books.key(request), evidence=books.cost(usd)))
    assert (books.open_hold(request) or {})["stage"] == "parked"
    return request


def of(acme: books.Wallet) -> Anomaly:
    (found,) = [one for one in anomalies.list_open(limit=200).anomalies if one.company_id == acme.company_id]
    return found


def decide(found: Anomaly, decision: Any, **changes: Any) -> Decision:
    return anomalies.decide(
        **{"kind": found.kind, "reference": found.reference, "decision": decision, **WHO, **changes}
    )


def report(acme: books.Wallet, request: HoldRequest, kind: str = "no_record", **details: Any) -> None:
    reconciliation.report(
        kind,
        reference=f"gen_{request.hold_id}",
        company_id=acme.company_id,
        hold_id=request.hold_id,
        details=details,
    )


def test_charge_settles_a_parked_call_with_the_cost_its_evidence_names(run: Run) -> None:
    acme = books.wallet(100 * CREDIT)
    request = parked(run, acme)
    found = of(acme)
    assert (found.state, found.cost_usd, found.hold_id) == ("parked", Decimal("9.3"), request.hold_id)
    said = decide(found, "charge")
    assert (said.decision, said.cost_usd, said.actor, said.is_new) == (
        "charge",
        Decimal("9.3"),
        "user:ada",
        True,
    )
    assert said.charged_nanocredits == 23_250_000_000
    assert acme.state() == (100 * CREDIT - 23_250_000_000, 0)
    row = books.rows("SELECT source, cost_usd FROM billing_settlement WHERE hold_id = %s", request.hold_id)
    assert row == [("operator", Decimal("9.3"))]
    assert books.violations(acme) == []


def test_charge_takes_the_cost_a_person_gives(run: Run) -> None:
    acme = books.wallet()
    parked(run, acme)
    assert decide(of(acme), "charge", cost_usd=Decimal("0.4")).charged_nanocredits == CREDIT
    assert acme.state() == (9 * CREDIT, 0)


def test_void_gives_a_parked_call_back(run: Run) -> None:
    acme = books.wallet()
    parked(run, acme)
    said = decide(of(acme), "void")
    assert (said.cost_usd, said.charged_nanocredits) == (None, 0)
    assert acme.state() == (10 * CREDIT, 0)
    assert books.violations(acme) == []


def test_charge_corrects_a_settled_call(run: Run) -> None:
    acme = books.wallet()
    request = run(books.settled(acme, "0.4"))
    run(settlement.settle(hold=books.key(request), evidence=books.cost("0.8", source="stream")))
    found = of(acme)
    assert (found.kind, found.state, found.cost_usd) == ("settled_differently", "settled", Decimal("0.8"))
    assert decide(found, "charge").charged_nanocredits == 2 * CREDIT
    assert acme.state() == (8 * CREDIT, 0)
    ((source, note, actor),) = books.rows(
        "SELECT c.source, e.note, e.actor FROM billing_correction c JOIN billing_entry e ON e.company_id = c.company_id"
        " AND e.reference = 'gen_' || c.hold_id || ':' || c.reference WHERE c.hold_id = %s",
        request.hold_id,
    )
    assert (source, note, actor) == ("operator", WHO["reason"], WHO["actor"])
    assert books.violations(acme) == []


def test_void_leaves_a_settled_call_as_it_is(run: Run) -> None:
    acme = books.wallet()
    request = run(books.settled(acme, "0.4"))
    run(settlement.settle(hold=books.key(request), evidence=books.cost("0.8", source="stream")))
    decide(of(acme), "void")
    assert acme.state() == (9 * CREDIT, 0)
    assert len(books.entries(acme)) == 2


def test_void_of_evidence_about_a_call_that_goes_its_way_gives_nothing_back(run: Run) -> None:
    """A trace of another user, say, while the call still runs: to reject it is not to make the call free."""
    acme = books.wallet()
    request = run(books.held(acme))
    report(acme, request, "generation_mismatch", cost_usd="0.8")
    said = decide(of(acme), "void")
    assert (said.is_new, said.charged_nanocredits) == (True, None)
    assert (books.open_hold(request) or {})["stage"] == "held"
    run(settlement.settle(hold=books.key(request), evidence=books.cost("0.4")))
    assert acme.state() == (9 * CREDIT, 0)
    assert books.violations(acme) == []


def test_charge_of_a_call_that_was_given_back_meanwhile_corrects_it(run: Run) -> None:
    acme = books.wallet()
    request = parked(run, acme, "-1")
    report(acme, request)
    both = [one for one in anomalies.list_open(limit=200).anomalies if one.company_id == acme.company_id]
    decide(both[0], "void")
    decide(both[1], "charge", cost_usd=Decimal("0.4"))
    assert acme.state() == (9 * CREDIT, 0)
    assert books.violations(acme) == []


def test_same_decision_again_returns_the_first(run: Run) -> None:
    acme = books.wallet()
    parked(run, acme)
    found = of(acme)
    first = decide(found, "charge", cost_usd=Decimal("0.4"))
    again = decide(found, "charge", cost_usd=Decimal("0.40"), actor="user:bob", reason="Me too")
    assert not again.is_new
    assert (again.actor, again.reason, again.decided_at) == ("user:ada", WHO["reason"], first.decided_at)
    assert acme.state() == (9 * CREDIT, 0)
    assert books.rows("SELECT 1 FROM billing_correction WHERE company_id = %s", acme.company_id) == []


@pytest.mark.parametrize("other", [{"decision": "void"}, {"decision": "charge", "cost_usd": Decimal("0.5")}])
def test_another_decision_is_refused_and_names_the_first(run: Run, other: dict[str, Any]) -> None:
    acme = books.wallet()
    parked(run, acme)
    found = of(acme)
    decide(found, "charge", cost_usd=Decimal("0.4"))
    with pytest.raises(AnomalyDecided, match=r"user:ada has decided .* charge 0\.4 USD"):
        decide(found, **other)
    assert acme.state() == (9 * CREDIT, 0)


def test_of_many_deciders_at_once_one_decides(run: Run) -> None:
    acme = books.wallet()
    parked(run, acme)
    found = of(acme)
    said = races.at_once(
        *[lambda: decide(found, "charge", cost_usd=Decimal("0.4"))] * 4, *[lambda: decide(found, "void")] * 4
    )
    assert sum(isinstance(one, Decision) and one.is_new for one in said) == 1
    assert sum(isinstance(one, AnomalyDecided) for one in said) == 4
    assert acme.state() in ((9 * CREDIT, 0), (10 * CREDIT, 0))
    assert books.violations(acme) == []


@pytest.mark.parametrize("_", range(8))
def test_persons_charge_wins_whenever_the_answers_own_cost_comes(run: Run, _: int) -> None:
    acme = books.wallet()
    request = parked(run, acme)
    found, late = of(acme), books.cost("0.8", source="stream")
    said = races.at_once(
        lambda: str(decide(found, "charge", cost_usd=Decimal("0.4"))),
        lambda: str(settlement.settle_now(hold=books.key(request), evidence=late)),
    )
    assert not [one for one in said if isinstance(one, Exception)]
    assert acme.state() == (9 * CREDIT, 0)
    assert books.violations(acme) == []


def test_decided_anomaly_is_listed_no_more_but_read_with_its_decision(run: Run) -> None:
    acme = books.wallet()
    parked(run, acme)
    found = of(acme)
    decide(found, "void")
    assert found.reference not in {one.reference for one in anomalies.list_open(limit=200).anomalies}
    seen = anomalies.get(kind=found.kind, reference=found.reference)
    assert seen.decision is not None
    assert (seen.decision.decision, seen.decision.actor, seen.state) == ("void", "user:ada", "settled")


def test_list_is_read_page_by_page_latest_first_without_gap_or_repeat(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    for number in range(7):
        report(acme, request, f"kind {number}")
    seen: list[str] = []
    cursor = None
    while len(seen) < 7:
        page = anomalies.list_open(limit=2, cursor=cursor)
        seen += [one.kind for one in page.anomalies if one.company_id == acme.company_id]
        cursor = page.next_cursor
    assert seen == [f"kind {number}" for number in range(6, -1, -1)]


@pytest.mark.parametrize("cursor", ["", "x", "W10=", "eyJhIjoxfQ==", "é"])
def test_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        anomalies.list_open(cursor=cursor)


@pytest.mark.parametrize(
    "changes",
    [{"actor": " "}, {"reason": ""}, {"actor": "a\0b"}, {"actor": "x" * 101}, {"reason": "x" * 1001}],
)
def test_decision_needs_who_and_why(run: Run, changes: dict[str, str]) -> None:
    acme = books.wallet()
    parked(run, acme)
    with pytest.raises(InvalidInput, match=next(iter(changes))):
        decide(of(acme), "void", **changes)
    assert acme.state()[1] == CREDIT


def test_evidence_that_names_no_cost_needs_one_to_be_charged(run: Run) -> None:
    acme = books.wallet()
    parked(run, acme, "NaN")
    found = of(acme)
    assert found.cost_usd is None
    with pytest.raises(InvalidInput, match="names no cost"):
        decide(found, "charge")
    decide(found, "charge", cost_usd=Decimal("0.4"))
    assert acme.state() == (9 * CREDIT, 0)


def test_record_of_another_call_names_its_cost(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    report(acme, request, "generation_mismatch", record={"id": "gen-x", "total_cost": "0.8"})
    assert of(acme).cost_usd == Decimal("0.8")


@pytest.mark.parametrize("usd", ["-0.1", "1000.01", "NaN"])
def test_cost_that_is_no_amount_is_refused(run: Run, usd: str) -> None:
    acme = books.wallet()
    parked(run, acme)
    with pytest.raises(ImplausibleCost):
        decide(of(acme), "charge", cost_usd=Decimal(usd))


def test_cost_that_goes_with_a_void_is_refused(run: Run) -> None:
    acme = books.wallet()
    parked(run, acme)
    with pytest.raises(InvalidInput, match="A void charges nothing"):
        decide(of(acme), "void", cost_usd=Decimal("0.4"))


def test_anomaly_about_no_call_can_only_be_voided() -> None:
    reference = f"nobody-{uuid4()}"
    books.rows("SELECT billing_quarantine('odd', %s, NULL, NULL, '{}')", reference)
    with pytest.raises(InvalidInput, match="about no call"):
        anomalies.decide(kind="odd", reference=reference, decision="charge", cost_usd=Decimal(1), **WHO)
    assert anomalies.decide(kind="odd", reference=reference, decision="void", **WHO).is_new


def test_call_that_was_never_placed_cannot_be_charged() -> None:
    acme = books.wallet()
    reference = f"gen_{uuid4()}"
    books.rows(
        "SELECT billing_quarantine('unknown_hold', %s, %s, %s, %s)",
        reference, acme.company_id, uuid4(), orjson.dumps({"cost_usd": "0.4"}).decode(),
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="about no call"):
        anomalies.decide(kind="unknown_hold", reference=reference, decision="charge", **WHO)
    assert acme.state() == (10 * CREDIT, 0)


def test_unknown_anomaly_is_not_found() -> None:
    with pytest.raises(AnomalyNotFound):
        anomalies.decide(kind="odd", reference="never seen", decision="void", **WHO)


def test_call_keeps_its_generation_unless_that_is_another_calls(run: Run) -> None:
    acme = books.wallet()
    first = run(books.settled(acme))
    ((taken,),) = books.rows("SELECT generation_id FROM billing_settlement WHERE hold_id = %s", first.hold_id)
    own, stolen = run(books.held(acme)), run(books.held(acme))
    for request, generation in ((own, f"gen-{own.hold_id.hex}"), (stolen, taken)):
        books.rows(
            "UPDATE billing_open_hold SET generation_id = %s WHERE hold_id = %s", generation, request.hold_id
        )
        report(acme, request, f"odd {generation}")
        anomalies.decide(
            kind=f"odd {generation}", reference=f"gen_{request.hold_id}", decision="charge",
            cost_usd=Decimal("0.4"), **WHO,
        )  # fmt: skip
    kept = [
        books.rows("SELECT generation_id FROM billing_settlement WHERE hold_id = %s", one.hold_id)
        for one in (own, stolen)
    ]
    assert kept == [[(f"gen-{own.hold_id.hex}",)], [(None,)]]
    assert books.violations(acme) == []


def test_decision_is_never_changed_by_anybody(run: Run) -> None:
    acme = books.wallet()
    parked(run, acme)
    decide(of(acme), "void")
    with pytest.raises(Exception, match="append-only"):
        books.rows("UPDATE billing_decision SET decision = 'charge'")


def test_application_login_decides(run: Run) -> None:
    acme = books.wallet()
    parked(run, acme)
    with logins.as_application():
        decide(of(acme), "charge", cost_usd=Decimal("0.4"))
    assert acme.state() == (9 * CREDIT, 0)


@pytest.mark.parametrize("decision", ["charge", "void"])
def test_books_that_are_away_decide_nothing(run: Run, away: Away, decision: str) -> None:
    acme = books.wallet()
    parked(run, acme)
    found = of(acme)
    connection.close()
    with away(), pytest.raises(BooksUnavailable):
        decide(found, decision)
    assert acme.state()[1] == CREDIT
