"""Chat completions: who may call what at which worst-case price, and the call itself as JSON or as a stream."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, cast

import orjson
from django.conf import settings

from accounts import keys, kits, subjects
from accounts.auth import Principal
from accounts.errors import DomainError, Forbidden
from accounts.subjects import Subject
from billing import holds, money
from billing.errors import AlreadyCompleted, InsufficientCredits, WalletFrozen
from llm import (
    calls,
    catalog,
    debt,
    edits,
    metering,
    pricing,
    providers,
    refusals,
    replays,
    requests,
    upstream,
)
from llm.admissions import Admission
from llm.calls import Call
from llm.errors import UpstreamError, UpstreamLost
from llm.pumps import Pump
from llm.shapes import table
from llm.shapes.request import Request
from llm.shapes.table import Shape
from llm.upstream import Answer

type Converse = Callable[..., Coroutine[Any, Any, Completion | Stream]]

# What an Idempotency-Key is for, whichever of the mounts it came by.
ROUTE = "llm/chat/completions"


@dataclass(frozen=True, slots=True)
class Completion:
    """A JSON answer: upstream's bytes with the two credit fields added, and our headers."""

    body: bytes
    headers: dict[str, str]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Stream:
    """A running stream: our headers, and the pump that carries it."""

    headers: dict[str, str]
    pump: Pump
    status: int = 200


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and for whom."""

    principal: Principal
    subject: Subject


async def identify(principal: Principal, *, path_user: str | None, header_user: str | None) -> Caller:
    """Say for whom this call is; the body is not needed for that.

    Errors: NotFound, Forbidden (key_subject_mismatch, key_kit_mismatch, user_suspended, company_suspended).
    """
    subject = await subjects.resolve(principal, path_user=path_user, header_user=header_user)
    subjects.require_active(principal, subject)
    return Caller(principal=principal, subject=subject)


def require_llm(caller: Caller) -> None:
    """Refuse where the subject's kit closes the primitive.

    Errors: Forbidden (primitive_disabled_by_kit).
    """
    kits.require_primitive(caller.subject.kit, "llm")


async def admit(caller: Caller, raw: bytes, *, now: datetime | None = None) -> Admission:
    """Decide whether a call may be made and what it must hold. The dry run and the real gate are this one function.

    Shape: `raw` is the request body; nothing is held or sent.
    Errors: InvalidInput, Forbidden (model_not_allowed_by_kit, max_cost_usd_per_call), NotConfigured.
    Source: docs/product.md 3, 4 and 6; docs/reconciliation.md, "Sizing the hold".
    """
    return await weigh(caller, table.CHAT.read(raw), table.CHAT, now=now)


async def weigh(
    caller: Caller, request: Request, shape: Shape, *, is_proxied: bool = False, now: datetime | None = None
) -> Admission:
    """Decide the same about a request of any shape that was read; a proxied one is not gated by a kit.

    Errors: InvalidInput where upstream offers no such model; Forbidden and NotConfigured as `admit`.
    """
    if not is_proxied:
        kits.require_models(caller.subject.kit, request.models)
    upstream.require_configured()
    prices = await catalog.price_all(request.models)
    bound = shape.bound(request, prices)
    ceiling = None if is_proxied else _output_ceiling(caller, request, bound)
    principal = caller.principal
    worst_usd = bound.cost_usd(ceiling)
    grows = shape.can_grow and _can_grow(caller, request, bound, ceiling, is_proxied=is_proxied)
    first = pricing.SLICE_TOKENS if grows else None
    wanted_usd = worst_usd if first is None else bound.cost_usd(first)
    shortest_usd = bound.cost_usd(min(bound.output_tokens, request.least_tokens))
    least_usd = min(shortest_usd, wanted_usd) if bound.price_known else wanted_usd
    return Admission(
        principal=principal,
        subject=caller.subject,
        shape=shape,
        request=request,
        bound=bound,
        output_ceiling=ceiling,
        first_tokens=None if first is None else first * bound.choices,
        worst_nanocredits=_hold(principal, bound, worst_usd),
        wanted_nanocredits=_hold(principal, bound, wanted_usd),
        least_nanocredits=_hold(principal, bound, least_usd),
        caps=_caps(caller, now or datetime.now(UTC), is_proxied=is_proxied),  # noqa: TID251 - the door of the data plane.
        is_proxied=is_proxied,
    )


async def run(
    admission: Admission, *, key_sha256: bytes | None = None, converse: Converse | None = None
) -> Completion | Stream:
    """Make an admitted call; with an Idempotency-Key, once, and a second time give the answer of the first.

    Shape: `converse` sends the open call and answers it, closing it or leaving that to a pump.
    Errors: SettlementDebt, RateLimited, GatewayFull, InsufficientCredits, WalletFrozen, BooksUnavailable,
    IdempotencyMismatch, IdempotencyInProgress, AlreadyCompleted before anything is sent; UpstreamError and its kin
    afterwards.
    """
    debt.require_none(admission.principal.company_id)
    claim = None if key_sha256 is None else _claim(admission, key_sha256)
    try:
        call = await calls.open_call(admission, claim)
    except AlreadyCompleted as exc:
        return await _again(admission, exc)
    return await calls.carry_out((converse or _converse)(call, is_claimed=claim is not None))


def _claim(admission: Admission, key_sha256: bytes) -> holds.Claim:
    request = admission.request
    route = f"proxy/{admission.shape.path}" if admission.is_proxied else ROUTE
    found = requests.fingerprint(request.body.raw, route=route, user_id=admission.subject.user_id)
    return holds.Claim(key_sha256=key_sha256, fingerprint=found)


async def _again(admission: Admission, done: AlreadyCompleted) -> Completion:
    """Give the kept answer of a call that is done.

    Errors: AlreadyCompleted where there is none: a stream, too long, too old, or Valkey does not answer.
    """
    kept = await replays.find(company_id=admission.principal.company_id, hold_id=done.hold_id)
    if kept is None:
        raise done
    return Completion(body=kept.body, headers={**kept.headers, "Idempotency-Replayed": "true"})


async def _converse(call: Call, *, is_claimed: bool) -> Completion | Stream:
    """Send an open call; return its answer settled, or its stream running. The call is closed, or the pump's."""
    pump: Pump | None = None
    try:
        answer = await call.send()
        if call.admission.request.is_stream and answer.is_stream:
            pump = Pump(call, answer)
            pump.start()
            return Stream(headers=call.headers(), pump=pump)
        found = await _complete(call, answer)
        if is_claimed:
            await keep(call, found)
        return found
    finally:
        if pump is None:
            calls.close_call(call)


async def keep(call: Call, found: Completion) -> None:
    """Keep the answer of a claimed call, before it is given: who got an answer can get it again."""
    await replays.keep(
        replays.Kept(body=found.body, headers=found.headers),
        company_id=call.admission.principal.company_id,
        hold_id=call.hold_id,
    )


async def estimate(admission: Admission) -> dict[str, Any]:
    """Say what an admitted call would hold and cost at the worst, and whether wallet and caps cover it now."""
    bound = admission.bound
    refusal: dict[str, Any] | None = None
    call: Call | None = None
    try:
        call = await calls.try_out(admission)
    except InsufficientCredits as exc:
        amounts = {name: _credits(amount) for name, amount in exc.amounts_nanocredits.items()}
        refusal = {"message": exc.message, "details": {**exc.details, **amounts}}
    except WalletFrozen as exc:
        refusal = {"message": exc.message, "details": exc.details}
    return {
        "allowed": refusal is None,
        "account_kit": _kit(admission.subject),
        "user_id": str(admission.subject.user_id),
        "models": list(admission.request.models),
        "price_known": bound.price_known,
        "prompt_tokens_max": bound.prompt_tokens if bound.price_known else None,
        "output_tokens_max": (admission.output_ceiling or bound.output_tokens) if bound.price_known else None,
        "max_tokens": call.max_tokens if call else admission.output_ceiling,
        "worst_case_cost_usd": _number(bound.cost_usd(admission.output_ceiling))
        if bound.price_known
        else None,
        "worst_case_credits": _credits(admission.worst_nanocredits),
        "least_credits": _credits(admission.least_nanocredits),
        "hold_credits": _credits(call.granted_nanocredits) if call else None,
        "hold_grows": call is not None and call.covered_tokens is not None,
        "refusal": refusal,
    }


def refused_estimate(caller: Caller, error: DomainError) -> dict[str, Any]:
    """Say in an estimate's shape why the kit would refuse the call."""
    return {
        "allowed": False,
        "account_kit": _kit(caller.subject),
        "user_id": str(caller.subject.user_id),
        "refusal": {"message": error.message, "details": error.details},
    }


def model_gate(caller: Caller) -> Callable[[str], bool]:
    """Return the kit's rule for one model id, for lists: what may be called is what is shown."""
    rules = caller.subject.kit.rules
    return lambda model: kits.allows_model(rules, model)


async def _complete(call: Call, answer: Answer) -> Completion:
    """Read a JSON answer, settle it, and add the credits to it."""
    try:
        raw = await answer.read()
    except UpstreamError as exc:
        await call.leave_open()
        raise call.explained(exc) from exc
    finally:
        await answer.close()
    report = metering.read(raw)
    if report is not None and call.generation_id is None and report.generation_id is not None:
        call.learn(report.generation_id)
    if report is None or report.cost_usd is None:
        await call.leave_open()
    else:
        await call.settle(report, "inline")
    if report is None:
        raise call.explained(UpstreamLost("The model provider's answer is not JSON.", maybe_charged=True))
    if report.error is not None and not report.choices:
        # An error in a 200: no SDK would see it as one (docs/upstream.md 4).
        raise call.explained(refusals.read(_status_in(report.error), raw, maybe_charged=True))
    body = _with_credits(report.without_account(raw), call.credits())
    if call.kept is not None:
        call.kept.add(body)
    return Completion(body=body, headers=call.headers())


def _with_credits(raw: bytes, credits_fields: Mapping[str, Any]) -> bytes:
    close = raw.rindex(b"}")
    comma = b"" if raw[:close].rstrip().endswith(b"{") else b","
    return raw[:close] + comma + orjson.dumps(credits_fields)[1:] + raw[close + 1 :]


def _status_in(error: Mapping[str, Any]) -> int:
    code = error.get("code")
    return code if isinstance(code, int) and 400 <= code <= 599 else 502


def _output_ceiling(caller: Caller, request: Request, bound: pricing.Bound) -> int | None:
    """Return the kit's limit on output tokens where it lies below what the request can bring.

    Errors: Forbidden where the kit's `max_cost_usd_per_call` cannot be kept.
    """
    rules = caller.subject.kit.rules
    asked = pricing.requested_output(request.words)
    may_come = bound.output_tokens if bound.price_known else asked
    limits = [rules.max_tokens] if rules.max_tokens is not None else []
    if rules.max_cost_usd_per_call is not None:
        limits.append(_affordable_output(caller.subject, bound, rules.max_cost_usd_per_call))
    lowest = min(limits, default=None)
    return lowest if lowest is not None and (may_come is None or lowest < may_come) else None


def _can_grow(
    caller: Caller, request: Request, bound: pricing.Bound, ceiling: int | None, *, is_proxied: bool
) -> bool:
    """Whether a call may hold for the beginning of its answer only, and for more as it comes (money.md 2.4).

    It must be a stream of no stated length, whose output can be counted while it comes and be stopped when it is no
    longer paid for; else the worst case is held at once.
    """
    most = bound.output_tokens if ceiling is None else ceiling
    if not request.is_stream or not bound.price_known or most <= pricing.SLICE_TOKENS:
        return False
    if pricing.requested_output(request.words) is not None or bound.output_usd_per_token == 0:
        return False
    theirs = request.fields.get("provider") or {}
    wishes = theirs if is_proxied else {**theirs, **edits.preferences(caller.subject.kit.rules, theirs)}
    return bound.shows_output and providers.all_stop(request.models, wishes)


def _affordable_output(subject: Subject, bound: pricing.Bound, limit_usd: Decimal) -> int:
    if bound.price_known and bound.least_usd <= limit_usd:
        return max(1, bound.output_tokens_for(limit_usd))
    why = (
        f"may cost {bound.least_usd:f} USD" if bound.price_known else "has no price that is known beforehand"
    )
    raise Forbidden(
        f'Not allowed by AccountKit "{subject.kit.name}": this call {why}, the kit allows {limit_usd:f} USD a call.',
        hint="Shorten the prompt, name a cheaper model, or raise max_cost_usd_per_call in the kit.",
        details={
            "reason": "max_cost_usd_per_call",
            "primitive": "llm",
            "max_cost_usd_per_call": str(limit_usd),
        },
    )


def _hold(principal: Principal, bound: pricing.Bound, cost_usd: Decimal) -> int:
    """Return what to hold for a cost; at least the default hold where something without a price may run too."""
    priced = money.charge_nanocredits(
        cost_usd=cost_usd, markup=principal.markup, credit_value_usd=settings.CREDIT_VALUE_USD
    )
    return (
        priced
        if bound.price_known
        else max(priced, money.nanocredits_from_credits(settings.DEFAULT_HOLD_CREDITS))
    )


def _caps(caller: Caller, now: datetime, *, is_proxied: bool) -> tuple[holds.Cap, ...]:
    """Return the spending caps of this call's key and user, on the rows of their current periods.

    A user's is the kit's, which does not gate the proxy.
    """
    principal, rules = caller.principal, caller.subject.kit.rules
    found: list[holds.Cap] = []
    if principal.cap_credits is not None and principal.cap_period is not None:
        found.append(
            holds.Cap(
                scope="key",
                scope_id=principal.cap_scope_id,
                period=cast("Literal['day', 'week', 'month', 'total']", principal.cap_period),
                period_start=keys.cap_period_start(principal.cap_period, now),
                limit_nanocredits=money.nanocredits_from_credits(principal.cap_credits),
            )
        )
    if rules.monthly_credits_per_user is not None and not is_proxied:
        found.append(
            holds.Cap(
                scope="user",
                scope_id=caller.subject.user_id,
                period="month",
                period_start=keys.cap_period_start("month", now),
                limit_nanocredits=money.nanocredits_from_credits(rules.monthly_credits_per_user),
            )
        )
    return tuple(found)


def _kit(subject: Subject) -> dict[str, str]:
    return {"id": str(subject.kit.id), "name": subject.kit.name}


def _credits(nanocredits: int) -> orjson.Fragment:
    return orjson.Fragment(money.json_number(nanocredits))


def _number(amount: Decimal) -> orjson.Fragment:
    return orjson.Fragment(format(amount.normalize(), "f"))
