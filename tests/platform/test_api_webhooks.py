"""/v1/webhooks/*: what a company's developer does with them, and what strangers find."""

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import deliveries, keys, webhook_events
from accounts.models import AuditEntry
from accounts.webhook_models import WebhookEndpoint, WebhookSecret
from naive_platform.api import permissions
from tests import factories
from tests import webhooks as hooks
from tests.webhooks import URL

BODY = {"url": URL, "events": ["credits.low", "key.created"]}


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    hooks.clear()
    yield
    hooks.clear()


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


def ask(member: factories.Cast | str, method: str, path: str = "", body: Any = None, **headers: str) -> Any:
    authorization = member if isinstance(member, str) else member.authorization
    return Client().generic(
        method.upper(),
        f"/v1/webhooks{path}",
        b"" if body is None else json.dumps(body),
        content_type="application/json",
        headers={"Authorization": authorization} | headers,
    )


def made(member: factories.Cast, **changes: Any) -> dict[str, Any]:
    answer = ask(member, "post", "", BODY | changes)
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_webhook_is_made_read_changed_and_deleted(acme: factories.Cast) -> None:
    created = made(acme, description="Billing")
    path = f"/{created['id']}"
    read = ask(acme, "get", path).json()

    assert created["secret"].startswith("whsec_")
    assert read == {name: value for name, value in created.items() if name != "secret"}
    assert (read["url"], read["events"], read["enabled"]) == (URL, BODY["events"], True)
    assert ask(acme, "get").json() == {"webhooks": [read], "next_cursor": None}
    changed = ask(acme, "patch", path, {"events": ["key.revoked"], "enabled": False})
    assert changed.status_code == 200
    assert (changed.json()["events"], changed.json()["disabled_reason"]) == (["key.revoked"], "by_hand")
    assert ask(acme, "delete", path).json() == {"id": created["id"], "deleted": True}
    assert ask(acme, "get", path).status_code == 404
    actions = AuditEntry.objects.filter(target_id=created["id"]).order_by("id")
    assert [entry.action for entry in actions] == ["webhook.created", "webhook.updated", "webhook.deleted"]
    assert {entry.actor_id for entry in actions} == {acme.key.id}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"events": ["credits.low"]}, "url"),
        (BODY | {"url": "http://10.0.0.1/"}, "url"),
        (BODY | {"url": "https://169.254.169.254/latest"}, "url"),
        (BODY | {"url": "https://user:pass@hooks.example.com/"}, "url"),
        (BODY | {"url": URL + "a" * 2048}, "url"),
        (BODY | {"url": 7}, "url"),
        (BODY | {"events": []}, "events"),
        (BODY | {"events": "credits.low"}, "events"),
        (BODY | {"events": ["credits.low", "credits.hgih"]}, "events[1]"),
        (BODY | {"events": [None]}, "events[0]"),
        (BODY | {"description": "a\u0000b"}, "description"),
        (BODY | {"company_id": "0197f3a0-0000-7000-8000-000000000000"}, "company_id"),
        (BODY | {"secret": "whsec_mine"}, "secret"),
    ],
    ids=str,
)
def test_bad_input_is_refused_by_the_path_of_what_is_wrong(
    acme: factories.Cast, body: dict[str, Any], path: str
) -> None:
    answer = ask(acme, "post", "", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_input")
    assert error["message"].startswith(f"{path}: ")
    assert not WebhookEndpoint.objects.filter(company_id=acme.company_id).exists()


def test_unknown_event_is_refused_with_the_list(acme: factories.Cast) -> None:
    message = ask(acme, "post", "", BODY | {"events": ["invoice.paid"]}).json()["error"]["message"]
    for kind in webhook_events.KINDS:
        assert kind in message


def test_same_request_under_one_key_makes_one_webhook_and_shows_its_secret_again(
    acme: factories.Cast,
) -> None:
    answers = [ask(acme, "post", "", BODY, **{"Idempotency-Key": "once"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert answers[1]["Idempotency-Replayed"] == "true"
    assert ask(acme, "post", "", BODY).json()["error"]["code"] == "duplicate_record"


def test_secret_is_rotated_and_the_old_one_stays_for_a_day(acme: factories.Cast) -> None:
    created = made(acme)
    rotated = ask(acme, "post", f"/{created['id']}/rotate-secret")
    assert rotated.status_code == 200
    assert rotated.json()["secret"] not in (None, created["secret"])
    assert WebhookSecret.objects.filter(endpoint_id=created["id"]).count() == 2


def test_test_event_goes_on_its_way_and_into_the_log(acme: factories.Cast) -> None:
    created = made(acme)
    answer = ask(acme, "post", f"/{created['id']}/test")
    assert answer.status_code == 202
    delivery = answer.json()
    assert (delivery["type"], delivery["state"], delivery["attempts"]) == ("webhook.test", "pending", 0)
    assert delivery["payload"]["data"]["webhook_id"] == created["id"]
    log = ask(acme, "get", f"/{created['id']}/deliveries").json()
    assert log == {"deliveries": [delivery], "next_cursor": None}
    assert ask(acme, "post", f"/{created['id']}/test").status_code == 409


def test_log_pages_filters_and_replays(acme: factories.Cast) -> None:
    created = made(acme)
    for number in range(3):
        hooks.tell(acme, now=timezone.now() - timedelta(seconds=3 - number), amount=Decimal("0.000525"))
    path = f"/{created['id']}/deliveries"
    (claimed, *_) = deliveries.claim(now=timezone.now(), limit=1)
    outcome = deliveries.Outcome(status_code=200, answer=b"ok whsec_0123456789", duration_ms=7)
    deliveries.note(claimed, outcome, jitter=0, now=timezone.now())

    first = ask(acme, "get", f"{path}?limit=2").json()
    second = ask(acme, "get", f"{path}?limit=2&cursor={first['next_cursor']}").json()
    assert [len(page["deliveries"]) for page in (first, second)] == [2, 1]
    assert second["next_cursor"] is None
    (done,) = ask(acme, "get", f"{path}?state=delivered").json()["deliveries"]
    assert (done["status_code"], done["answer"], done["attempts"]) == (200, "ok whsec_[secret]", 1)
    assert b'"amount":0.000525' in ask(acme, "get", path).content
    again = ask(acme, "post", f"{path}/{done['id']}/replay")
    assert (again.status_code, again.json()["replay_of"]) == (202, done["id"])
    assert again.json()["message_id"] == done["message_id"]
    assert ask(acme, "post", f"{path}/{done['id']}/replay").status_code == 409
    assert ask(acme, "get", f"{path}?state=lost").status_code == 400
    assert ask(acme, "get", f"{path}?event=key.created").status_code == 400
    assert ask(acme, "get", f"{path}?cursor=nonsense").status_code == 400


def test_stranger_and_nonsense_find_nothing_and_cannot_be_told_apart(acme: factories.Cast) -> None:
    created = made(acme)
    hooks.tell(acme, now=timezone.now())
    (delivery,) = ask(acme, "get", f"/{created['id']}/deliveries").json()["deliveries"]
    globex = factories.globex()
    theirs = made(globex)["id"]
    routes = [("get", ""), ("patch", ""), ("delete", ""), ("post", "/test"), ("post", "/rotate-secret")]
    routes += [("get", "/deliveries"), ("post", f"/deliveries/{delivery['id']}/replay")]
    for method, rest in routes:
        found = []
        for webhook_id in (created["id"], str(uuid4()), "nonsense", f"{{{created['id']}}}"):
            body = {"enabled": False} if method == "patch" else None
            answer = ask(globex, method, f"/{webhook_id}{rest}", body)
            error = answer.json()["error"]
            del error["request_id"]
            found.append((answer.status_code, error["code"], error["message"].replace(webhook_id, "…")))
        assert set(found) == {(404, "not_found", "Webhook … was not found.")}
    mine = ask(globex, "post", f"/{theirs}/deliveries/{delivery['id']}/replay")
    assert (mine.status_code, mine.json()["error"]["code"]) == (404, "not_found")
    assert ask(acme, "get", f"/{created['id']}").json()["enabled"] is True


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_webhooks_are_for_admins(acme: factories.Cast, role: str) -> None:
    created = made(acme)
    key = keys.create(
        company_id=acme.company_id, name="Small", role=role, created_by_id=acme.owner.id, now=timezone.now()
    )
    for method, path in (
        ("get", ""),
        ("post", ""),
        ("get", f"/{created['id']}"),
        ("delete", f"/{created['id']}"),
    ):
        answer = ask(f"Bearer {key.secret}", method, path, BODY if method == "post" else None)
        assert (answer.status_code, answer.json()["error"]["details"]["required"]) == (403, "admin")


def test_lists_take_few_queries_however_long_they_are(acme: factories.Cast) -> None:
    created = made(acme)
    for number in range(15):
        made(acme, url=f"{URL}/{number}")
        hooks.tell(acme, now=timezone.now())
    for path, noun in (("", "webhooks"), (f"/{created['id']}/deliveries", "deliveries")):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            found = ask(acme, "get", path).json()[noun]
        assert len(found) > 10
        assert len(queries) <= 6


def test_every_webhook_route_stands_in_the_table_of_permissions() -> None:
    named = [name for name in permissions.TABLE if name.startswith("webhook")]
    assert sorted(named) == [
        *(
            "webhook",
            "webhook-deliveries",
            "webhook-replay",
            "webhook-rotate-secret",
            "webhook-test",
            "webhooks",
        )
    ]
