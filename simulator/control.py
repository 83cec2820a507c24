"""The simulator's own routes under /__sim: its ledger, its journal and the global knobs. No key needed."""

from simulator import broadcasts, checks, faults
from simulator.broadcasts import BadDestination
from simulator.errors import APIError
from simulator.faults import BadFault
from simulator.traffic import Reply, Request, json_reply
from simulator.world import World

SHIFT_S_MAX = 400 * 86_400


def _count(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isdigit():
        raise APIError(400, f"{name} must be a whole number")
    return int(text)


def ledger(world: World, request: Request) -> Reply:
    """GET /__sim/ledger, with `?entries=n` for the latest charges."""
    return json_reply(world.ledger.summary(entries=_count(request, "entries", 0)))


def reset_ledger(world: World, _request: Request) -> Reply:
    world.ledger.reset()
    return json_reply(world.ledger.summary())


def requests(world: World, request: Request) -> Reply:
    """GET /__sim/requests, with `?last=n` for fewer than the default of the last 1000."""
    return json_reply(world.journal.summary(last=_count(request, "last", 1000)))


def reset_requests(world: World, _request: Request) -> Reply:
    world.journal.reset()
    return json_reply(world.journal.summary(last=0))


def show_faults(world: World, _request: Request) -> Reply:
    return json_reply({"active": world.knobs, "known": faults.described()})


def set_faults(world: World, request: Request) -> Reply:
    """POST /__sim/faults: a JSON object of knobs takes the place of the last one; `{}` clears."""
    body = checks.json_object(request)
    try:
        world.knobs = faults.from_object(body)
    except BadFault as exc:
        raise APIError(400, str(exc), known_user=False) from exc
    return json_reply({"active": world.knobs})


def show_broadcast(world: World, _request: Request) -> Reply:
    """GET /__sim/broadcast: where traces go, and how many were delivered since that was set."""
    return json_reply(world.broadcasts.summary())


def set_broadcast(world: World, request: Request) -> Reply:
    """POST /__sim/broadcast: where every ended generation is told of from now on; `{}` ends that."""
    body = checks.json_object(request)
    try:
        world.broadcasts.point(broadcasts.destination(body))
    except BadDestination as exc:
        raise APIError(400, str(exc), known_user=False) from exc
    return json_reply(world.broadcasts.summary())


def show_clock(world: World, _request: Request) -> Reply:
    return json_reply({"shift_s": world.shift_s, "unix_time": world.unix_time()})


def set_clock(world: World, request: Request) -> Reply:
    """POST /__sim/clock: how many seconds this world's clock is to stand ahead of the machine's."""
    shift_s = checks.json_object(request).get("shift_s")
    if isinstance(shift_s, bool) or not isinstance(shift_s, int) or abs(shift_s) > SHIFT_S_MAX:
        raise APIError(400, f"shift_s must be a whole number, at most {SHIFT_S_MAX}", known_user=False)
    world.shift_s = shift_s
    return show_clock(world, request)


def elsewhere(world: World, _request: Request) -> Reply:
    """Where the `redirect` knob points; whoever follows it is counted."""
    world.journal.elsewhere += 1
    return json_reply({"elsewhere": world.journal.elsewhere})
