"""Days that are over are read from their sums, all other hours from their rows, and no number tells which."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from billing import breakdowns, spending, sums, usage
from tests.billing import books

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
MIDNIGHT = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
HOURS_TODAY = 6
# Five days and some hours of a company's calls, three an hour, by two users, two keys, two kits and three models.
WRITE = """
    INSERT INTO billing_usage (company_id, hour, tenant_user_id, key_id, kit_id, model, calls, voided_calls,
                               tokens_prompt, tokens_completion, cost_usd, charged_nanocredits, held_nanocredits,
                               overrun_nanocredits)
    SELECT %s, %s::timestamptz + make_interval(hours => (n - 1) / 3), (%s::uuid[])[1 + n %% 2],
           (%s::uuid[])[1 + n / 2 %% 2], (%s::uuid[])[1 + n / 3 %% 2], 'acme/m' || n %% 3, n, n %% 4, n * 7, n * 3,
           n * 0.00000000123456789, n * 1000 + 1, n * 2000, n %% 5
      FROM generate_series(1, 3 * %s) AS n
    RETURNING 1
"""
SPANS = {
    "whole days": (MIDNIGHT - 5 * DAY, MIDNIGHT - DAY),
    "from within a day to within another": (MIDNIGHT - 4 * DAY + 7 * HOUR, MIDNIGHT - 2 * DAY + 3 * HOUR),
    "from within an hour": (MIDNIGHT - 4 * DAY + timedelta(minutes=59), MIDNIGHT - DAY),
    "until within an hour": (MIDNIGHT - 4 * DAY, MIDNIGHT - DAY - timedelta(minutes=1)),
    "some hours of a day": (MIDNIGHT - 3 * DAY + 2 * HOUR, MIDNIGHT - 3 * DAY + 5 * HOUR),
    "until tomorrow": (MIDNIGHT - 5 * DAY, MIDNIGHT + DAY),
    "no time at all": (MIDNIGHT - 3 * DAY, MIDNIGHT - 3 * DAY),
    "backwards": (MIDNIGHT, MIDNIGHT - 3 * DAY),
}


class Lived:
    """A company whose calls of some days are in the rollups, and a stranger with as many."""

    def __init__(self) -> None:
        self.company_id, self.stranger_id = uuid4(), uuid4()
        self.users, self.keys, self.kits = ([uuid4(), uuid4()] for _ in range(3))
        for company_id in (self.company_id, self.stranger_id):
            books.rows(
                WRITE, company_id, MIDNIGHT - 5 * DAY, self.users, self.keys, self.kits, 5 * 24 + HOURS_TODAY
            )

    def take(self, *days_ago: int) -> None:
        for back in days_ago:
            sums.take_day(day=self.day(back))

    def day(self, days_ago: int) -> date:
        return (MIDNIGHT - days_ago * DAY).date()

    def everything(self, since: datetime, until: datetime) -> list[Any]:
        """All that pages read of it in this time."""
        which: dict[str, Any] = {"company_id": self.company_id, "since": since, "until": until}
        groups: tuple[Any, ...] = (None, "hour", "day", "model", "user", "key", "kit")
        named = ["acme/m1", str(self.users[0]), str(self.keys[1])]
        return [
            *(usage.summary(**which, group_by=group) for group in groups),
            *(usage.summary(**which, group_by=group, tenant_user_id=self.users[1]) for group in groups),
            *(usage.over_time(**which, group_by=group, groups=named) for group in groups),
            *(usage.over_time(**which, is_hourly=True, group_by=group, groups=named) for group in groups),
            *(breakdowns.read(**which, is_hourly=is_hourly) for is_hourly in (False, True)),
            spending.of_users(**which, user_ids=[*self.users, uuid4()]),
            spending.by_hour(**which, user_id=self.users[0]),
            spending.of_kit(**which, kit_id=self.kits[0]),
        ]


@pytest.fixture
def lived() -> Iterator[Lived]:
    with transaction.atomic():
        yield Lived()
        transaction.set_rollback(True)


def wrong(company_id: UUID) -> list[tuple[str, str]]:
    found = books.rows("SELECT rule, reference FROM billing_violations WHERE company_id = %s", company_id)
    return [(rule[:2], reference) for rule, reference in found if rule.startswith("U2")]


@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS.keys())
@pytest.mark.parametrize("taken", [(1, 2, 3, 4, 5), (2, 4)], ids=["all days", "some days"])
def test_what_is_read_is_the_same_from_sums_as_from_hours(
    lived: Lived, taken: tuple[int, ...], span: tuple[datetime, datetime]
) -> None:
    before = lived.everything(*span)
    lived.take(*taken)
    assert lived.everything(*span) == before
    assert wrong(lived.company_id) == []


def test_sums_are_those_of_the_rows(lived: Lived) -> None:
    lived.take(1, 2, 3, 4, 5)
    (found,) = usage.summary(company_id=lived.company_id, since=MIDNIGHT - 5 * DAY, until=MIDNIGHT + DAY)
    numbers = range(1, 3 * (5 * 24 + HOURS_TODAY) + 1)
    assert found.calls == sum(numbers)
    assert found.charged_nanocredits == sum(1000 * n + 1 for n in numbers)
    assert found.cost_usd == sum(numbers) * Decimal("0.00000000123456789")
    assert found.overrun_nanocredits == sum(n % 5 for n in numbers)


@pytest.mark.parametrize(
    "read",
    [
        lambda one, span: usage.summary(company_id=one.company_id, group_by="model", **span),
        lambda one, span: usage.over_time(company_id=one.company_id, group_by="model", **span),
        lambda one, span: breakdowns.read(company_id=one.company_id, is_hourly=False, **span),
    ],
    ids=["summary", "over time", "breakdown"],
)
def test_day_that_was_taken_is_read_from_its_sums_and_a_wrong_one_is_found(
    lived: Lived, read: Callable[[Lived, dict[str, datetime]], object]
) -> None:
    lived.take(3)
    whole, part = (
        {"since": MIDNIGHT - 3 * DAY, "until": MIDNIGHT - 2 * DAY},
        {"since": MIDNIGHT - 3 * DAY + HOUR, "until": MIDNIGHT - 2 * DAY},
    )
    before, of_part = read(lived, whole), read(lived, part)
    books.rows(
        "UPDATE billing_usage_day SET charged_nanocredits = charged_nanocredits + 1"
        " WHERE company_id = %s AND axis = 'model' AND name = 'acme/m2' RETURNING 1",
        lived.company_id,
    )
    assert read(lived, whole) != before
    assert read(lived, part) == of_part
    assert wrong(lived.company_id) == [("U2", f"day {lived.day(3)} model")]
    assert wrong(lived.stranger_id) == []


def test_day_that_something_was_written_into_is_read_from_its_hours_until_it_is_taken_again(
    lived: Lived,
) -> None:
    span = (MIDNIGHT - 5 * DAY, MIDNIGHT)
    lived.take(1, 2, 3, 4, 5)
    before = lived.everything(*span)
    books.rows(
        "UPDATE billing_usage SET charged_nanocredits = charged_nanocredits + 5 WHERE company_id = %s AND hour = %s"
        " RETURNING 1",
        lived.company_id, MIDNIGHT - 3 * DAY,
    )  # fmt: skip
    corrected = lived.everything(*span)
    assert corrected != before
    assert wrong(lived.company_id) == []
    lived.take(3)
    assert lived.everything(*span) == corrected
    assert wrong(lived.company_id) == []


def test_sums_that_are_missing_are_found(lived: Lived) -> None:
    lived.take(2)
    books.rows("DELETE FROM billing_usage_day WHERE company_id = %s RETURNING 1", lived.company_id)
    assert sorted(wrong(lived.company_id)) == [
        ("U2", f"day {lived.day(2)} {axis}") for axis in ("key", "kit", "model", "user")
    ]
