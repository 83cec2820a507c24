"""What a crowd lacks and some page shows: a webhook with its deliveries, an export, an invitation, a stored prompt and
such; made in a transaction that is taken back. Runs with Django set up."""

import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from accounts.invitation_models import Invitation
from accounts.models import AccountKit
from accounts.session_models import UserSession
from bench import crowd
from billing import alerts
from billing.models import Alert
from billing.report_models import MovementRequest
from llm import prompts
from llm.prompt_models import StoredPrompt
from naive_platform.models import Export

SESSIONS, INVITATIONS, EXPORTS, DELIVERIES = 500, 50, 50, 2_000
TEXT = b"How do I keep a page quick? " * 200


def add(*, company_id: UUID, values: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Give a company these things; what may stand in an address, by its name there."""
    owner_id = values["owner"]
    endpoint = crowd.deliveries(company_id, DELIVERIES, now)
    delivery = endpoint.deliveries.order_by("id").last()
    invitations = Invitation.objects.bulk_create(
        Invitation(
            company_id=company_id, email=f"guest-{number}@seed.test", role="member", invited_by_id=owner_id,
            digest=secrets.token_bytes(32), created_at=now, sent_at=now, expires_at=now + timedelta(days=7),
        )
        for number in range(INVITATIONS)
    )  # fmt: skip
    exports = Export.objects.bulk_create(
        Export(
            company_id=company_id, asked_by_id=owner_id, kind="generations", wanted={}, due_at=now, created_at=now
        )
        for _ in range(EXPORTS)
    )  # fmt: skip
    sessions = UserSession.objects.bulk_create(
        UserSession(
            company_id=company_id, tenant_user_id=values["user_id"], api_key_id=values["key_id"],
            digest=secrets.token_bytes(32), created_at=now, expires_at=now + timedelta(days=1),
        )
        for _ in range(SESSIONS)
    )  # fmt: skip
    _prompt(company_id, values, now)
    return {
        "webhook_id": f"{endpoint.id}",
        "delivery_id": delivery and f"{delivery.id}",
        "invitation_id": f"{invitations[0].id}",
        "export_id": exports[0].id,
        "session_id": sessions[0].id,
    }


def add_for_operator(*, company_id: UUID, now: datetime) -> dict[str, Any]:
    """The same for the console: an alert, and a movement that waits for a second person."""
    alerts.raise_alert("catalog_not_refreshed", reference="bench", message="The catalogue is old.")
    asked = MovementRequest.objects.create(
        company_id=company_id, action="grant", amount_nanocredits=10**12, reference="bench", reason="Goodwill",
        asked_by="operator:bench", asked_at=now,
    )  # fmt: skip
    return {"alert_id": Alert.objects.get(reference="bench").id, "request_id": asked.id}


def _prompt(company_id: UUID, values: dict[str, Any], now: datetime) -> None:
    hold_id = values["hold_id"]
    AccountKit.objects.filter(id=values["kit_id"]).update(prompt_retention_days=7, prompts_since_at=now)
    request, answer = (
        prompts.seal(TEXT, company_id=company_id, hold_id=hold_id, part=part)
        for part in (prompts.REQUEST, prompts.ANSWER)
    )
    StoredPrompt.objects.create(
        company_id=company_id, hold_id=hold_id, kit_id=values["kit_id"], request=request, answer=answer,
        is_request_cut=False, is_answer_cut=False, called_at=now, expires_at=now + timedelta(days=7),
    )  # fmt: skip
