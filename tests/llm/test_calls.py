"""What a call holds beyond its beginning, and what it counts as where nobody says what it cost."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast
from unittest.mock import Mock

import pytest

from billing import batches
from billing.errors import InsufficientCredits
from llm import pricing
from llm.calls import Call
from llm.shapes import table
from tests.billing import books
from tests.billing.books import CREDIT, CREDIT_COST_USD
from tests.conftest import Run


@pytest.fixture
def run(run: Run) -> Iterator[Run]:
    """An event loop for one test, its batchers stopped afterwards."""
    yield run
    run(batches.stop())


def begun(run: Run, acme: books.Wallet, shape: str = "videos", *, listed_usd: str = "0") -> Call:
    request = run(books.held(acme))
    admission = Mock(
        principal=Mock(company_id=acme.company_id, markup=books.MARKUP),
        shape=table.SHAPES[shape],
        bound=replace(pricing.UNKNOWN, likely_fixed_usd=Decimal(listed_usd)),
        nanocredits_per_usd=Decimal(CREDIT) / CREDIT_COST_USD,
    )
    return Call(cast(Any, admission), request.hold_id, CREDIT)


def test_more_is_held_once_more_is_known(run: Run) -> None:
    acme = books.wallet()
    call = begun(run, acme)
    run(call.hold_at_least(3 * CREDIT_COST_USD))
    assert acme.state() == (10 * CREDIT, 3 * CREDIT)
    assert call.held_nanocredits == 3 * CREDIT


def test_nothing_is_asked_for_what_is_held_already(run: Run) -> None:
    acme = books.wallet()
    run(begun(run, acme).hold_at_least(CREDIT_COST_USD))
    assert acme.state() == (10 * CREDIT, CREDIT)


def test_what_a_wallet_cannot_hold_is_refused(run: Run) -> None:
    acme = books.wallet()
    with pytest.raises(InsufficientCredits):
        run(begun(run, acme).hold_at_least(11 * CREDIT_COST_USD))
    assert acme.state() == (10 * CREDIT, CREDIT)


@pytest.mark.parametrize(
    ("listed_usd", "seen_usd"),
    [("0.1", "0.1"), ("0", "0.4"), ("9", "0.4")],
    ids=["as listed", "as held where nothing is listed", "never more than is held"],
)
def test_job_that_says_nothing_counts_as_listed_or_as_held(listed_usd: str, seen_usd: str, run: Run) -> None:
    assert begun(run, books.wallet(), listed_usd=listed_usd).estimate_usd() == Decimal(seen_usd)


def test_other_call_without_a_price_counts_as_nothing_known(run: Run) -> None:
    assert begun(run, books.wallet(), "images", listed_usd="0.1").estimate_usd() is None
