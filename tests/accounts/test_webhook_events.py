"""What is told: in the transaction of what happened, to whoever listens, to the byte the same for everybody."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from accounts import companies, keys, webhook_events, webhooks
from accounts.models import APIKey
from accounts.webhook_models import WebhookEvent
from tests import factories, logins
from tests import webhooks as hooks
from tests.accounts.conftest import Own
from tests.webhooks import NOW, URL


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


def told(member: factories.Cast) -> list[tuple[str, str]]:
    """Kind and key id of what the company was told of its keys, in order."""
    found = WebhookEvent.objects.filter(company_id=member.company_id).order_by("created_at", "id")
    return [(event.kind, json.loads(event.body)["data"]["id"]) for event in found]


def test_each_endpoint_that_listens_gets_one_delivery_of_one_event(acme: factories.Cast) -> None:
    first = hooks.issued(acme).endpoint
    second = hooks.issued(acme, "key.created", url=f"{URL}/2").endpoint
    deaf = hooks.issued(acme, "key.revoked", url=f"{URL}/3").endpoint
    stranger = hooks.issued(factories.globex()).endpoint

    assert hooks.tell(acme, credits=Decimal("0.000000001"), at=NOW) == 2

    (one,), (two,) = hooks.of(first), hooks.of(second)
    assert one.event_id == two.event_id
    assert one.event.body == (
        '{"type":"key.created","timestamp":"2026-11-23T12:00:00.000000Z",'
        '"data":{"credits":0.000000001,"at":"2026-11-23T12:00:00Z"}}'
    )
    assert hooks.of(deaf) == hooks.of(stranger) == []
    assert {one.id.version, one.event_id.version} == {7}


def test_nothing_is_written_where_nobody_listens(acme: factories.Cast) -> None:
    assert hooks.tell(acme) == 0
    assert not WebhookEvent.objects.filter(company_id=acme.company_id).exists()


def test_what_is_rolled_back_was_never_told(acme: factories.Cast) -> None:
    endpoint = hooks.issued(acme).endpoint
    with transaction.atomic():
        hooks.tell(acme)
        transaction.set_rollback(True)
    assert hooks.of(endpoint) == []


def test_telling_neither_waits_for_nor_fails_with_somebody_who_deletes_an_endpoint(
    acme: factories.Cast, own: Own
) -> None:
    endpoint = hooks.issued(acme).endpoint
    with own.transaction():
        own.execute("DELETE FROM accounts_webhook_secret WHERE endpoint_id = %s", [endpoint.id])
        own.execute("DELETE FROM accounts_webhook_endpoint WHERE id = %s", [endpoint.id])
        assert hooks.tell(acme) == 1
    assert len(hooks.of(endpoint)) == 1


def test_application_login_may_tell(acme: factories.Cast) -> None:
    hooks.issued(acme)
    with logins.as_application():
        assert hooks.tell(acme) == 1


def test_keys_are_told_of_without_their_secret(acme: factories.Cast) -> None:
    endpoint = hooks.issued(acme).endpoint
    made = keys.create(
        company_id=acme.company_id, name="CI", role="viewer", created_by_id=acme.owner.id, now=NOW
    )

    (delivery,) = hooks.of(endpoint)
    assert made.secret not in delivery.event.body
    data = json.loads(delivery.event.body)["data"]
    assert data == {
        "id": str(made.key.id),
        "name": "CI",
        "last_4": made.secret[-4:],
        "role": "viewer",
        "account_kit_id": None,
        "active_tenant_user_id": None,
        "cap_credits": None,
        "cap_period": None,
        "requests_per_minute": None,
        "created_by": str(acme.owner.id),
        "rotated_from": None,
        "expires_at": None,
        "created_at": "2026-11-23T12:00:00Z",
        "revoked_at": None,
    }


def test_rotation_tells_of_the_successor_and_revocation_is_told_once(acme: factories.Cast) -> None:
    hooks.issued(acme)
    successor = keys.rotate(company_id=acme.company_id, key_id=acme.key.id, now=NOW).key
    for _ in range(2):
        keys.revoke(company_id=acme.company_id, key_id=acme.key.id, now=NOW + timedelta(seconds=1))

    assert told(acme) == [("key.created", str(successor.id)), ("key.revoked", str(acme.key.id))]


def test_keys_that_end_with_their_maker_or_their_company_are_told_of_too(acme: factories.Cast) -> None:
    hooks.issued(acme, "key.revoked")
    person = factories.globex().owner
    companies.add_member(company_id=acme.company_id, user_id=person.id, role="admin", now=NOW)
    theirs = keys.create(
        company_id=acme.company_id, name="Theirs", role="admin", created_by_id=person.id, now=NOW
    ).key
    companies.remove_member(company_id=acme.company_id, user_id=person.id, now=NOW)
    assert told(acme) == [("key.revoked", str(theirs.id))]

    companies.close(company_id=acme.company_id, now=NOW + timedelta(seconds=1))

    ours = [("key.revoked", str(acme.key.id))]
    assert told(acme) == [("key.revoked", str(theirs.id)), *ours]
    assert not APIKey.objects.filter(company_id=acme.company_id, revoked_at=None).exists()


def test_every_kind_can_be_subscribed_to_but_the_test(acme: factories.Cast) -> None:
    endpoint = hooks.issued(acme).endpoint
    assert endpoint.events == [kind.value for kind in webhook_events.Kind][:-1]
    for kind in webhook_events.Kind:
        webhook_events.tell(company_id=acme.company_id, kind=kind, payload={}, now=NOW)
    assert sorted(one.event.kind for one in hooks.of(endpoint)) == sorted(endpoint.events)
    webhooks.get(company_id=acme.company_id, webhook_id=endpoint.id)
