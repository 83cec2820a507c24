"""Asking for a job's status takes a place among a company's calls, and gives it back however that ends."""

from unittest.mock import AsyncMock, Mock
from uuid import uuid4

import pytest
from django.test import override_settings

from llm import upstream
from llm.errors import RateLimited, UpstreamLost
from llm.permits import permits
from llm.proxy import jobs
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
        await permits.acquire(COMPANY)
        try:
            with pytest.raises(RateLimited):
                await jobs.status("vid-1", company_id=COMPANY)
        finally:
            permits.release(COMPANY)
        assert permits.running == running

    run(ask())
    assert asked.await_count == 1
