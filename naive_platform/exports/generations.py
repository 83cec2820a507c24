"""Generations as a file: those that the page's filters let through, the newest first."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from accounts import ids
from accounts.models import TenantUser
from billing import money
from llm import history
from llm.history import Filters
from llm.models import Generation
from naive_platform.dashboard import generation_filters
from naive_platform.exports.kind import Kind, Piece, Wanted

ROWS = 1_000
# Of more calls one answer would take too long to be waited for, whatever the filters leave of them.
LONG = 50_000
COLUMNS = (
    *("id", "upstream_id", "created_at", "settled_at", "state", "model", "provider", "streamed"),
    *("user_id", "user", "api_key_id", "account_kit_id", "tokens_prompt", "tokens_completion"),
    *("first_answer_ms", "duration_ms", "finish_reason", "cost_usd", "credits", "credits_held", "source"),
)


def prepare(company_id: UUID, query: Mapping[str, str], now: datetime) -> dict[str, str]:
    """Errors: InvalidInput."""
    return generation_filters.words(query, company_id=company_id, now=now)


def read(company_id: UUID, wanted: Wanted, position: str) -> Piece:
    filters = generation_filters.fixed(wanted)
    page = history.page(company_id=company_id, filters=filters, limit=ROWS, after_id=ids.parse(position))
    users = TenantUser.objects.filter(company_id=company_id).in_bulk(
        {row.tenant_user_id for row in page.generations}
    )
    rows = [_row(generation, users.get(generation.tenant_user_id)) for generation in page.generations]
    if page.after_id is None:
        return Piece(rows, None, 100)
    return Piece(rows, str(page.after_id), _percent(filters, page.after_id))


def is_long(company_id: UUID, wanted: Wanted) -> bool:
    filters = generation_filters.fixed(wanted)
    return history.is_more_than(LONG, company_id=company_id, since=filters.since, until=filters.until)


KIND = Kind(
    name="generations",
    title="Generations",
    route="usage",
    columns=COLUMNS,
    prepare=prepare,
    read=read,
    is_long=is_long,
)


def _row(generation: Generation, user: TenantUser | None) -> list[Any]:
    counts = history.tokens(generation) or (None, None)
    charged = generation.charged_nanocredits
    return [
        f"{history.OURS}{generation.hold_id}",
        generation.generation_id,
        generation.created_at,
        generation.settled_at,
        generation.state,
        generation.model,
        generation.provider,
        "yes" if generation.is_streamed else "no",
        generation.tenant_user_id,
        user,
        generation.key_id,
        generation.kit_id,
        *counts,
        history.fact(generation, "latency_ms"),
        history.fact(generation, "duration_ms"),
        generation.facts.get("finish_reason"),
        generation.cost_usd,
        None if charged is None else money.credits_from_nanocredits(charged),
        money.credits_from_nanocredits(generation.held_nanocredits),
        generation.source,
    ]


def _percent(filters: Filters, reached: UUID) -> int:
    """How much of the time has been looked at: the newest come first."""
    behind = filters.until - history.moment(reached)
    return min(99, max(0, int(100 * (behind / (filters.until - filters.since)))))
