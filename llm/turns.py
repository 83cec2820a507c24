"""Whether calls may run now, asked of Valkey for all gateways: questions that wait together share one round trip.

Two kinds of limit are known here by their names in Valkey alone: requests a minute, and places for calls that run at
once. A place is a lease that its gateway renews, so what a killed gateway held comes back by itself. What the limits
are, and what a refusal says, is in rates.py.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from llm import valkey

log = logging.getLogger(__name__)

# A limit is not worth waiting for: with Valkey slow or down calls go on uncounted.
TIMEOUT_S = 0.2
# How long a place outlives its gateway, and how often it is renewed until then.
LEASE_S = 20.0
RENEW_S = 5.0
# Given back together, unless a question goes out before: nobody waits for it.
RETURN_S = 0.01
# What one round trip carries at most: Valkey serves nobody else meanwhile.
QUESTIONS_MAX = 128
NO_PLACE = -1
# Requests: a bucket per name that drains by its limit a minute, kept as `used at` (at in ms); a minute's worth may come
# at once, and of a limit that was lowered no more than that counts as used. Places: a sorted set per name, leases by
# their end in ms. A clock that was set back (another Valkey took over) keeps neither full. All of a call's limits are
# looked at before any is counted. What is asked is one text of words: packing each as an argument of its own costs a
# gateway more than all the rest. A verdict is refused (0, -1 for want of a place, or the number of the limit), the ms
# to wait, and what is left of each limit with the ms until all of it is back.
SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local next_word = string.gmatch(ARGV[1], '%S+')
local function next_number() return tonumber(next_word()) end

local lease_ms = next_number()
for _ = 1, next_number() do
    redis.call('ZREM', next_word(), next_word())
end
for _ = 1, next_number() do
    local places = next_word()
    redis.call('ZADD', places, now + lease_ms, next_word())
    redis.call('PEXPIRE', places, lease_ms)
end

local function used(bucket, limit)
    local kept = redis.call('GET', bucket)
    local amount, at = string.match(kept or '', '^(%S+) (%S+)$')
    if not amount then return 0 end
    return math.max(0, math.min(limit, tonumber(amount)) - math.abs(now - tonumber(at)) * limit / 60000)
end

local told = {}
for _ = 1, next_number() do
    local places, most, lease, count = next_word(), next_number(), next_word(), next_number()
    local refused, wait, buckets, limits, amounts = 0, 0, {}, {}, {}
    for i = 1, count do
        buckets[i], limits[i] = next_word(), next_number()
        amounts[i] = used(buckets[i], limits[i])
        local over = (amounts[i] + 1 - limits[i]) * 60000 / limits[i]
        if over > 0.001 and over > wait then refused, wait = i, over end
    end
    if refused == 0 then
        redis.call('ZREMRANGEBYSCORE', places, '-inf', now)
        redis.call('ZREMRANGEBYSCORE', places, '(' .. string.format('%.0f', now + lease_ms), '+inf')
        if redis.call('ZCARD', places) >= most then refused = -1 end
    end
    if refused == 0 then
        redis.call('ZADD', places, now + lease_ms, lease)
        redis.call('PEXPIRE', places, lease_ms)
        for i = 1, count do
            amounts[i] = amounts[i] + 1
            local back = math.ceil(amounts[i] * 60000 / limits[i])
            redis.call('SET', buckets[i], string.format('%.9f %.0f', amounts[i], now), 'PX', math.max(1, back))
        end
    end
    told[#told + 1] = string.format('%d %d', refused, math.ceil(wait))
    for i = 1, count do
        local left = math.max(0, math.floor(limits[i] - amounts[i] + 0.000001))
        told[#told + 1] = string.format('%d %d', left, math.ceil(amounts[i] * 60000 / limits[i]))
    end
end
return table.concat(told, ' ')
"""
_SHA1: Final = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

# What a lease of this process begins with: no two processes meet, whatever their ids are.
_PROCESS: Final = secrets.token_hex(8)


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """One call's place, by the name of the set that it is in."""

    places: str
    id: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """A limit of requests by its name in Valkey."""

    name: str
    per_minute: int


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a limit of requests, and the ms until all of it is back."""

    requests: int
    reset_ms: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """`refused` is 0, NO_PLACE, or the number of the bucket, from 1; `left` is in the buckets' order."""

    refused: int
    wait_ms: int
    left: tuple[Left, ...]


@dataclass(slots=True, eq=False)
class _Question:
    lease: Lease
    places_max: int
    buckets: tuple[Bucket, ...]
    verdict: "asyncio.Future[Verdict | None]"


@dataclass(slots=True)
class Count:
    """What this process asked since it began. `unjudged` are the calls that went on because Valkey did not answer."""

    judged: int = 0
    unjudged: int = 0
    trips: int = 0


@dataclass(slots=True)
class _Desk:
    """One event loop's questions that wait, places that go back (until they end by themselves), and those taken."""

    waiting: list[_Question] = field(default_factory=list)
    leaving: dict[Lease, float] = field(default_factory=dict)
    taken: dict[str, Lease] = field(default_factory=dict)
    work: asyncio.Task[None] | None = None
    returning: asyncio.TimerHandle | None = None
    renewing: asyncio.TimerHandle | None = None
    is_renewal_due: bool = False


line = valkey.Line("rate limits", timeout_s=TIMEOUT_S)
count = Count()
_desks: dict[asyncio.AbstractEventLoop, _Desk] = {}
_leases = 0


async def take(*, places: str, places_max: int, buckets: tuple[Bucket, ...]) -> tuple[Lease, Verdict | None]:
    """Take a place and count a request in each bucket, or nothing at all; all are judged in one round trip.

    Shape: the verdict is None where Valkey did not answer: the call goes on. Whoever is not refused must `give_back`.
    """
    global _leases
    _leases += 1
    desk = _desk()
    lease = Lease(places, f"{_PROCESS}{_leases:x}")
    if line.is_resting():
        verdict = None
        count.unjudged += 1
    else:
        question = _Question(lease, places_max, buckets, asyncio.get_running_loop().create_future())
        desk.waiting.append(question)
        _set_to_work(desk)
        try:
            verdict = await question.verdict
        except asyncio.CancelledError:
            # It may have been granted all the same.
            _let_go(desk, lease)
            raise
    if verdict is None or not verdict.refused:
        desk.taken[lease.id] = lease
        if desk.renewing is None:
            desk.renewing = asyncio.get_running_loop().call_later(RENEW_S, _renew, desk)
    return lease, verdict


def give_back(lease: Lease) -> None:
    """Give a place back; nobody waits until Valkey knows."""
    desk = _desk()
    if desk.taken.pop(lease.id, None) is not None:
        _let_go(desk, lease)


async def close() -> None:
    """Tell Valkey what is still to be given back, and close this event loop's connection."""
    desk = _desks.pop(asyncio.get_running_loop(), None)
    if desk is not None:
        if desk.leaving:
            _set_to_work(desk)
        if desk.work is not None:
            await desk.work
        for timer in (desk.returning, desk.renewing):
            if timer is not None:
                timer.cancel()
    await line.close()


def _desk() -> _Desk:
    loop = asyncio.get_running_loop()
    desk = _desks.get(loop)
    if desk is None:
        desk = _desks[loop] = _Desk()
    return desk


def _set_to_work(desk: _Desk) -> None:
    if desk.work is None:
        desk.work = asyncio.get_running_loop().create_task(_work(desk), name="rate-limits")


def _let_go(desk: _Desk, lease: Lease) -> None:
    loop = asyncio.get_running_loop()
    desk.leaving[lease] = loop.time() + LEASE_S
    if desk.returning is None and desk.work is None:
        desk.returning = loop.call_later(RETURN_S, _set_to_work, desk)


def _renew(desk: _Desk) -> None:
    desk.renewing = None
    if desk.taken:
        desk.is_renewal_due = True
        desk.renewing = asyncio.get_running_loop().call_later(RENEW_S, _renew, desk)
        _set_to_work(desk)


async def _work(desk: _Desk) -> None:
    """Ask until nothing waits. One round trip at a time: what comes meanwhile shares the next.

    What an outage kept from going back goes back when it is over: else the next calls would find those places taken.
    """
    loop = asyncio.get_running_loop()
    try:
        while desk.waiting or desk.leaving or desk.is_renewal_due:
            questions = [one for one in desk.waiting[:QUESTIONS_MAX] if not one.verdict.done()]
            del desk.waiting[:QUESTIONS_MAX]
            leaving, desk.leaving = desk.leaving, {}
            renewed = list(desk.taken.values()) if desk.is_renewal_due else []
            desk.is_renewal_due = False
            try:
                verdicts = await _ask([*leaving], renewed, questions)
            except valkey.Away:
                count.unjudged += len(questions)
                verdicts = [None] * len(questions)
                ended = loop.time()
                desk.leaving |= {lease: until for lease, until in leaving.items() if until > ended}
            except Exception:
                # A bug of ours, or a stranger's server: no call waits for it for ever.
                log.exception("limits are not judged")
                count.unjudged += len(questions)
                verdicts = [None] * len(questions)
            for question, verdict in zip(questions, verdicts, strict=True):
                if not question.verdict.done():
                    question.verdict.set_result(verdict)
            if line.is_resting() and not desk.waiting:
                break
    finally:
        desk.work = None
        if desk.returning is not None:
            desk.returning.cancel()
        is_left = bool(desk.leaving)
        desk.returning = loop.call_later(valkey.REST_S, _set_to_work, desk) if is_left else None


async def _ask(
    leaving: list[Lease], renewed: list[Lease], questions: list[_Question]
) -> list[Verdict | None]:
    said = [str(int(LEASE_S * 1000))]
    for leases in (leaving, renewed):
        said.append(str(len(leases)))
        said += [f"{lease.places} {lease.id}" for lease in leases]
    said.append(str(len(questions)))
    for question in questions:
        lease, buckets = question.lease, question.buckets
        said.append(f"{lease.places} {question.places_max} {lease.id} {len(buckets)}")
        said += [f"{bucket.name} {bucket.per_minute}" for bucket in buckets]
    count.trips += 1
    told = await _evaluate(" ".join(said))
    count.judged += len(questions)
    numbers = map(int, told.split())
    return [_verdict(numbers, len(question.buckets)) for question in questions]


async def _evaluate(said: str) -> bytes:
    try:
        found: bytes = await line.ask("EVALSHA", _SHA1, 0, said)
    except valkey.NoScript:
        found = await line.ask("EVAL", SCRIPT, 0, said)
    return found


def _verdict(numbers: Iterator[int], buckets: int) -> Verdict:
    refused, wait_ms = next(numbers), next(numbers)
    return Verdict(refused, wait_ms, tuple(Left(next(numbers), next(numbers)) for _ in range(buckets)))
