"""The rows of stored prompts; llm/prompts.py writes them, llm/stored_prompts.py reads and deletes them."""

from django.db import models


class StoredPrompt(models.Model):
    """What one call asked and was answered, apart from its generation, which lives on without it."""

    pk = models.CompositePrimaryKey("company_id", "hold_id")
    company_id = models.UUIDField()
    hold_id = models.UUIDField()
    # Without a foreign key: a kit that is deleted leaves its rows to the purge.
    kit_id = models.UUIDField()
    # Compressed, then encrypted. The answer is null where none came, or none that is text.
    request = models.BinaryField()
    answer = models.BinaryField(null=True)
    # Whether it was longer than what is stored of it.
    is_request_cut = models.BooleanField()
    is_answer_cut = models.BooleanField()
    called_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "llm_stored_prompt"
        indexes = [
            models.Index(fields=["expires_at"], name="llm_stored_prompt_expires"),
            models.Index(fields=["company_id", "kit_id", "called_at"], name="llm_stored_prompt_of_kit"),
        ]

    def __str__(self) -> str:
        return f"prompt of gen_{self.hold_id}"
