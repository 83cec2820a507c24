"""The books as Django sees them: to read. SQL makes the tables, and its functions alone write them."""

from typing import Any, NoReturn

from django.db import models

from billing import payment_models, report_models  # noqa: F401 - Django finds an app's models here.
from billing.errors import LedgerInvariantBroken


class Book(models.Model):
    """A table of the books; writing it past its functions is a bug."""

    class Meta:
        abstract = True
        managed = False

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise LedgerInvariantBroken(f"{type(self).__name__} is written by billing's SQL functions only.")

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise LedgerInvariantBroken(f"{type(self).__name__} is never deleted through a model.")


class Wallet(Book):
    company_id = models.UUIDField(primary_key=True)
    posted_nanocredits = models.BigIntegerField()
    held_nanocredits = models.BigIntegerField()
    # Credit line: admission may take the balance down to here.
    floor_nanocredits = models.BigIntegerField()
    frozen = models.BooleanField()
    # seq of the last entry, and its hash.
    version = models.BigIntegerField()
    chain_head = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta(Book.Meta):
        db_table = "billing_wallet"

    def __str__(self) -> str:
        return f"wallet of company {self.company_id}"


class Hold(Book):
    """Phase one of a call: what was set aside for it, and at which prices it will be charged."""

    pk = models.CompositePrimaryKey("company_id", "hold_id")
    company_id = models.UUIDField()
    hold_id = models.UUIDField()
    key_id = models.UUIDField()
    kit_id = models.UUIDField()
    tenant_user_id = models.UUIDField()
    amount_nanocredits = models.BigIntegerField()
    # Whether the amount bounds what the call can cost.
    is_price_known = models.BooleanField()
    markup = models.DecimalField()
    credit_value_usd = models.DecimalField()
    ttl_s = models.IntegerField()
    caps = models.JSONField(null=True)
    details = models.JSONField()
    created_at = models.DateTimeField()

    class Meta(Book.Meta):
        db_table = "billing_hold"

    def __str__(self) -> str:
        return f"hold {self.hold_id}"


class HoldExtension(Book):
    """What was set aside for a running call after its hold."""

    pk = models.CompositePrimaryKey("company_id", "hold_id", "number")
    company_id = models.UUIDField()
    hold_id = models.UUIDField()
    number = models.IntegerField()
    amount_nanocredits = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta(Book.Meta):
        db_table = "billing_hold_extension"

    def __str__(self) -> str:
        return f"extension {self.number} of hold {self.hold_id}"


class OpenHold(Book):
    """A hold that is not settled yet: the work queue of reconciliation."""

    class Stage(models.TextChoices):
        HELD = "held"
        DISPATCHED = "dispatched"
        PARKED = "parked"

    pk = models.CompositePrimaryKey("company_id", "hold_id")
    company_id = models.UUIDField()
    hold_id = models.UUIDField()
    amount_nanocredits = models.BigIntegerField()
    generation_id = models.TextField(null=True)  # noqa: DJ001 - null is "not known", and stands so in SQL.
    stage = models.TextField(choices=Stage)
    next_at = models.DateTimeField(null=True)
    attempts = models.IntegerField()
    # What the gateway saw of the answer, priced; no evidence of upstream's.
    estimate_usd = models.DecimalField(null=True)
    created_at = models.DateTimeField()

    class Meta(Book.Meta):
        db_table = "billing_open_hold"

    def __str__(self) -> str:
        return f"open hold {self.hold_id} ({self.stage})"


class Settlement(Book):
    """Phase two of a call: how it ended, once."""

    class Kind(models.TextChoices):
        POST = "post"
        VOID = "void"

    pk = models.CompositePrimaryKey("company_id", "hold_id")
    company_id = models.UUIDField()
    hold_id = models.UUIDField()
    kind = models.TextField(choices=Kind)
    cost_usd = models.DecimalField(null=True)
    charged_nanocredits = models.BigIntegerField()
    source = models.TextField()
    generation_id = models.TextField(null=True)  # noqa: DJ001 - null is "not known", and stands so in SQL.
    details = models.JSONField()
    created_at = models.DateTimeField()

    class Meta(Book.Meta):
        db_table = "billing_settlement"

    def __str__(self) -> str:
        return f"settlement of hold {self.hold_id}"


class Correction(Book):
    """What a settled call turned out to cost; the last number is its cost today."""

    pk = models.CompositePrimaryKey("company_id", "hold_id", "number")
    company_id = models.UUIDField()
    hold_id = models.UUIDField()
    number = models.IntegerField()
    reference = models.TextField()
    cost_usd = models.DecimalField()
    charged_nanocredits = models.BigIntegerField()
    source = models.TextField()
    generation_id = models.TextField(null=True)  # noqa: DJ001 - null is "no new one", and stands so in SQL.
    created_at = models.DateTimeField()

    class Meta(Book.Meta):
        db_table = "billing_correction"

    def __str__(self) -> str:
        return f"correction {self.number} of hold {self.hold_id}"


class Entry(Book):
    """One line of a company's ledger; debits are negative."""

    class Action(models.TextChoices):
        LLM_CALL = "llm_call"
        CREDIT_TOPUP = "credit_topup"
        GRANT = "grant"
        REFUND = "refund"
        CORRECTION = "correction"
        CHARGEBACK = "chargeback"

    pk = models.CompositePrimaryKey("company_id", "seq")
    company_id = models.UUIDField()
    seq = models.BigIntegerField()
    action = models.TextField(choices=Action)
    reference = models.TextField()
    amount_nanocredits = models.BigIntegerField()
    counter_account = models.TextField()
    balance_after_nanocredits = models.BigIntegerField()
    note = models.TextField()
    # Who moved it; empty is the platform itself.
    actor = models.TextField()
    # reference of the entry that this one corrects or refunds; empty where none.
    corrects = models.TextField()
    # Of the hash before it and this row (billing_entry_hash).
    hash = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta(Book.Meta):
        db_table = "billing_entry"

    def __str__(self) -> str:
        return f"entry {self.seq} of company {self.company_id}"


class Budget(Book):
    """What a cap has seen in one period."""

    pk = models.CompositePrimaryKey("company_id", "scope", "scope_id", "period", "period_start")
    company_id = models.UUIDField()
    scope = models.TextField()
    scope_id = models.UUIDField()
    period = models.TextField()
    period_start = models.DateField()
    spent_nanocredits = models.BigIntegerField()
    held_nanocredits = models.BigIntegerField()

    class Meta(Book.Meta):
        db_table = "billing_budget"

    def __str__(self) -> str:
        return f"budget of {self.scope} {self.scope_id}, {self.period} from {self.period_start}"


class Anomaly(Book):
    """Evidence the books refused to act on; a person looks at it."""

    pk = models.CompositePrimaryKey("kind", "reference")
    kind = models.TextField()
    reference = models.TextField()
    company_id = models.UUIDField(null=True)
    hold_id = models.UUIDField(null=True)
    details = models.JSONField()
    created_at = models.DateTimeField()

    class Meta(Book.Meta):
        db_table = "billing_anomaly"
        verbose_name_plural = "anomalies"

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"


class Day(models.Model):
    """One UTC day of the books against upstream's; not of the books itself. Units: USD, exact."""

    class Basis(models.TextChoices):
        # What their side is: what their key used between two readings, their activity of the day, or nothing.
        KEY = "key"
        ACTIVITY = "activity"
        NONE = ""

    day = models.DateField(primary_key=True)
    read_at = models.DateTimeField()
    basis = models.TextField(choices=Basis, blank=True)
    ours_usd = models.DecimalField(null=True)
    theirs_usd = models.DecimalField(null=True)
    # Theirs less ours, of this day; `gap_usd` is of all days up to it, less what was lost.
    difference_usd = models.DecimalField(null=True)
    gap_usd = models.DecimalField(default=0)
    lost_usd = models.DecimalField(default=0)
    # [{model, ours_usd, theirs_usd, difference_usd}], amounts as strings; null where upstream does not tell.
    by_model = models.JSONField(null=True)
    # What may explain a difference. The amounts are bounds: what these calls can have cost.
    open_calls = models.IntegerField(default=0)
    open_usd = models.DecimalField(default=0)
    estimated_calls = models.IntegerField(default=0)
    estimated_usd = models.DecimalField(default=0)
    unattributed_calls = models.IntegerField(default=0)
    unattributed_usd = models.DecimalField(default=0)
    # The two totals of the reading, and which key it was of; null where the day has no reading of its own.
    ours_total_usd = models.DecimalField(null=True)
    theirs_total_usd = models.DecimalField(null=True)
    key = models.TextField(blank=True)
    # Over the last entry of every company: see billing_anchor_heads.
    anchor = models.TextField(blank=True)
    anchor_companies = models.IntegerField(default=0)
    # What companies could still spend when the day was closed. Null for a day that was caught up with.
    unspent_nanocredits = models.DecimalField(null=True)
    note = models.TextField(blank=True)
    closed_at = models.DateTimeField(null=True)
    # Who accepted the difference; empty where there was nothing to accept.
    closed_by = models.TextField(blank=True)

    class Meta:
        db_table = "billing_day"

    def __str__(self) -> str:
        return f"books of {self.day}"


class Alert(models.Model):
    """Something an operator must hear of: written by billing.alerts."""

    kind = models.TextField()
    reference = models.TextField()
    company_id = models.UUIDField(null=True)
    message = models.TextField()
    details = models.JSONField()
    count = models.IntegerField()
    raised_at = models.DateTimeField()
    last_at = models.DateTimeField()
    told_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "billing_alert"
        constraints = [models.UniqueConstraint(fields=["kind", "reference"], name="billing_alert_is_one")]

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"


class Decision(Book):
    """What a person decided about an anomaly, once."""

    class Choice(models.TextChoices):
        CHARGE = "charge"
        VOID = "void"

    pk = models.CompositePrimaryKey("kind", "reference")
    kind = models.TextField()
    reference = models.TextField()
    decision = models.TextField(choices=Choice)
    actor = models.TextField()
    reason = models.TextField()
    cost_usd = models.DecimalField(null=True)
    created_at = models.DateTimeField()

    class Meta(Book.Meta):
        db_table = "billing_decision"

    def __str__(self) -> str:
        return f"{self.decision} of {self.kind} {self.reference}"


class SecondLook(Book):
    """A settled call whose cost did not come with the answer: upstream's record is looked at again."""

    pk = models.CompositePrimaryKey("company_id", "hold_id")
    company_id = models.UUIDField()
    hold_id = models.UUIDField()
    generation_id = models.TextField()
    number = models.IntegerField()
    next_at = models.DateTimeField()

    class Meta(Book.Meta):
        db_table = "billing_second_look"

    def __str__(self) -> str:
        return f"look {self.number} at hold {self.hold_id}"


class Idempotency(Book):
    """Which call a client's key stands for."""

    pk = models.CompositePrimaryKey("company_id", "key_sha256")
    company_id = models.UUIDField()
    key_sha256 = models.BinaryField()
    fingerprint = models.BinaryField()
    hold_id = models.UUIDField()
    created_at = models.DateTimeField()

    class Meta(Book.Meta):
        db_table = "billing_idempotency"
        verbose_name_plural = "idempotency"

    def __str__(self) -> str:
        return f"claim on hold {self.hold_id}"


class Usage(Book):
    """What settled calls add up to, by the hour (UTC) in which each was settled."""

    pk = models.CompositePrimaryKey("company_id", "hour", "tenant_user_id", "key_id", "kit_id", "model")
    company_id = models.UUIDField()
    hour = models.DateTimeField()
    tenant_user_id = models.UUIDField()
    key_id = models.UUIDField()
    kit_id = models.UUIDField()
    model = models.TextField()
    calls = models.BigIntegerField()
    # Given back; they count nowhere else.
    voided_calls = models.BigIntegerField()
    tokens_prompt = models.BigIntegerField()
    tokens_completion = models.BigIntegerField()
    cost_usd = models.DecimalField()
    charged_nanocredits = models.DecimalField()
    # What the calls had held when they were settled, and how far they were charged above it.
    held_nanocredits = models.DecimalField()
    overrun_nanocredits = models.DecimalField()

    class Meta(Book.Meta):
        db_table = "billing_usage"
        verbose_name_plural = "usage"

    def __str__(self) -> str:
        return f"usage of {self.model} by company {self.company_id}, {self.hour}"
