"""Deliveries: claimed fairly and by one worker at a time, tried again as promised, never lost, forgotten in the end."""

import functools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts import companies, deliveries, webhook_figures, webhook_secrets, webhooks
from accounts.deliveries import Claimed, Outcome
from accounts.errors import Conflict, NotFound
from accounts.models import AuditEntry
from accounts.webhook_models import WebhookDelivery, WebhookEndpoint, WebhookEvent, WebhookSecret
from tests import factories
from tests import webhooks as hooks
from tests.accounts.conftest import Own
from tests.races import at_once
from tests.webhooks import NOW, URL

BROKEN = Outcome(status_code=500, answer=b"oops", error="It answered 500, not 2xx.", duration_ms=12)
FINE = Outcome(status_code=204, duration_ms=3)


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    hooks.clear()
    yield
    hooks.clear()


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


@pytest.fixture
def endpoint(acme: factories.Cast) -> WebhookEndpoint:
    return hooks.issued(acme).endpoint


def claim(now: datetime = NOW, limit: int = 64) -> list[Claimed]:
    return deliveries.claim(now=now, limit=limit)


def note(claimed: Claimed, outcome: Outcome, now: datetime = NOW, jitter: float = 0.0) -> None:
    deliveries.note(claimed, outcome, jitter=jitter, now=now)


def only(endpoint: WebhookEndpoint) -> WebhookDelivery:
    (delivery,) = hooks.of(endpoint)
    return delivery


def fail(endpoint: WebhookEndpoint, *, since: timedelta) -> None:
    WebhookEndpoint.objects.filter(id=endpoint.id).update(failing_since=NOW - since)


def test_claim_holds_all_that_an_attempt_needs(acme: factories.Cast) -> None:
    made = hooks.issued(acme)
    second = webhooks.rotate_secret(company_id=acme.company_id, webhook_id=made.endpoint.id, now=NOW).secret
    hooks.tell(acme)

    (claimed,) = claim()

    delivery = only(made.endpoint)
    assert (claimed.delivery_id, claimed.url, claimed.attempt) == (delivery.id, URL, 1)
    assert claimed.message_id == f"evt_{delivery.event_id}"
    assert claimed.body == delivery.event.body
    assert list(claimed.secrets) == [second, made.secret]
    assert second not in repr(claimed)
    headers = webhook_secrets.headers(
        message_id=claimed.message_id, body=claimed.body, signed_with=claimed.secrets, now=NOW
    )
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert [one.split(",")[0] for one in headers["webhook-signature"].split(" ")] == ["v1", "v1"]


def test_old_secret_signs_for_a_day_and_no_longer(acme: factories.Cast) -> None:
    made = hooks.issued(acme)
    second = webhooks.rotate_secret(company_id=acme.company_id, webhook_id=made.endpoint.id, now=NOW).secret
    hooks.tell(acme)
    (claimed,) = claim(NOW + timedelta(hours=24))
    assert list(claimed.secrets) == [second]


def test_delivery_is_one_workers_at_a_time(acme: factories.Cast, endpoint: WebhookEndpoint) -> None:
    for _ in range(deliveries.COMPANY_MAX):
        hooks.tell(acme)

    found = at_once(*[claim] * 8)

    taken = [one.delivery_id for batch in found if isinstance(batch, list) for one in batch]
    assert sorted(taken) == sorted(one.id for one in hooks.of(endpoint))


def test_company_has_a_few_under_way_and_leaves_the_rest_to_others(acme: factories.Cast) -> None:
    for number in range(3):
        hooks.issued(acme, url=f"{URL}/{number}")
    for _ in range(5):
        hooks.tell(acme)
    globex = factories.globex()
    hooks.issued(globex)
    hooks.tell(globex, now=NOW + timedelta(seconds=1))

    at = NOW + timedelta(seconds=2)
    found = claim(at)
    assert [one.company_id for one in found].count(acme.company_id) == deliveries.COMPANY_MAX
    assert [one.company_id for one in found].count(globex.company_id) == 1
    assert claim(at) == []
    note(found[0], FINE, at)
    assert len(claim(at)) == 1


def test_attempts_of_an_endpoint_that_was_disabled_and_enabled_again_still_count(
    acme: factories.Cast, endpoint: WebhookEndpoint
) -> None:
    """Else one company could have every slot: what hangs goes on hanging though nobody waits for it any more."""
    change = functools.partial(webhooks.update, company_id=acme.company_id, webhook_id=endpoint.id, now=NOW)
    for _ in range(deliveries.COMPANY_MAX + 1):
        hooks.tell(acme)
    under_way = claim()
    change(changes={"enabled": False})
    change(changes={"enabled": True})
    hooks.tell(acme)
    assert claim() == []

    note(under_way[0], BROKEN)
    (latest,) = claim()
    note(latest, FINE)
    assert [one.state for one in hooks.of(endpoint)].count("failed") == deliveries.COMPANY_MAX + 1


def test_attempts_of_an_endpoint_that_was_deleted_still_count(
    acme: factories.Cast, endpoint: WebhookEndpoint
) -> None:
    for _ in range(deliveries.COMPANY_MAX + 1):
        hooks.tell(acme)
    under_way = claim()
    webhooks.delete(company_id=acme.company_id, webhook_id=endpoint.id, now=NOW)
    assert len(hooks.of(endpoint)) == deliveries.COMPANY_MAX
    hooks.issued(acme)
    hooks.tell(acme)
    assert claim() == []

    for one in under_way:
        note(one, BROKEN)
    assert hooks.of(endpoint) == []
    assert len(claim()) == 1


def test_suspended_company_is_sent_nothing_until_it_is_reactivated(
    acme: factories.Cast, endpoint: WebhookEndpoint
) -> None:
    hooks.tell(acme)
    companies.suspend(company_id=acme.company_id)
    assert claim() == []
    deliveries.forget(now=NOW)
    companies.reactivate(company_id=acme.company_id)
    assert len(claim()) == 1


def test_scarce_slots_go_round_the_companies(acme: factories.Cast) -> None:
    hooks.issued(acme)
    globex = factories.globex()
    hooks.issued(globex)
    for _ in range(3):
        hooks.tell(acme)
    hooks.tell(globex, now=NOW + timedelta(seconds=1))

    found = claim(NOW + timedelta(seconds=2), limit=2)

    assert {one.company_id for one in found} == {acme.company_id, globex.company_id}


def test_endpoints_that_fail_leave_room_for_those_that_do_not() -> None:
    failing = [factories.acme() for _ in range(deliveries.FAILING_MAX // deliveries.COMPANY_MAX + 1)]
    for member in failing:
        fail(hooks.issued(member).endpoint, since=timedelta(hours=1))
        for _ in range(deliveries.COMPANY_MAX):
            hooks.tell(member)
    healthy = factories.globex()
    hooks.issued(healthy)
    hooks.tell(healthy, now=NOW + timedelta(seconds=1))

    found = claim(NOW + timedelta(seconds=2), limit=1000)

    assert len(found) == deliveries.FAILING_MAX + 1
    assert healthy.company_id in {one.company_id for one in found}
    assert len({one.company_id for one in found}) == len(failing) + 1
    assert claim(NOW + timedelta(seconds=2), limit=1000) == []


def test_retries_follow_the_promised_waits_and_end(acme: factories.Cast, endpoint: WebhookEndpoint) -> None:
    hooks.tell(acme)
    at, waits = NOW, []
    for number in range(1, deliveries.ATTEMPTS_MAX + 1):
        (claimed,) = claim(at)
        assert claimed.attempt == number
        assert claim(at) == []
        note(claimed, BROKEN, at)
        delivery = only(endpoint)
        if delivery.next_at:
            waits.append(int((delivery.next_at - at).total_seconds()))
            assert claim(delivery.next_at - timedelta(seconds=1)) == []
            at = delivery.next_at

    hours = [2, 5, 10, 14, 20, 24]
    assert waits == [5, 300, 1800, *(hour * 3600 for hour in hours)]
    assert (delivery.state, delivery.attempts, delivery.status_code) == ("failed", 10, 500)
    assert (delivery.answer, delivery.error, delivery.duration_ms) == ("oops", BROKEN.error, 12)
    assert claim(at + timedelta(days=2)) == []


def test_waits_are_jittered_by_up_to_a_fifth(acme: factories.Cast, endpoint: WebhookEndpoint) -> None:
    hooks.tell(acme)
    (claimed,) = claim()
    note(claimed, BROKEN, jitter=1.0)
    assert only(endpoint).next_at == NOW + timedelta(seconds=6)


@pytest.mark.parametrize(
    ("asked", "wait"),
    [(0, 5), (4, 5), (120, 120), (10**6, 86_400)],
)
def test_endpoint_that_asks_for_time_is_given_it_for_a_day_at_most(
    acme: factories.Cast, endpoint: WebhookEndpoint, asked: int, wait: int
) -> None:
    hooks.tell(acme)
    (claimed,) = claim()
    note(claimed, Outcome(status_code=429, retry_after_s=asked))
    assert only(endpoint).next_at == NOW + timedelta(seconds=wait)


def test_success_ends_a_delivery_and_a_bad_spell(acme: factories.Cast, endpoint: WebhookEndpoint) -> None:
    fail(endpoint, since=timedelta(days=4))
    hooks.tell(acme)
    (claimed,) = claim()
    note(claimed, FINE)

    delivery = only(endpoint)
    assert (delivery.state, delivery.delivered_at, delivery.status_code) == ("delivered", NOW, 204)
    assert webhooks.get(company_id=acme.company_id, webhook_id=endpoint.id).failing_since is None


def test_delivery_whose_worker_died_is_sent_again_under_the_same_id(
    acme: factories.Cast, endpoint: WebhookEndpoint
) -> None:
    hooks.tell(acme)
    (lost,) = claim()
    assert claim(NOW + deliveries.CLAIM - timedelta(seconds=1)) == []
    (again,) = claim(NOW + deliveries.CLAIM)

    assert (again.message_id, again.attempt) == (lost.message_id, 2)
    # The first worker was only slow: its failure is not believed any more, its success is.
    note(lost, BROKEN, NOW + deliveries.CLAIM)
    assert only(endpoint).state == "pending"
    note(lost, FINE, NOW + deliveries.CLAIM)
    assert only(endpoint).state == "delivered"
    note(again, BROKEN, NOW + deliveries.CLAIM)
    assert (only(endpoint).state, only(endpoint).status_code) == ("delivered", 204)


def test_delivery_that_kills_every_worker_is_given_up(
    acme: factories.Cast, endpoint: WebhookEndpoint
) -> None:
    hooks.tell(acme)
    for number in range(deliveries.ATTEMPTS_MAX):
        assert len(claim(NOW + number * deliveries.CLAIM)) == 1
    assert claim(NOW + deliveries.ATTEMPTS_MAX * deliveries.CLAIM) == []
    assert (only(endpoint).state, only(endpoint).error) == ("failed", deliveries.NEVER_NOTED)


def test_endpoint_that_fails_for_five_days_is_disabled(
    acme: factories.Cast, endpoint: WebhookEndpoint
) -> None:
    hooks.tell(acme)
    hooks.tell(acme)
    first, second = claim()
    note(first, BROKEN, NOW)
    note(second, BROKEN, NOW + timedelta(days=5) - timedelta(seconds=1))
    assert webhooks.get(company_id=acme.company_id, webhook_id=endpoint.id).disabled_at is None

    (third, *_) = claim(NOW + timedelta(days=5))
    note(third, BROKEN, NOW + timedelta(days=5))

    found = webhooks.get(company_id=acme.company_id, webhook_id=endpoint.id)
    assert (found.disabled_reason, found.failing_since) == ("failing", NOW)
    assert {one.state for one in hooks.of(endpoint)} == {"failed"}
    entry = AuditEntry.objects.get(target_id=str(endpoint.id), action="webhook.disabled")
    assert (entry.actor_kind, entry.after) == ("platform", {"enabled": False, "disabled_reason": "failing"})
    assert hooks.tell(acme) == 0


def test_endpoint_that_answers_410_is_disabled_at_once(
    acme: factories.Cast, endpoint: WebhookEndpoint
) -> None:
    hooks.tell(acme)
    (claimed,) = claim()
    note(claimed, Outcome(status_code=410))
    found = webhooks.get(company_id=acme.company_id, webhook_id=endpoint.id)
    assert found.disabled_reason == "gone"


def test_what_the_address_before_answered_is_not_held_against_the_new_one(
    acme: factories.Cast, endpoint: WebhookEndpoint
) -> None:
    hooks.tell(acme)
    (claimed,) = claim()
    fail(endpoint, since=timedelta(days=6))
    found = webhooks.update(
        company_id=acme.company_id, webhook_id=endpoint.id, changes={"url": f"{URL}/moved"}, now=NOW
    )
    assert found.failing_since is None

    note(claimed, Outcome(status_code=410))

    found = webhooks.get(company_id=acme.company_id, webhook_id=endpoint.id)
    assert (found.disabled_at, found.failing_since) == (None, None)
    assert only(endpoint).state == "pending"


def test_endpoint_that_is_enabled_again_begins_anew(acme: factories.Cast, endpoint: WebhookEndpoint) -> None:
    fail(endpoint, since=timedelta(days=6))
    change = functools.partial(webhooks.update, company_id=acme.company_id, webhook_id=endpoint.id, now=NOW)
    change(changes={"enabled": False})
    assert change(changes={"enabled": True}).failing_since is None


def test_what_is_noted_of_an_endpoint_that_was_deleted_meanwhile_is_dropped(
    acme: factories.Cast, endpoint: WebhookEndpoint
) -> None:
    hooks.tell(acme)
    (claimed,) = claim()
    webhooks.delete(company_id=acme.company_id, webhook_id=endpoint.id, now=NOW)
    note(claimed, FINE)
    assert hooks.of(endpoint) == []


def test_disabling_and_noting_at_once_wait_for_each_other_no_longer_than_they_must(
    acme: factories.Cast, endpoint: WebhookEndpoint
) -> None:
    for _ in range(deliveries.COMPANY_MAX):
        hooks.tell(acme)
    disable = functools.partial(
        webhooks.update,
        company_id=acme.company_id,
        webhook_id=endpoint.id,
        changes={"enabled": False},
        now=NOW,
    )
    found = at_once(disable, *[functools.partial(note, one, BROKEN) for one in claim()])
    assert not [one for one in found if isinstance(one, Exception)]
    assert {one.state for one in hooks.of(endpoint)} == {"failed"}


def test_replay_is_a_delivery_of_its_own_of_the_same_event(
    acme: factories.Cast, endpoint: WebhookEndpoint
) -> None:
    hooks.tell(acme)
    (claimed,) = claim()
    replay = functools.partial(
        deliveries.replay, company_id=acme.company_id, webhook_id=endpoint.id, delivery_id=claimed.delivery_id
    )
    with pytest.raises(Conflict, match="still on its way"):
        replay(now=NOW)
    note(claimed, FINE)

    again = replay(now=NOW)

    assert again.replay_of == claimed.delivery_id
    (second,) = claim()
    assert (second.delivery_id, second.message_id) == (again.id, claimed.message_id)
    note(second, FINE)
    entry = AuditEntry.objects.get(target_id=str(endpoint.id), action="webhook_delivery.replayed")
    assert entry.after is not None
    assert entry.after["replay_of"] == str(claimed.delivery_id)


def test_two_replays_at_once_are_one(acme: factories.Cast, endpoint: WebhookEndpoint) -> None:
    hooks.tell(acme)
    (claimed,) = claim()
    note(claimed, FINE)
    replay = functools.partial(
        deliveries.replay,
        company_id=acme.company_id,
        webhook_id=endpoint.id,
        delivery_id=claimed.delivery_id,
        now=NOW,
    )
    found = at_once(*[replay] * 4)
    assert sum(isinstance(one, Conflict) for one in found) == 3


def test_disabled_endpoint_gets_no_replay_and_strangers_find_none(
    acme: factories.Cast, endpoint: WebhookEndpoint
) -> None:
    hooks.tell(acme)
    delivery = only(endpoint)
    other = hooks.issued(acme, url=f"{URL}/other").endpoint
    globex = factories.globex()
    theirs = hooks.issued(globex).endpoint
    for company_id, webhook_id in (
        (globex.company_id, endpoint.id),
        (globex.company_id, theirs.id),
        (acme.company_id, other.id),
    ):
        with pytest.raises(NotFound):
            deliveries.replay(company_id=company_id, webhook_id=webhook_id, delivery_id=delivery.id, now=NOW)
    with pytest.raises(NotFound):
        deliveries.page(company_id=globex.company_id, webhook_id=endpoint.id, limit=10)
    webhooks.update(company_id=acme.company_id, webhook_id=endpoint.id, changes={"enabled": False}, now=NOW)
    with pytest.raises(Conflict, match="is disabled"):
        deliveries.replay(
            company_id=acme.company_id, webhook_id=endpoint.id, delivery_id=delivery.id, now=NOW
        )


def test_log_comes_in_pages_and_by_state(acme: factories.Cast, endpoint: WebhookEndpoint) -> None:
    for number in range(5):
        hooks.tell(acme, now=NOW + timedelta(seconds=number))
    (first, *_) = claim(NOW)
    note(first, FINE)
    page: Any = functools.partial(
        deliveries.page, company_id=acme.company_id, webhook_id=endpoint.id, limit=3
    )

    one = page()
    two = page(before_id=one.before_id)

    found = [delivery.id for delivery in (*one.deliveries, *two.deliveries)]
    assert found == sorted((delivery.id for delivery in hooks.of(endpoint)), reverse=True)
    assert two.before_id is None
    assert [delivery.id for delivery in page(state="delivered").deliveries] == [first.delivery_id]


def test_what_is_older_than_thirty_days_is_forgotten(acme: factories.Cast, endpoint: WebhookEndpoint) -> None:
    now = timezone.now()
    hooks.tell(acme, now=now - deliveries.KEPT)
    hooks.tell(acme, now=now - deliveries.KEPT + timedelta(minutes=1))
    old, young = hooks.of(endpoint)
    WebhookDelivery.objects.filter(id=old.id).update(state="failed", next_at=None)
    again = deliveries.replay(company_id=acme.company_id, webhook_id=endpoint.id, delivery_id=old.id, now=now)
    secret = WebhookSecret.objects.get(endpoint=endpoint)
    WebhookSecret.objects.filter(id=secret.id).update(expires_at=now)

    deliveries.forget(now=now)

    assert [one.id for one in hooks.of(endpoint)] == [young.id, again.id]
    # The event of a replay stays as long as the replay does.
    assert WebhookEvent.objects.filter(id=old.event_id).exists()
    assert not WebhookSecret.objects.filter(id=secret.id).exists()
    deliveries.forget(now=now + deliveries.KEPT)
    assert not WebhookEvent.objects.filter(company_id=acme.company_id).exists()


def test_everything_old_is_forgotten_however_much_there_is(
    acme: factories.Cast, endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "FORGOTTEN_AT_ONCE", 2)
    for _ in range(5):
        hooks.tell(acme)
    assert deliveries.forget(now=NOW + deliveries.KEPT) == 5
    assert not WebhookEvent.objects.filter(company_id=acme.company_id).exists()


def test_forgetting_passes_over_what_somebody_holds(
    acme: factories.Cast, endpoint: WebhookEndpoint, own: Own
) -> None:
    """Else it and somebody who deletes a webhook could wait for each other."""
    hooks.tell(acme)
    hooks.tell(acme)
    held, free = hooks.of(endpoint)
    WebhookEndpoint.objects.filter(id=endpoint.id).update(disabled_at=NOW, disabled_reason="by_hand")
    with own.transaction(), transaction.atomic(), connection.cursor() as cursor:
        own.execute("SELECT FROM accounts_webhook_delivery WHERE id = %s FOR UPDATE", [held.id])
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        deliveries.forget(now=NOW)
        assert {one.id: one.state for one in hooks.of(endpoint)} == {held.id: "pending", free.id: "failed"}
        deliveries.forget(now=NOW + deliveries.KEPT)
        assert [one.id for one in hooks.of(endpoint)] == [held.id]


def test_what_was_told_while_its_endpoint_was_being_disabled_fails_in_the_end(
    acme: factories.Cast, endpoint: WebhookEndpoint
) -> None:
    hooks.tell(acme)
    WebhookEndpoint.objects.filter(id=endpoint.id).update(disabled_at=NOW, disabled_reason="by_hand")
    assert claim() == []
    deliveries.forget(now=NOW)
    assert (only(endpoint).state, only(endpoint).error) == ("failed", webhooks.DISABLED)


def test_figures_tell_how_deliveries_stand(acme: factories.Cast, endpoint: WebhookEndpoint) -> None:
    before = webhook_figures.read(now=NOW)
    for _ in range(3):
        hooks.tell(acme)
    first, second, _ = claim()
    note(first, FINE)
    note(second, BROKEN)
    hooks.issued(acme, url=f"{URL}/2")
    hooks.tell(acme)
    at = NOW + timedelta(seconds=90)

    found = webhook_figures.read(now=at)

    # One waits for another attempt, one is claimed, and the last event is on its way to both.
    assert (found.pending - before.pending, found.retrying - before.retrying) == (4, 1)
    assert (found.late_s, found.failing_endpoints - before.failing_endpoints) == (90, 1)
    companies.suspend(company_id=acme.company_id)
    assert webhook_figures.read(now=at).late_s == 0
    companies.reactivate(company_id=acme.company_id)
    for claimed in claim(at):
        note(claimed, Outcome(status_code=410), at)
    found = webhook_figures.read(now=at)
    assert (found.failed - before.failed, found.disabled_endpoints - before.disabled_endpoints) == (4, 2)


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (b"thanks\n", "thanks"),
        (b"\x00a\x1b[31mb\x7f\xff\xe2\x80\xae", "a [31mb \ufffd"),
        (b"Authorization: Bearer abc.def-ghi_jkl", "Authorization: Bearer [secret]"),
        (
            b"your nv_sk_live_0123456789abcdef and whsec_MfKQ9r8GKYqrTwjU",
            "your nv_sk_live_[secret] and whsec_[secret]",
        ),
        (b"x" * 5000, "x" * 4096),
    ],
)
def test_answer_is_kept_as_text_without_keys(answer: bytes, kept: str) -> None:
    assert deliveries.scrubbed(answer) == kept
