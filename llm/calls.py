"""One call to a model from its hold to its settlement: what JSON answers and streams have in common."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import orjson
from django.conf import settings

from accounts import ids
from accounts.errors import DomainError
from billing import holds, money, settlement, spool
from billing.errors import InsufficientCredits
from billing.settlement import Evidence, HoldKey, Settlement
from llm import crashpoints, denials, edits, metering, pricing, prompts, rates, refusals, sightings, upstream
from llm.admissions import Admission
from llm.errors import UpstreamError, UpstreamRefused, UpstreamUnreachable
from llm.permits import permits
from llm.rates import Pass
from llm.shapes import faults
from llm.upstream import Answer, Sending

log = logging.getLogger(__name__)


class Call:
    """A call that holds credits. Every way out of it settles, voids or leaves the hold to the sweep."""

    __slots__ = (
        "admission",
        "answered_at",
        "generation_id",
        "granted_nanocredits",
        "held_nanocredits",
        "hold_id",
        "kept",
        "max_tokens",
        "place",
        "seen",
        "settled",
        "started_at",
        "told",
    )

    def __init__(
        self, admission: Admission, hold_id: UUID, granted_nanocredits: int, place: Pass | None = None
    ) -> None:
        self.admission = admission
        self.place = place  # None for one that is only tried out.
        self.hold_id = hold_id
        self.granted_nanocredits = granted_nanocredits
        self.held_nanocredits = granted_nanocredits  # With what was held more while it ran.
        self.max_tokens = admission.lowered(granted_nanocredits)
        self.generation_id: str | None = None
        self.kept: prompts.Kept | None = None  # Its prompt and answer, where the kit stores them.
        self.settled: Settlement | None = None
        self.told: dict[str, str] = {}  # What the request log keeps where an answer does not say it.
        self.started_at = time.monotonic()
        self.answered_at = self.started_at
        self.seen = sightings.current()

    @property
    def public_id(self) -> str:
        """The id a client knows before upstream has named its own."""
        return public_id(self.hold_id)

    @property
    def covered_tokens(self) -> int | None:
        """How many output tokens the hold covers, where more may come; None where it covers all that can."""
        is_whole = (
            self.granted_nanocredits < self.admission.wanted_nanocredits
        )  # Then `max_tokens` is lowered to it.
        return None if is_whole else self.admission.first_tokens

    async def send(
        self, *, headers: list[tuple[bytes, bytes]] | None = None, form: Sending | None = None
    ) -> Answer:
        """Send the request upstream and return its answer, whose status is a success.

        Shape: `headers` are the client's that go with it; a form goes as it comes, in place of a JSON body.
        Errors: UpstreamError and its kin; the hold is then voided where nothing can have been charged, else left
        open for the sweep. A proxied call's refusal has `passed`: what upstream answered, for the client.
        """
        sending = form or Sending(
            edits.apply(self.admission, hold_id=self.hold_id, max_tokens=self.max_tokens), headers=headers
        )
        crashpoints.reach("B")
        try:
            answer = await self._send_once_more_if_unsent(sending)
        except UpstreamUnreachable as exc:
            await self.void()
            raise self.explained(exc) from exc
        except UpstreamError as exc:
            await self.leave_open()
            raise self.explained(exc) from exc
        self.answered_at = self.seen.answered_at = time.monotonic()
        # A job goes by a name of its own, which is in its body; the first name that is learned stays.
        if answer.generation_id is not None and not (self.admission.shape.is_job and answer.is_success):
            self.learn(answer.generation_id)
        if not answer.is_success:
            await self._refuse(answer)
        return answer

    def learn(self, generation_id: str) -> None:
        """Write upstream's id down before the first byte goes to the client: to the spool, then to the open hold."""
        self.generation_id = self.seen.generation_id = generation_id = holds.printable(generation_id)
        company_id = self.admission.principal.company_id
        estimate_usd = self.estimate_usd()
        crashpoints.reach("D")
        spool.append(
            {
                "kind": "dispatched",
                "company": company_id,
                "hold": self.hold_id,
                "generation": generation_id,
                "estimate_usd": estimate_usd,
            }
        )
        holds.dispatched(
            hold_id=self.hold_id,
            company_id=company_id,
            generation_id=generation_id,
            estimate_usd=estimate_usd,
        )

    async def settle(self, report: metering.Report, source: Literal["inline", "stream"]) -> None:
        """Charge what the report says; `report.cost_usd` must be there. A second report only leaves an anomaly.

        Books that cannot be reached, and a spool that cannot either, cost the client no answer: the sweep charges it.
        """
        crashpoints.reach("F")
        try:
            outcome = await settlement.settle(hold=self._key(), evidence=self._evidence(report, source))
        except DomainError as exc:
            log.error("%s is not settled yet: %s", self.public_id, exc)
            return
        crashpoints.reach("G")
        if self.settled is None:
            self.settled = outcome
            sightings.count.settled[source] += 1

    async def hold_at_least(self, cost_usd: Decimal) -> None:
        """Have so much held for a call, now that more is known of it. Once a call.

        Errors: InsufficientCredits, WalletFrozen: it is not to be made. BooksUnavailable.
        """
        wanted = money.charge_nanocredits(
            cost_usd=cost_usd,
            markup=self.admission.principal.markup,
            credit_value_usd=settings.CREDIT_VALUE_USD,
        )
        short = wanted - self.held_nanocredits
        if short <= 0:
            return
        await holds.extend(
            company_id=self.admission.principal.company_id,
            hold_id=self.hold_id,
            number=1,
            amount_nanocredits=short,
        )
        self.held_nanocredits = wanted

    async def void(self) -> None:
        """Give the hold back: upstream cannot have charged."""
        evidence = Evidence(
            source="inline", cost_usd=None, generation_id=self.generation_id, details=self._facts({})
        )
        await settlement.void(hold=self._key(), evidence=evidence)

    async def leave_open(self, *, made_bytes: int = 0, told_usd: Decimal | None = None) -> None:
        """Leave the hold to the sweep, which asks upstream what the call cost; `made_bytes` of output were seen.

        Shape: `told_usd` is what upstream has named in parts, which says more than what was seen.
        Without an id there is nothing to ask for; the hold then waits out its time.
        """
        if self.generation_id is not None:
            await holds.look_up_soon(
                hold_id=self.hold_id,
                company_id=self.admission.principal.company_id,
                estimate_usd=self.estimate_usd(made_bytes) if told_usd is None else told_usd,
            )

    def estimate_usd(self, made_bytes: int = 0) -> Decimal | None:
        """Return about what was seen of this call has cost, never more than is held; None without a price.

        It decides only what is charged for a call of which upstream keeps no record (docs/money.md). Of a job nothing
        is seen, and it is made all the same: it counts as listed, or as what it holds.
        """
        bound = self.admission.bound
        held_usd = Decimal(self.held_nanocredits) / self.admission.nanocredits_per_usd
        if self.admission.shape.is_job:
            return min(bound.likely_fixed_usd or held_usd, held_usd)
        if not bound.price_known:
            return None
        return min(bound.likely_usd(-(-made_bytes // pricing.BYTES_PER_TOKEN)), held_usd)

    def credits(self) -> dict[str, Any]:
        """Return `credits_used` and `credits_remaining`: null while the cost is not known."""
        if self.settled is None or not self.settled.is_charged:
            return {"credits_used": None, "credits_remaining": None}
        return {
            "credits_used": orjson.Fragment(money.json_number(self.settled.charged_nanocredits)),
            "credits_remaining": orjson.Fragment(money.json_number(self.settled.balance_nanocredits)),
        }

    def headers(self) -> dict[str, str]:
        found = {
            "X-Naive-Generation-Id": self.public_id,
            "X-Naive-Credits-Held": money.json_number(self.granted_nanocredits),
        }
        if self.max_tokens is not None:
            found["X-Naive-Max-Tokens"] = str(self.max_tokens)
        return found

    def explained(self, exc: UpstreamError) -> UpstreamError:
        """Add to an error what its reader needs to find the call again."""
        exc.details["generation_id"] = self.public_id
        exc.headers |= self.headers()
        return exc

    async def _send_once_more_if_unsent(self, sending: Sending) -> Answer:
        path, is_stream = self.admission.shape.path, self.admission.request.is_stream
        try:
            return await upstream.client().post(path, sending, is_stream=is_stream)
        except UpstreamUnreachable:
            if not isinstance(sending.content, bytes):
                raise  # What comes as it is sent comes once.
            return await upstream.client().post(path, sending, is_stream=is_stream)

    async def _refuse(self, answer: Answer) -> None:
        raw: bytes | None = None
        try:
            raw = await answer.read()
        except UpstreamError as exc:
            log.info("%s: upstream's error could not be read: %s", self.public_id, exc)
        finally:
            await answer.close()
        charged = self.generation_id is not None
        # Without a generation id upstream refused before any model ran.
        await (self.leave_open() if charged else self.void())
        refusal = refusals.read(
            answer.status, raw or b"", retry_after=answer.retry_after, maybe_charged=charged
        )
        if self.admission.is_proxied:
            refusal.passed = self._passed(answer, raw)
        raise self.explained(refusal)

    def _passed(self, answer: Answer, raw: bytes | None) -> UpstreamRefused.Passed:
        """Return upstream's refusal as a client of the proxy gets it."""
        fault = faults.answer(answer.status, raw, dialect=self.admission.shape.dialect)
        headers = {"content-type": "application/json"} if fault.is_ours else dict(answer.headers)
        return UpstreamRefused.Passed(status=fault.status, body=fault.body, headers=headers)

    def _key(self) -> HoldKey:
        principal = self.admission.principal
        return HoldKey(
            company_id=principal.company_id,
            hold_id=self.hold_id,
            markup=principal.markup,
            credit_value_usd=settings.CREDIT_VALUE_USD,
        )

    def _evidence(self, report: metering.Report, source: Literal["inline", "stream"]) -> Evidence:
        self.seen.facts = facts = report.facts()
        return Evidence(
            source=source,
            cost_usd=report.cost_usd,
            generation_id=self.generation_id,
            details=self._facts(facts),
        )

    def _facts(self, facts: Mapping[str, Any]) -> bytes:
        now = time.monotonic()
        timing = {
            "latency_ms": _ms(self.answered_at - self.started_at),
            "duration_ms": _ms(now - self.started_at),
        }
        return orjson.dumps({**self.told, **facts, **timing})


def public_id(hold_id: UUID) -> str:
    """Return the id under which a client finds the call of a hold."""
    return f"gen_{hold_id}"


async def open_call(admission: Admission, claim: holds.Claim | None = None) -> Call:
    """Take a place among the running calls and hold the credits, together with the client's claim on its key.

    Errors: RateLimited, GatewayFull; InsufficientCredits, WalletFrozen, BooksUnavailable; IdempotencyMismatch,
    IdempotencyInProgress, AlreadyCompleted. Nothing is held then. The caller must `close_call` what this returns.
    """
    principal = admission.principal
    limits = rates.limits(principal, admission.subject, is_proxied=admission.is_proxied)
    place = await permits.acquire(principal.company_id, limits)
    try:
        request = admission.hold_request(ids.uuid7(), claim)
        crashpoints.reach("A")
        placed = await holds.place(request)
        call = Call(admission, request.hold_id, placed.granted_nanocredits, place)
        if admission.subject.kit.prompt_retention_days is not None:
            call.kept = _keep(call, admission.subject.kit.prompt_retention_days)
    except BaseException as exc:
        permits.release(place)
        if isinstance(exc, InsufficientCredits):
            denials.note(admission.bound, exc, nanocredits_per_usd=admission.nanocredits_per_usd)
        raise
    sightings.count.placed += 1
    call.seen.hold_id, call.seen.held_at = call.hold_id, call.started_at
    call.seen.shape, call.seen.models = admission.shape.name, admission.request.models
    return call


async def try_out(admission: Admission) -> Call:
    """Return the call that `open_call` would return now, holding nothing.

    Errors: InsufficientCredits, WalletFrozen, BooksUnavailable.
    """
    request = admission.hold_request(ids.uuid7())
    placed = await holds.try_out(request)
    return Call(admission, request.hold_id, placed.granted_nanocredits)


async def carry_out[T](work: Coroutine[Any, Any, T]) -> T:
    """Run a call's work in a task of its own: a server that stops waiting for the answer does not stop the charge."""
    task = asyncio.create_task(work)
    _at_work.add(task)
    task.add_done_callback(_done)
    return await asyncio.shield(task)


def at_work() -> set[asyncio.Task[Any]]:
    """Return the calls that are being answered right now."""
    return set(_at_work)


def close_call(call: Call) -> None:
    """Give the call's place back. The hold has its own life."""
    if call.place is not None:
        permits.release(call.place)
    if call.kept is not None:
        prompts.hand_in(call.kept)


_at_work: set[asyncio.Task[Any]] = set()


def _keep(call: Call, days: int) -> prompts.Kept | None:
    """Begin to keep what this call asks and is answered, as its subject's kit says; a form is not kept."""
    body = call.admission.request.body
    if not body.fields:
        return None
    return prompts.begin(
        company_id=call.admission.principal.company_id,
        hold_id=call.hold_id,
        kit_id=call.admission.subject.kit.id,
        days=days,
        request=body.raw,
    )


def _done(task: asyncio.Task[Any]) -> None:
    _at_work.discard(task)
    if not task.cancelled():
        task.exception()  # Seen, though whoever asked may have left.


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
