"""Second looks at settled calls: a record that changed corrects, one that never came is put before a person."""

from decimal import Decimal
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.db import transaction
from hypothesis import strategies as st

from billing import ledger, money, second_looks
from billing.holds import HoldRequest
from billing.second_looks import SecondLook
from tests import logins, races
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run


def settled(run: Run, acme: books.Wallet, source: str = "generation", usd: str = "0.4") -> HoldRequest:
    return run(books.settled(acme, usd, source=source))


def claim(request: HoldRequest) -> SecondLook:
    """Claim just this look."""
    books.rows("UPDATE billing_second_look SET next_at = clock_timestamp() + interval '1 day'")
    books.rows("UPDATE billing_second_look SET next_at = '2020-01-01' WHERE hold_id = %s", request.hold_id)
    (found,) = second_looks.claim_due(limit=10)
    assert found.hold_id == request.hold_id
    return found


def queued(request: HoldRequest) -> list[tuple[Any, ...]]:
    return books.rows(
        "SELECT number, round(extract(epoch FROM next_at - clock_timestamp())) FROM billing_second_look"
        " WHERE hold_id = %s",
        request.hold_id,
    )


def corrections(request: HoldRequest) -> list[tuple[Any, ...]]:
    return books.rows(
        "SELECT number, reference, cost_usd, source FROM billing_correction WHERE hold_id = %s ORDER BY number",
        request.hold_id,
    )


@pytest.mark.parametrize(
    ("source", "is_looked_at"),
    [("generation", True), ("broadcast", True), ("estimate", True), ("inline", False), ("stream", False)],
)
def test_only_a_cost_that_came_without_the_answer_is_looked_at_again(
    run: Run, source: str, is_looked_at: bool
) -> None:
    request = settled(run, books.wallet(), source)
    first_s = settings.SECOND_LOOK_S[0]
    assert [number for number, due_in_s in queued(request) if first_s - 5 < due_in_s <= first_s] == (
        [1] if is_looked_at else []
    )


def test_changed_record_is_a_correction_that_names_the_look(run: Run) -> None:
    acme = books.wallet()
    request = settled(run, acme)
    assert second_looks.apply_record(claim(request), cost_usd=Decimal("0.8")) == "corrected"
    assert corrections(request) == [(1, "second_look:1", Decimal("0.8"), "generation")]
    assert acme.state() == (8 * CREDIT, 0)
    assert books.violations(acme) == []


def test_second_look_comes_a_day_after_the_settlement_and_is_the_last(run: Run) -> None:
    acme = books.wallet()
    request = settled(run, acme)
    second_looks.apply_record(claim(request), cost_usd=Decimal("0.8"))
    ((number, due_in_s),) = queued(request)
    assert (number, 86_000 < due_in_s <= 86_400) == (2, True)
    assert second_looks.apply_record(claim(request), cost_usd=Decimal("0.2")) == "corrected"
    assert queued(request) == []
    assert [row[1] for row in corrections(request)] == ["second_look:1", "second_look:2"]
    assert acme.state() == (10 * CREDIT - CREDIT // 2, 0)


def test_record_that_did_not_change_leaves_no_trace(run: Run) -> None:
    request = settled(run, books.wallet())
    assert second_looks.apply_record(claim(request), cost_usd=Decimal("0.40")) == "confirmed"
    assert corrections(request) == []


@pytest.mark.parametrize("source", ["estimate", "broadcast"])
def test_record_confirms_a_lesser_word_by_a_correction_of_nothing(run: Run, source: str) -> None:
    acme = books.wallet()
    request = settled(run, acme, source)
    assert second_looks.apply_record(claim(request), cost_usd=Decimal("0.4")) == "confirmed"
    assert corrections(request) == [(1, "second_look:1", Decimal("0.4"), "generation")]
    assert acme.state() == (9 * CREDIT, 0)


def test_person_or_the_answers_own_word_is_not_overruled(run: Run) -> None:
    acme = books.wallet()
    request = settled(run, acme)
    ledger.correct(
        company_id=acme.company_id,
        hold_id=request.hold_id,
        cost_usd=Decimal(0),
        source="operator",
        reference="r",
    )
    look = claim(request)
    assert not look.is_needed
    assert second_looks.apply_record(look, cost_usd=Decimal("0.8")) == "confirmed"
    assert acme.state() == (10 * CREDIT, 0)
    assert books.anomalies(acme) == []


def test_estimate_that_no_record_ever_confirmed_stands_and_is_put_before_a_person(run: Run) -> None:
    acme = books.wallet()
    request = settled(run, acme, "estimate")
    assert second_looks.not_found(claim(request))
    assert books.anomalies(acme) == []
    assert second_looks.not_found(claim(request))
    assert books.anomalies(acme) == ["never_confirmed"]
    assert (acme.state(), queued(request)) == ((9 * CREDIT, 0), [])


def test_record_that_is_gone_by_the_last_look_is_nobodys_business(run: Run) -> None:
    acme = books.wallet()
    request = settled(run, acme)
    for _ in settings.SECOND_LOOK_S:
        assert second_looks.not_found(claim(request))
    assert (queued(request), books.anomalies(acme), acme.state()) == ([], [], (9 * CREDIT, 0))


@pytest.mark.parametrize("usd", ["-1", "NaN", "1E+400", "1000.01", "9.3"])
def test_record_that_cannot_be_charged_is_an_anomaly(run: Run, usd: str) -> None:
    acme = books.wallet()
    request = settled(run, acme)
    assert second_looks.apply_record(claim(request), cost_usd=Decimal(usd)) == "quarantined"
    assert books.anomalies(acme) == ["implausible_cost"]
    assert acme.state() == (9 * CREDIT, 0)


def test_same_look_twice_counts_once(run: Run) -> None:
    acme = books.wallet()
    request = settled(run, acme)
    look = claim(request)
    answers = [second_looks.apply_record(look, cost_usd=Decimal("0.8")) for _ in "12"]
    assert answers[0] == "corrected"
    assert answers[1] == "counted"
    assert not second_looks.not_found(look)
    assert (queued(request)[0][0], len(corrections(request)), acme.state()) == (2, 1, (8 * CREDIT, 0))


def test_workers_at_once_never_claim_the_same_look_and_correct_once(run: Run) -> None:
    acme = books.wallet(100 * CREDIT)
    requests = [settled(run, acme) for _ in range(40)]
    books.rows("UPDATE billing_second_look SET next_at = clock_timestamp() + interval '1 day'")
    books.rows("UPDATE billing_second_look SET next_at = '2020-01-01' WHERE company_id = %s", acme.company_id)

    def work() -> list[SecondLook]:
        looks = second_looks.claim_due(limit=10)
        for look in looks:
            second_looks.apply_record(look, cost_usd=Decimal("0.8"))
        return looks

    claimed = [
        look.hold_id for found in races.at_once(*[work] * 6) if isinstance(found, list) for look in found
    ]
    assert sorted(claimed) == sorted({one.hold_id for one in requests})
    assert acme.state() == (20 * CREDIT, 0)
    assert books.violations(acme) == []


def test_claim_passes_over_what_another_transaction_has(run: Run) -> None:
    acme = books.wallet()
    busy, free = settled(run, acme), settled(run, acme)
    claim(free)
    books.rows("UPDATE billing_second_look SET next_at = '2020-01-01' WHERE company_id = %s", acme.company_id)
    with transaction.atomic():
        books.rows("SELECT 1 FROM billing_second_look WHERE hold_id = %s FOR UPDATE", busy.hold_id)
        (claimed,) = races.at_once(lambda: second_looks.claim_due(limit=1))
    assert isinstance(claimed, list)
    assert [found.hold_id for found in claimed] == [free.hold_id]


def test_one_look_applied_by_many_at_once_corrects_once(run: Run) -> None:
    acme = books.wallet()
    request = settled(run, acme)
    look = claim(request)
    races.at_once(*[lambda: second_looks.apply_record(look, cost_usd=Decimal("0.8"))] * 6)
    assert (len(corrections(request)), acme.state()) == (1, (8 * CREDIT, 0))


def test_look_that_upstream_did_not_answer_is_not_counted(run: Run) -> None:
    request = settled(run, books.wallet())
    assert second_looks.no_answer(claim(request), delay_s=Decimal(300))
    ((number, due_in_s),) = queued(request)
    assert (number, 290 < due_in_s <= 300) == (1, True)


def test_application_login_looks_again(run: Run) -> None:
    acme = books.wallet()
    requests = [settled(run, acme, "estimate") for _ in "123"]
    looks = [claim(request) for request in requests]
    with logins.as_application():
        assert second_looks.claim_due(limit=1) == []
        assert second_looks.apply_record(looks[0], cost_usd=Decimal("0.8")) == "corrected"
        assert second_looks.no_answer(looks[1], delay_s=Decimal(1))
        assert second_looks.mismatch(looks[2], record={"id": "gen-another"})
    assert acme.state() == (6 * CREDIT, 0)


COSTS = st.none() | st.decimals(min_value=0, max_value=2, places=12)


@hypothesis.settings(
    max_examples=25, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], deadline=None
)
@hypothesis.given(
    source=st.sampled_from(["generation", "broadcast", "estimate"]),
    first_usd=st.decimals(min_value=0, max_value=2, places=12),
    looks=st.tuples(COSTS, COSTS),
)
def test_call_costs_in_the_end_what_the_last_record_said(
    run: Run, source: str, first_usd: Decimal, looks: tuple[Decimal | None, Decimal | None]
) -> None:
    acme = books.wallet(10 * CREDIT)
    request = run(books.settled(acme, str(first_usd), source=source))
    for cost_usd in looks:
        look = claim(request)
        if cost_usd is None:
            second_looks.not_found(look)
        else:
            second_looks.apply_record(look, cost_usd=cost_usd)
    last_usd = next((cost for cost in reversed(looks) if cost is not None), first_usd)
    due = money.charge_nanocredits(
        cost_usd=last_usd, markup=books.MARKUP, credit_value_usd=books.CREDIT_VALUE_USD
    )
    assert acme.state() == (10 * CREDIT - due, 0)
    assert queued(request) == []
    assert books.violations(acme) == []
