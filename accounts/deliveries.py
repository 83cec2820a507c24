"""Deliveries of events to webhook endpoints: claimed, noted, tried again, replayed, forgotten; who sends is above."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q

from accounts import audit, ids, locks, pages, webhook_secrets, webhooks
from accounts.errors import Conflict, NotFound
from accounts.webhook_models import WebhookDelivery, WebhookEndpoint, WebhookSecret

# Standard Webhooks, "Deliverability and reliability": the wait after each attempt that failed; ten attempts in all.
BACKOFF = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
ATTEMPTS_MAX = len(BACKOFF) + 1
# Longer than an attempt takes with all its timeouts; after it, whoever claimed a delivery is given up.
CLAIM = timedelta(seconds=60)
# Attempts under way at once, of all workers together: of one company, and of endpoints that failed the last time.
COMPANY_MAX = 4
FAILING_MAX = 32
# Nothing but failures for so long, and the endpoint is disabled.
GIVEN_UP_AFTER = timedelta(days=5)
KEPT = timedelta(days=30)
ANSWER_BYTES_MAX = 4096
ERROR_LENGTH_MAX = 300
FORGOTTEN_AT_ONCE = 10_000
GONE = 410
NEVER_NOTED = "Its last attempt was never heard of again."

PENDING, DELIVERED, FAILED = (state.value for state in WebhookDelivery.State)

_SECRETS = re.compile(r"(nv_(?:sk_live|sess)_|whsec_|sk-or-v1-|[Bb]earer\s+)[\w+/=.~-]{8,}", re.ASCII)
_UNPRINTABLE = re.compile(r"[^\S\n]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")

_IS_ANYTHING_DUE = (
    "SELECT EXISTS (SELECT FROM accounts_webhook_delivery WHERE state = 'pending' AND next_at <= %s)"
)
# Of each endpoint that something waits for (a loose scan of their index) the few that have waited longest; of these,
# what its company and its lane have room for, the company with the least under way first. Under way is also what has
# failed meanwhile, since its endpoint was disabled or deleted. A company that is suspended waits.
_PICK = """
    WITH RECURSIVE waited_for (id) AS (
        (SELECT endpoint_id FROM accounts_webhook_delivery WHERE state = 'pending' ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT (SELECT endpoint_id FROM accounts_webhook_delivery
                 WHERE state = 'pending' AND endpoint_id > w.id ORDER BY endpoint_id LIMIT 1)
          FROM waited_for w WHERE w.id IS NOT NULL
    ), flying AS (
        SELECT d.company_id, count(*) AS flights,
               count(*) FILTER (WHERE e.failing_since IS NOT NULL) AS failing_flights
          FROM accounts_webhook_delivery d LEFT JOIN accounts_webhook_endpoint e ON e.id = d.endpoint_id
         WHERE d.claimed_until > %(now)s GROUP BY d.company_id
    ), due AS (
        SELECT d.id, d.next_at, e.company_id, e.failing_since IS NOT NULL AS is_failing,
               coalesce(f.flights, 0) + row_number() OVER (
                   PARTITION BY e.company_id ORDER BY e.failing_since IS NOT NULL, d.next_at, d.id) AS place
          FROM waited_for w JOIN accounts_webhook_endpoint e ON e.id = w.id
          JOIN accounts_company c ON c.id = e.company_id AND c.status <> 'suspended'
         CROSS JOIN LATERAL (SELECT id, next_at FROM accounts_webhook_delivery
                              WHERE endpoint_id = e.id AND state = 'pending' AND next_at <= %(now)s
                              ORDER BY next_at LIMIT %(company_max)s) d
          LEFT JOIN flying f ON f.company_id = e.company_id
         WHERE e.disabled_at IS NULL
    ), fair AS (
        SELECT *, (SELECT coalesce(sum(failing_flights), 0) FROM flying)
                  + row_number() OVER (PARTITION BY is_failing ORDER BY place, next_at, id) AS lane
          FROM due WHERE place <= %(company_max)s
    )
    SELECT id FROM fair WHERE NOT is_failing OR lane <= %(failing_max)s ORDER BY place, next_at, id LIMIT %(limit)s
"""
_CLAIM = """
    WITH mine AS (
        SELECT id FROM accounts_webhook_delivery
         WHERE id = ANY (%(ids)s) AND state = 'pending' AND next_at <= %(now)s FOR UPDATE SKIP LOCKED
    )
    UPDATE accounts_webhook_delivery d
       SET attempts = d.attempts + 1, claimed_until = %(until)s, next_at = %(until)s, attempted_at = %(now)s
      FROM mine, accounts_webhook_endpoint e, accounts_webhook_event v
     WHERE d.id = mine.id AND e.id = d.endpoint_id AND v.id = d.event_id
    RETURNING d.id, d.attempts, d.company_id, d.endpoint_id, e.url, d.event_id, v.body
"""
# Told by somebody who had not seen yet that their endpoint was being disabled or deleted.
_END_STRAYS = """
    UPDATE accounts_webhook_delivery SET state = 'failed', next_at = NULL, claimed_until = NULL, error = %s
     WHERE id IN (
        SELECT id FROM accounts_webhook_delivery d WHERE d.state = 'pending' AND d.next_at <= %s
           AND NOT EXISTS (SELECT FROM accounts_webhook_endpoint e WHERE e.id = d.endpoint_id AND e.disabled_at IS NULL)
           FOR UPDATE SKIP LOCKED)
"""
_FORGET_DELIVERIES = """
    DELETE FROM accounts_webhook_delivery WHERE id IN (
        SELECT id FROM accounts_webhook_delivery WHERE created_at <= %s ORDER BY created_at LIMIT %s
           FOR UPDATE SKIP LOCKED)
"""
_FORGET_EVENTS = """
    DELETE FROM accounts_webhook_event WHERE id IN (
        SELECT id FROM accounts_webhook_event e WHERE created_at <= %s
           AND NOT EXISTS (SELECT FROM accounts_webhook_delivery d WHERE d.event_id = e.id)
         ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is this worker's to attempt until the claim runs out; `attempt` tells it from later claims."""

    delivery_id: UUID
    attempt: int
    company_id: UUID
    endpoint_id: UUID
    url: str
    message_id: str
    body: str
    secrets: Sequence[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt: a status and the beginning of the answer, or why there was none."""

    status_code: int | None = None
    answer: bytes = b""
    error: str = ""
    duration_ms: int = 0
    # What it asked for before the next attempt.
    retry_after_s: int = 0

    @property
    def is_success(self) -> bool:
        return self.status_code is not None and 200 <= self.status_code < 300


@dataclass(frozen=True, slots=True)
class Page:
    """Deliveries with their events, the latest first; `before_id` leads to the next page."""

    deliveries: list[WebhookDelivery]
    before_id: UUID | None


def message_id(event_id: UUID) -> str:
    """What the header `webhook-id` says: the same in every attempt and every replay."""
    return f"evt_{event_id}"


@transaction.atomic
def claim(*, now: datetime, limit: int) -> list[Claimed]:
    """Take deliveries that are due, within what each company and failing endpoints may have under way.

    Shape: whoever claims does so alone, for a moment, so that the bounds hold; a delivery whose worker dies is due
    again when its claim runs out, with the same `webhook-id`: sent twice at worst, never lost.
    """
    if limit < 1 or not _value(_IS_ANYTHING_DUE, now):
        return []
    locks.hold("webhook-claims")
    _give_up_unheard(now)
    words: dict[str, Any] = {
        "now": now,
        "until": now + CLAIM,
        "limit": limit,
        "company_max": COMPANY_MAX,
        "failing_max": FAILING_MAX,
    }
    with connection.cursor() as cursor:
        cursor.execute(_PICK, words)
        cursor.execute(_CLAIM, words | {"ids": [row[0] for row in cursor.fetchall()]})
        rows = cursor.fetchall()
    secrets = _secrets({row[3] for row in rows}, now)
    return [
        Claimed(
            delivery_id=row[0],
            attempt=row[1],
            company_id=row[2],
            endpoint_id=row[3],
            url=row[4],
            message_id=message_id(row[5]),
            body=row[6],
            secrets=secrets.get(row[3], ()),
        )
        for row in rows
    ]


@transaction.atomic
def note(claimed: Claimed, outcome: Outcome, *, jitter: float, now: datetime) -> None:
    """Write down what came of an attempt, and when the next one is due.

    Shape: `jitter` from 0 to 1 lengthens the wait by up to a fifth. A failure that is told after its claim ran out
    changes nothing: the delivery is another worker's by then. An endpoint that answered 410, or nothing but failures
    for GIVEN_UP_AFTER, is disabled; what its address before answered is not held against it.
    """
    # The endpoint first, as whoever disables it does, so that nobody waits for each other.
    endpoint = WebhookEndpoint.objects.select_for_update(no_key=True).filter(id=claimed.endpoint_id).first()
    delivery = WebhookDelivery.objects.select_for_update().filter(id=claimed.delivery_id).first()
    if delivery is None or delivery.state == DELIVERED:
        return
    if endpoint is None:
        # It was left for its attempt alone, which is no longer under way.
        delivery.delete()
        return
    is_latest = delivery.attempts == claimed.attempt
    if outcome.is_success or (is_latest and delivery.state == PENDING):
        _write(delivery, outcome, attempt=claimed.attempt, jitter=jitter, now=now)
        if endpoint.url == claimed.url:
            _judge(endpoint, outcome, now)
    elif is_latest:
        delivery.claimed_until = None
        delivery.save(update_fields=["claimed_until"])


def page(
    *,
    company_id: UUID,
    webhook_id: UUID,
    limit: int,
    before_id: UUID | None = None,
    state: str | None = None,
) -> Page:
    """The log of an endpoint. Errors: NotFound."""
    webhooks.get(company_id=company_id, webhook_id=webhook_id)
    rows = WebhookDelivery.objects.filter(endpoint_id=webhook_id).select_related("event")
    if state is not None:
        rows = rows.filter(state=state)
    return Page(*pages.latest(rows, limit=limit, before_id=before_id))


def get(*, company_id: UUID, webhook_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    """One delivery with its event. Errors: NotFound."""
    webhooks.get(company_id=company_id, webhook_id=webhook_id)
    rows = WebhookDelivery.objects.filter(endpoint_id=webhook_id, id=delivery_id).select_related("event")
    found = rows.first()
    if found is None:
        raise NotFound(f"Delivery {delivery_id} was not found.")
    return found


@transaction.atomic
def replay(*, company_id: UUID, webhook_id: UUID, delivery_id: UUID, now: datetime) -> WebhookDelivery:
    """Deliver an event once more, under its own `webhook-id`, as a delivery of its own.

    Errors: NotFound, Conflict (the endpoint is disabled, or the event is on its way to it already).
    """
    endpoint = webhooks.get(company_id=company_id, webhook_id=webhook_id)
    locks.hold("webhook-replays", str(webhook_id))
    rows = WebhookDelivery.objects.filter(endpoint_id=webhook_id)
    before = rows.filter(id=delivery_id).select_related("event").first()
    if before is None:
        raise NotFound(f"Delivery {delivery_id} was not found.")
    webhooks.require_enabled(endpoint)
    if rows.filter(event_id=before.event_id, state=PENDING).exists():
        raise Conflict(
            "This event is still on its way to this webhook.",
            hint="Wait until it is delivered or has failed.",
        )
    again = WebhookDelivery.objects.create(
        id=ids.uuid7(),
        company_id=company_id,
        endpoint_id=webhook_id,
        event=before.event,
        state=PENDING,
        next_at=now,
        replay_of=before.id,
        created_at=now,
    )
    audit.record(
        company_id=company_id,
        action="webhook_delivery.replayed",
        target_kind="webhook",
        target_id=webhook_id,
        target_label=webhooks.told(endpoint)["url"],
        after={"delivery_id": again.id, "replay_of": before.id, "type": before.event.kind},
        now=now,
    )
    return again


def forget(*, now: datetime) -> int:
    """Delete what is older than KEPT, and secrets that sign no more; how many deliveries there were.

    What is on its way to an endpoint that is disabled or gone has failed.
    """
    with connection.cursor() as cursor:
        cursor.execute(_END_STRAYS, [webhooks.DISABLED, now])
    count = _forget(_FORGET_DELIVERIES, now)
    _forget(_FORGET_EVENTS, now)
    WebhookSecret.objects.filter(expires_at__lte=now).delete()
    return count


def scrubbed(answer: bytes) -> str:
    """The beginning of an answer as the log may keep it: text, without what looks like a key."""
    text = answer[:ANSWER_BYTES_MAX].decode(errors="replace")
    return _SECRETS.sub(r"\1[secret]", _UNPRINTABLE.sub(" ", text)).strip()


def _write(
    delivery: WebhookDelivery, outcome: Outcome, *, attempt: int, jitter: float, now: datetime
) -> None:
    delivery.claimed_until = None
    delivery.status_code = outcome.status_code
    delivery.answer = scrubbed(outcome.answer)
    delivery.error = scrubbed(outcome.error.encode())[:ERROR_LENGTH_MAX]
    delivery.duration_ms = outcome.duration_ms
    if outcome.is_success:
        delivery.state, delivery.next_at, delivery.delivered_at = DELIVERED, None, now
    elif attempt >= ATTEMPTS_MAX:
        delivery.state, delivery.next_at = FAILED, None
    else:
        asked = min(timedelta(seconds=outcome.retry_after_s), BACKOFF[-1])
        delivery.next_at = now + max(BACKOFF[attempt - 1], asked) * (1 + jitter / 5)
    delivery.save()


def _judge(endpoint: WebhookEndpoint, outcome: Outcome, now: datetime) -> None:
    """Note how an endpoint does, whose row is held."""
    if outcome.is_success:
        if endpoint.failing_since is not None:
            endpoint.failing_since = None
            endpoint.save(update_fields=["failing_since"])
        return
    before = webhooks.told(endpoint)
    endpoint.failing_since = endpoint.failing_since or now
    if endpoint.disabled_at is None:
        if outcome.status_code == GONE:
            webhooks.disable(endpoint, WebhookEndpoint.Disabled.GONE, now=now)
        elif now - endpoint.failing_since >= GIVEN_UP_AFTER:
            webhooks.disable(endpoint, WebhookEndpoint.Disabled.FAILING, now=now)
    endpoint.save(update_fields=["failing_since", "disabled_at", "disabled_reason", "mailed_at"])
    if webhooks.told(endpoint) != before:
        webhooks.disabled_by_platform(endpoint, before=before, now=now)


def _give_up_unheard(now: datetime) -> None:
    """End deliveries whose last attempt nobody noted, such as one that kills its worker every time."""
    unheard = WebhookDelivery.objects.filter(state=PENDING, next_at__lte=now, attempts__gte=ATTEMPTS_MAX)
    found = unheard.select_for_update(skip_locked=True).values_list("id", flat=True)
    WebhookDelivery.objects.filter(id__in=list(found)).update(
        state=FAILED, next_at=None, claimed_until=None, error=NEVER_NOTED
    )


def _forget(query: str, now: datetime) -> int:
    """Delete what the query finds, some at a time, until there is no more; how many there were."""
    count = 0
    with connection.cursor() as cursor:
        while cursor.execute(query, [now - KEPT, FORGOTTEN_AT_ONCE]).rowcount:
            count += cursor.rowcount
    return count


def _secrets(endpoint_ids: set[UUID], now: datetime) -> dict[UUID, tuple[str, ...]]:
    """What signs for each endpoint, the newest first; what SECRET_KEY does not open is left out."""
    live = WebhookSecret.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=now), endpoint_id__in=endpoint_ids
    )
    found: dict[UUID, tuple[str, ...]] = {}
    for row in live.order_by("-id"):
        secret = webhook_secrets.unseal(bytes(row.sealed), endpoint_id=row.endpoint_id)
        if secret is not None:
            found[row.endpoint_id] = (*found.get(row.endpoint_id, ()), secret)
    return found


def _value(query: str, *parameters: Any) -> object:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]
