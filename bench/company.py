"""The company that the bench calls as; runs inside `manage.py shell`, with Django set up."""

import json
import secrets

from django.utils import timezone

from billing import ledger
from naive_platform import onboarding

# A call costs 0.00035 credits, so that no run comes near the end of these.
GRANT_NANOCREDITS = 1_000_000 * 10**9


def create() -> None:
    """Sign a company up, give it credits, and print its key as one line of JSON."""
    signed_up = onboarding.sign_up(
        email="bench@example.com",
        password=secrets.token_urlsafe(24),
        name="Bench",
        company_name="Bench",
        now=timezone.now(),
    )
    ledger.post(
        company_id=signed_up.company.id,
        amount_nanocredits=GRANT_NANOCREDITS,
        action="grant",
        reference="bench",
        note="Credits to run the bench with.",
    )
    print(json.dumps({"api_key": signed_up.api_key_secret}))
