"""Rows of the operator's reports: daily sums, checks of the books, what upstream says of its key, what waits for a
second person. Not of the books themselves: Django writes them."""

from django.db import models
from django.db.models import Q

from accounts import ids

NAME_LENGTH_MAX = 255


class SummedDay(models.Model):
    """A UTC day whose sums were taken; stale since something was written into one of its hours."""

    day = models.DateField(primary_key=True)
    # Null until its sums were taken the first time: then it is stale, too.
    summed_at = models.DateTimeField(null=True)
    is_stale = models.BooleanField()

    class Meta:
        db_table = "billing_summed_day"

    def __str__(self) -> str:
        return f"sums of {self.day}"


class Sums(models.Model):
    """What the calls settled on one day come to. Units: USD exact, nanocredits."""

    day = models.DateField()
    calls = models.BigIntegerField()
    voided_calls = models.BigIntegerField()
    cost_usd = models.DecimalField()
    charged_nanocredits = models.DecimalField()
    overrun_nanocredits = models.DecimalField()

    class Meta:
        abstract = True


class CompanyDay(Sums):
    """One company's day."""

    pk = models.CompositePrimaryKey("day", "company_id")
    company_id = models.UUIDField()

    class Meta:
        db_table = "billing_company_day"
        indexes = [models.Index(fields=["company_id", "day"], name="billing_company_day_company")]

    def __str__(self) -> str:
        return f"{self.day} of company {self.company_id}"


class ModelDay(Sums):
    """One model's day, over all companies."""

    pk = models.CompositePrimaryKey("day", "model")
    model = models.TextField()

    class Meta:
        db_table = "billing_model_day"

    def __str__(self) -> str:
        return f"{self.day} of {self.model}"


class UsageDay(Sums):
    """One company's day by one axis of usage: what a model, user, key or kit came to."""

    pk = models.CompositePrimaryKey("day", "company_id", "axis", "name")
    company_id = models.UUIDField()
    axis = models.TextField()
    # A model, or the id of the others; as PostgreSQL orders bytes, for whoever compares it to those of the hours.
    name = models.TextField(db_collation="C")
    tokens_prompt = models.BigIntegerField()
    tokens_completion = models.BigIntegerField()
    held_nanocredits = models.DecimalField()

    class Meta:
        db_table = "billing_usage_day"

    def __str__(self) -> str:
        return f"{self.day} of {self.axis} {self.name}, company {self.company_id}"


class SourceDay(models.Model):
    """How many calls of one day were settled on whose word, and what they were charged then."""

    pk = models.CompositePrimaryKey("day", "source")
    day = models.DateField()
    source = models.TextField()
    calls = models.BigIntegerField()
    charged_nanocredits = models.DecimalField()

    class Meta:
        db_table = "billing_source_day"

    def __str__(self) -> str:
        return f"{self.day} by {self.source}"


class Verification(models.Model):
    """One check of the books: asked for, under way, ended."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    # Who asked; empty for the nightly one.
    asked_by = models.TextField(blank=True)
    asked_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    # Null where it did not come to its end; `error` says why.
    violation_count = models.IntegerField(null=True)
    open_holds = models.BigIntegerField(null=True)
    cost_usd = models.DecimalField(null=True)
    charged_nanocredits = models.DecimalField(null=True)
    error = models.TextField(blank=True)

    class Meta:
        db_table = "billing_verification"

    def __str__(self) -> str:
        return f"verification {self.id}"


class UpstreamKey(models.Model):
    """The one row of what upstream last said about the operator's key. Units: USD; a limit of null is none."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    asked_at = models.DateTimeField()
    read_at = models.DateTimeField(null=True)
    usage_usd = models.DecimalField(null=True)
    limit_usd = models.DecimalField(null=True)
    remaining_usd = models.DecimalField(null=True)
    # Why the last question was not answered; empty where it was.
    error = models.TextField(blank=True)

    class Meta:
        db_table = "billing_upstream_key"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="billing_upstream_key_is_one_row")]

    def __str__(self) -> str:
        return f"upstream's key, asked {self.asked_at:%Y-%m-%d %H:%M:%S} UTC"


class MovementRequest(models.Model):
    """A movement that is worth so much that a second person approves it before it is posted."""

    class State(models.TextChoices):
        OPEN = "open"
        APPROVED = "approved"
        REJECTED = "rejected"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    company_id = models.UUIDField()
    action = models.TextField()
    amount_nanocredits = models.BigIntegerField()
    reference = models.TextField()
    corrects = models.TextField(blank=True)
    reason = models.TextField()
    asked_by = models.CharField(max_length=NAME_LENGTH_MAX)
    asked_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State, default=State.OPEN.value)
    decided_by = models.CharField(max_length=NAME_LENGTH_MAX, blank=True)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "billing_movement_request"
        constraints = [
            models.UniqueConstraint(
                fields=["company_id", "action", "reference"],
                condition=Q(state="open"),
                name="billing_movement_request_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.reference} ({self.state})"
