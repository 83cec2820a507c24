"""Settlement debt: past a limit nothing new is sold, what runs goes on, and everybody is told why."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from django.db import connection

from billing import batches
from billing.holds import HoldRequest
from llm import debt
from naive_platform import gateway
from naive_platform.asgi import application
from tests import factories
from tests.billing import books
from tests.conftest import Run
from tests.llm.test_api import ask, code, held, nowhere, post, shelf

__all__ = ["nowhere", "shelf"]

PAST_DUE = "SELECT count(*) FROM billing_open_hold WHERE next_at < clock_timestamp() - interval '10 min'"


def past_due() -> int:
    with connection.cursor() as cursor:
        cursor.execute(PAST_DUE)
        return int(cursor.fetchone()[0])


def after_a_look(talk: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]) -> Any:
    """The same request, after this gateway has looked at its debt."""

    async def with_look(client: httpx.AsyncClient) -> httpx.Response:
        await debt.look()
        return await talk(client)

    return with_look


async def readyz() -> tuple[int, str]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application), base_url="http://naive"
    ) as client:
        answer = await client.get("/readyz")
        return answer.status_code, answer.json()["reason"]


@pytest.fixture(autouse=True)
def _no_debt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(debt, "_watch", debt._Watch())
    monkeypatch.setattr("django.conf.settings.SPOOL_DIR", tmp_path)


def owe(
    run: Run, minutes: int, *, member: factories.Cast | None = None, count: int = 1, wanted: int = 1000
) -> None:
    """Leave holds open that were due so long ago; of a new company unless one is named."""

    wallet = books.Wallet(company_id=member.company_id) if member else books.wallet()

    async def place() -> list[HoldRequest]:
        await batches.start()
        try:
            return [await books.held(wallet, wanted) for _ in range(count)]
        finally:
            await batches.stop()

    requests = run(place())
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE billing_open_hold SET next_at = clock_timestamp() - make_interval(mins => %s) "
            "WHERE hold_id = ANY (%s)",
            [minutes, [request.hold_id for request in requests]],
        )


@pytest.mark.usefixtures("shelf", "nowhere")
def test_too_many_calls_past_due_stop_new_ones(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.MAX_SETTLEMENT_DEBT", max(past_due(), 1))
    if past_due() == 0:
        owe(run, minutes=11)
    owe(run, minutes=11)
    acme = factories.acme()
    answer = ask(run, after_a_look(post(acme)))
    assert code(answer) == (503, "unavailable")
    assert answer.json()["error"]["details"]["reason"] == "settlement_debt"
    assert int(answer.headers["retry-after"]) == debt.RETRY_AFTER_S
    assert held(acme) == 0
    assert run(readyz()) == (503, "settlement_debt")


def test_debt_that_is_paid_is_forgotten(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.MAX_SETTLEMENT_DEBT", past_due() + 1)
    owe(run, minutes=11)
    owe(run, minutes=11)
    run(debt.look())
    assert debt.reason() == "settlement_debt"
    monkeypatch.setattr("django.conf.settings.MAX_SETTLEMENT_DEBT", past_due())
    run(debt.look())
    assert debt.reason() is None
    debt.require_none(uuid4())


def test_what_is_only_late_is_no_debt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.MAX_SETTLEMENT_DEBT", past_due() or 1)
    owe(run, minutes=9)
    run(debt.look())
    assert debt.reason() is None


@pytest.mark.usefixtures("shelf", "nowhere")
def test_company_beyond_its_share_stops_itself_and_nobody_else(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever leaves calls open faster than upstream may be asked for them must not close the platform."""
    most = max(past_due(), 5)
    monkeypatch.setattr("django.conf.settings.MAX_SETTLEMENT_DEBT", most)
    acme = factories.acme()
    owe(run, minutes=11, member=acme, count=most + 2)
    refused = ask(run, after_a_look(post(acme)))
    assert code(refused) == (429, "rate_limited")
    assert refused.json()["error"]["details"] == {"limit": "unsettled_calls", "max": 1}
    assert int(refused.headers["retry-after"]) == debt.RETRY_AFTER_S
    assert held(acme) == 1000 * (most + 2)
    assert debt.reason() is None
    debt.require_none(factories.globex().company_id)


def test_what_was_held_for_nothing_is_no_debt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.MAX_SETTLEMENT_DEBT", past_due() + 1)
    free = factories.globex()
    owe(run, minutes=11, member=free, count=3, wanted=0)
    run(debt.look())
    assert debt.reason() is None
    debt.require_none(free.company_id)


@pytest.mark.usefixtures("shelf", "nowhere")
def test_full_spool_stops_new_calls(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("django.conf.settings.SPOOL_LIMIT_MB", 1)
    (tmp_path / "1-a.damaged").write_bytes(b"x" * 1_000_001)  # Waits for a person, not for the database.
    run(debt.look())
    assert debt.reason() is None
    (tmp_path / "1-a.jsonl").write_bytes(b"x" * 1_000_001)
    answer = ask(run, after_a_look(post(factories.acme())))
    assert code(answer) == (503, "unavailable")
    assert answer.json()["error"]["details"]["reason"] == "spool"
    assert gateway.gateway.is_draining is False
    assert run(readyz()) == (503, "spool")


def test_database_that_is_away_changes_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It refuses holds by itself; when it is back nobody is turned away for what was not counted."""
    (tmp_path / "1-a.jsonl").write_bytes(b"x" * 1_000_001)
    monkeypatch.setattr("django.conf.settings.SPOOL_LIMIT_MB", 1)
    run(debt.look())
    (tmp_path / "1-a.jsonl").unlink()
    monkeypatch.setattr("accounts.database.conninfo", lambda: "host=127.0.0.1 port=1 dbname=none")
    run(debt.look())
    assert debt.reason() == "spool"
