"""Secrets of webhook endpoints: made, sealed for the database, and used to sign as Standard Webhooks says."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from standardwebhooks import Webhook

from accounts import ciphers

PREFIX = "whsec_"
# Standard Webhooks: 24 to 64 bytes.
SECRET_BYTES = 32
PURPOSE = "webhook-secrets"


def generate() -> str:
    """A new secret, as its owner gets to see it once."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def seal(secret: str, *, endpoint_id: UUID) -> bytes:
    """What is kept; it opens for this endpoint only."""
    return ciphers.encrypt(secret.encode(), purpose=PURPOSE, about=endpoint_id.bytes)


def unseal(sealed: bytes, *, endpoint_id: UUID) -> str | None:
    """The secret again; None where SECRET_KEY is another one by now."""
    found = ciphers.decrypt(sealed, purpose=PURPOSE, about=endpoint_id.bytes)
    return None if found is None else found.decode()


def headers(*, message_id: str, body: str, signed_with: Sequence[str], now: datetime) -> dict[str, str]:
    """The three headers of a delivery, with one signature for each secret.

    Source: Standard Webhooks, "Signature scheme".
    """
    signatures = [Webhook(secret).sign(message_id, now, body) for secret in signed_with]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
