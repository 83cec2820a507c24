"""A day's books against upstream's: what closes it, what is asked about, and that a rewritten ledger shows."""

import dataclasses
import itertools
import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing import alerts, anomalies, days, settlement
from billing.days import ModelUsage, Reading
from billing.models import Day
from tests import logins, races
from tests.billing import books
from tests.billing.books import CREDIT
from tests.billing.tampering import tampered
from tests.conftest import Run

# Anomalies and anchors of a day stay for ever, so no two tests share one.
_months = itertools.count()
PENNY = Decimal("0.01")
ZERO = Decimal(0)


@pytest.fixture
def first() -> Iterator[date]:
    """The first of forty days that are this test's own, with no other day in the books."""
    Day.objects.all().delete()
    yield date(2001, 1, 1) + timedelta(days=40 * next(_months))
    Day.objects.all().delete()


class Upstream:
    """What upstream's key says: what our books say, and what they do not know of."""

    def __init__(self) -> None:
        self.more_usd = Decimal(0)
        self.key = "one"

    def read(self) -> Reading:
        ((ours,),) = books.rows("SELECT coalesce(sum(cost_usd), 0) FROM billing_usage")
        return Reading(usage_usd=ours + 1000 + self.more_usd, key=self.key)

    def close(self, day: date) -> Day:
        return days.close(day=day, reading=self.read(), activity=None)


@pytest.fixture
def theirs(first: date) -> Upstream:
    """An upstream that was read on the eve of the first day."""
    made = Upstream()
    made.close(first - timedelta(days=1))
    return made


def room(found: Day) -> Decimal:
    """What the calls of all tests that are still open, or were lost, may have cost."""
    return found.open_usd + found.estimated_usd + found.unattributed_usd


def alerted(day: date) -> bool:
    return str(day) in {one.reference for one in alerts.list_open(limit=200) if one.kind == "day_mismatch"}


def test_first_reading_is_where_totals_begin(first: date) -> None:
    found = Upstream().close(first)
    assert found.closed_at
    assert (found.basis, found.difference_usd) == ("", None)
    assert "first reading" in found.note


def test_day_that_has_just_ended_tells_what_was_unspent_and_others_do_not() -> None:
    books.wallet()
    figures = days._figures(since=datetime(2001, 1, 1, tzinfo=UTC))
    yesterday, before = (figures.read_at.astimezone(UTC).date() - timedelta(days=ago) for ago in (1, 2))
    ended, caught_up_with = Day(day=yesterday), Day(day=before)
    for one in (ended, caught_up_with):
        days._note(one, figures)

    ((unspent,),) = books.rows(
        "SELECT sum(posted_nanocredits) FROM billing_wallet WHERE posted_nanocredits > 0"
    )
    assert (ended.unspent_nanocredits, caught_up_with.unspent_nanocredits) == (unspent, None)
    days._note(ended, dataclasses.replace(figures, unspent_nanocredits=ZERO))
    assert ended.unspent_nanocredits == unspent


def test_day_without_a_difference_is_closed(run: Run, first: date, theirs: Upstream) -> None:
    run(books.settled(books.wallet(), "0.00012104999999999999"))
    found = theirs.close(first)
    assert found.closed_at
    assert (found.ours_usd, found.theirs_usd) == (Decimal("0.00012104999999999999"),) * 2
    assert (found.difference_usd, found.gap_usd, found.lost_usd) == (ZERO, ZERO, ZERO)
    assert [one.day for one in days.read(first=first, last=first)] == [first]


def test_correction_of_an_earlier_call_counts_on_the_day_it_was_made(
    run: Run, first: date, theirs: Upstream
) -> None:
    request = run(books.settled(books.wallet(), "0.4", source="estimate"))
    theirs.close(first)
    better = books.cost("0.3", source="stream", generation_id=None)
    settlement.settle_now(hold=books.key(request), evidence=better)
    found = theirs.close(first + timedelta(days=1))
    assert (found.ours_usd, found.difference_usd) == (Decimal("-0.1"), ZERO)


def test_difference_that_calls_in_flight_explain_closes_the_day_and_is_kept_in_mind(
    run: Run, first: date, theirs: Upstream
) -> None:
    request = run(books.held(books.wallet()))
    theirs.more_usd = Decimal("0.4")
    found = theirs.close(first)
    assert found.closed_at
    assert (found.gap_usd, found.lost_usd) == (Decimal("0.4"), ZERO)
    # Its cost comes the day after: what was missing is there.
    settlement.settle_now(hold=books.key(request), evidence=books.cost("0.4"))
    theirs.more_usd = Decimal(0)
    found = theirs.close(first + timedelta(days=1))
    assert (found.difference_usd, found.gap_usd) == (Decimal("-0.4"), ZERO)
    assert found.closed_at


def test_difference_that_nothing_explains_keeps_the_day_open_and_wakes_the_operator(
    first: date, theirs: Upstream
) -> None:
    theirs.more_usd = room(theirs.close(first)) + PENNY
    day = first + timedelta(days=1)
    found = theirs.close(day)
    assert found.closed_at is None
    assert alerted(day)
    anomaly = anomalies.get(kind="day_mismatch", reference=str(day))
    assert anomaly.details["difference_usd"] == f"{theirs.more_usd.normalize():f}"
    assert (anomaly.company_id, anomaly.state) == (None, "")


def test_charge_that_upstream_does_not_know_of_is_a_mismatch_too(
    run: Run, first: date, theirs: Upstream
) -> None:
    found = theirs.close(first)
    theirs.more_usd = -found.estimated_usd - fresh_usd() - PENNY
    found = theirs.close(first + timedelta(days=1))
    assert found.closed_at is None
    assert found.gap_usd < 0


def fresh_usd() -> Decimal:
    """What was settled so lately that upstream's total may lack it."""
    ((found,),) = books.rows("SELECT coalesce(sum(cost_usd), 0) FROM billing_usage")
    return Decimal(found)


def test_open_day_is_compared_again_and_closed_once_the_difference_is_gone(
    first: date, theirs: Upstream
) -> None:
    theirs.more_usd = room(theirs.close(first)) + PENNY
    day = first + timedelta(days=1)
    assert theirs.close(day).closed_at is None
    theirs.more_usd = Decimal(0)
    found = theirs.close(day)
    assert found.closed_at
    assert not alerted(day)
    assert str(day) not in {one.reference for one in anomalies.list_open(limit=200).anomalies}


def test_mismatch_is_carried_on_and_closes_when_a_later_day_makes_it_good(
    first: date, theirs: Upstream
) -> None:
    theirs.more_usd = room(theirs.close(first)) + PENNY
    second, third = first + timedelta(days=1), first + timedelta(days=2)
    theirs.close(second)
    theirs.more_usd = Decimal(0)
    assert theirs.close(third).closed_at
    assert Day.objects.get(day=second).closed_at


def test_persons_word_takes_the_difference_as_lost_once(first: date, theirs: Upstream) -> None:
    theirs.more_usd = room(theirs.close(first)) + PENNY
    second, third, fourth = (first + timedelta(days=n) for n in (1, 2, 3))
    theirs.close(second)
    theirs.close(third)
    for day in (second, third):
        said = anomalies.decide(
            kind="day_mismatch", reference=str(day), decision="void", actor="user:ada", reason="Known."
        )
        assert said.is_new
    assert [Day.objects.get(day=day).lost_usd for day in (second, third)] == [theirs.more_usd, 0]
    assert Day.objects.get(day=second).closed_by == "user:ada"
    found = theirs.close(fourth)
    assert (found.gap_usd, bool(found.closed_at)) == (ZERO, True)
    assert not alerted(second)


def test_persons_word_takes_no_difference_that_came_later(first: date, theirs: Upstream) -> None:
    theirs.more_usd = known = room(theirs.close(first)) + PENNY
    second, third = first + timedelta(days=1), first + timedelta(days=2)
    theirs.close(second)
    theirs.more_usd += 100
    theirs.close(third)
    assert days.accept(day=second, actor="user:ada").lost_usd == known
    found = Day.objects.get(day=third)
    assert (found.gap_usd, found.closed_at, alerted(third)) == (Decimal(100), None, True)
    assert theirs.close(third).gap_usd == 100


def test_another_key_does_not_make_good_what_was_missing(first: date, theirs: Upstream) -> None:
    theirs.more_usd = room(theirs.close(first)) + PENNY
    second, third = first + timedelta(days=1), first + timedelta(days=2)
    assert theirs.close(second).closed_at is None
    theirs.key, theirs.more_usd = "two", Decimal(-900)
    found = theirs.close(third)
    assert (found.closed_at, found.gap_usd) == (None, Day.objects.get(day=second).gap_usd)
    assert Day.objects.get(day=second).closed_at is None
    assert alerted(second)


@pytest.mark.parametrize("_", range(4))
def test_persons_word_and_a_comparison_at_once_do_not_undo_each_other(
    first: date, theirs: Upstream, _: int
) -> None:
    theirs.more_usd = room(theirs.close(first)) + PENNY
    day = first + timedelta(days=1)
    theirs.close(day)
    races.at_once(*[lambda: theirs.close(day)] * 3, lambda: days.accept(day=day, actor="user:ada"))
    found = Day.objects.get(day=day)
    assert (found.closed_by, found.lost_usd, found.gap_usd) == ("user:ada", theirs.more_usd, ZERO)


def test_lost_call_explains_its_cost_once_however_many_days_were_missed(
    run: Run, first: date, theirs: Upstream
) -> None:
    before = theirs.close(first)
    request = run(books.held(books.wallet()))
    settlement.void_now(hold=books.key(request), evidence=books.cost(None, source="no_evidence"))
    for missed in range(1, 5):
        days.close(day=first + timedelta(days=missed), reading=None, activity=None)
    theirs.more_usd = before.open_usd + before.estimated_usd + Decimal("0.4") + PENNY
    assert theirs.close(first + timedelta(days=5)).closed_at is None


def test_calls_that_were_lost_before_the_first_reading_explain_nothing_after_it(
    run: Run, first: date
) -> None:
    request = run(books.held(books.wallet()))
    settlement.void_now(hold=books.key(request), evidence=books.cost(None, source="no_evidence"))
    theirs = Upstream()
    begun = theirs.close(first)
    assert begun.unattributed_usd > 0
    theirs.more_usd = begun.open_usd + begun.estimated_usd + PENNY
    assert theirs.close(first + timedelta(days=1)).closed_at is None


def test_calls_nobody_heard_of_explain_what_they_can_have_cost(
    run: Run, first: date, theirs: Upstream
) -> None:
    before = theirs.close(first)
    request = run(books.held(books.wallet()))
    settlement.void_now(hold=books.key(request), evidence=books.cost(None, source="no_evidence"))
    theirs.more_usd = before.open_usd + before.estimated_usd + Decimal("0.4")
    found = theirs.close(first + timedelta(days=1))
    assert (found.unattributed_calls, found.unattributed_usd) == (1, Decimal("0.4"))
    assert found.closed_at
    assert found.lost_usd == Decimal("0.4")
    # What was lost is not missed again.
    theirs.more_usd += PENNY + found.open_usd + found.estimated_usd - found.gap_usd
    assert theirs.close(first + timedelta(days=2)).closed_at is None


def test_closed_day_is_closed_for_good(run: Run, first: date, theirs: Upstream) -> None:
    closed = theirs.close(first)
    run(books.settled(books.wallet(), "0.4"))
    assert theirs.close(first).ours_usd == closed.ours_usd


def test_another_key_starts_anew_and_blames_nobody(first: date, theirs: Upstream) -> None:
    theirs.key, theirs.more_usd = "two", Decimal(-900)
    found = theirs.close(first)
    assert found.closed_at
    assert (found.difference_usd, "Another key" in found.note) == (None, True)


def test_doubles_that_upstream_adds_up_are_no_difference(first: date, theirs: Upstream) -> None:
    theirs.close(first)
    theirs.more_usd = Decimal("1e-10")
    found = theirs.close(first + timedelta(days=1))
    assert (found.difference_usd, found.gap_usd, bool(found.closed_at)) == (Decimal("1e-10"), ZERO, True)


def test_models_are_compared_by_name_and_by_slug(run: Run, first: date) -> None:
    acme, today = books.wallet(), datetime.now(UTC).date()  # noqa: TID251 - usage is of the real day.
    for model, usd in (("days/one-2024", "0.4"), ("days/one", "0.1"), ("days/two", "0.2")):
        run(books.settled(acme, usd, details=b'{"model": "%s"}' % model.encode()))
    activity = [
        ModelUsage("days/one", "days/one-2024", Decimal("0.3")),
        ModelUsage("days/one", "days/one-2024", Decimal("0.2")),
        ModelUsage("days/three", "days/three", Decimal("0.7")),
    ]
    found = days.close(day=today, reading=None, activity=activity)
    assert [row for row in found.by_model or [] if row["model"].startswith("days/")] == [
        {"model": "days/three", "ours_usd": "0", "theirs_usd": "0.7", "difference_usd": "0.7"},
        {"model": "days/two", "ours_usd": "0.2", "theirs_usd": "0", "difference_usd": "-0.2"},
        {"model": "days/one", "ours_usd": "0.5", "theirs_usd": "0.5", "difference_usd": "0"},
    ]
    assert (found.basis, found.theirs_usd) == ("activity", Decimal("1.2"))
    assert found.difference_usd == Decimal("1.2") - (found.ours_usd or ZERO)


@pytest.mark.parametrize(
    ("known", "due"),
    [({}, [0]), ({1: True}, [0]), ({0: True}, []), ({0: False}, [0]), ({3: False, 1: False}, [0]),
     ({4: True}, [3, 2, 1, 0]), ({90: True}, list(range(29, -1, -1)))],
)  # fmt: skip
def test_due_is_what_is_over_and_not_closed(known: dict[int, bool], due: list[int]) -> None:
    now = datetime(2026, 3, 1, 0, 10, tzinfo=UTC)
    yesterday = date(2026, 2, 28)
    Day.objects.all().delete()
    for ago, is_closed in known.items():
        Day.objects.create(
            day=yesterday - timedelta(days=ago), read_at=now, closed_at=now if is_closed else None
        )
    assert days.due(now=now) == [yesterday - timedelta(days=ago) for ago in due]
    Day.objects.all().delete()


def test_missed_days_are_covered_by_the_next_reading(run: Run, first: date, theirs: Upstream) -> None:
    run(books.settled(books.wallet(), "0.4"))
    missed = days.close(day=first, reading=None, activity=None)
    assert (missed.closed_at, missed.basis) == (None, "")
    found = theirs.close(first + timedelta(days=1))
    assert (found.ours_usd, found.difference_usd) == (Decimal("0.4"), ZERO)
    assert Day.objects.get(day=first).closed_at


def test_two_workers_close_a_day_as_one(first: date, theirs: Upstream) -> None:
    found = races.at_once(*[lambda: theirs.close(first)] * 4)
    assert {one.closed_at for one in found if isinstance(one, Day)} == {Day.objects.get(day=first).closed_at}


def test_anchor_is_in_the_row_and_in_the_log(
    run: Run, first: date, theirs: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    run(books.settled(books.wallet()))
    with caplog.at_level(logging.INFO, logger="billing.days"):
        found = theirs.close(first)
    assert len(found.anchor) == 64
    assert f"anchor {found.anchor} over {found.anchor_companies} companies" in caplog.text
    assert days.anchor_digest(day=first) == found.anchor


def test_anchor_of_a_day_stands_while_the_ledger_goes_on(run: Run, first: date, theirs: Upstream) -> None:
    acme = books.wallet()
    anchor = theirs.close(first).anchor
    run(books.settled(acme))
    later = theirs.close(first + timedelta(days=1)).anchor
    assert days.anchor_digest(day=first) == anchor
    assert later != anchor


def test_ledger_that_was_written_anew_hashes_and_all_breaks_the_anchor(
    run: Run, first: date, theirs: Upstream
) -> None:
    acme = books.wallet(10 * CREDIT)
    run(books.settled(acme))
    anchor = theirs.close(first).anchor
    with tampered("entry", acme, "UPDATE {table} SET hash = sha256(hash) WHERE company_id = {company}"):
        broken = [row[2] for row in books.violations(acme) if row[0].startswith("A1")]
        assert days.anchor_digest(day=first) != anchor
    assert broken == ["entry 2"]
    assert days.anchor_digest(day=first) == anchor


def test_application_login_closes_days_and_writes_no_anchor_itself(
    run: Run, first: date, theirs: Upstream
) -> None:
    run(books.settled(books.wallet()))
    with logins.as_application():
        assert theirs.close(first).closed_at
        theirs.more_usd = Decimal(10_000)
        assert theirs.close(first + timedelta(days=1)).closed_at is None
        assert days.accept(day=first + timedelta(days=1), actor="user:ada").closed_at
        with pytest.raises(Exception, match="permission denied"):
            books.rows("DELETE FROM billing_anchor")


def test_day_nobody_compared_cannot_be_accepted(first: date) -> None:
    unknown: dict[str, Any] = {"day": first, "actor": "user:ada"}
    with pytest.raises(Exception, match="never compared"):
        days.accept(**unknown)
