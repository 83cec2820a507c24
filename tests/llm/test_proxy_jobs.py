"""Asking for a job's status takes a place among a company's calls, and gives it back however that ends."""

from collections.abc import Iterator
from unittest.mock import AsyncMock, Mock
from uuid import uuid4

import pytest
from django.test import override_settings

from accounts.errors import NotFound
from billing import batches, holds, settlement
from billing.holds import HoldRequest
from llm import upstream
from llm.errors import RateLimited, UpstreamLost
from llm.permits import permits
from llm.proxy import jobs
from llm.shapes import reports
from tests.billing import books
from tests.billing.books import CREDIT
from tests.conftest import Run

COMPANY = uuid4()


@override_settings(MAX_CALLS_PER_COMPANY=1)
def test_status_takes_a_place_and_gives_it_back(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_own", AsyncMock(return_value=None))
    asked = AsyncMock(side_effect=UpstreamLost("It broke.", maybe_charged=True))
    monkeypatch.setattr(upstream, "client", lambda: Mock(open=asked))

    async def ask() -> None:
        running = permits.running
        with pytest.raises(UpstreamLost):
            await jobs.status("vid-1", company_id=COMPANY)
        assert permits.running == running
        place = await permits.acquire(COMPANY)
        try:
            with pytest.raises(RateLimited):
                await jobs.status("vid-1", company_id=COMPANY)
        finally:
            permits.release(place)
        assert permits.running == running

    run(ask())
    assert asked.await_count == 1


@pytest.fixture
def film(run: Run) -> Iterator[tuple[books.Wallet, HoldRequest, str]]:
    """A company's film that upstream has taken on."""
    acme, job = books.wallet(), f"vid-{uuid4().hex}"
    request = run(books.held(acme))

    async def name() -> None:
        holds.dispatched(hold_id=request.hold_id, company_id=acme.company_id, generation_id=f"job:{job}")
        await batches.stop()

    run(name())
    yield acme, request, job
    run(batches.stop())


def told(run: Run, company: books.Wallet, job: str, status: str, more: str = "") -> None:
    """Have a company hear of its job."""
    report = reports.read_job(b'{"id":"%s","status":"%s"%s}' % (job.encode(), status.encode(), more.encode()))
    assert report

    async def tell() -> None:
        hold = await jobs._own(job, company.company_id)
        if hold is not None:
            await jobs._settle(hold, job, report)

    run(tell())


type Film = tuple[books.Wallet, HoldRequest, str]


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_cost_that_a_job_names_is_charged_however_it_ended(status: str, film: Film, run: Run) -> None:
    acme, _, job = film
    for _ in range(2):
        told(run, acme, job, status, ',"usage":{"cost":0.4}')
    assert acme.state() == (9 * CREDIT, 0)
    assert books.anomalies(acme) == []


@pytest.mark.parametrize("status", ["failed", "cancelled", "expired"])
def test_job_without_a_film_or_a_cost_gives_its_hold_back_at_once(status: str, film: Film, run: Run) -> None:
    acme, request, job = film
    told(run, acme, job, status, ',"error":"moderation"')
    assert acme.state() == (10 * CREDIT, 0)
    # A cost that shows up after all is found.
    assert books.rows("SELECT number FROM billing_second_look WHERE hold_id = %s", request.hold_id) == [(1,)]


@pytest.mark.parametrize(
    ("status", "more"),
    [
        ("pending", ""),
        ("in_progress", ""),
        ("completed", ""),
        ("failed", ',"generation_id":"gen-1"'),
        ("new", ""),
    ],
)
def test_job_that_does_not_say_is_the_sweeps_to_ask_for(status: str, more: str, film: Film, run: Run) -> None:
    acme, _, job = film
    told(run, acme, job, status, more)
    assert acme.state() == (10 * CREDIT, CREDIT)


def test_estimate_gives_way_to_what_the_job_says(film: Film, run: Run) -> None:
    acme, request, job = film
    guess = books.cost("0.2", source="estimate", generation_id=f"job:{job}")
    run(settlement.settle(hold=books.key(request), evidence=guess))
    assert acme.state() == (10 * CREDIT - CREDIT // 2, 0)
    told(run, acme, job, "completed", ',"usage":{"cost":0.4}')
    assert acme.state() == (9 * CREDIT, 0)
    assert books.violations(acme) == []


def test_anothers_job_is_as_if_there_were_none(film: Film, run: Run) -> None:
    with pytest.raises(NotFound):
        told(run, books.wallet(), film[2], "completed", ',"usage":{"cost":0.4}')
