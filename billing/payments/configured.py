"""Which payment provider this platform uses: Stripe where it is set up, its stand-in in DEBUG, else none."""

import hmac

from django.conf import settings

from accounts.errors import NotConfigured
from billing.payments.fake import FakeStripe
from billing.payments.provider import Provider
from billing.payments.stripe_checkout import StripeCheckout


def provider() -> Provider:
    """The payment provider. Errors: NotConfigured naming what is missing."""
    if is_fake():
        return FakeStripe(webhook_secret=fake_secret())
    missing = [name for name in ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET") if not getattr(settings, name)]
    if missing:
        raise NotConfigured(
            f"Top-ups are not set up on this platform: {' and '.join(missing)} missing.",
            hint="The operator of this platform sets it; until then the operator can top up by hand.",
            details={"missing": missing},
        )
    return StripeCheckout(
        secret_key=settings.STRIPE_SECRET_KEY,
        webhook_secret=settings.STRIPE_WEBHOOK_SECRET,
        api_base=settings.STRIPE_API_BASE,
    )


def is_fake() -> bool:
    """Whether payments are played: on a development machine without a key of Stripe's."""
    return bool(settings.DEBUG and not settings.STRIPE_SECRET_KEY)


def fake_secret() -> str:
    """What the stand-in signs its webhooks with: known to whoever knows SECRET_KEY, and to nobody else."""
    return f"whsec_{hmac.digest(settings.SECRET_KEY.encode(), b'fake stripe', 'sha256').hex()}"
