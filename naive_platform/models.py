"""Rows of the roof itself: files that companies asked for. What is done with them is in exports/."""

from django.db import models
from django.db.models import Q

from accounts import ids
from accounts.models import Company, User


class Export(models.Model):
    """A file that is too long for one answer: who asked for what, how far it is, and until when it is kept."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    company = models.ForeignKey(Company, on_delete=models.PROTECT, related_name="+")
    asked_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    # One of exports/kinds.py, and what of it: the words that its kind understands, with every moment fixed.
    kind = models.CharField(max_length=32)
    wanted = models.JSONField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.QUEUED.value)
    # What stands in the chunks: all up to `position`, from where it goes on.
    position = models.CharField(max_length=200, blank=True)
    chunks = models.IntegerField(default=0)
    rows = models.BigIntegerField(default=0)
    size_bytes = models.BigIntegerField(default=0)
    percent = models.SmallIntegerField(default=0)
    # Who writes it, until when nobody else does, and how often somebody began since the last chunk.
    claim = models.UUIDField(null=True)
    due_at = models.DateTimeField()
    attempts = models.SmallIntegerField(default=0)
    error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "naive_platform_export"
        indexes = [
            models.Index(fields=["company", "-id"], name="naive_export_of_company"),
            models.Index(
                fields=["due_at"], condition=Q(state__in=["queued", "running"]), name="naive_export_due"
            ),
            models.Index(fields=["expires_at"], name="naive_export_expires"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running"], ended_at=None, expires_at=None)
                | Q(state__in=["done", "failed"], ended_at__isnull=False, expires_at__isnull=False),
                name="naive_export_ends",
            ),
            models.CheckConstraint(
                condition=Q(percent__gte=0, percent__lte=100), name="naive_export_percent"
            ),
        ]

    def __str__(self) -> str:
        return f"export {self.id} of {self.kind}"

    @property
    def is_over(self) -> bool:
        return self.state in (self.State.DONE, self.State.FAILED)


class ExportChunk(models.Model):
    """A piece of an export's file, deflated. In the database, where every gateway and every worker finds it."""

    id = models.BigAutoField(primary_key=True)
    export = models.ForeignKey(Export, on_delete=models.CASCADE, related_name="+")
    number = models.IntegerField()
    body = models.BinaryField()

    class Meta:
        db_table = "naive_platform_export_chunk"
        constraints = [models.UniqueConstraint(fields=["export", "number"], name="naive_export_chunk_once")]

    def __str__(self) -> str:
        return f"chunk {self.number} of export {self.export_id}"
