"""What Celery does for the data plane: settle what is still open, bring spools home, refresh the catalogue."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from celery import shared_task
from django.db import connection

from billing import reconciliation, spool
from billing.errors import BooksUnavailable
from billing.reconciliation import OpenHold
from llm import catalog, metering, upstream
from llm.errors import NotConfigured, UpstreamError

log = logging.getLogger(__name__)

# What is claimed at once, and how many look-ups run beside each other: even if upstream lets all of them time out, the
# round ends before its lease does.
CLAIM_HOLDS_MAX = 20
LOOK_UPS_AT_ONCE = 4
# Of a record's words, none is longer; its numbers are counts.
FACT_CHARACTERS_MAX = 200
FACT_INTEGER_MAX = 2**63 - 1


@shared_task
def sweep_open_holds() -> None:
    """Settle open holds whose time has come from upstream's own records. Safe to run twice, and beside itself."""
    sweep_due(look_up=look_up)


@shared_task
def replay_spool() -> None:
    """Apply what gateways on this machine wrote down while the database was away."""
    spool.replay()


@shared_task
def refresh_catalog() -> None:
    """Fetch upstream's models; where it does not answer, the catalogue of before is served on."""
    try:
        body = upstream.look_up("models")
        with connection.cursor() as cursor:
            found = catalog.save(body, cursor.execute)
    except (UpstreamError, NotConfigured, ValueError) as exc:
        log.warning("Catalogue not refreshed: %s", exc)
        return
    log.info("Catalogue refreshed: %s models", len(found.models))


def sweep_due(*, look_up: Callable[[OpenHold], dict[str, Any]]) -> None:
    """Act on every open hold that is due, round by round, until none is or a lease's time is over.

    Shape: `look_up` returns upstream's record of a hold's call, {} where there is none; it runs on several threads.
    A hold that fails is put off and stops no other.
    Errors: BooksUnavailable.
    """
    give_up_at = time.monotonic() + reconciliation.LEASE_S
    with ThreadPoolExecutor(max_workers=LOOK_UPS_AT_ONCE, thread_name_prefix="look-up") as threads:
        while time.monotonic() < give_up_at:
            due = reconciliation.claim_due(limit=CLAIM_HOLDS_MAX)
            if not due:
                return
            answers = [(hold, threads.submit(look_up, hold) if hold.generation_id else None) for hold in due]
            for hold, answer in answers:
                _act_or_put_off(hold, answer)


def look_up(hold: OpenHold) -> dict[str, Any]:
    """Ask upstream for its record of a call; {} where it gives none."""
    try:
        report = metering.read(upstream.look_up("generation", params={"id": hold.generation_id or ""}))
    except UpstreamError as exc:
        # 404 means "not yet"; anything else is no evidence either (docs/money.md, "What is still open").
        log.info("gen_%s: upstream answered the look-up with %s", hold.hold_id, exc.status)
        return {}
    found = report.body.get("data") if report else None
    return found if isinstance(found, dict) else {}


def act(hold: OpenHold, record: dict[str, Any] | None) -> None:
    """Do what upstream's record asks for; None stands for a call that upstream never named."""
    if record is None:
        reconciliation.void_unsent(hold)
        return
    cost = metering.cost_of(record, "total_cost")
    if cost is None:
        reconciliation.not_found(hold)
    elif not reconciliation.is_record_of(
        hold, generation_id=record.get("id"), user=record.get("external_user")
    ):
        seen = {name: record.get(name) for name in ("id", "external_user", "model")} | {
            "total_cost": str(cost)
        }
        reconciliation.quarantine_mismatch(hold, record=_keepable(seen))
    else:
        reconciliation.settle_from_generation(hold, cost_usd=cost, facts=_facts(record))


def _act_or_put_off(hold: OpenHold, answer: Future[dict[str, Any]] | None) -> None:
    try:
        act(hold, None if answer is None else answer.result())
    except BooksUnavailable as exc:
        # The evidence is not at fault: it is asked for again when the lease is over.
        log.warning("gen_%s: left for another round: %s", hold.hold_id, exc)
    except Exception:
        log.exception("gen_%s: could not be settled, and is put off", hold.hold_id)
        reconciliation.not_found(hold)


def _facts(data: dict[str, Any]) -> dict[str, Any]:
    kept = {
        "model": data.get("model"),
        "provider": data.get("provider_name"),
        "finish_reason": data.get("finish_reason"),
        "native_finish_reason": data.get("native_finish_reason"),
        "tokens_prompt": data.get("native_tokens_prompt"),
        "tokens_completion": data.get("native_tokens_completion"),
        "native_tokens_reasoning": data.get("native_tokens_reasoning"),
        "native_tokens_cached": data.get("native_tokens_cached"),
        "cancelled": data.get("cancelled"),
        "is_byok": data.get("is_byok"),
    }
    return _keepable(kept)


def _keepable(facts: dict[str, Any]) -> dict[str, Any]:
    """Those facts that the books can keep: whole numbers and short words, as any JSON reader understands them."""
    return {name: value for name, value in facts.items() if _is_keepable(value)}


def _is_keepable(value: Any) -> bool:
    if isinstance(value, int):
        return abs(value) <= FACT_INTEGER_MAX
    # PostgreSQL's jsonb knows no NUL, UTF-8 no lone surrogate.
    return isinstance(value, str) and len(value) <= FACT_CHARACTERS_MAX and _is_text(value)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value
