"""Deliveries of webhooks, verified as Standard Webhooks says: what is not signed with your secret is not ours.

event = naive.webhooks.verify(request.body, request.headers, secret=SECRET)
if event.type == "credits.low": ...
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from naive import errors, lazy, numbers

if TYPE_CHECKING:
    from naive import types
else:
    types = lazy.module("naive.types")

PREFIX = "whsec_"
VERSION = "v1"
# How far a delivery's clock and ours may be apart; older ones may be somebody's replay. Unit: seconds.
TOLERANCE_S = 300
# Of a time in seconds. Python reads no number of thousands of them.
DIGITS_MAX = 15


def verify(
    body: bytes | str,
    headers: Mapping[str, str],
    *,
    secret: str,
    tolerance_s: float = TOLERANCE_S,
    clock: Callable[[], float] = time.time,  # noqa: TID251 (a signature's time is a wall clock's)
) -> types.Event:
    """Return the event of a delivery whose signature is right.

    Shape: `body` as it came, before anything reads it as JSON; `headers` in any case. After a rotation of the secret
    a delivery has two signatures, of which one is enough. The same event may come more than once: its `webhook-id`
    is then the same.
    Errors: WebhookVerificationError.
    Source: standardwebhooks.com, "Verifying webhook authenticity".
    """
    raw = body.encode() if isinstance(body, str) else bytes(body)
    told = {name.lower(): value for name, value in headers.items()}
    message_id, sent_at, signatures = (
        told.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
    )
    if not (message_id and sent_at and signatures):
        raise _refused("The headers webhook-id, webhook-timestamp and webhook-signature are not all there.")
    _check_age(sent_at, tolerance_s=tolerance_s, now_s=clock())
    right = sign(raw, message_id=message_id, timestamp=sent_at, secret=secret)
    if not any(hmac.compare_digest(right.encode(), _bytes(given)) for given in signatures.split()):
        raise _refused("No signature of the delivery was made with this secret.")
    try:
        return types.Event.read(numbers.read(raw))
    except ValueError as exc:
        raise _refused("The delivery is signed, and its body is no event.") from exc


def sign(body: bytes, *, message_id: str, timestamp: str, secret: str) -> str:
    """Return the signature of a delivery, such as `v1,K5oZ…=`: for tests of what receives them."""
    signed = _bytes(f"{message_id}.{timestamp}.") + body
    return f"{VERSION}," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise errors.ConfigurationError(
            "The secret is none of an endpoint's: those begin with whsec_.", code="invalid_secret"
        ) from exc
    if not key:
        raise errors.ConfigurationError("The endpoint's secret is empty.", code="invalid_secret")
    return key


def _bytes(text: str) -> bytes:
    # Some servers hand on a header's foreign bytes as lone surrogates; those are wrong, and no reason to fail.
    return text.encode(errors="surrogatepass")


def _check_age(sent_at: str, *, tolerance_s: float, now_s: float) -> None:
    if not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) <= DIGITS_MAX):
        raise _refused("webhook-timestamp is no time.")
    if abs(now_s - int(sent_at)) > tolerance_s:
        raise _refused(f"The delivery was sent more than {tolerance_s:g} s before or after now.")


def _refused(message: str) -> errors.WebhookVerificationError:
    return errors.WebhookVerificationError(
        message, code="webhook_not_verified", hint="Answer it with 400 and do nothing else."
    )
