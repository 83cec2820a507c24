"""A paid call from its request to its settlement: key, faults, model and provider chosen, bill booked."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from simulator import catalogue, checks, faults, generations, keys, pricing, providers, refusals
from simulator.catalogue import Model
from simulator.errors import APIError
from simulator.faults import BadFault, Faults
from simulator.generations import Generation
from simulator.ledger import Charge
from simulator.pricing import Bill, Tally
from simulator.providers import Endpoint
from simulator.spans import Ended
from simulator.traffic import STREAM, Body, Reply, Request
from simulator.world import CACHE_MAX, World

FAULTS_HEADER = "x-sim-faults"
# How much longer than usual the record of a cancelled generation takes (upstream.md section 5).
CANCELLED_DELAY_FACTOR = 2.5
CACHE_TTL_S = 300


@dataclass(frozen=True, slots=True)
class Need:
    """What a call asks of the catalogue."""

    names: tuple[str, ...]
    seed: int
    prompt_tokens: int = 0
    max_tokens: int | None = None
    output: str = "text"
    api: str = "completions"
    streamed: bool = False
    searches: int = 0
    provider: Body = field(default_factory=dict)
    user: str | None = None
    trace: Body = field(default_factory=dict)


@dataclass(slots=True)
class Call:
    """One paid call whose model and provider are settled."""

    id: str
    key: str
    created: int
    started: float
    started_ns: int
    model: Model
    endpoint: Endpoint
    faults: Faults
    need: Need
    request: Request
    cache_status: str = ""
    cache_source: str | None = None
    previous_errors: list[Body] = field(default_factory=list)

    @property
    def model_name(self) -> str:
        """The name that the answer bears."""
        return self.model.canonical_slug if self.faults.permaslug else self.model.id

    @property
    def cancellable(self) -> bool:
        chosen = self.faults.cancellable
        return self.endpoint.provider.cancellable if chosen is None else chosen

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        found = [
            ("X-Generation-Id", self.id),
            ("X-Provider-Name", self.endpoint.provider.name),
            ("request-id", generations.request_id(self.id)),
        ]
        if self.cache_status:
            found.append(("X-OpenRouter-Cache-Status", self.cache_status))
            found.append(("X-OpenRouter-Cache-TTL", str(CACHE_TTL_S)))
        if self.cache_source:
            found.append(("X-OpenRouter-Cache-Age", "1"))
            found.append(("X-OpenRouter-Cache-Source-Id", self.cache_source))
        return tuple(found)

    def tally(self, *, completion: int, reasoning: int = 0, images: int = 0, requests: int = 1) -> Tally:
        """What is counted so far; nothing at all for a hit of the response cache."""
        if self.cache_status == "HIT":
            return Tally(requests=0)
        prompt = self.need.prompt_tokens
        return Tally(
            prompt=prompt,
            completion=completion,
            reasoning=reasoning,
            images=images,
            cached=min(self.faults.cached_tokens, prompt),
            written=min(self.faults.cache_write_tokens, max(prompt - self.faults.cached_tokens, 0)),
            requests=requests,
            searches=self.need.searches,
        )

    def bill(self, tally: Tally, *, free: bool = False) -> Bill:
        free = free or self.cache_status == "HIT"
        return pricing.bill(self.model.tariff, tally, self.faults, factor=self.endpoint.factor, free=free)


@dataclass(slots=True)
class Script:
    """A streamed answer: frames with the tokens each brings, and the frames that depend on the bill.

    One whose content is no event stream has no comments, no [DONE] and no words for an error: it is cut.
    """

    frames: list[tuple[bytes, int]]
    closing: Callable[[Bill], list[bytes]]
    failure: Callable[[str, Bill], list[bytes]]
    done: bytes = b"data: [DONE]\n\n"
    after_done: bytes = b'data: {"late":true}\n\n'
    content_type: str = STREAM

    @property
    def is_text(self) -> bool:
        return self.content_type == STREAM


@dataclass(slots=True)
class Work:
    """An answer that still has to be produced, billed and sent: either `render` or `script` is set."""

    call: Call
    tokens: int
    # What is counted once so many completion tokens are produced.
    tally: Callable[[int], Tally]
    finish: str | None = "stop"
    render: Callable[[Bill], Reply] | None = None
    script: Script | None = None
    # It comes to nothing and costs nothing, though it was accepted.
    failed: bool = False


def knobs(world: World, request: Request, *, scope: str = "inference", model: str = "") -> Faults:
    """The faults of a request: global, then model suffix, then header. APIError 400 names a bad knob."""
    try:
        return faults.combine(world.knobs_for(scope), model, request.header(FAULTS_HEADER))
    except BadFault as exc:
        raise APIError(400, str(exc)) from exc


def read(request: Request) -> tuple[str, Body]:
    """Key and JSON body of a paid call, in the order in which upstream complains."""
    key = keys.authenticate(request)
    return key, checks.json_object(request)


def names_in(body: Body) -> tuple[str, ...]:
    """The candidates of a request in order: `model`, then `models`, then the account's default."""
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise checks.invalid("model", "a string")
    names = [model] if model else []
    names += [name for name in checks.texts(body, "models") if name not in names]
    preset = body.get("preset")
    return tuple(names) or ((f"@preset/{preset}",) if preset else (catalogue.DEFAULT,))


def _endpoint(model: Model, wishes: Body, chosen: str | None) -> Endpoint:
    """The provider that serves: the one a knob names, else by `provider.only/ignore/order`."""
    if chosen:
        return Endpoint(providers.named(chosen), Decimal(1))
    only, ignore, order = (
        {str(name).lower() for name in wishes.get(field) or []} for field in ("only", "ignore", "order")
    )

    def among(endpoint: Endpoint, names: set[str]) -> bool:
        return bool({endpoint.provider.slug, endpoint.provider.name.lower()} & names)

    allowed = [e for e in model.endpoints if (not only or among(e, only)) and not among(e, ignore)]
    if not allowed:
        raise APIError(404, "No allowed providers are available for the selected model.")
    ordered = [e for e in allowed if among(e, order)]
    if order and not ordered and wishes.get("allow_fallbacks") is False:
        raise APIError(404, "No allowed providers are available for the selected model.")
    return (ordered or allowed)[0]


def _require_price(model: Model, endpoint: Endpoint, factor: Decimal, wishes: Body) -> None:
    """`provider.max_price`, in USD per million tokens, is a hard filter."""
    limits = wishes.get("max_price")
    if not isinstance(limits, dict):
        return
    offered = {"prompt": model.tariff.prompt, "completion": model.tariff.completion}
    for name, price in offered.items():
        limit = limits.get(name)
        if limit is not None and price * endpoint.factor * factor * 1_000_000 > Decimal(str(limit)):
            raise APIError(404, f"No endpoints found for {model.id} under the requested max_price.")


def _require_room(model: Model, need: Need) -> None:
    asked = need.prompt_tokens + (need.max_tokens or 0)
    if asked > model.context_length:
        message = (
            f"This endpoint's maximum context length is {model.context_length} tokens. However, you requested "
            f"about {asked} tokens ({need.prompt_tokens} of text input, {need.max_tokens or 0} in the output). "
            "Please reduce the length of either one."
        )
        raise APIError(400, message, error_type="context_length_exceeded")


def _candidates(need: Need) -> list[tuple[Model, str]]:
    """Known models with their fault suffix, in order; APIError of the first when none is known."""
    found: list[tuple[Model, str]] = []
    problem: APIError | None = None
    for name in need.names:
        plain, text = faults.split_model(name)
        try:
            model = catalogue.resolve(plain, need.seed)
        except APIError as exc:
            problem = problem or exc
            continue
        if need.output in model.outputs:
            found.append((model, text))
        else:
            problem = problem or APIError(400, f"{plain} does not support this endpoint")
    if not found and problem:
        raise problem
    return found


def begin(world: World, request: Request, key: str, need: Need) -> Call:
    """Choose model and provider of a call, or refuse it.

    Errors: APIError as upstream words it; Refused with the reply that a knob asks for.
    """
    keys.require_funds(key, need.max_tokens)
    candidates = _candidates(need)
    previous: list[Body] = []
    for number, (model, text) in enumerate(candidates, start=1):
        spoilt = knobs(world, request, model=text)
        down = spoilt.provider_down or (text and spoilt.status)
        if not down or number == len(candidates):
            break
        error = {"provider": model.endpoints[0].provider.name, "code": 502, "status": 502, "model": model.id}
        previous.append(error)
    created = world.unix_time()
    call = Call(
        id=generations.new_id(created),
        key=key,
        created=created,
        started=world.clock(),
        started_ns=world.unix_ns(),
        model=model,
        endpoint=_endpoint(model, need.provider, spoilt.provider),
        faults=spoilt,
        need=need,
        request=request,
        previous_errors=previous,
    )
    if spoilt.prompt_tokens is not None:
        call.need = _counted(need, spoilt.prompt_tokens)
    _require_price(model, call.endpoint, spoilt.price_factor, need.provider)
    _require_room(model, call.need)
    _refuse(world, call)
    _cache(world, call)
    return call


def _counted(need: Need, prompt_tokens: int) -> Need:
    values: dict[str, Any] = {name: getattr(need, name) for name in Need.__slots__}
    return Need(**{**values, "prompt_tokens": prompt_tokens})


def _refuse(world: World, call: Call) -> None:
    spoilt, provider = call.faults, call.endpoint.provider.name
    if spoilt.provider_down:
        metadata = {"provider_name": provider, "previous_errors": call.previous_errors}
        raise APIError(502, "Provider returned error", metadata=metadata)
    reply = refusals.of(spoilt, path=call.request.path, provider=provider, model=call.model.id, key=call.key)
    if reply is None:
        return
    if spoilt.error_generation and reply.status:
        work = Work(call=call, tokens=0, tally=lambda tokens: call.tally(completion=tokens), finish="error")
        settle(world, work, produced=0, failed=True)
        reply = refusals.with_headers(reply, *call.headers)
    raise refusals.Refused(reply)


def _cache(world: World, call: Call) -> None:
    """The response cache, for callers that ask for it and for the knob."""
    if call.faults.cache:
        call.cache_status = call.faults.cache.upper()
        if call.cache_status == "HIT":
            call.cache_source = generations.new_id(call.created - 1)
    if call.request.header("x-openrouter-cache").lower() != "true":
        return
    place = (call.key, call.request.path, hashlib.sha256(call.request.body).digest())
    source, stored_at, ttl_s = world.cached.get(place, ("", 0.0, 0.0))
    if call.request.header("x-openrouter-cache-clear").lower() == "true" or world.clock() > stored_at + ttl_s:
        wanted = call.request.header("x-openrouter-cache-ttl")
        ttl_s = min(int(wanted), 86_400) if wanted.isdigit() else CACHE_TTL_S
        world.cached[place] = (call.id, world.clock(), ttl_s)
        call.cache_status = "MISS"
        if len(world.cached) > CACHE_MAX:
            world.cached.popitem(last=False)
    else:
        call.cache_status, call.cache_source = "HIT", source


def settle(world: World, work: Work, *, produced: int, cancelled: bool = False, failed: bool = False) -> Bill:
    """Bill what was produced, book it and write the generation record; called exactly once per call.

    A stream cancelled before its first token, and any failure, cost nothing (zero completion insurance);
    the `error_billed` knob has failures charged.
    """
    call = work.call
    tally = work.tally(produced)
    nothing_came = cancelled and produced == 0 and work.script is not None
    free = (failed and not call.faults.error_billed) or nothing_came
    bill = call.bill(tally, free=free)
    finish = "error" if failed else None if cancelled else work.finish
    world.ledger.charge(_charge(world, call, bill, cancelled=cancelled))
    if call.faults.generation != "never":
        world.generations.keep(_record(world, work, bill, cancelled=cancelled, finish=finish))
    if world.broadcasts.destination is not None:
        chosen = call.faults
        ended = _ended(world, call, bill, finish)
        world.broadcasts.ended(ended, how=chosen.broadcast, delay_ms=chosen.broadcast_delay_ms)
    return bill


def _charge(world: World, call: Call, bill: Bill, *, cancelled: bool) -> Charge:
    return Charge(
        generation_id=call.id,
        key=call.key,
        # A record that is corrected later says what the call really cost.
        amount_usd=bill.amount * 2 if call.faults.generation == "corrected" else bill.amount,
        cancelled=cancelled,
        date=world.today(),
        model=call.model.id,
        permaslug=call.model.canonical_slug,
        provider=call.endpoint.provider.name,
        byok_usd=Decimal(bill.upstream) if bill.byok else Decimal(0),
        tally=bill.tally,
        trace=call.need.trace,
    )


def _ended(world: World, call: Call, bill: Bill, finish: str | None) -> Ended:
    return Ended(
        generation_id=call.id,
        asked_model=call.model.id,
        answer_model=call.model_name,
        provider=call.endpoint.provider.name,
        slug=call.endpoint.provider.slug,
        user=call.need.user,
        trace=call.need.trace,
        bill=bill,
        finish=finish,
        started_ns=call.started_ns,
        ended_ns=world.unix_ns(),
    )


def _record(world: World, work: Work, bill: Bill, *, cancelled: bool, finish: str | None) -> Generation:
    call, now = work.call, world.clock()
    delay_s = world.generation_delay_s * (CANCELLED_DELAY_FACTOR if cancelled else 1)
    if call.faults.generation_delay_ms is not None:
        delay_s = call.faults.generation_delay_ms / 1000
    change_ms = call.faults.generation_change_ms
    return Generation(
        id=call.id,
        key=call.key,
        created=call.created,
        model=call.model.id,
        provider=call.endpoint.provider.name,
        api_type=call.need.api,
        streamed=call.need.streamed,
        cancelled=cancelled,
        finish_reason=finish,
        bill=bill,
        elapsed_s=now - call.started,
        visible_at=now + delay_s,
        normalized=1.0 if call.model.id.startswith("openai/") else 0.9,
        user=call.need.user,
        origin=call.request.header("http-referer"),
        user_agent=call.request.header("user-agent") or None,
        failures_left=call.faults.generation_failures,
        failure_status=call.faults.generation_status,
        stall_ms=call.faults.generation_stall_ms,
        how=call.faults.generation,
        changes_at=None if change_ms is None else now + delay_s + change_ms / 1000,
        cache_source=call.cache_source,
    )
