"""The management API on a running gateway: its keys as fresh as the data plane's, its connections few."""

import functools
from typing import Any

import httpx
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts import keys, tenants
from llm.models import Generation
from naive_platform import boot
from tests import factories
from tests.e2e.conftest import NO_TLS, Platform, eventually
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


def test_kit_change_acts_on_calls_of_every_process_within_a_second(
    platform: Platform, acme: factories.Cast
) -> None:
    body = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
    estimate = functools.partial(platform.post, acme.secret, body, path="/v1/llm/estimate")
    url, headers = f"/v1/account-kits/{acme.kit.id}", {"Authorization": acme.authorization}
    assert estimate().json()["allowed"] is True

    # By this process, which is another one than the gateway's.
    closed: Any = {"primitives_config": {"llm": {"enabled": False}}}
    done = Client().patch(url, closed, content_type="application/json", headers=headers)
    assert done.status_code == 200

    eventually(lambda: estimate().json()["allowed"] is False, timeout_s=1.0, what="the kit closes llm")
    opened = {"primitives_config": {"llm": {"enabled": True}}}
    again = httpx.patch(
        platform.url + url, json=opened, headers=headers | {"If-Match": done.headers["ETag"]}, verify=NO_TLS
    )
    assert (again.status_code, again.headers["ETag"]) == (200, '"v3"')
    eventually(lambda: estimate().json()["allowed"] is True, timeout_s=1.0, what="the kit opens llm again")
    effective = platform.get(acme.secret, f"{url}/effective").json()
    assert "openai/gpt-4o-mini" in effective["models"]["names"]


def test_session_calls_for_its_user_as_its_key_until_it_is_revoked(
    platform: Platform, acme: factories.Cast
) -> None:
    alice = tenants.create(company_id=acme.company_id, external_id="alice", now=timezone.now())
    made = platform.post(acme.secret, {}, path="/v1/users/ext:alice/sessions").json()
    body = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
    call: Any = functools.partial(platform.post, made["token"], body)
    answer = call()

    assert answer.status_code == 200, answer.text
    generation = Generation.objects.get(company_id=acme.company_id)
    assert (generation.key_id, generation.tenant_user_id) == (acme.key.id, alice.id)
    elsewhere = call(headers={"X-Naive-User-Id": "default"})
    assert elsewhere.json()["error"]["details"] == {"reason": "key_subject_mismatch"}
    assert call(path="/v1/proxy/openrouter/chat/completions").status_code == 403
    headers = {"Authorization": acme.authorization}
    address = f"{platform.url}/v1/users/ext:alice/sessions/{made['id']}"
    assert httpx.delete(address, headers=headers, verify=NO_TLS).status_code == 200
    eventually(lambda: call().status_code == 401, timeout_s=1.0, what="the token is refused")


def test_suspended_users_session_is_told_so(platform: Platform, acme: factories.Cast) -> None:
    alice = tenants.create(company_id=acme.company_id, now=timezone.now())
    made = platform.post(acme.secret, {}, path=f"/v1/users/{alice.id}/sessions").json()
    tenants.suspend(company_id=acme.company_id, user_id=alice.id)
    answer = platform.get(made["token"], "/v1/llm/models")
    assert (answer.status_code, answer.json()["error"]["details"]["reason"]) == (403, "user_suspended")


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
