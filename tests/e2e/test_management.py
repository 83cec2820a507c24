"""The management API on a running gateway: its keys as fresh as the data plane's, its connections few."""

import functools
from typing import Any

from django.db import connection
from django.utils import timezone

from accounts import keys
from naive_platform import boot
from tests import factories
from tests.e2e.conftest import Platform, eventually
from tests.races import at_once


def connections() -> int:
    """How many connections this run's database has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def test_many_requests_at_once_share_a_few_connections(platform: Platform, acme: factories.Cast) -> None:
    def ask() -> list[int]:
        return [platform.get(acme.secret, "/v1/status").status_code for _ in range(4)]

    before = connections()
    answers = at_once(*[ask] * 20)

    assert answers == [[200] * 4] * 20
    # With one more for a look-up that had to wait for the event loop's own.
    assert connections() <= before + boot.SHARED_CONNECTIONS + 4


def test_revoked_key_is_refused_within_a_second(platform: Platform, acme: factories.Cast) -> None:
    ask: Any = functools.partial(platform.get, acme.secret, "/v1/status")
    assert ask().status_code == 200

    keys.revoke(company_id=acme.company_id, key_id=acme.key.id, now=timezone.now())

    eventually(lambda: ask().status_code == 401, timeout_s=1.0, what="the key is refused")


def test_request_that_runs_twice_at_once_is_done_once(platform: Platform, acme: factories.Cast) -> None:
    post = functools.partial(
        platform.post,
        acme.secret,
        {"pack_id": "xl"},
        path="/v1/billing/topup",
        headers={"Idempotency-Key": "one order"},
    )

    answers: list[Any] = at_once(*[post] * 8)

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {answer.json()["session_id"] for answer in answers if answer.status_code == 201} == {
        post().json()["session_id"]
    }
