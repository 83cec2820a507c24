"""The rows of session tokens; the rules about them are in sessions.py."""

from django.db import models

from accounts import ids


class UserSession(models.Model):
    """A bearer token of one tenant user's, for a while; the secret itself is nowhere, only its digest."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    company = models.ForeignKey("accounts.Company", on_delete=models.PROTECT, related_name="user_sessions")
    # Whom it is sealed to. Constrained together with company_id, in migration 0007; so is the key.
    tenant_user = models.ForeignKey(
        "accounts.TenantUser", on_delete=models.PROTECT, related_name="sessions", db_constraint=False
    )
    # What issued it: it ends with that key, and its calls count as that key's.
    api_key = models.ForeignKey(
        "accounts.APIKey", on_delete=models.PROTECT, related_name="sessions", db_constraint=False
    )
    digest = models.BinaryField(max_length=32, unique=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "accounts_user_session"
        indexes = [
            models.Index(fields=["company", "tenant_user", "-id"], name="accounts_user_session_of_user"),
            models.Index(fields=["expires_at"], name="accounts_user_session_ends"),
        ]

    def __str__(self) -> str:
        return f"session {self.id} of {self.tenant_user_id}"
