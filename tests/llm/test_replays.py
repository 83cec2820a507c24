"""Kept answers: to the byte, for one company and call, unreadable in Valkey, and never in a call's way."""

import socket
from uuid import UUID, uuid4

import pytest
import redis
from django.conf import settings

from llm import replays
from llm.replays import Kept
from tests.conftest import Run

ANSWER = Kept(
    body='{"content":"Grüße","credits_used":0.000000525}'.encode(), headers={"X-Naive-Max-Tokens": "7"}
)


def keep_and_find(run: Run, answer: Kept, *, kept_for: UUID, found_by: UUID, hold_id: UUID) -> Kept | None:
    async def work() -> Kept | None:
        try:
            await replays.keep(answer, company_id=kept_for, hold_id=hold_id)
            return await replays.find(company_id=found_by, hold_id=hold_id)
        finally:
            await replays.close()

    return run(work())


def raw(hold_id: UUID) -> tuple[bytes | None, int]:
    """What Valkey itself has of it, and for how many seconds more."""
    with redis.from_url(settings.REDIS_URL) as valkey:
        return valkey.get(f"replay:{hold_id}"), valkey.ttl(f"replay:{hold_id}")


def test_answer_is_found_as_it_was_kept(run: Run) -> None:
    acme = uuid4()
    assert keep_and_find(run, ANSWER, kept_for=acme, found_by=acme, hold_id=uuid4()) == ANSWER


def test_nothing_of_it_can_be_read_in_valkey_and_it_ends_by_itself(run: Run) -> None:
    acme, hold_id = uuid4(), uuid4()
    keep_and_find(run, ANSWER, kept_for=acme, found_by=acme, hold_id=hold_id)
    sealed, seconds = raw(hold_id)
    assert sealed is not None
    assert b"credits" not in sealed
    assert "Grüße".encode() not in sealed
    assert 0 < seconds <= replays.KEPT_S == 600


def test_another_company_finds_nothing(run: Run) -> None:
    assert keep_and_find(run, ANSWER, kept_for=uuid4(), found_by=uuid4(), hold_id=uuid4()) is None


def test_another_secret_opens_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    acme, hold_id = uuid4(), uuid4()
    keep_and_find(run, ANSWER, kept_for=acme, found_by=acme, hold_id=hold_id)
    monkeypatch.setattr("django.conf.settings.SECRET_KEY", "another")

    async def find() -> Kept | None:
        try:
            return await replays.find(company_id=acme, hold_id=hold_id)
        finally:
            await replays.close()

    assert run(find()) is None


@pytest.mark.parametrize(
    ("size", "is_kept"), [(replays.ANSWER_BYTES_MAX, True), (replays.ANSWER_BYTES_MAX + 1, False)]
)
def test_long_answer_is_not_kept(run: Run, size: int, is_kept: bool) -> None:
    acme, hold_id = uuid4(), uuid4()
    found = keep_and_find(
        run, Kept(body=b"x" * size, headers={}), kept_for=acme, found_by=acme, hold_id=hold_id
    )
    assert (found is not None) == is_kept
    with redis.from_url(settings.REDIS_URL) as valkey:
        valkey.delete(f"replay:{hold_id}")


def test_valkey_that_is_away_keeps_nothing_and_stops_nobody(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(
            "django.conf.settings.REDIS_URL", f"redis://127.0.0.1:{closed.getsockname()[1]}/0"
        )
    acme = uuid4()
    assert keep_and_find(run, ANSWER, kept_for=acme, found_by=acme, hold_id=uuid4()) is None
