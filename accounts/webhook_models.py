"""Rows of outgoing webhooks: endpoints, their secrets, what happened, and what is delivered where; no rules here."""

from django.db import models
from django.db.models import Q

from accounts import ids

URL_LENGTH_MAX = 2048
DESCRIPTION_LENGTH_MAX = 200


class WebhookEndpoint(models.Model):
    """An address of a company's that events are sent to."""

    class Disabled(models.TextChoices):
        BY_HAND = "by_hand"
        # Nothing but failures for days.
        FAILING = "failing"
        # It answered 410: it wants no more.
        GONE = "gone"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    company = models.ForeignKey(
        "accounts.Company", on_delete=models.PROTECT, related_name="webhook_endpoints"
    )
    url = models.CharField(max_length=URL_LENGTH_MAX)
    description = models.CharField(max_length=DESCRIPTION_LENGTH_MAX, blank=True)
    # Kinds of events, as webhook_events.KINDS orders them.
    events = models.JSONField()
    disabled_at = models.DateTimeField(null=True)
    disabled_reason = models.CharField(max_length=16, choices=Disabled.choices, blank=True)
    # When the owners were written to that we disabled it, or when it was found that nobody is to be.
    mailed_at = models.DateTimeField(null=True)
    # The first failure since the last success.
    failing_since = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "accounts_webhook_endpoint"
        indexes = [
            models.Index(
                fields=["disabled_at"],
                condition=Q(disabled_reason__in=["failing", "gone"], mailed_at=None),
                name="accounts_webhook_unmailed",
            )
        ]
        constraints = [
            models.UniqueConstraint(fields=["company", "url"], name="accounts_webhook_url"),
            models.CheckConstraint(
                condition=Q(disabled_at=None, disabled_reason="")
                | Q(disabled_at__isnull=False, disabled_reason__in=["by_hand", "failing", "gone"]),
                name="accounts_webhook_disabled",
            ),
        ]

    def __str__(self) -> str:
        # Not its address: what follows a question mark there is often a password.
        return f"webhook {self.id}"


class WebhookSecret(models.Model):
    """What an endpoint's deliveries are signed with; after a rotation the one before signs too, until it expires."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="secrets")
    # Encrypted (accounts/webhook_secrets.py).
    sealed = models.BinaryField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "accounts_webhook_secret"

    def __str__(self) -> str:
        return f"secret of webhook {self.endpoint_id}"


class WebhookEvent(models.Model):
    """Something a company is told; only where an endpoint wants to hear of it. accounts_tell_webhooks writes it."""

    id = models.UUIDField(primary_key=True, editable=False)
    company_id = models.UUIDField()
    kind = models.CharField(max_length=64)
    # What is sent and signed, to the byte.
    body = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = "accounts_webhook_event"
        indexes = [models.Index(fields=["created_at"], name="accounts_webhook_event_age")]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class WebhookDelivery(models.Model):
    """One event on its way to one endpoint, and what came of its last attempt."""

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, editable=False)
    company_id = models.UUIDField()
    # No constraint: who tells of a correction must not wait for, or fail with, somebody who deletes an endpoint.
    endpoint = models.ForeignKey(
        WebhookEndpoint,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="deliveries",
    )
    event = models.ForeignKey(WebhookEvent, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=16, choices=State.choices)
    attempts = models.SmallIntegerField(default=0)
    # When it is to be tried next; null unless pending.
    next_at = models.DateTimeField(null=True)
    # While an attempt runs: when its worker is given up.
    claimed_until = models.DateTimeField(null=True)
    attempted_at = models.DateTimeField(null=True)
    status_code = models.SmallIntegerField(null=True)
    error = models.TextField(blank=True)
    answer = models.TextField(blank=True)
    duration_ms = models.IntegerField(null=True)
    delivered_at = models.DateTimeField(null=True)
    # The delivery that somebody wanted once more.
    replay_of = models.UUIDField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "accounts_webhook_delivery"
        verbose_name_plural = "webhook deliveries"
        indexes = [
            models.Index(
                fields=["endpoint", "next_at"],
                condition=Q(state="pending"),
                name="accounts_webhook_due",
            ),
            models.Index(fields=["next_at"], condition=Q(state="pending"), name="accounts_webhook_next"),
            models.Index(
                fields=["claimed_until"],
                condition=Q(claimed_until__isnull=False),
                name="accounts_webhook_claimed",
            ),
            models.Index(fields=["endpoint", "-id"], name="accounts_webhook_log"),
            # Also what failed is counted by it (webhook_figures.py).
            models.Index(
                fields=["endpoint", "-id"], condition=Q(state="failed"), name="accounts_webhook_failed"
            ),
            models.Index(fields=["created_at"], name="accounts_webhook_age"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state="pending", next_at__isnull=False)
                | Q(state__in=["delivered", "failed"], next_at=None),
                name="accounts_webhook_delivery_state",
            )
        ]

    def __str__(self) -> str:
        return f"delivery {self.id} ({self.state})"
