"""Webhooks of a running platform: what happens in a gateway or a worker arrives, signed, at a server on the network."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from accounts import keys
from billing import ledger
from tests import factories
from tests import webhooks as hooks
from tests.e2e.conftest import Platform, eventually
from tests.webhooks import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with hooks.receiving() as receiver:
        yield receiver


def subscribe(platform: Platform, member: factories.Cast, url: str, *events: str) -> dict[str, Any]:
    answer = platform.post(member.secret, {"url": url, "events": list(events)}, path="/v1/webhooks")
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def arrives(receiver: Receiver, secret: str, kind: str) -> dict[str, Any]:
    """The one event of this kind, verified by the official library."""

    def found() -> list[dict[str, Any]]:
        bodies = [request.verified(secret) for request in receiver.requests]
        return [body["data"] for body in bodies if body["type"] == kind]

    eventually(lambda: bool(found()), what=f"{kind} arrives")
    (data,) = found()
    return data


def test_test_event_arrives_and_the_log_says_so(
    platform: Platform, acme: factories.Cast, receiver: Receiver
) -> None:
    receiver.answer(200, b"thanks")
    webhook = subscribe(platform, acme, receiver.url, "credits.low")
    path = f"/v1/webhooks/{webhook['id']}"

    sent = platform.post(acme.secret, {}, path=f"{path}/test")

    assert sent.status_code == 202
    assert arrives(receiver, webhook["secret"], "webhook.test")["webhook_id"] == webhook["id"]
    log = f"{path}/deliveries?state=delivered"
    eventually(lambda: bool(platform.get(acme.secret, log).json()["deliveries"]), what="it is noted")
    (delivery,) = platform.get(acme.secret, log).json()["deliveries"]
    assert (delivery["id"], delivery["answer"]) == (sent.json()["id"], "thanks")
    assert delivery["message_id"] == receiver.requests[0].message_id


def test_what_happens_to_keys_and_credits_arrives(platform: Platform, receiver: Receiver) -> None:
    member = factories.acme(credits=Decimal(6))
    webhook = subscribe(platform, member, receiver.url, "credits.low", "key.created", "key.revoked")
    made = keys.create(
        company_id=member.company_id,
        name="CI",
        role="viewer",
        created_by_id=member.owner.id,
        now=timezone.now(),
    )
    ledger.post(
        company_id=member.company_id,
        amount_nanocredits=-2 * 10**9,
        action="correction",
        reference="spent",
    )

    assert arrives(receiver, webhook["secret"], "key.created")["last_4"] == made.secret[-4:]
    low = arrives(receiver, webhook["secret"], "credits.low")
    assert (low["available"], low["threshold"]) == (4, 5)
