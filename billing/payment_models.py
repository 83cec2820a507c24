"""Rows of what companies buy and are told: checkouts, payment events, disputes, credit events. Django writes them."""

from django.db import models
from django.db.models import Q

from accounts import ids

PROVIDER_LENGTH_MAX = 16
# Stripe: "up to 255 characters".
NAME_LENGTH_MAX = 255


class Checkout(models.Model):
    """A pack that a company set out to buy, and what became of it."""

    class Status(models.TextChoices):
        OPEN = "open"
        PAID = "paid"
        # Over without a payment; one that comes after all makes it paid.
        UNPAID = "unpaid"
        # Paid otherwise than asked for; nothing was credited, a person looks at it.
        MISMATCHED = "mismatched"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    company_id = models.UUIDField()
    pack_id = models.CharField(max_length=32)
    credits_nanocredits = models.BigIntegerField()
    amount_cents = models.BigIntegerField()
    currency = models.CharField(max_length=3, default="usd")
    provider = models.CharField(max_length=PROVIDER_LENGTH_MAX)
    # Null, not empty, until the provider has named them: PostgreSQL holds nulls apart.
    session_id = models.CharField(max_length=NAME_LENGTH_MAX, null=True)  # noqa: DJ001
    payment_id = models.CharField(max_length=NAME_LENGTH_MAX, null=True)  # noqa: DJ001
    url = models.TextField(blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.OPEN.value)
    # Who set out to buy, as the ledger spells actors.
    actor = models.CharField(max_length=NAME_LENGTH_MAX)
    refunded_cents = models.BigIntegerField(default=0)
    # What refunds and chargebacks have taken back of credits_nanocredits.
    returned_nanocredits = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    paid_at = models.DateTimeField(null=True)
    # When the provider is asked what became of it, as long as it has not said so.
    ask_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "billing_checkout"
        indexes = [
            models.Index(fields=["company_id", "id"], name="billing_checkout_company"),
            models.Index(fields=["ask_at"], condition=Q(status="open"), name="billing_checkout_ask"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["provider", "session_id"], name="billing_checkout_session"),
            models.UniqueConstraint(fields=["provider", "payment_id"], name="billing_checkout_payment"),
            models.CheckConstraint(
                condition=Q(credits_nanocredits__gt=0, amount_cents__gt=0), name="billing_checkout_worth"
            ),
            models.CheckConstraint(
                condition=Q(
                    returned_nanocredits__gte=0, returned_nanocredits__lte=models.F("credits_nanocredits")
                ),
                name="billing_checkout_returned",
            ),
        ]

    def __str__(self) -> str:
        return f"checkout {self.id} ({self.status})"

    @property
    def reference(self) -> str:
        """What its top-up is called in the ledger."""
        return self.session_id or str(self.id)


class PaymentEvent(models.Model):
    """An event of a payment provider: each acts once, and is kept by its name."""

    class Outcome(models.TextChoices):
        APPLIED = "applied"
        # What it says was known already.
        STALE = "stale"
        # It is about a payment that no checkout has named yet.
        WAITING = "waiting"
        NOT_OURS = "not_ours"
        # It contradicts what we know; a person looks at it.
        REFUSED = "refused"

    pk = models.CompositePrimaryKey("provider", "event_id")
    provider = models.CharField(max_length=PROVIDER_LENGTH_MAX)
    event_id = models.CharField(max_length=NAME_LENGTH_MAX)
    kind = models.CharField(max_length=32)
    # What it said, in our words (billing/payments/provider.py).
    news = models.JSONField()
    outcome = models.CharField(max_length=16, choices=Outcome)
    payment_id = models.CharField(max_length=NAME_LENGTH_MAX, blank=True)
    checkout_id = models.UUIDField(null=True)
    received_at = models.DateTimeField()

    class Meta:
        db_table = "billing_payment_event"
        indexes = [
            models.Index(
                fields=["provider", "payment_id"],
                condition=Q(outcome="waiting"),
                name="billing_payment_event_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"{self.event_id} ({self.kind}: {self.outcome})"


class Dispute(models.Model):
    """A payment that the customer's bank asks back."""

    class Status(models.TextChoices):
        OPEN = "open"
        WON = "won"
        LOST = "lost"

    pk = models.CompositePrimaryKey("provider", "dispute_id")
    provider = models.CharField(max_length=PROVIDER_LENGTH_MAX)
    dispute_id = models.CharField(max_length=NAME_LENGTH_MAX)
    checkout = models.ForeignKey(Checkout, on_delete=models.PROTECT, related_name="disputes")
    company_id = models.UUIDField()
    status = models.CharField(max_length=8, choices=Status)
    amount_cents = models.BigIntegerField()
    # Whether the wallet is frozen because of it, and not for another reason too.
    froze_wallet = models.BooleanField()
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "billing_dispute"
        indexes = [models.Index(fields=["company_id"], name="billing_dispute_company")]

    def __str__(self) -> str:
        return f"dispute {self.dispute_id} ({self.status})"


class CreditEvent(models.Model):
    """Something a company is told about its credits, kept until it is delivered and after."""

    class Kind(models.TextChoices):
        LOW = "credits.low"
        EXHAUSTED = "credits.exhausted"
        TOPPED_UP = "credits.topped_up"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    company_id = models.UUIDField()
    kind = models.CharField(max_length=32, choices=Kind)
    # Credits stand in it as strings, exactly.
    payload = models.JSONField()
    created_at = models.DateTimeField()
    # When the owners were written to, or when it was found that nobody is to be.
    mailed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "billing_credit_event"
        indexes = [
            models.Index(fields=["company_id", "id"], name="billing_credit_event_company"),
            models.Index(fields=["id"], condition=Q(mailed_at=None), name="billing_credit_event_unmailed"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of company {self.company_id}"


class CreditLevel(models.Model):
    """How a company's credits stood when it was last told."""

    class Level(models.TextChoices):
        FINE = "fine"
        LOW = "low"
        EXHAUSTED = "exhausted"

    company_id = models.UUIDField(primary_key=True)
    level = models.CharField(max_length=16, choices=Level)
    since = models.DateTimeField()

    class Meta:
        db_table = "billing_credit_level"

    def __str__(self) -> str:
        return f"credits of company {self.company_id}: {self.level}"


class FakeCheckout(models.Model):
    """A checkout of the stand-in for Stripe (billing/payments/fake.py): its own books, in demos and tests only."""

    session_id = models.CharField(max_length=NAME_LENGTH_MAX, primary_key=True)
    payment_id = models.CharField(max_length=NAME_LENGTH_MAX, unique=True)
    dispute_id = models.CharField(max_length=NAME_LENGTH_MAX, blank=True)
    # The order it was opened with, as provider.Order has it.
    order = models.JSONField()
    status = models.CharField(max_length=16, default="open")
    refunded_cents = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "billing_fake_checkout"

    def __str__(self) -> str:
        return f"fake checkout {self.session_id} ({self.status})"


class FakeEvent(models.Model):
    """An event of the stand-in for Stripe, and how often it was delivered."""

    event_id = models.CharField(max_length=NAME_LENGTH_MAX, primary_key=True)
    checkout = models.ForeignKey(FakeCheckout, on_delete=models.CASCADE, related_name="events")
    type = models.CharField(max_length=64)
    # The webhook's body, to the byte.
    body = models.TextField()
    deliveries = models.IntegerField(default=0)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "billing_fake_event"

    def __str__(self) -> str:
        return f"{self.event_id} ({self.type})"
