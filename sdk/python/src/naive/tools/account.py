"""The tools about the account itself: what was used and is left, and who asks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from naive import errors, types
from naive.tools.tool import Amount, ForUser, Input, Output, Steps, Tool

GROUPS = 5
# What a credential for one tenant user or one kit is told at the company's own routes.
NARROW = "key_scope"


class UsageQuery(ForUser):
    """Of which days."""

    days: int = Field(30, ge=1, le=366, description="How many days back.")


class ModelUsage(Output):
    """What one model was used for."""

    model: str
    calls: int
    credits_used: Amount


class Usage(Output):
    """What is left and what was used; `available` is the balance without what running calls hold."""

    balance: Amount
    held: Amount
    available: Amount
    days: int
    calls: int
    credits_used: Amount
    by_model: list[ModelUsage]
    more: str | None = None


class Nothing(Input):
    """No arguments."""


class Whoami(Output):
    """Whose credential this is and what limits it has."""

    company: str
    company_status: str
    kind: str
    role: str
    is_narrow: bool = Field(description="Whether it acts for one tenant user or one account kit only.")
    user_id: str
    external_id: str | None = None
    user_status: str
    cap_credits: Amount | None = Field(None, description="What this key may spend in each cap_period.")
    cap_period: str | None = None
    requests_per_minute: int | None = None
    expires_at: datetime | None = None


def usage(client: Any, given: UsageQuery) -> Steps[Usage]:
    wanted = {"days": given.days, "group_by": "model", "limit": 1}
    if given.user_id is not None:
        found = yield client.users.usage(given.user_id, **wanted)
    else:
        try:
            found = yield client.usage(**wanted)
        except errors.PermissionDeniedError as exc:
            if exc.reason != NARROW:
                raise
            found = yield client.users.usage("me", **wanted)
    return _usage(found)


def whoami(client: Any, given: Nothing) -> Steps[Whoami]:
    me: types.Me = yield client.auth.me()
    return Whoami(
        company=me.company.name,
        company_status=me.company.status,
        kind=me.kind,
        role=me.role,
        is_narrow=me.is_narrow,
        user_id=me.user.id,
        external_id=me.user.external_id,
        user_status=me.user.status,
        cap_credits=me.key.cap_credits if me.key else None,
        cap_period=me.key.cap_period if me.key else None,
        requests_per_minute=me.key.requests_per_minute if me.key else None,
        expires_at=me.expires_at,
    )


def _usage(found: types.Usage) -> Usage:
    groups = sorted(found.summary.groups or [], key=lambda group: group.credits_used, reverse=True)
    left = len(groups) - GROUPS
    return Usage(
        balance=found.balance,
        held=found.held,
        available=found.balance - found.held,
        days=found.summary.days,
        calls=found.summary.calls,
        credits_used=found.summary.credits_used,
        by_model=[
            ModelUsage(model=group.group, calls=group.calls, credits_used=group.credits_used)
            for group in groups[:GROUPS]
        ],
        more=f"{left} more models, each cheaper than these." if left > 0 else None,
    )


USAGE = Tool(
    name="naive_usage",
    title="Credits left and used",
    description=(
        "Read the credits that are left and what was spent, by model. Free. Of the company, or of one user where "
        "user_id is given or the key is for one user only; the balance is the company's in either case."
    ),
    input=UsageQuery,
    output=Usage,
    run=usage,
    is_read_only=True,
    is_idempotent=True,
    is_open_world=False,
)
WHOAMI = Tool(
    name="naive_whoami",
    title="Who am I",
    description="Read which company, user and role this credential acts for, and its own limits. Free.",
    input=Nothing,
    output=Whoami,
    run=whoami,
    is_read_only=True,
    is_idempotent=True,
    is_open_world=False,
)
