"""What companies' endpoints are told of, and the one way to tell them: in the transaction of what happened."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from django.db import connection, models


class Kind(models.TextChoices):
    """What an endpoint may be told of; all but the test can be subscribed to."""

    CREDITS_LOW = "credits.low"
    CREDITS_EXHAUSTED = "credits.exhausted"
    CREDITS_TOPPED_UP = "credits.topped_up"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    # Told by the books themselves, where they correct (billing/sql/functions/ledger.sql).
    GENERATION_CORRECTED = "generation.corrected"
    TEST = "webhook.test"


KINDS = tuple(kind.value for kind in Kind if kind is not Kind.TEST)

# Where events become deliveries is one function for Python and for the books' SQL (migration 0008).
_TELL = "SELECT accounts_tell_webhooks(%s, %s, %s, %s, %s)"


def tell(
    *,
    company_id: UUID,
    kind: Kind,
    payload: Mapping[str, Any],
    now: datetime,
    only_endpoint_id: UUID | None = None,
) -> int:
    """Tell the company's enabled endpoints that want to hear of it; how many there are.

    Shape: one event with one delivery per endpoint, written in the caller's transaction and sent after its commit;
    nothing is written where nobody listens. With `only_endpoint_id`, that one alone, whatever it listens to.
    Units: amounts in `payload` are credits, as Decimal or as orjson.Fragment.
    """
    data = orjson.dumps(payload, option=orjson.OPT_UTC_Z, default=_other).decode()
    with connection.cursor() as cursor:
        cursor.execute(_TELL, [company_id, kind.value, data, now, only_endpoint_id])
        return int(cursor.fetchone()[0])


def _other(value: object) -> object:
    if isinstance(value, Decimal):
        return orjson.Fragment(f"{value:f}")
    raise TypeError(type(value).__name__)
