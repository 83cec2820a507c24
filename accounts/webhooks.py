"""Webhook endpoints: where a company wants to be told of what, and with which secrets; delivery is in deliveries.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts import audit, database, fields, locks, pages, webhook_addresses, webhook_events, webhook_secrets
from accounts.errors import Conflict, DuplicateRecord, InvalidInput, NotFound
from accounts.webhook_events import Kind
from accounts.webhook_models import (
    DESCRIPTION_LENGTH_MAX,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookSecret,
)

ENDPOINTS_MAX = 20
CHANGEABLE = ("url", "description", "events", "enabled")
ROTATION_OVERLAP = timedelta(hours=24)
# Signatures of one delivery: whoever loses a new secret may rotate again while the old one is still in use.
SECRETS_MAX = 5
DISABLED = "The webhook was disabled before this was delivered."


@dataclass(frozen=True, slots=True)
class IssuedEndpoint:
    """An endpoint and its new secret, which is shown only here."""

    endpoint: WebhookEndpoint
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Endpoints, the latest first; `before_id` leads to the next page."""

    endpoints: list[WebhookEndpoint]
    before_id: UUID | None


def create(
    *, company_id: UUID, url: str, events: object, now: datetime, description: object = ""
) -> IssuedEndpoint:
    """Add an endpoint; its secret is in the answer and nowhere else.

    Shape: the URL's name is looked up before any transaction begins.
    Errors: InvalidInput (the URL, an unknown event), DuplicateRecord (the URL is another endpoint's), Conflict (there
    are ENDPOINTS_MAX).
    Source: docs/webhooks.md.
    """
    webhook_addresses.require_public(url)
    endpoint = WebhookEndpoint(
        company_id=company_id,
        url=url,
        description=_description(description),
        events=_events(events),
        created_at=now,
    )
    with transaction.atomic():
        locks.hold("webhooks", str(company_id))
        if WebhookEndpoint.objects.filter(company_id=company_id).count() >= ENDPOINTS_MAX:
            raise Conflict(
                f"A company may have {ENDPOINTS_MAX} webhooks.", hint="Delete one that you no longer need."
            )
        _save(endpoint)
        secret = _issue(endpoint, now)
        _note("webhook.created", endpoint, after=told(endpoint), now=now)
    return IssuedEndpoint(endpoint=endpoint, secret=secret)


def page(*, company_id: UUID, limit: int, before_id: UUID | None = None) -> Page:
    """The company's endpoints."""
    rows = WebhookEndpoint.objects.filter(company_id=company_id)
    return Page(*pages.latest(rows, limit=limit, before_id=before_id))


def get(*, company_id: UUID, webhook_id: UUID) -> WebhookEndpoint:
    """Errors: NotFound."""
    return _find(company_id, webhook_id)


def update(
    *, company_id: UUID, webhook_id: UUID, changes: Mapping[str, Any], now: datetime
) -> WebhookEndpoint:
    """Change an endpoint's `url`, `description`, `events` or whether it is `enabled`; its secrets stay.

    Shape: a disabled endpoint hears of nothing, and what was on its way to it has failed; it can be replayed later.
    Errors: InvalidInput, NotFound, DuplicateRecord.
    """
    fields.known_keys("webhook", changes, CHANGEABLE)
    if "url" in changes:
        _find(company_id, webhook_id)
        webhook_addresses.require_public(changes["url"])
    with transaction.atomic():
        endpoint = _find(company_id, webhook_id, for_update=True)
        before, url = told(endpoint), endpoint.url
        _apply(endpoint, changes, now)
        _save(endpoint)
        after = told(endpoint)
        if (after, endpoint.url) != (before, url):
            _note("webhook.updated", endpoint, before=before, after=after, now=now)
    return endpoint


@transaction.atomic
def delete(*, company_id: UUID, webhook_id: UUID, now: datetime) -> None:
    """Remove an endpoint, its secrets and its log. Errors: NotFound.

    Shape: an attempt that is under way is counted until it ends; its delivery goes with it.
    """
    endpoint = _find(company_id, webhook_id, for_update=True)
    _end(endpoint)
    WebhookDelivery.objects.filter(endpoint_id=endpoint.id).exclude(claimed_until__gt=now).delete()
    _note("webhook.deleted", endpoint, before=told(endpoint), now=now)
    endpoint.delete()


@transaction.atomic
def rotate_secret(
    *, company_id: UUID, webhook_id: UUID, now: datetime, overlap: timedelta = ROTATION_OVERLAP
) -> IssuedEndpoint:
    """Give an endpoint another secret; deliveries are signed with the old one too until the overlap is over.

    Errors: NotFound, Conflict (SECRETS_MAX of them sign already).
    """
    endpoint = _find(company_id, webhook_id, for_update=True)
    WebhookSecret.objects.filter(endpoint=endpoint, expires_at__lte=now).delete()
    if WebhookSecret.objects.filter(endpoint=endpoint).count() >= SECRETS_MAX:
        raise Conflict(
            f"This webhook's secret was rotated {SECRETS_MAX - 1} times within a day.",
            hint="Wait until an earlier one has expired, or create another webhook.",
        )
    WebhookSecret.objects.filter(endpoint=endpoint, expires_at=None).update(expires_at=now + overlap)
    secret = _issue(endpoint, now)
    _note("webhook.secret_rotated", endpoint, now=now)
    return IssuedEndpoint(endpoint=endpoint, secret=secret)


@transaction.atomic
def test(*, company_id: UUID, webhook_id: UUID, now: datetime) -> WebhookDelivery:
    """Send an endpoint an event of kind `webhook.test`, as every other event is sent.

    Errors: NotFound, Conflict (disabled, or a test is still on its way).
    """
    endpoint = _find(company_id, webhook_id, for_update=True)
    require_enabled(endpoint)
    tests = WebhookDelivery.objects.filter(endpoint=endpoint, event__kind=Kind.TEST.value)
    if tests.filter(state=WebhookDelivery.State.PENDING.value).exists():
        raise Conflict(
            "A test event is still on its way to this webhook.", hint="Read its deliveries, or wait a moment."
        )
    webhook_events.tell(
        company_id=company_id,
        kind=Kind.TEST,
        payload={"webhook_id": endpoint.id, "message": "If you can read this, deliveries arrive."},
        now=now,
        only_endpoint_id=endpoint.id,
    )
    _note("webhook.tested", endpoint, now=now)
    return tests.select_related("event").latest("id")


def require_enabled(endpoint: WebhookEndpoint) -> None:
    """Errors: Conflict."""
    if endpoint.disabled_at is not None:
        raise Conflict(
            f"Webhook {endpoint.id} is disabled.", hint='Enable it first: PATCH {"enabled": true}.'
        )


def disable(endpoint: WebhookEndpoint, reason: WebhookEndpoint.Disabled, *, now: datetime) -> None:
    """Tell an endpoint nothing more; in the transaction that holds its row, which the caller saves."""
    endpoint.disabled_at, endpoint.disabled_reason, endpoint.mailed_at = now, reason.value, None
    _end(endpoint)


def disabled_by_platform(endpoint: WebhookEndpoint, *, before: Mapping[str, Any], now: datetime) -> None:
    """Leave the audit entry of an endpoint that we disabled ourselves."""
    with audit.acting(audit.PLATFORM):
        _note("webhook.disabled", endpoint, before=before, after=told(endpoint), now=now)


def told(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """What the audit log says of an endpoint; what follows a question mark is often a password."""
    address, mark, _ = endpoint.url.partition("?")
    return {
        "url": f"{address}?{audit.MASKED}" if mark else address,
        "description": endpoint.description,
        "events": list(endpoint.events),
        "enabled": endpoint.disabled_at is None,
        "disabled_reason": endpoint.disabled_reason or None,
    }


def _find(company_id: UUID, webhook_id: UUID, *, for_update: bool = False) -> WebhookEndpoint:
    # Not the strongest lock: who tells of an event does not wait for a change of its endpoint.
    rows = WebhookEndpoint.objects.select_for_update(no_key=True) if for_update else WebhookEndpoint.objects
    endpoint = rows.filter(company_id=company_id, id=webhook_id).first()
    if endpoint is None:
        raise NotFound(f"Webhook {webhook_id} was not found.")
    return endpoint


def _end(endpoint: WebhookEndpoint) -> None:
    """End what is on its way to an endpoint; attempts that are under way still count (deliveries.py)."""
    pending = WebhookDelivery.objects.filter(endpoint=endpoint, state=WebhookDelivery.State.PENDING.value)
    pending.update(state=WebhookDelivery.State.FAILED.value, next_at=None, error=DISABLED)


def _apply(endpoint: WebhookEndpoint, changes: Mapping[str, Any], now: datetime) -> None:
    if "url" in changes and changes["url"] != endpoint.url:
        # The new address has not failed yet.
        endpoint.url, endpoint.failing_since = changes["url"], None
    if "description" in changes:
        endpoint.description = _description(changes["description"])
    if "events" in changes:
        endpoint.events = _events(changes["events"])
    if "enabled" not in changes:
        return
    is_wanted = fields.boolean("enabled", changes["enabled"])
    if is_wanted and endpoint.disabled_at is not None:
        endpoint.disabled_at, endpoint.disabled_reason, endpoint.failing_since = None, "", None
    elif not is_wanted and endpoint.disabled_at is None:
        disable(endpoint, WebhookEndpoint.Disabled.BY_HAND, now=now)


def _save(endpoint: WebhookEndpoint) -> None:
    try:
        with transaction.atomic():
            endpoint.save()
    except IntegrityError as exc:
        if database.violated(exc) != "accounts_webhook_url":
            raise
        raise DuplicateRecord(
            "Another webhook of this company has this URL already.",
            hint="Change its events instead.",
            details={"field": "url"},
        ) from exc


def _issue(endpoint: WebhookEndpoint, now: datetime) -> str:
    secret = webhook_secrets.generate()
    WebhookSecret.objects.create(
        endpoint=endpoint,
        sealed=webhook_secrets.seal(secret, endpoint_id=endpoint.id),
        created_at=now,
    )
    return secret


def _note(
    action: str,
    endpoint: WebhookEndpoint,
    *,
    now: datetime,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    audit.record(
        company_id=endpoint.company_id,
        action=action,
        target_kind="webhook",
        target_id=endpoint.id,
        target_label=told(endpoint)["url"],
        before=before,
        after=after,
        now=now,
    )


def _events(value: object) -> list[str]:
    known = ", ".join(webhook_events.KINDS)
    if not isinstance(value, list) or not value:
        raise fields.refuse("events", f"must be a list of one or more of {known}.")
    for place, kind in enumerate(value):
        if kind not in webhook_events.KINDS:
            raise InvalidInput(
                f"events[{place}]: must be one of {known}.",
                details={"field": f"events[{place}]", "known": list(webhook_events.KINDS)},
            )
    return [kind for kind in webhook_events.KINDS if kind in value]


def _description(value: object) -> str:
    return fields.text("description", value, length_max=DESCRIPTION_LENGTH_MAX, may_be_empty=True)
