"""Open holds whose time has come: claimed by one, looked up ever later, given back, parked or settled."""

from decimal import Decimal

import pytest
from django.conf import settings
from django.db import connection, transaction

from billing import reconciliation, settlement
from billing.errors import BooksUnavailable
from billing.holds import HoldRequest
from billing.reconciliation import OpenHold
from tests import races
from tests.billing import books
from tests.billing.books import CREDIT
from tests.billing.conftest import Away
from tests.conftest import Run


def claim(request: HoldRequest) -> OpenHold:
    """Claim just this hold."""
    books.make_first_due(request)
    (found,) = reconciliation.claim_due(limit=1)
    assert found.hold_id == request.hold_id
    return found


def due_in_s(request: HoldRequest) -> Decimal:
    found = books.open_hold(request)
    assert found is not None
    return Decimal(found["due_in_s"])


def test_hold_is_not_due_before_its_time(run: Run) -> None:
    request = run(books.held(books.wallet()))
    claimed = {found.hold_id for found in reconciliation.claim_due(limit=1000)}
    assert request.hold_id not in claimed
    assert 895 < due_in_s(request) <= 900


def test_claimed_hold_tells_all_that_a_look_up_needs(run: Run) -> None:
    request = run(books.held(books.wallet(), details=b'{"model": "m"}'))
    found = claim(request)
    assert (found.company_id, found.key_id, found.kit_id) == (
        request.company_id, request.key_id, request.kit_id
    )  # fmt: skip
    assert (found.tenant_user_id, found.generation_id) == (request.tenant_user_id, None)
    assert (found.stage, found.attempts, found.is_expired) == ("held", 0, False)
    assert found.details == {"model": "m"}
    assert found.key == books.key(request)


def test_claimed_hold_is_nobody_elses_until_the_lease_ends(run: Run) -> None:
    request = run(books.held(books.wallet()))
    claim(request)
    assert request.hold_id not in {found.hold_id for found in reconciliation.claim_due(limit=1000)}
    assert 50 < due_in_s(request) <= reconciliation.LEASE_S


def test_workers_at_once_never_claim_the_same_hold(run: Run) -> None:
    acme = books.wallet()
    requests = [run(books.held(acme, 1)) for _ in range(60)]
    for request in requests:
        books.make_first_due(request)
    claimed = races.at_once(*[lambda: reconciliation.claim_due(limit=20)] * 6)
    ids = [found.hold_id for batch in claimed if isinstance(batch, list) for found in batch]
    assert len(ids) == len(set(ids))
    assert {request.hold_id for request in requests} <= set(ids)


def test_claim_passes_over_what_another_transaction_has(run: Run) -> None:
    acme = books.wallet()
    busy, free = run(books.held(acme)), run(books.held(acme))
    for request in (free, busy):
        books.make_first_due(request)
    with transaction.atomic():
        books.rows("SELECT 1 FROM billing_open_hold WHERE hold_id = %s FOR UPDATE", busy.hold_id)
        (claimed,) = races.at_once(lambda: reconciliation.claim_due(limit=1))
    assert isinstance(claimed, list)
    assert [found.hold_id for found in claimed] == [free.hold_id]


def test_look_ups_come_ever_later_and_end_with_a_person(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    for pause_s in settings.LOOKUP_BACKOFF_S[1:]:
        assert reconciliation.not_found(claim(request))
        assert Decimal(pause_s) * Decimal("0.79") <= due_in_s(request) <= Decimal(pause_s) * Decimal("1.21")
    assert reconciliation.not_found(claim(request))
    assert (books.open_hold(request) or {})["stage"] == "parked"
    assert acme.state() == (10 * CREDIT, CREDIT)
    assert books.violations(acme) == []


def test_one_look_up_counts_once_for_two_workers(run: Run) -> None:
    request = run(books.held(books.wallet()))
    found = claim(request)
    assert [reconciliation.not_found(found), reconciliation.not_found(found)] == [True, False]
    assert (books.open_hold(request) or {})["attempts"] == 1


def test_parked_hold_is_never_due_and_still_settles(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    run(settlement.settle(hold=books.key(request), evidence=books.cost("-1")))
    assert (books.open_hold(request) or {})["next_at"] is None
    assert request.hold_id not in {found.hold_id for found in reconciliation.claim_due(limit=1000)}
    by_person = books.cost("0.4", source="operator")
    assert settlement.settle_now(hold=books.key(request), evidence=by_person).outcome == "posted"
    assert acme.state() == (9 * CREDIT, 0)


def test_record_of_the_generation_settles_the_hold(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    found = claim(request)
    ended = reconciliation.settle_from_generation(found, cost_usd=Decimal("0.4"), facts={"model": "m"})
    assert (ended.outcome, ended.charged_nanocredits) == ("posted", CREDIT)
    again = reconciliation.settle_from_generation(found, cost_usd=Decimal("0.4"))
    assert again.outcome == "already"
    assert not reconciliation.not_found(found)
    source = books.rows("SELECT source, details FROM billing_settlement WHERE hold_id = %s", request.hold_id)
    assert source == [("generation", '{"model": "m"}')]


def test_implausible_record_is_quarantined(run: Run) -> None:
    acme = books.wallet()
    found = claim(run(books.held(acme)))
    ended = reconciliation.settle_from_generation(found, cost_usd=Decimal("NaN"))
    assert ended.outcome == "quarantined"
    assert acme.state() == (10 * CREDIT, CREDIT)


def test_unsent_call_is_given_back_at_the_second_look(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    books.expire(request)
    found = claim(request)
    assert found.is_expired
    assert reconciliation.void_unsent(found) == "waiting"
    assert 85 < due_in_s(request) <= settings.HOLD_TTL_S / reconciliation.GRACE_PART
    assert reconciliation.void_unsent(claim(request)) == "voided"
    assert acme.state() == (10 * CREDIT, 0)
    kind = books.rows("SELECT kind, source FROM billing_settlement WHERE hold_id = %s", request.hold_id)
    assert kind == [("void", "no_evidence")]
    assert books.violations(acme) == []


def test_two_workers_with_one_claim_are_one_look(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    books.expire(request)
    found = claim(request)
    assert [reconciliation.void_unsent(found) for _ in "12"] == ["waiting", "kept"]
    assert acme.state() == (10 * CREDIT, CREDIT)


def test_unsent_call_is_kept_until_its_time_is_over(run: Run) -> None:
    request = run(books.held(books.wallet()))
    assert reconciliation.void_unsent(claim(request)) == "kept"
    assert books.open_hold(request) is not None


def test_call_whose_id_came_home_meanwhile_is_kept(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    books.expire(request)
    found = claim(request)
    books.rows(
        "SELECT billing_note_open_holds(ARRAY[%s], ARRAY[%s], ARRAY['gen-late'], ARRAY[NULL]::float8[],"
        " ARRAY[NULL]::numeric[])",
        acme.company_id,
        request.hold_id,
    )
    assert reconciliation.void_unsent(found) == "kept"
    assert acme.state() == (10 * CREDIT, CREDIT)


def test_settled_call_is_kept(run: Run) -> None:
    acme = books.wallet()
    request = run(books.held(acme))
    books.expire(request)
    found = claim(request)
    settlement.settle_now(hold=found.key, evidence=books.cost("0.4"))
    assert reconciliation.void_unsent(found) == "kept"
    assert acme.state() == (9 * CREDIT, 0)


def test_workers_are_told_when_the_database_is_away(run: Run, away: Away) -> None:
    found = claim(run(books.held(books.wallet())))
    connection.close()
    with away():
        for work in (
            lambda: reconciliation.claim_due(limit=1),
            lambda: reconciliation.not_found(found),
            lambda: reconciliation.void_unsent(found),
            lambda: reconciliation.settle_from_generation(found, cost_usd=Decimal(0)),
        ):
            with pytest.raises(BooksUnavailable):
                work()
