"""The free GET routes: models, endpoints, providers and generation records."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson

from simulator import calls, catalogue, keys, pricing, providers, refusals
from simulator.catalogue import Model
from simulator.errors import APIError
from simulator.providers import Endpoint
from simulator.traffic import Reply, Request, json_reply
from simulator.world import World

LIMIT_MAX = 1000
_MILLION = Decimal(1_000_000)
# Providers that keep nothing of what they are asked.
_ZDR = frozenset({"amazon-bedrock", "azure", "deepinfra", "fireworks", "google-vertex", "groq", "together"})
_BODIES: dict[tuple[tuple[str, str], ...], bytes] = {}
_BODIES_MAX = 100


def _price(model: Model, name: str) -> Decimal:
    return Decimal(model.listing["pricing"][name]) * _MILLION


_SORTS: dict[str, Callable[[Model], Any]] = {
    "newest": lambda model: -model.listing["created"],
    "pricing-low-to-high": lambda model: _price(model, "prompt"),
    "pricing-high-to-low": lambda model: -_price(model, "prompt"),
    "context-high-to-low": lambda model: -model.context_length,
}


def _modalities(model: Model, side: str) -> set[str]:
    return set(model.listing["architecture"][side])


def _words(text: str) -> set[str]:
    return {word for word in text.lower().split(",") if word}


def _wanted(model: Model, query: dict[str, str], output: str) -> bool:
    """Whether a model passes the filters of GET /models; unknown filters are passed over, as upstream does."""
    listing, outputs = model.listing, query.get("output_modalities", output)
    if outputs != "all" and not _words(outputs) & _modalities(model, "output_modalities"):
        return False
    if not _words(query.get("input_modalities", "")) <= _modalities(model, "input_modalities"):
        return False
    if not _words(query.get("supported_parameters", "")) <= set(listing["supported_parameters"]):
        return False
    if query.get("q", "").lower() not in f"{listing['id']} {listing['name']}".lower():
        return False
    authors = _words(query.get("model_authors", ""))
    if authors and model.id.partition("/")[0] not in authors:
        return False
    names = {endpoint.provider.slug for endpoint in model.endpoints}
    chosen = _words(query.get("providers", ""))
    return (not chosen or bool(chosen & names)) and _priced(model, query)


def _priced(model: Model, query: dict[str, str]) -> bool:
    bounds = (("min_price", "prompt", 1), ("max_price", "prompt", -1), ("context", "", 1))
    for name, price, sign in bounds:
        if name in query:
            offered = _price(model, price) if price else Decimal(model.context_length)
            if sign * offered < sign * _number(query[name]):
                return False
    return True


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError as exc:
        raise APIError(400) from exc


def _found(query: dict[str, str], output: str) -> list[Model]:
    models: Iterable[Model] = catalogue.MODELS.values()
    chosen = [model for model in models if _wanted(model, query, output)]
    order = _SORTS.get(query.get("sort", ""))
    return sorted(chosen, key=order) if order else chosen


def _listed(request: Request, output: str) -> bytes:
    """The body of a list, kept, for catalogues are asked for again and again with the same query."""
    place = (("output", output), *sorted(request.query.items()))
    if place in _BODIES:
        return _BODIES[place]
    chosen, query = _found(request.query, output), request.query
    total, following = len(chosen), None
    if "offset" in query or "limit" in query:
        offset, limit = (
            int(_number(query.get("offset", "0"))),
            int(_number(query.get("limit", str(LIMIT_MAX)))),
        )
        if offset < 0 or not 1 <= limit <= LIMIT_MAX:
            raise APIError(400)
        chosen = chosen[offset : offset + limit]
        if offset + limit < total:
            following = f"{request.path}?offset={offset + limit}&limit={limit}"
    rows = [model.listing for model in chosen]
    body = orjson.dumps({"data": rows, "total_count": total, "links": {"next": following}})
    if len(_BODIES) < _BODIES_MAX:
        _BODIES[place] = body
    return body


def _spoilt(world: World, request: Request, body: bytes, scope: str = "models") -> Reply:
    """The reply with the faults that apply to free routes."""
    chosen = calls.knobs(world, request, scope=scope)
    return refusals.of(chosen, path=request.path) or Reply(200, body, faults=chosen)


def models(world: World, request: Request) -> Reply:
    return _spoilt(world, request, _listed(request, "text"))


def embedding_models(world: World, request: Request) -> Reply:
    return _spoilt(world, request, _listed(request, "embeddings"))


def image_models(world: World, request: Request) -> Reply:
    return _spoilt(world, request, _listed(request, "image"))


def video_models(world: World, request: Request) -> Reply:
    return _spoilt(world, request, _listed(request, "video"))


def user_models(world: World, request: Request) -> Reply:
    keys.authenticate(request)
    return models(world, request)


def count(world: World, request: Request) -> Reply:
    number = len(_found(request.query, "text"))
    return _spoilt(world, request, orjson.dumps({"data": {"count": number}}))


def model(world: World, request: Request, author: str, slug: str) -> Reply:
    listing = catalogue.listed(f"{author}/{slug}").listing
    return _spoilt(world, request, orjson.dumps({"data": listing}))


def endpoints(world: World, request: Request, author: str, slug: str) -> Reply:
    found = catalogue.listed(f"{author}/{slug}")
    listing = found.listing
    names = ("id", "name", "created", "description", "architecture")
    offers = [_offer(found, endpoint) for endpoint in found.endpoints]
    data = {**{name: listing[name] for name in names}, "endpoints": offers}
    return _spoilt(world, request, orjson.dumps({"data": data}))


def zdr_endpoints(world: World, request: Request) -> Reply:
    """GET /endpoints/zdr: what is left of all offers where nothing may be kept."""
    offers = [
        _offer(model, endpoint)
        for model in catalogue.MODELS.values()
        for endpoint in model.endpoints
        if endpoint.provider.slug in _ZDR
    ]
    return _spoilt(world, request, orjson.dumps({"data": offers}))


def image_endpoints(world: World, request: Request, author: str, slug: str) -> Reply:
    """GET /images/models/{author}/{slug}/endpoints, whose records have a shape of their own."""
    found = catalogue.listed(f"{author}/{slug}")
    if "image" not in found.outputs:
        raise APIError(404, f"No image model found for {found.id}")
    offers = [_image_offer(found, endpoint) for endpoint in found.endpoints]
    return _spoilt(world, request, orjson.dumps({"id": found.id, "endpoints": offers}))


def _image_offer(model: Model, endpoint: Endpoint) -> dict[str, Any]:
    prices = _dearer(model.listing["pricing"], endpoint.factor)
    known = (("image_output", "output_image", "token"), ("image", "output_image", "image"))
    billed = [
        {"billable": billable, "unit": unit, "cost_usd": float(prices[name])}
        for name, billable, unit in known
        if name in prices
    ]
    return {
        "provider_name": endpoint.provider.name,
        "provider_slug": endpoint.provider.slug,
        "provider_tag": endpoint.provider.slug,
        "supported_parameters": {"n": {"type": "range", "min": 1, "max": 10}},
        "allowed_passthrough_parameters": [],
        "supports_streaming": True,
        "pricing": billed,
    }


def _dearer(prices: dict[str, Any], factor: Decimal) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, price in prices.items():
        if isinstance(price, str) and not price.startswith("-"):
            found[name] = pricing.plain(Decimal(price) * factor)
        elif isinstance(price, list):
            found[name] = [_dearer(item, factor) for item in price]
        else:
            found[name] = price
    return found


def _offer(model: Model, endpoint: Endpoint) -> dict[str, Any]:
    name = endpoint.provider.name
    return {
        "name": f"{name} | {model.canonical_slug}",
        "model_id": model.id,
        "model_name": model.listing["name"],
        "provider_name": name,
        "tag": endpoint.provider.slug,
        "quantization": "unknown",
        "context_length": model.context_length,
        "max_completion_tokens": model.max_completion_tokens,
        "max_prompt_tokens": None,
        "pricing": _dearer(model.listing["pricing"], endpoint.factor),
        "supported_parameters": model.listing["supported_parameters"],
        "status": 0,
        "uptime_last_30m": 100,
        "uptime_last_5m": 100,
        "uptime_last_1d": 99.9,
        "latency_last_30m": None,
        "throughput_last_30m": None,
        "supports_implicit_caching": "input_cache_read" in model.listing["pricing"],
    }


def provider_list(world: World, request: Request) -> Reply:
    return _spoilt(world, request, orjson.dumps({"data": providers.listing()}))


def generation(world: World, request: Request) -> Reply:
    """GET /generation?id=, for the key that made the call, once its record is there."""
    key = keys.authenticate(request)
    chosen = calls.knobs(world, request, scope="generation")
    refused = refusals.of(chosen, path=request.path)
    if refused:
        return refused
    wanted = request.query.get("id", "")
    if not wanted:
        raise APIError(400)
    record = world.generations.look_up(wanted, key=key, now=world.clock())
    stall_ms = world.generations.stall_ms(wanted)
    if stall_ms:
        chosen = replace(chosen, delay_headers_ms=chosen.delay_headers_ms + stall_ms)
    return json_reply({"data": record}, spoilt=chosen)
