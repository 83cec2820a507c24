"""Which path and method lead where, and what becomes of errors."""

import re
import sys
import traceback
from collections.abc import Callable

import orjson

from simulator import chat, control, embeddings, errors, keys, listings, media, messages, refusals, responses
from simulator.calls import Work
from simulator.errors import APIError
from simulator.traffic import Reply, Request
from simulator.world import World

API = "/api/v1"
type Handler = Callable[[World, Request], Reply | Work]

INFERENCE: dict[str, Handler] = {
    f"{API}/chat/completions": chat.create,
    f"{API}/completions": chat.complete,
    f"{API}/responses": responses.create,
    f"{API}/messages": messages.create,
    f"{API}/embeddings": embeddings.create,
    f"{API}/rerank": embeddings.rerank,
    f"{API}/audio/speech": media.speech,
    f"{API}/audio/transcriptions": media.transcriptions,
    f"{API}/images": media.images,
    f"{API}/videos": media.videos,
}
_READS: dict[str, Handler] = {
    f"{API}/models": listings.models,
    f"{API}/models/count": listings.count,
    f"{API}/models/user": listings.user_models,
    f"{API}/embeddings/models": listings.embedding_models,
    f"{API}/images/models": listings.image_models,
    f"{API}/videos/models": listings.video_models,
    f"{API}/providers": listings.provider_list,
    f"{API}/endpoints/zdr": listings.zdr_endpoints,
    f"{API}/key": keys.show,
    f"{API}/auth/key": keys.show,
    f"{API}/credits": keys.credits,
    f"{API}/activity": keys.activity,
    f"{API}/generation": listings.generation,
    "/__sim/ledger": control.ledger,
    "/__sim/requests": control.requests,
    "/__sim/faults": control.show_faults,
    "/__sim/broadcast": control.show_broadcast,
    "/__sim/clock": control.show_clock,
    "/__sim/elsewhere": control.elsewhere,
}
_WRITES: dict[str, Handler] = {
    **INFERENCE,
    "/__sim/ledger/reset": control.reset_ledger,
    "/__sim/requests/reset": control.reset_requests,
    "/__sim/faults": control.set_faults,
    "/__sim/broadcast": control.set_broadcast,
    "/__sim/clock": control.set_clock,
    "/__sim/elsewhere": control.elsewhere,
}
_ROUTES = {"GET": _READS, "POST": _WRITES}
# Paths with names in them; all are read with GET.
_NAMED: list[tuple[re.Pattern[str], Callable[..., Reply]]] = [
    (re.compile(rf"{API}/models/([^/]+)/([^/]+)/endpoints"), listings.endpoints),
    (re.compile(rf"{API}/images/models/([^/]+)/([^/]+)/endpoints"), listings.image_endpoints),
    (re.compile(rf"{API}/model/([^/]+)/([^/]+)"), listings.model),
    (re.compile(rf"{API}/videos/([^/]+)"), media.video),
    (re.compile(rf"{API}/videos/([^/]+)/content"), media.video_content),
]


def answer(world: World, request: Request) -> Reply | Work:
    """The answer to any request; every failure becomes a reply."""
    try:
        return _dispatch(world, request)
    except refusals.Refused as refused:
        return refused.reply
    except APIError as error:
        body = orjson.dumps(errors.envelope(error, request.path))
        return Reply(error.status, body, headers=error.headers)
    except Exception:
        # A bug here must show as a 500 and on stderr, not as a connection that hangs.
        traceback.print_exc(file=sys.stderr)
        return Reply(500, orjson.dumps({"error": {"code": 500, "message": "The simulator has a bug."}}))


def _dispatch(world: World, request: Request) -> Reply | Work:
    # Whoever sends HEAD gets the headers of GET; the body is dropped on the way out.
    method = "GET" if request.method == "HEAD" else request.method
    handler = _ROUTES.get(method, {}).get(request.path)
    if handler is not None:
        return handler(world, request)
    allowed = [name for name, routes in _ROUTES.items() if request.path in routes]
    if allowed:
        raise APIError(405, headers=(("allow", ", ".join(allowed)),), known_user=False)
    for pattern, named in _NAMED:
        found = pattern.fullmatch(request.path)
        if found and method == "GET":
            return named(world, request, *found.groups())
    raise APIError(404, "Not Found", known_user=False)
