"""The books as Django sees them: to read. SQL makes the tables, and its functions alone write them."""

from typing import Any, NoReturn

from django.db import models

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
    # seq of the last entry.
    version = models.BigIntegerField()
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
    created_at = models.DateTimeField()

    class Meta(Book.Meta):
        db_table = "billing_entry"

    def __str__(self) -> str:
        return f"entry {self.seq} of company {self.company_id}"


class Budget(Book):
    """What a cap has seen in one period."""

    pk = models.CompositePrimaryKey("company_id", "scope", "scope_id", "period_start")
    company_id = models.UUIDField()
    scope = models.TextField()
    scope_id = models.UUIDField()
    period_start = models.DateField()
    spent_nanocredits = models.BigIntegerField()
    held_nanocredits = models.BigIntegerField()

    class Meta(Book.Meta):
        db_table = "billing_budget"

    def __str__(self) -> str:
        return f"budget of {self.scope} {self.scope_id} from {self.period_start}"


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
