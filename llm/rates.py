"""Which limits a call is under, across all gateways, and what its caller is told of them: requests a minute of its key
and of its tenant user, calls at once of its company. Valkey judges them together (turns.py)."""

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings

from accounts.auth import Principal
from accounts.subjects import Subject
from llm import sightings, turns
from llm.errors import RateLimited
from llm.turns import Bucket, Lease, Left

# A place comes free when a call ends, which nobody can foretell. Unit: seconds.
PLACE_RETRY_S = 1


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests a minute. `scope` says whose: `api_key` (with its successors) or `tenant_user`."""

    scope: str
    scope_id: UUID
    per_minute: int


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave to run, to be given back by `leave`."""

    company_id: UUID
    lease: Lease


def limits(principal: Principal, subject: Subject, *, is_proxied: bool) -> tuple[Limit, ...]:
    """Return the limits of requests that a call is under; a kit's does not gate the proxy."""
    per_key = principal.requests_per_minute
    if per_key is None:
        per_key = settings.REQUESTS_PER_MINUTE
    found = (Limit("api_key", principal.cap_scope_id, per_key),) if per_key else ()
    per_user = None if is_proxied else subject.kit.rules.requests_per_minute
    return found if per_user is None else (*found, Limit("tenant_user", subject.user_id, per_user))


async def enter(company_id: UUID, limits: tuple[Limit, ...]) -> Pass:
    """Take one of the company's places and count a request against each limit; refused by one, nothing is counted.

    Shape: how the nearest limit of requests stands is noted for the answer's headers, whatever that will be.
    Errors: RateLimited, which names the limit, whose it is, and the seconds to wait. None where Valkey does not answer.
    """
    buckets = tuple(Bucket(f"rate:{limit.scope}:{limit.scope_id}", limit.per_minute) for limit in limits)
    most = settings.MAX_CALLS_PER_COMPANY
    lease, verdict = await turns.take(places=f"calls:{company_id}", places_max=most, buckets=buckets)
    if verdict is not None:
        if limits:
            sightings.current().limit_headers = _headers(limits, verdict.left)
        if verdict.refused == turns.NO_PLACE:
            raise too_many_calls(company_id)
        if verdict.refused:
            raise _too_many_requests(limits[verdict.refused - 1], verdict.wait_ms)
    return Pass(company_id, lease)


def leave(taken: Pass) -> None:
    """Give the place back; nobody waits for it."""
    turns.give_back(taken.lease)


async def close() -> None:
    """Close this event loop's connection."""
    await turns.close()


def too_many_calls(company_id: UUID) -> RateLimited:
    """Return the refusal of a company that has all its calls running."""
    most = settings.MAX_CALLS_PER_COMPANY
    return RateLimited(
        f"Your company has {most} calls running, as many as it may.",
        hint="Retry in a second, or run fewer calls at once; the operator can raise it (MAX_CALLS_PER_COMPANY).",
        details={
            "limit": "concurrent_calls",
            "scope": "company",
            "scope_id": str(company_id),
            "max": most,
            "retry_after_s": PLACE_RETRY_S,
        },
    )


def _too_many_requests(limit: Limit, wait_ms: int) -> RateLimited:
    if limit.scope == "tenant_user":
        whose, who = "This user's kit", "an admin of your company can raise requests_per_minute in the kit"
    else:
        whose, who = "This API key", "an admin of your company can give the key another requests_per_minute"
    return RateLimited(
        f"{whose} allows {limit.per_minute} requests a minute.",
        hint=f"Wait as Retry-After says; {who}.",
        details={
            "limit": "requests_per_minute",
            "scope": limit.scope,
            "scope_id": str(limit.scope_id),
            "max": limit.per_minute,
            "retry_after_s": max(1, -(-wait_ms // 1000)),
        },
    )


def _headers(limits: tuple[Limit, ...], left: tuple[Left, ...]) -> dict[str, str]:
    """Say how the nearest limit stands, in OpenAI's words."""
    limit, found = min(zip(limits, left, strict=True), key=lambda pair: pair[1].requests)
    return {
        "x-ratelimit-limit-requests": str(limit.per_minute),
        "x-ratelimit-remaining-requests": str(found.requests),
        "x-ratelimit-reset-requests": _duration(found.reset_ms),
    }


def _duration(ms: int) -> str:
    """Write a time as OpenAI does: `350ms`, `6.5s`, `1m0s`."""
    if ms < 1000:
        return f"{ms}ms"
    minutes, rest_ms = divmod(ms, 60_000)
    seconds = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
