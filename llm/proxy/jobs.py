"""Films on their way: a company's own jobs, whose status tells what they cost and settles them."""

import functools
import logging
from dataclasses import dataclass
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

import orjson
import psycopg

from accounts import database
from accounts.errors import DomainError, NotFound, Unavailable
from billing import settlement
from billing.settlement import Evidence, HoldKey
from llm import encodings, lookups, metering, upstream
from llm.completions import Completion
from llm.permits import permits
from llm.proxy import headers
from llm.relays import Passage
from llm.shapes import faults, reports
from llm.upstream import Answer

log = logging.getLogger(__name__)

# A status is some hundred bytes.
STATUS_BYTES_MAX = 1024 * 1024
_OWN: LiteralString = """
    SELECT h.hold_id, h.markup, h.credit_value_usd, s.source FROM billing_settlement s
      JOIN billing_hold h ON (h.company_id, h.hold_id) = (s.company_id, s.hold_id)
     WHERE s.generation_id = %(name)s AND s.company_id = %(company)s
    UNION ALL
    SELECT h.hold_id, h.markup, h.credit_value_usd, NULL FROM billing_open_hold o
      JOIN billing_hold h ON (h.company_id, h.hold_id) = (o.company_id, o.hold_id)
     WHERE o.company_id = %(company)s AND o.generation_id = %(name)s
    LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Film:
    """A film on its way to its owner."""

    status: int
    headers: dict[str, str]
    passage: Passage


async def status(job: str, *, company_id: UUID) -> Completion:
    """Answer GET videos/{job}; a job that is over is settled before its owner hears of it.

    Shape: upstream's status and bytes; `job` is checked text (llm/proxy/paths.py). It takes a place among the calls: a
    company that asks without end keeps no other from upstream.
    Errors: NotFound for an unknown job and for another's alike; Unavailable; RateLimited, GatewayFull; UpstreamError
    and its kin.
    Source: docs/upstream.md 1a.
    """
    hold = await _own(job, company_id)
    place = await permits.acquire(company_id)
    try:
        answer = await upstream.client().open(f"videos/{job}")
        try:
            sent = await answer.read(as_sent=True)
        finally:
            await answer.close()
    finally:
        permits.release(place)
    told = headers.incoming(answer.headers, status=answer.status)
    raw: bytes | None = None
    try:
        raw = encodings.unpack(sent, answer.encoding, most=STATUS_BYTES_MAX)
    except encodings.CannotUnpack as exc:
        log.info("The status of %s has %s", job, exc)
    if not answer.is_success:
        return _refused(answer, raw, told)
    report = reports.read_job(raw) if raw is not None else None
    if hold is not None and report is not None:
        await _settle(hold, job, report)
    return Completion(body=sent, headers=told, status=answer.status)


async def content(job: str, query: str, *, company_id: UUID) -> Film | Completion:
    """Answer GET videos/{job}/content: the film, which costs nothing more and takes a place among the calls.

    Errors: as `status`.
    """
    await _own(job, company_id)
    place = await permits.acquire(company_id)
    passage: Passage | None = None
    try:
        answer = await upstream.client().open(f"videos/{job}/content", query=query)
        told = headers.incoming(answer.headers, status=answer.status)
        if answer.is_success:
            passage = Passage(answer, ended=functools.partial(permits.release, place))
            return Film(status=answer.status, headers=told, passage=passage)
        try:
            raw = await answer.read()
        finally:
            await answer.close()
        return _refused(answer, raw, told)
    finally:
        if passage is None:
            permits.release(place)


async def _own(job: str, company_id: UUID) -> HoldKey | None:
    """Return the hold of this company's job; None where it is settled by more than an estimate."""
    parameters = {"name": f"{lookups.JOB_BEGINNING}{job}", "company": company_id}
    try:
        async with database.pool().connection() as connection:
            row = await (await connection.execute(_OWN, parameters)).fetchone()
    except (psycopg.Error, OSError) as exc:
        raise Unavailable("The database does not answer.", hint="Retry in a moment.") from exc
    if row is None:
        raise NotFound(
            "There is no such job.", hint="Use the id that POST videos answered.", details={"id": job}
        )
    hold_id, markup, credit_value_usd, source = row
    if source not in (None, "estimate", "no_evidence"):
        return None
    return HoldKey(
        company_id=company_id,
        hold_id=hold_id,
        markup=Decimal(markup),
        credit_value_usd=Decimal(credit_value_usd),
    )


async def _settle(hold: HoldKey, job: str, report: metering.Report) -> None:
    """Settle a job that says what it cost, or that it ended without a film; all others are the sweep's to ask for."""
    cost_usd, is_unmade = report.cost_usd, metering.text(report.body.get("status")) in lookups.UNMADE
    if cost_usd is None and (not is_unmade or report.generation_id is not None):
        return
    # By the job's name, which is one to a settlement: whoever asks at the same moment finds it settled. What nobody
    # named a cost for is looked at again, as upstream's records are.
    evidence = Evidence(
        source="generation" if cost_usd is None else "inline",
        cost_usd=cost_usd or Decimal(0),
        generation_id=f"{lookups.JOB_BEGINNING}{job}",
        details=orjson.dumps({**report.facts(), "generation": report.generation_id}),
    )
    try:
        await settlement.settle(hold=hold, evidence=evidence)
    except DomainError as exc:
        log.error("gen_%s is not settled yet: %s", hold.hold_id, exc)


def _refused(answer: Answer, raw: bytes | None, told: dict[str, str]) -> Completion:
    fault = faults.answer(answer.status, raw, dialect="chat")
    told = {name: value for name, value in told.items() if name != "content-encoding"}
    if fault.is_ours:
        told["content-type"] = "application/json"
    return Completion(body=fault.body, headers=told, status=fault.status)
