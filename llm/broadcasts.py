"""What upstream broadcasts of ended generations: evidence for calls whose gateway died before it knew their cost.

It settles open holds only. A call that is settled is compared, and a difference is left to a person.
"""

import asyncio
import hmac
import logging
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import orjson
from django.conf import settings

from accounts.errors import Unauthorized
from billing import settlement, standings
from billing.errors import BooksUnavailable
from billing.settlement import Evidence
from billing.standings import Name, Standing
from llm import traces
from llm.errors import NotConfigured
from llm.traces import Span

log = logging.getLogger(__name__)

# More in one delivery are looked up and settled so many at a time.
SPANS_AT_ONCE = 200

type Outcome = Literal["settled", "known", "unknown", "quarantined", "ignored"]


def authenticate(*, authorization: str | None, secret: str | None) -> None:
    """Let in who knows BROADCAST_SECRET, as a bearer token or in a header of its own.

    Errors: NotConfigured where there is no such secret, Unauthorized.
    """
    expected = settings.BROADCAST_SECRET
    if not expected:
        raise NotConfigured(
            "This platform takes no broadcasts: BROADCAST_SECRET is not set.",
            hint="Set it, and send it in the header X-Broadcast-Secret (docs/broadcast.md).",
        )
    scheme, _, token = (authorization or "").partition(" ")
    offered = [secret or "", token.strip() if scheme.lower() == "bearer" else ""]
    # Both are compared whole, however little of them is right.
    matches = [hmac.compare_digest(one.encode(), expected.encode()) for one in offered]
    if not any(matches):
        raise Unauthorized(
            "The broadcast's secret is missing or wrong.",
            hint="Send BROADCAST_SECRET in the header X-Broadcast-Secret.",
        )


async def receive(raw: bytes) -> Counter[Outcome]:
    """Take one delivery of OTLP JSON; whoever gets an answer may forget what it sent.

    Shape: how many spans had which outcome: settled (this delivery charged an open hold), known (the books say the
    same, or settled it meanwhile), quarantined (for a person), unknown (no call of ours), ignored (no cost, no sense).
    Errors: InvalidInput; BooksUnavailable where not everything could be written down: then all of it is to be sent
    again, which changes nothing for what was.
    Source: docs/money.md, docs/broadcast.md.
    """
    told = traces.read(raw)
    counts: Counter[Outcome] = Counter()
    counts["ignored"] = told.ignored
    for start in range(0, len(told.spans), SPANS_AT_ONCE):
        counts.update(await _carry_out(told.spans[start : start + SPANS_AT_ONCE]))
    if counts["unknown"]:
        log.info("Broadcast: %d spans name no call of this platform's", counts["unknown"])
    return counts


async def _carry_out(spans: Sequence[Span]) -> list[Outcome]:
    found = list(zip(spans, await _standings(spans), strict=True))
    waiting = [span for span, standing in found if standing is not None and standing.is_open]
    if waiting:
        # The gateway of a call that has just ended is about to settle it, from evidence that is better than this.
        await asyncio.sleep(settings.BROADCAST_GRACE_S)
        found = [pair for pair in found if pair[1] is None or not pair[1].is_open]
        found += zip(waiting, await _standings(waiting), strict=True)
    outcomes = await asyncio.gather(*(_act(*pair) for pair in found), return_exceptions=True)
    return [_outcome(one) for one in outcomes]


async def _standings(spans: Sequence[Span]) -> list[Standing | None]:
    return await standings.find([Name(span.hold_id, span.digest, span.generation_id) for span in spans])


async def _act(span: Span, standing: Standing | None) -> Outcome:
    if standing is None:
        return "unknown"
    if _is_anothers(span, standing):
        await _report("generation_mismatch", span, standing)
        return "quarantined"
    if standing.is_open:
        return await _settle(span, standing)
    if span.cost_usd == (standing.cost_usd or Decimal(0)):
        return "known"
    await _report("late_broadcast", span, standing)
    return "quarantined"


def _is_anothers(span: Span, standing: Standing) -> bool:
    """Whether the trace names another user than we sent, or another generation than an open hold waits for."""
    if span.user and standing.user and span.user != standing.user:
        return True
    ids = (span.generation_id, standing.generation_id)
    return standing.is_open and all(ids) and ids[0] != ids[1]


async def _settle(span: Span, standing: Standing) -> Outcome:
    evidence = Evidence(
        source="broadcast",
        cost_usd=span.cost_usd,
        generation_id=span.generation_id or standing.generation_id,
        details=orjson.dumps(span.facts),
    )
    ended = await settlement.settle(hold=standing.key, evidence=evidence)
    if ended.outcome == "spooled":
        # It lies on this machine's disk; that it is sent again costs nothing.
        raise BooksUnavailable("The database is away.", hint="Send it again in a moment.")
    if ended.outcome == "posted":
        log.warning("Hold %s: charged from what upstream broadcast", standing.key.hold_id)
        return "settled"
    return "known" if ended.is_charged else "quarantined"


async def _report(
    kind: Literal["generation_mismatch", "late_broadcast"], span: Span, standing: Standing
) -> None:
    await standings.report(
        kind,
        reference=f"gen_{standing.key.hold_id}:broadcast:{span.generation_id}:{span.cost_usd} USD",
        key=standing.key,
        details={
            "source": "broadcast",
            "cost_usd": str(span.cost_usd),
            "generation_id": span.generation_id,
            "user": span.user,
            "details": span.facts,
            "settled_from": standing.source,
            "settled_cost_usd": None if standing.cost_usd is None else str(standing.cost_usd),
            "settled_generation_id": standing.generation_id,
        },
    )


def _outcome(found: Outcome | BaseException) -> Outcome:
    if isinstance(found, BaseException):
        raise found
    return found
