"""What is done with calls whose time has come: upstream's record settles, corrects, or leaves them for later."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing import reconciliation, second_looks
from billing.errors import BooksUnavailable
from billing.reconciliation import OpenHold
from billing.second_looks import SecondLook
from llm import lookups, metering, records
from llm.lookups import NoAnswer

log = logging.getLogger(__name__)

# What is claimed at once, and how many look-ups run beside each other: even if upstream lets all of them time out, the
# round ends before its lease does.
CLAIM_MAX = 20
LOOK_UPS_AT_ONCE = 4
# A second look that upstream did not answer is not urgent. Unit: seconds.
LOOK_AGAIN_S = 300

type LookUp = Callable[[str], dict[str, Any]]


def sweep_due(*, look_up: LookUp = lookups.record) -> None:
    """Act on every open hold that is due, round by round, until none is or a lease's time is over.

    Shape: `look_up` takes a generation id and returns upstream's record, {} where it has none, or raises NoAnswer;
    it runs on several threads. A hold that fails is put off and stops no other.
    Errors: BooksUnavailable.
    """
    _carry_out(
        _rounds(lambda: reconciliation.claim_due(limit=CLAIM_MAX), look_up), _act, reconciliation.not_found
    )


def look_again(*, look_up: LookUp = lookups.record) -> None:
    """Look at the records of settled calls again, as far as that is due; shape and errors as `sweep_due`."""
    _carry_out(_rounds(lambda: second_looks.claim_due(limit=CLAIM_MAX), look_up), _look, _look_later)


def _carry_out[Claimed: (OpenHold, SecondLook)](
    rounds: Iterator[tuple[Claimed, Future[dict[str, Any]] | None]],
    act: Callable[[Claimed, Future[dict[str, Any]] | None], object],
    put_off: Callable[[Claimed], object],
) -> None:
    """Act on each, so that none that fails stops another, and no company whose books are busy makes others wait."""
    busy: set[UUID] = set()
    for claimed, answer in rounds:
        if claimed.company_id in busy:
            continue  # It is claimed again when the lease is over.
        try:
            act(claimed, answer)
        except BooksUnavailable as exc:
            # The evidence is not at fault: it is asked for again when the lease is over.
            log.warning("gen_%s: left for another round: %s", claimed.hold_id, exc)
            busy.add(claimed.company_id)
        except Exception:
            log.exception("gen_%s: could not be carried out, and is put off", claimed.hold_id)
            _attempt(put_off, claimed)


def _attempt[Claimed: (OpenHold, SecondLook)](put_off: Callable[[Claimed], object], claimed: Claimed) -> None:
    try:
        put_off(claimed)
    except Exception:
        log.exception("gen_%s: could not be put off either", claimed.hold_id)


def _rounds[Claimed: (OpenHold, SecondLook)](
    claim: Callable[[], Sequence[Claimed]], look_up: LookUp
) -> Iterator[tuple[Claimed, Future[dict[str, Any]] | None]]:
    """Yield what is claimed, with the record that is being asked for; None for a call upstream never named."""
    give_up_at = time.monotonic() + reconciliation.LEASE_S
    with ThreadPoolExecutor(max_workers=LOOK_UPS_AT_ONCE, thread_name_prefix="look-up") as threads:
        while time.monotonic() < give_up_at:
            due = claim()
            if not due:
                return
            yield from [
                (one, threads.submit(look_up, one.generation_id) if one.generation_id else None)
                for one in due
            ]


def _act(hold: OpenHold, answer: Future[dict[str, Any]] | None) -> None:
    """Do what upstream's record asks for; a call that upstream never named has none."""
    if answer is None:
        reconciliation.void_unsent(hold)
        return
    try:
        record = answer.result()
    except NoAnswer as exc:
        log.info("gen_%s: %s", hold.hold_id, exc)
        reconciliation.no_answer(hold)
        return
    cost = metering.cost_of(record, "total_cost")
    if cost is None:
        reconciliation.not_found(hold)
        return
    why = records.mismatch(
        record, generation_id=hold.generation_id, held_at=hold.created_at, details=hold.details
    )
    if why:
        reconciliation.quarantine_mismatch(hold, record=records.told(record, why))
    else:
        reconciliation.settle_from_generation(hold, cost_usd=cost, facts=records.facts(record))


def _look_later(look: SecondLook) -> bool:
    return second_looks.no_answer(look, delay_s=Decimal(LOOK_AGAIN_S))


def _look(look: SecondLook, answer: Future[dict[str, Any]] | None) -> None:
    try:
        record = answer.result() if answer is not None else {}
    except lookups.StillRunning:
        record = {}  # It had all of its time: whoever waits for it is told that its estimate was never confirmed.
    except NoAnswer as exc:
        log.info("gen_%s: %s", look.hold_id, exc)
        _look_later(look)
        return
    cost = metering.cost_of(record, "total_cost")
    if cost is None:
        second_looks.not_found(look)
        return
    why = records.mismatch(
        record, generation_id=look.generation_id, held_at=look.created_at, details=look.details
    )
    if why:
        second_looks.mismatch(look, record=records.told(record, why))
    else:
        second_looks.apply_record(look, cost_usd=cost)
