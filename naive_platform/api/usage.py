"""/v1/status, /v1/usage and /v1/users/{id}/usage: what a company has, and what it was charged for."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast, get_args
from uuid import UUID

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import subjects
from accounts.errors import Forbidden, NotFound
from accounts.models import CompanyStatus, Role
from billing import entries, ledger, usage
from billing.usage import GroupBy
from naive_platform.api import billing, contract, routes, shapes, wire
from naive_platform.api.routes import Route

DAYS, DAYS_MAX = 30, 366
GROUPS = tuple(get_args(GroupBy.__value__))


class AgentShape(shapes.Answer):
    """The credential that asks; `key_id` is null for a person signed in."""

    key_id = shapes.Id(allow_null=True)
    role = shapes.Choice(Role.values)
    user_id = shapes.Id(help_text="For whom its calls are where they name nobody.")


class StatusCompanyShape(shapes.Answer):
    id = shapes.Id()
    name = shapes.Text()
    status = shapes.Choice(CompanyStatus.values)


class CreditsShape(shapes.Answer):
    """What is left (available) is the balance without what is held; in credits."""

    balance = shapes.Amount()
    held = shapes.Amount()
    available = shapes.Amount()
    is_frozen = shapes.Truth()


class StatusShape(shapes.Answer):
    agent = AgentShape()
    company = StatusCompanyShape()
    credits = CreditsShape()


class UserUsageQuery(shapes.Page):
    days = shapes.Whole(min_value=1, max_value=DAYS_MAX, default=DAYS, help_text="How far back.")
    group_by = shapes.Choice(GROUPS, default=None, help_text="Add `summary.groups` by this.")


class UsageQuery(UserUsageQuery):
    user_id = shapes.Text(
        max_length=260, default=None, help_text="One tenant user: an id, `ext:<external_id>` or `default`."
    )


class SumsShape(shapes.Answer):
    calls = shapes.Whole(min_value=0, max_value=2**53)
    voided_calls = shapes.Whole(min_value=0, max_value=2**53)
    tokens_prompt = shapes.Whole(min_value=0, max_value=2**53)
    tokens_completion = shapes.Whole(min_value=0, max_value=2**53)
    cost_usd = shapes.Amount()
    credits_used = shapes.Amount()
    overrun = shapes.Amount()


class GroupShape(SumsShape):
    group = shapes.Text(help_text="A date, an hour, a model or an id, by `group_by`.")


class SummaryShape(SumsShape):
    since = shapes.Instant()
    days = shapes.Whole(min_value=1, max_value=DAYS_MAX)
    group_by = shapes.Choice(GROUPS, required=False)
    groups = GroupShape(many=True, required=False)


class UsageShape(shapes.Answer):
    balance = shapes.Amount()
    held = shapes.Amount()
    transactions = billing.EntryShape(many=True)
    next_cursor = shapes.Text(allow_null=True)
    summary = SummaryShape()


class UserUsageShape(UsageShape):
    user_id = shapes.Id()


class Status(Route):
    """GET /v1/status"""

    name = "status"

    @contract.describe(summary="Read who asks, and what credits there are", answers={200: StatusShape})
    def get(self, request: Request) -> Response:
        caller = self.caller
        balance = ledger.balance(company_id=self.company_id)
        found = {
            "agent": {
                "key_id": caller.key and caller.key.key_id,
                "role": caller.role,
                "user_id": caller.default_user_id,
            },
            "company": {
                "id": caller.company_id,
                "name": caller.company_name,
                "status": caller.company_status,
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

    name = "usage"

    @contract.describe(
        summary="Read what was charged, entry by entry and added up",
        query=UsageQuery,
        answers={200: UsageShape},
        refuses=(NotFound,),
    )
    def get(self, request: Request) -> Response:
        named = self.query["user_id"]
        user_id = None if named is None else routes.subject(self.caller, named).user_id
        return routes.answer(
            read(self.query, company_id=self.company_id, user_id=user_id, now=timezone.now())
        )


class UserUsage(Route):
    """GET /v1/users/{user_id}/usage, also for a narrow key as `/v1/users/me/usage`"""

    name = "user-usage"

    @contract.describe(
        summary="Read what one tenant user was charged for",
        query=UserUsageQuery,
        answers={200: UserUsageShape},
        refuses=(NotFound,),
    )
    def get(self, request: Request, user_id: str) -> Response:
        if self.caller.is_narrow and user_id != subjects.ME:
            raise Forbidden(
                "This API key reads only its own user's usage.",
                hint="Ask for /v1/users/me/usage.",
                details={"reason": "key_scope"},
            )
        subject = routes.subject(self.caller, user_id)
        found = read(self.query, company_id=self.company_id, user_id=subject.user_id, now=timezone.now())
        return routes.answer({"user_id": subject.user_id} | found)


def read(
    query: Mapping[str, Any], *, company_id: UUID, user_id: UUID | None, now: datetime
) -> dict[str, Any]:
    """What was charged in the last days, entry by entry and added up. Errors: InvalidInput, WalletNotFound."""
    days, group_by = query["days"], query["group_by"]
    since = now - timedelta(days=days)
    balance = ledger.balance(company_id=company_id)
    page = entries.page(
        company_id=company_id,
        limit=query["limit"],
        before_seq=routes.cursor(query["cursor"], kind=int),
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
