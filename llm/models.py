"""Rows of the llm app: the catalogue as upstream last served it. Generations are read from the books (billing)."""

from django.db import models

from llm import prompt_models  # noqa: F401 - Django finds an app's models here.


class CatalogSnapshot(models.Model):
    """The one row with upstream's GET /models, byte for byte."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    body = models.BinaryField()
    sha256 = models.BinaryField(max_length=32)
    model_count = models.IntegerField()
    fetched_at = models.DateTimeField()

    class Meta:
        db_table = "llm_catalog_snapshot"
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="llm_catalog_snapshot_is_one_row")
        ]

    def __str__(self) -> str:
        return f"{self.model_count} models, fetched {self.fetched_at:%Y-%m-%d %H:%M:%S} UTC"


class Generation(models.Model):
    """One call as its reader sees it: a view over the books (hold, open hold, settlement), so it cannot disagree."""

    class State(models.TextChoices):
        HELD = "held"
        DISPATCHED = "dispatched"
        PARKED = "parked"
        SETTLED = "settled"
        VOIDED = "voided"

    hold_id = models.UUIDField(primary_key=True)
    company_id = models.UUIDField()
    key_id = models.UUIDField()
    kit_id = models.UUIDField()
    tenant_user_id = models.UUIDField()
    state = models.CharField(max_length=12, choices=State.choices)
    generation_id = models.CharField(max_length=200, blank=True)
    model = models.CharField(max_length=256)
    provider = models.CharField(max_length=200, blank=True)
    is_streamed = models.BooleanField()
    cost_usd = models.DecimalField(max_digits=40, decimal_places=30, null=True)
    charged_nanocredits = models.BigIntegerField(null=True)
    held_nanocredits = models.BigIntegerField()
    source = models.CharField(max_length=16, blank=True)
    facts = models.JSONField()
    created_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "llm_generation"

    def __str__(self) -> str:
        return f"gen_{self.hold_id} {self.state}"
