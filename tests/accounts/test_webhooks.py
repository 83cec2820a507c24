"""Webhook endpoints: made, changed, rotated, deleted; apart from other companies', and never without an audit entry."""

import functools
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from accounts import webhook_events, webhook_secrets, webhooks
from accounts.errors import Conflict, DuplicateRecord, InvalidInput, NotFound
from accounts.models import AuditEntry
from accounts.webhook_models import WebhookDelivery, WebhookEndpoint, WebhookSecret
from tests import factories
from tests import webhooks as hooks
from tests.races import at_once
from tests.webhooks import NOW, URL


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


def update(endpoint: WebhookEndpoint, **changes: Any) -> WebhookEndpoint:
    return webhooks.update(company_id=endpoint.company_id, webhook_id=endpoint.id, changes=changes, now=NOW)


def audited(endpoint: WebhookEndpoint) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(target_id=str(endpoint.id)).order_by("id"))


def test_endpoint_is_made_with_a_secret_that_is_kept_encrypted(acme: factories.Cast) -> None:
    made = hooks.issued(acme, "key.revoked", "credits.low", "key.revoked")

    assert made.endpoint.events == ["credits.low", "key.revoked"]
    assert made.secret.startswith("whsec_")
    (kept,) = WebhookSecret.objects.filter(endpoint=made.endpoint)
    assert made.secret.encode() not in bytes(kept.sealed)
    assert webhook_secrets.unseal(bytes(kept.sealed), endpoint_id=made.endpoint.id) == made.secret
    assert webhook_secrets.unseal(bytes(kept.sealed), endpoint_id=uuid4()) is None
    assert made.secret not in repr(made)


def test_every_change_leaves_one_entry_without_a_secret(acme: factories.Cast) -> None:
    made = hooks.issued(acme, url=f"{URL}?token=hunter2")
    endpoint = made.endpoint
    update(endpoint, events=["credits.low"], description="ours")
    update(endpoint, events=["credits.low"])
    update(endpoint, url=f"{URL}?token=hunter3")
    rotated = webhooks.rotate_secret(company_id=acme.company_id, webhook_id=endpoint.id, now=NOW)
    webhooks.test(company_id=acme.company_id, webhook_id=endpoint.id, now=NOW)
    webhooks.delete(company_id=acme.company_id, webhook_id=endpoint.id, now=NOW)

    entries = audited(endpoint)
    assert [entry.action.removeprefix("webhook.") for entry in entries] == [
        *("created", "updated", "updated", "secret_rotated", "tested", "deleted")
    ]
    assert entries[1].after == {"description": "ours", "events": ["credits.low"]}
    told = "".join(f"{entry.before}{entry.after}{entry.target_label}" for entry in entries)
    for secret in (made.secret, rotated.secret, "hunter2", "hunter3"):
        assert secret not in told


@pytest.mark.parametrize(
    "events",
    [[], None, "credits.low", ["credits.high"], ["*"], ["webhook.test"], [7], [["credits.low"]]],
    ids=str,
)
def test_unknown_events_are_refused_with_the_list(acme: factories.Cast, events: object) -> None:
    with pytest.raises(
        InvalidInput, match=r"^events.*credits\.low, credits\.exhausted.*generation\.corrected"
    ):
        webhooks.create(company_id=acme.company_id, url=URL, events=events, now=NOW)
    assert not WebhookEndpoint.objects.filter(company_id=acme.company_id).exists()


@pytest.mark.parametrize("url", ["https://10.0.0.1/", "https://[::1]/", "https://127.1/", "http:/x"])
def test_private_address_is_refused_when_it_is_made_and_when_it_is_changed(
    acme: factories.Cast, url: str
) -> None:
    endpoint = hooks.issued(acme).endpoint
    with pytest.raises(InvalidInput, match=r"^url: "):
        hooks.issued(acme, url=url)
    with pytest.raises(InvalidInput, match=r"^url: "):
        update(endpoint, url=url)
    assert WebhookEndpoint.objects.get(company_id=acme.company_id).url == URL


def test_one_url_has_one_endpoint_in_a_company(acme: factories.Cast) -> None:
    hooks.issued(acme)
    other = hooks.issued(acme, url=f"{URL}/2").endpoint
    with pytest.raises(DuplicateRecord):
        hooks.issued(acme, "credits.low")
    with pytest.raises(DuplicateRecord):
        update(other, url=URL)
    hooks.issued(factories.globex())


def test_company_has_twenty_endpoints_at_most_however_they_come(acme: factories.Cast) -> None:
    for number in range(webhooks.ENDPOINTS_MAX - 2):
        hooks.issued(acme, url=f"{URL}/{number}")

    found = at_once(*[functools.partial(hooks.issued, acme, url=f"{URL}/race/{n}") for n in range(5)])

    assert sum(isinstance(one, Conflict) for one in found) == 3
    assert WebhookEndpoint.objects.filter(company_id=acme.company_id).count() == webhooks.ENDPOINTS_MAX


def test_endpoints_come_in_pages_the_latest_first(acme: factories.Cast) -> None:
    made = [hooks.issued(acme, url=f"{URL}/{number}").endpoint.id for number in range(5)]
    hooks.issued(factories.globex())

    first = webhooks.page(company_id=acme.company_id, limit=3)
    second = webhooks.page(company_id=acme.company_id, limit=3, before_id=first.before_id)

    assert [one.id for one in (*first.endpoints, *second.endpoints)] == sorted(made, reverse=True)
    assert second.before_id is None


def test_stranger_finds_nothing(acme: factories.Cast) -> None:
    endpoint = hooks.issued(acme).endpoint
    named: dict[str, Any] = {"company_id": factories.globex().company_id, "webhook_id": endpoint.id}
    for call in (
        functools.partial(webhooks.get, **named),
        functools.partial(webhooks.update, **named, changes={"enabled": False}, now=NOW),
        functools.partial(webhooks.update, **named, changes={"url": URL}, now=NOW),
        functools.partial(webhooks.delete, **named, now=NOW),
        functools.partial(webhooks.rotate_secret, **named, now=NOW),
        functools.partial(webhooks.test, **named, now=NOW),
    ):
        with pytest.raises(NotFound):
            call()
    assert webhooks.get(company_id=acme.company_id, webhook_id=endpoint.id).disabled_at is None


def test_rotated_secret_signs_beside_the_new_one_for_a_day(acme: factories.Cast) -> None:
    first = hooks.issued(acme)
    second = webhooks.rotate_secret(company_id=acme.company_id, webhook_id=first.endpoint.id, now=NOW)

    assert second.secret != first.secret
    ends = WebhookSecret.objects.filter(endpoint=first.endpoint).order_by("id").values_list("expires_at")
    assert list(ends) == [(NOW + timedelta(hours=24),), (None,)]


def test_second_rotation_keeps_the_secret_that_is_still_in_use(acme: factories.Cast) -> None:
    """Whoever loses the new secret rotates again, while the old one is what their server has."""
    endpoint = hooks.issued(acme).endpoint
    rotate = functools.partial(webhooks.rotate_secret, company_id=acme.company_id, webhook_id=endpoint.id)
    for number in range(1, webhooks.SECRETS_MAX):
        rotate(now=NOW + timedelta(hours=number))
    assert WebhookSecret.objects.filter(endpoint=endpoint).count() == webhooks.SECRETS_MAX
    with pytest.raises(Conflict, match="within a day"):
        rotate(now=NOW + timedelta(hours=5))
    rotate(now=NOW + timedelta(hours=25))
    assert WebhookSecret.objects.filter(endpoint=endpoint, expires_at=None).count() == 1


def test_disabled_endpoint_hears_of_nothing_and_what_was_on_its_way_has_failed(acme: factories.Cast) -> None:
    endpoint = hooks.issued(acme).endpoint
    hooks.tell(acme)
    update(endpoint, enabled=False)
    hooks.tell(acme)

    (delivery,) = hooks.of(endpoint)
    assert (delivery.state, delivery.error) == ("failed", webhooks.DISABLED)
    with pytest.raises(Conflict, match="is disabled"):
        webhooks.test(company_id=acme.company_id, webhook_id=endpoint.id, now=NOW)
    update(endpoint, enabled=True)
    assert hooks.tell(acme) == 1


def test_deleted_endpoint_takes_its_secrets_and_its_log_along(acme: factories.Cast) -> None:
    endpoint = hooks.issued(acme).endpoint
    hooks.tell(acme)
    webhooks.delete(company_id=acme.company_id, webhook_id=endpoint.id, now=NOW)

    assert not WebhookSecret.objects.filter(endpoint_id=endpoint.id).exists()
    assert not WebhookDelivery.objects.filter(endpoint_id=endpoint.id).exists()
    assert hooks.tell(acme) == 0


def test_test_event_goes_to_one_endpoint_whatever_it_listens_to_and_one_at_a_time(
    acme: factories.Cast,
) -> None:
    endpoint = hooks.issued(acme, "credits.low").endpoint
    other = hooks.issued(acme, url=f"{URL}/other").endpoint

    delivery = webhooks.test(company_id=acme.company_id, webhook_id=endpoint.id, now=NOW)

    assert delivery.event.kind == webhook_events.Kind.TEST.value
    assert [one.id for one in hooks.of(endpoint)] == [delivery.id]
    assert hooks.of(other) == []
    with pytest.raises(Conflict, match="still on its way"):
        webhooks.test(company_id=acme.company_id, webhook_id=endpoint.id, now=NOW)
