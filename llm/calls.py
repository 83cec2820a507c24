"""One call to a model from its hold to its settlement: what JSON answers and streams have in common."""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import orjson
from django.conf import settings

from accounts import ids
from accounts.auth import Principal
from accounts.errors import DomainError
from accounts.subjects import Subject
from billing import holds, money, settlement, spool
from billing.settlement import Evidence, HoldKey, Settlement
from llm import bodies, metering, pricing, refusals, upstream
from llm.errors import UpstreamError, UpstreamUnreachable
from llm.permits import permits
from llm.requests import ChatRequest
from llm.upstream import Answer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that may be made: who, what, and the most it can cost. Nothing is held yet.

    Units: nanocredits for the two amounts; `output_ceiling` is the kit's limit on output tokens, None where it has
    none below what the request can bring anyway.
    """

    principal: Principal
    subject: Subject
    request: ChatRequest
    bound: pricing.Bound
    output_ceiling: int | None
    wanted_nanocredits: int
    least_nanocredits: int
    caps: tuple[holds.Cap, ...]


class Call:
    """A call that holds credits. Every way out of it settles, voids or leaves the hold to the sweep."""

    __slots__ = (
        "admission",
        "answered_at",
        "generation_id",
        "granted_nanocredits",
        "hold_id",
        "max_tokens",
        "settled",
        "started_at",
    )

    def __init__(self, admission: Admission, hold_id: UUID, granted_nanocredits: int) -> None:
        self.admission = admission
        self.hold_id = hold_id
        self.granted_nanocredits = granted_nanocredits
        self.max_tokens = _lowered(admission, granted_nanocredits)
        self.generation_id: str | None = None
        self.settled: Settlement | None = None
        self.started_at = time.monotonic()
        self.answered_at = self.started_at

    @property
    def public_id(self) -> str:
        """The id a client knows before upstream has named its own."""
        return f"gen_{self.hold_id}"

    async def send(self) -> Answer:
        """Send the request upstream and return its answer, whose status is 200.

        Errors: UpstreamError and its kin; the hold is then voided where nothing can have been charged, else left
        open for the sweep.
        """
        body = self.admission.request.body.splice(self._changes())
        try:
            answer = await self._send_once_more_if_unsent(body)
        except UpstreamUnreachable as exc:
            await self.void()
            raise self.explained(exc) from exc
        except UpstreamError as exc:
            await self.leave_open()
            raise self.explained(exc) from exc
        self.answered_at = time.monotonic()
        if answer.generation_id is not None:
            self.learn(answer.generation_id)
        if answer.status != 200:
            await self._refuse(answer)
        return answer

    def learn(self, generation_id: str) -> None:
        """Write upstream's id down before the first byte goes to the client: to the spool, then to the open hold."""
        self.generation_id = generation_id = holds.printable(generation_id)
        company_id = self.admission.principal.company_id
        spool.append(
            {"kind": "dispatched", "company": company_id, "hold": self.hold_id, "generation": generation_id}
        )
        holds.dispatched(hold_id=self.hold_id, company_id=company_id, generation_id=generation_id)

    async def settle(self, report: metering.Report, source: Literal["inline", "stream"]) -> None:
        """Charge what the report says; `report.cost_usd` must be there. A second report only leaves an anomaly.

        Books that cannot be reached, and a spool that cannot either, cost the client no answer: the sweep charges it.
        """
        try:
            outcome = await settlement.settle(hold=self._key(), evidence=self._evidence(report, source))
        except DomainError as exc:
            log.error("%s is not settled yet: %s", self.public_id, exc)
            return
        if self.settled is None:
            self.settled = outcome

    async def void(self) -> None:
        """Give the hold back: upstream cannot have charged."""
        evidence = Evidence(
            source="inline", cost_usd=None, generation_id=self.generation_id, details=self._facts({})
        )
        await settlement.void(hold=self._key(), evidence=evidence)

    async def leave_open(self) -> None:
        """Leave the hold to the sweep, which asks upstream what the call cost.

        Without an id there is nothing to ask for; the hold then waits out its time.
        """
        if self.generation_id is not None:
            await holds.look_up_soon(hold_id=self.hold_id, company_id=self.admission.principal.company_id)

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

    async def _send_once_more_if_unsent(self, body: bytes) -> Answer:
        is_stream = self.admission.request.is_stream
        try:
            return await upstream.client().chat(body, is_stream=is_stream)
        except UpstreamUnreachable:
            return await upstream.client().chat(body, is_stream=is_stream)

    async def _refuse(self, answer: Answer) -> None:
        try:
            raw = await answer.read()
        except UpstreamError:
            raw = b""
        finally:
            await answer.close()
        charged = self.generation_id is not None
        # Without a generation id upstream refused before any model ran.
        await (self.leave_open() if charged else self.void())
        refusal = refusals.read(answer.status, raw, retry_after=answer.retry_after, maybe_charged=charged)
        raise self.explained(refusal)

    def _key(self) -> HoldKey:
        principal = self.admission.principal
        return HoldKey(
            company_id=principal.company_id,
            hold_id=self.hold_id,
            markup=principal.markup,
            credit_value_usd=settings.CREDIT_VALUE_USD,
            granted_nanocredits=self.granted_nanocredits,
        )

    def _evidence(self, report: metering.Report, source: Literal["inline", "stream"]) -> Evidence:
        return Evidence(
            source=source,
            cost_usd=report.cost_usd,
            generation_id=self.generation_id,
            details=self._facts(report.facts()),
        )

    def _facts(self, facts: Mapping[str, Any]) -> bytes:
        now = time.monotonic()
        timing = {
            "latency_ms": _ms(self.answered_at - self.started_at),
            "duration_ms": _ms(now - self.started_at),
        }
        return orjson.dumps({**facts, **timing})

    def _changes(self) -> dict[str, Any]:
        """What the platform changes in a request (docs/product.md 4). Everything else is the caller's."""
        admission, fields = self.admission, self.admission.request.fields
        company_id = admission.principal.company_id
        body = admission.request.body
        found: dict[str, Any] = {
            "user": _user(admission),
            "trace": orjson.Fragment(body.inner("trace").splice({"trace_id": str(self.hold_id)})),
        }
        for name in ("session_id", "prompt_cache_key"):
            if fields.get(name):
                found[name] = _opaque(company_id, name, fields[name])
        if self.max_tokens is not None:
            sent = [name for name in pricing.OUTPUT_FIELDS if fields.get(name) is not None]
            found |= {name: min(fields[name], self.max_tokens) for name in sent} or {
                "max_tokens": self.max_tokens
            }
        provider = self._provider(body.inner("provider"))
        if provider:
            found["provider"] = orjson.Fragment(body.inner("provider").splice(provider))
        return found

    def _provider(self, theirs: bodies.Body) -> dict[str, Any]:
        """Return what to change in the caller's routing preferences: the kit's under and over them, and our price."""
        rules = self.admission.subject.kit.rules
        under = {name: value for name, value in (rules.provider or {}).items() if name not in theirs.fields}
        found = {**under, **(rules.provider_required or {})}
        if self.max_tokens is not None and self.admission.bound.price_known:
            merged = {**theirs.fields, **found}.get("max_price")
            found["max_price"] = _lowest_price(merged, self.admission.bound.max_price())
        return found


async def open_call(admission: Admission) -> Call:
    """Take a place among the running calls and hold the credits.

    Errors: RateLimited, GatewayFull; InsufficientCredits, WalletFrozen, BooksUnavailable. Nothing is held then.
    The caller must `close_call` what this returns.
    """
    company_id = admission.principal.company_id
    await permits.acquire(company_id)
    try:
        request = _hold_request(admission, ids.uuid7())
        placed = await holds.place(request)
    except BaseException:
        permits.release(company_id)
        raise
    return Call(admission, request.hold_id, placed.granted_nanocredits)


async def try_out(admission: Admission) -> Call:
    """Return the call that `open_call` would return now, holding nothing.

    Errors: InsufficientCredits, WalletFrozen, BooksUnavailable.
    """
    request = _hold_request(admission, ids.uuid7())
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
    permits.release(call.admission.principal.company_id)


_at_work: set[asyncio.Task[Any]] = set()


def _done(task: asyncio.Task[Any]) -> None:
    _at_work.discard(task)
    if not task.cancelled():
        task.exception()  # Seen, though whoever asked may have left.


def _hold_request(admission: Admission, hold_id: UUID) -> holds.HoldRequest:
    principal, subject = admission.principal, admission.subject
    return holds.HoldRequest(
        hold_id=hold_id,
        company_id=principal.company_id,
        key_id=principal.key_id,
        kit_id=subject.kit.id,
        tenant_user_id=subject.user_id,
        wanted_nanocredits=admission.wanted_nanocredits,
        least_nanocredits=admission.least_nanocredits,
        markup=principal.markup,
        credit_value_usd=settings.CREDIT_VALUE_USD,
        ttl_s=settings.HOLD_TTL_S,
        details=_hold_facts(admission),
        caps=admission.caps,
        is_price_known=admission.bound.price_known,
    )


def _hold_facts(admission: Admission) -> bytes:
    request, bound = admission.request, admission.bound
    return orjson.dumps(
        {
            "model": request.models[0],
            "user": _user(admission),
            "streamed": request.is_stream,
            "prompt_tokens_bound": bound.prompt_tokens if bound.price_known else None,
            "output_tokens_bound": bound.output_tokens if bound.price_known else None,
        }
    )


def _lowered(admission: Admission, granted_nanocredits: int) -> int | None:
    """Return the `max_tokens` to send where the platform lowers it; None where the request passes as it is."""
    bound = admission.bound
    if granted_nanocredits >= admission.wanted_nanocredits or not bound.price_known:
        return admission.output_ceiling
    rate = admission.principal.markup * 1_000_000_000 / settings.CREDIT_VALUE_USD
    affordable = bound.output_tokens_for(Decimal(granted_nanocredits) / rate)
    return max(1, min(affordable, admission.output_ceiling or affordable))


def _user(admission: Admission) -> str:
    """Return what upstream gets to know as `user`: the caller's own, or the subject, opaque in either case."""
    company_id, named = admission.principal.company_id, admission.request.fields.get("user")
    return (
        _opaque(company_id, "user", named)
        if named
        else _opaque(company_id, "subject", admission.subject.user_id)
    )


def _lowest_price(asked: object, ours: Mapping[str, Decimal]) -> dict[str, Any]:
    """Return `max_price` with the lower of each figure; figures we have none of stay as they are."""
    found: dict[str, Any] = dict(asked) if isinstance(asked, dict) else {}
    for name, limit in ours.items():
        try:
            theirs = Decimal(str(found.get(name, limit)))
        except ArithmeticError:
            theirs = limit
        found[name] = theirs if theirs.is_finite() and 0 <= theirs < limit else limit
    return found


def _opaque(company_id: UUID, kind: str, value: object) -> str:
    """Return a name that says nothing outside this platform and never meets another company's."""
    text = f"{company_id}|{kind}|{value}".encode()
    return hmac.digest(settings.KEY_PEPPER.encode(), text, hashlib.sha256).hex()[:32]


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
