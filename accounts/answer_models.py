"""The rows of answers kept for Idempotency-Keys; the rules about them are in idempotency.py."""

from django.db import models


class IdempotentAnswer(models.Model):
    """What a mutation answered under an Idempotency-Key; accounts/idempotency.py alone reads and writes it."""

    pk = models.CompositePrimaryKey("company_id", "key_sha256")
    company_id = models.UUIDField()
    key_sha256 = models.BinaryField(max_length=32)
    # SHA-256 of what was asked, so that one key never answers two questions.
    fingerprint = models.BinaryField(max_length=32)
    status = models.SmallIntegerField()
    # Encrypted; null where it was too long to keep.
    answer = models.BinaryField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "accounts_idempotent_answer"
        indexes = [models.Index(fields=["created_at"], name="accounts_idempotent_created")]

    def __str__(self) -> str:
        return f"answer {self.status} of company {self.company_id}"
