"""Figures of outgoing webhooks that an operator watches, of all companies together."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

# Of what is pending, what waits for nobody but us: that is late.
_FIGURES = """
    SELECT count(*), count(*) FILTER (WHERE d.attempts > 0 AND d.claimed_until IS NULL),
           coalesce(extract(epoch FROM %(now)s - min(d.next_at) FILTER (
               WHERE d.next_at <= %(now)s AND e.disabled_at IS NULL AND c.status <> 'suspended')), 0),
           (SELECT count(*) FROM accounts_webhook_delivery WHERE state = 'failed'),
           (SELECT count(*) FROM accounts_webhook_endpoint WHERE failing_since IS NOT NULL AND disabled_at IS NULL),
           (SELECT count(*) FROM accounts_webhook_endpoint WHERE disabled_reason IN ('failing', 'gone'))
      FROM accounts_webhook_delivery d
      LEFT JOIN accounts_webhook_endpoint e ON e.id = d.endpoint_id LEFT JOIN accounts_company c ON c.id = e.company_id
     WHERE d.state = 'pending'
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """How deliveries stand: on their way, of these after a failure, how late the latest is, failed for good; and how
    many endpoints fail, or were disabled by us."""

    pending: int
    retrying: int
    late_s: float
    failed: int
    failing_endpoints: int
    disabled_endpoints: int


def read(*, now: datetime) -> Figures:
    """What an operator watches, of everybody's deliveries."""
    with connection.cursor() as cursor:
        cursor.execute(_FIGURES, {"now": now})
        pending, retrying, late_s, *others = cursor.fetchone()
    return Figures(pending, retrying, float(late_s), *others)
