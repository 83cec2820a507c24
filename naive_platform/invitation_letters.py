"""The letter of an invitation, where EMAIL_URL is set: sent as it is made, since its link is kept nowhere."""

import logging
import smtplib

from django.conf import settings
from django.core.mail import EmailMessage

from accounts.invitation_models import Invitation
from accounts.models import Company, User

log = logging.getLogger(__name__)

SUBJECT = "You are invited to {company}"
# A company is called what its people like: its name stands between quotes, and apart from our own words.
TEXT = """{inviter} invites you to join "{company}" as {role}.

Accept until {until} UTC, signed in with this address ({email}):
{link}

If you expected no invitation, do nothing: it ends by itself.
"""


def send(*, invitation: Invitation, company: Company, inviter: User, link: str) -> bool:
    """Write to whom an invitation is for; False where there is no e-mail, or it was not taken.

    Shape: tried once, for as long as EMAIL_TIMEOUT_S; outside any transaction. The inviter has the link in any case.
    """
    if not settings.EMAIL_URL:
        return False
    words = {
        "company": company.name,
        "inviter": f"{inviter.name} ({inviter.email})" if inviter.name else inviter.email,
        "role": invitation.role,
        "until": f"{invitation.expires_at:%-d %B %Y %H:%M}",
        "email": invitation.email,
        "link": link,
    }
    letter = EmailMessage(subject=SUBJECT.format(**words), body=TEXT.format(**words), to=[invitation.email])
    try:
        return letter.send() == 1
    except (smtplib.SMTPException, OSError, ValueError) as exc:
        log.warning("Invitation %s was not sent by e-mail: %s", invitation.id, type(exc).__name__)
        return False
