"""/v1/status, /v1/usage and /v1/users/{id}/usage: what a company has, and what it was charged for."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast, get_args
from uuid import UUID

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import fields, subjects
from accounts.errors import Forbidden
from billing import entries, ledger, usage
from billing.usage import GroupBy
from naive_platform.api import billing, routes, wire
from naive_platform.api.routes import Route

DAYS, DAYS_MAX = 30, 366
GROUPS = tuple(get_args(GroupBy.__value__))
PARAMETERS = ("days", "limit", "cursor", "group_by")


class Status(Route):
    """GET /v1/status"""

    def get(self, request: Request) -> Response:
        principal = self.principal
        balance = ledger.balance(company_id=self.company_id)
        found = {
            "agent": {
                "key_id": principal.key_id,
                "role": principal.key_role,
                "user_id": principal.default_user_id,
            },
            "company": {
                "id": principal.company_id,
                "name": principal.company_name,
                "status": principal.company_status,
            },
            "credits": {
                "balance": wire.amount(balance.balance_nanocredits),
                "held": wire.amount(balance.held_nanocredits),
                "available": wire.amount(balance.available_nanocredits),
                "is_frozen": balance.is_frozen,
            },
        }
        return routes.answer(found)


class Usage(Route):
    """GET /v1/usage?days=&limit=&cursor=&group_by=&user_id="""

    def get(self, request: Request) -> Response:
        routes.known_parameters(request, *PARAMETERS, "user_id")
        named = request.query_params.get("user_id")
        user_id = None if named is None else routes.subject(self.principal, named).user_id
        return routes.answer(read(request, company_id=self.company_id, user_id=user_id, now=timezone.now()))


class UserUsage(Route):
    """GET /v1/users/{user_id}/usage, also for a narrow key as `/v1/users/me/usage`"""

    opens_to_narrow = True

    def get(self, request: Request, user_id: str) -> Response:
        routes.known_parameters(request, *PARAMETERS)
        if self.principal.is_narrow and user_id != subjects.ME:
            raise Forbidden(
                "This API key reads only its own user's usage.",
                hint="Ask for /v1/users/me/usage.",
                details={"reason": "key_scope"},
            )
        subject = routes.subject(self.principal, user_id)
        found = read(request, company_id=self.company_id, user_id=subject.user_id, now=timezone.now())
        return routes.answer({"user_id": subject.user_id} | found)


def read(request: Request, *, company_id: UUID, user_id: UUID | None, now: datetime) -> dict[str, Any]:
    """What was charged in the last days, entry by entry and added up. Errors: InvalidInput, WalletNotFound."""
    days = routes.number(request, "days", default=DAYS, most=DAYS_MAX)
    group_by = request.query_params.get("group_by")
    if group_by is not None:
        fields.choice("group_by", group_by, GROUPS)
    since = now - timedelta(days=days)
    balance = ledger.balance(company_id=company_id)
    page = entries.page(
        company_id=company_id,
        limit=routes.limit(request),
        before_seq=routes.cursor(request),
        since=since,
        tenant_user_id=user_id,
    )
    groups = usage.summary(
        company_id=company_id,
        since=since,
        # The hour that runs is part of it.
        until=now + timedelta(hours=1),
        group_by=cast("GroupBy | None", group_by),
        tenant_user_id=user_id,
    )
    return {
        "balance": wire.amount(balance.balance_nanocredits),
        "held": wire.amount(balance.held_nanocredits),
        "transactions": [billing.entry_object(entry) for entry in page.entries],
        "next_cursor": routes.next_cursor(page.before_seq),
        "summary": {"since": since, "days": days, **_sums(groups)}
        | ({"group_by": group_by, "groups": [_group(group) for group in groups]} if group_by else {}),
    }


def _sums(groups: Sequence[usage.Usage]) -> dict[str, Any]:
    return {
        "calls": sum(group.calls for group in groups),
        "voided_calls": sum(group.voided_calls for group in groups),
        "tokens_prompt": sum(group.tokens_prompt for group in groups),
        "tokens_completion": sum(group.tokens_completion for group in groups),
        "cost_usd": sum(group.cost_usd for group in groups),
        "credits_used": wire.amount(sum(group.charged_nanocredits for group in groups)),
        "overrun": wire.amount(sum(group.overrun_nanocredits for group in groups)),
    }


def _group(group: usage.Usage) -> dict[str, Any]:
    return {"group": group.group, **_sums([group])}
