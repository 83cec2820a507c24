"""The rows of invitations into a company; the rules about them are in invitations.py."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower

from accounts import ids

ROLES = ["owner", "admin", "member", "viewer"]


class Invitation(models.Model):
    """A place in a company, offered to an e-mail address for a while; the token is nowhere, only its digest."""

    class State(models.TextChoices):
        OPEN = "open"
        ACCEPTED = "accepted"
        WITHDRAWN = "withdrawn"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    company = models.ForeignKey("accounts.Company", on_delete=models.PROTECT, related_name="invitations")
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=16)
    digest = models.BinaryField(max_length=32, unique=True)
    # Who sent it the last time; it is worth what they may give.
    invited_by = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="invitations_sent")
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "accounts_invitation"
        indexes = [models.Index(fields=["company", "-id"], name="accounts_invitation_list")]
        constraints = [
            models.UniqueConstraint(
                F("company"),
                Lower("email"),
                condition=Q(accepted_at=None, withdrawn_at=None),
                name="accounts_invitation_once",
            ),
            models.CheckConstraint(condition=Q(role__in=ROLES), name="accounts_invitation_role"),
            models.CheckConstraint(
                condition=Q(accepted_at=None) | Q(withdrawn_at=None), name="accounts_invitation_ends_once"
            ),
        ]

    def __str__(self) -> str:
        return f"invitation {self.id} into {self.company_id}"

    def state_at(self, now: datetime) -> "Invitation.State":
        """What has become of it by `now`."""
        if self.accepted_at is not None:
            return self.State.ACCEPTED
        if self.withdrawn_at is not None:
            return self.State.WITHDRAWN
        return self.State.OPEN if now < self.expires_at else self.State.EXPIRED
