"""The models upstream offers: kept in the database, served from memory, priced for holds."""

import asyncio
import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
import psycopg
from django.conf import settings

from accounts import database
from accounts.errors import InvalidInput, Unavailable
from llm import pricing, upstream
from llm.errors import NotConfigured, UpstreamError

log = logging.getLogger(__name__)

# How often a gateway looks whether a newer catalogue is in the database.
POLL_INTERVAL_S = 10.0
# A model we do not know may be new upstream: worth asking again, but not at every typing mistake.
MISS_REFRESH_S = 60.0
REFRESH_TIMEOUT_S = 5.0
# Upstream lists models that answer in text unless it is asked for the others too.
EVERYTHING = {"output_modalities": "all"}
START_WAIT_S = 1.0
_MILLION = Decimal(1_000_000)
_SAVE = """
    INSERT INTO llm_catalog_snapshot (id, body, sha256, model_count, fetched_at)
    VALUES (1, %(body)s, %(sha256)s, %(count)s, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET body = excluded.body, sha256 = excluded.sha256,
        model_count = excluded.model_count, fetched_at = excluded.fetched_at
"""
_AGE = "SELECT sha256, extract(epoch FROM clock_timestamp() - fetched_at)::float8 FROM llm_catalog_snapshot"
_LOAD = "SELECT body, sha256 FROM llm_catalog_snapshot"


@dataclass(frozen=True, slots=True)
class Model:
    """One routable model. `price` is None where it is dynamic; `raw` is upstream's own object as JSON."""

    id: str
    entry: Mapping[str, Any]
    price: pricing.Price | None
    raw: bytes

    @property
    def name(self) -> str:
        return str(self.entry.get("name") or self.id)

    @property
    def summary(self) -> dict[str, Any]:
        """The short form: `{id, name, context_length, pricing}`."""
        return {
            "id": self.id,
            "name": self.name,
            "context_length": self.entry.get("context_length"),
            "pricing": self.entry.get("pricing"),
        }


@dataclass(frozen=True, slots=True)
class Catalog:
    """What upstream offered when it was last asked."""

    models: tuple[Model, ...]
    by_id: Mapping[str, Model]
    sha256: bytes

    def find(self, model: str) -> Model | None:
        """Return the entry that prices this id: as written, else without its `:variant`.

        A variant is upstream's own routing of the same model (`:nitro`, `:online`, …) unless it is listed by itself
        (`:free`, `:thinking`).
        """
        found = self.by_id.get(model)
        return found or self.by_id.get(model.partition(":")[0])

    def prices(self, model: str) -> list[pricing.Price | None]:
        """Return the price of each model this id may run; None for what upstream alone decides about.

        Errors: InvalidInput where upstream does not offer it.
        """
        base, is_preset, _ = model.partition("@preset/")
        if is_preset:
            return [*(self.prices(base) if base else ()), None]
        found = self.find(model)
        if found is not None:
            return [found.price]
        if is_dynamic(model):
            return [None]
        raise InvalidInput(
            f"{model} is not a valid model ID.",
            hint=f"See GET /v1/llm/models{self._suggestion(model)}.",
            details={"field": "model", "model": model},
        )

    def _suggestion(self, model: str) -> str:
        wanted = model.rpartition("/")[2].partition(":")[0].lower()
        near = sorted((known for known in self.by_id if wanted and wanted in known.lower()), key=len)[:3]
        return "; did you mean " + " or ".join(near) + "?" if near else ""


EMPTY = Catalog(models=(), by_id={}, sha256=b"")


def is_dynamic(model: str) -> bool:
    """Whether upstream alone decides what runs: routers, presets and `~latest` aliases."""
    return model.startswith(("openrouter/", "@preset/", "~")) or "@preset/" in model


def parse(body: bytes) -> Catalog:
    """Read upstream's GET /models.

    Shape: `{"data": [Model, …]}`. Entries without an id are left out.
    Errors: ValueError where there is not one usable model: an empty catalogue never replaces a full one.
    """
    found = orjson.loads(body)
    listed = found.get("data") if isinstance(found, dict) else None
    models = tuple(
        Model(id=entry["id"], entry=entry, price=pricing.read_price(entry), raw=orjson.dumps(entry))
        for entry in (listed if isinstance(listed, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    )
    if not models:
        raise ValueError("no models in upstream's catalogue")
    by_id = {
        str(model.entry["canonical_slug"]): model for model in models if model.entry.get("canonical_slug")
    }
    by_id.update({model.id: model for model in models})
    return Catalog(models=models, by_id=by_id, sha256=hashlib.sha256(body).digest())


class _Shelf:
    """This process's copy of the catalogue, and the task that keeps it fresh."""

    def __init__(self) -> None:
        self.catalog = EMPTY
        self.refreshing: asyncio.Task[None] | None = None
        self.polling: asyncio.Task[None] | None = None
        self.asked_at: float | None = None


_shelf = _Shelf()


def current() -> Catalog:
    """Return the catalogue in memory; EMPTY before the first one was ever fetched."""
    return _shelf.catalog


async def at_hand() -> Catalog:
    """Return the catalogue also where no gateway's loop keeps it fresh: the database's then. Errors: Unavailable."""
    if _shelf.polling is None:
        await _load()
    return _shelf.catalog


async def start() -> None:
    """Load the catalogue and keep it fresh until `stop`; where it is old or there is none, ask upstream first.

    A slow upstream delays no start: what it answers later is taken over then.
    """
    await _load()
    if await _age_s() > settings.CATALOG_REFRESH_S:
        _shelf.refreshing = asyncio.create_task(_refresh(), name="catalog-refresh")
        await asyncio.wait({_shelf.refreshing}, timeout=START_WAIT_S)
    _shelf.polling = asyncio.create_task(_poll(), name="catalog-poll")


async def stop() -> None:
    for task in (_shelf.polling, _shelf.refreshing):
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    _shelf.polling = _shelf.refreshing = _shelf.asked_at = None


async def price_all(models: Iterable[str]) -> list[pricing.Price | None]:
    """Return the price of each model that may run; None for a dynamic one, and for all while there is no catalogue.

    Errors: InvalidInput where upstream offers no such model, also after it was asked again.
    """
    wanted = list(models)
    if any(not is_dynamic(model) and _shelf.catalog.find(model) is None for model in wanted):
        await _refresh_on_miss()
    if not _shelf.catalog.models:
        return [None] * len(wanted)
    return [price for model in wanted for price in _shelf.catalog.prices(model)]


def save(body: bytes, execute: Callable[[str, Mapping[str, Any]], object]) -> Catalog:
    """Check a fetched catalogue and write it down with `execute(sql, parameters)`.

    Errors: ValueError as `parse`; nothing is written then.
    """
    catalog = parse(body)
    execute(_SAVE, {"body": body, "sha256": catalog.sha256, "count": len(catalog.models)})
    return catalog


@dataclass(frozen=True, slots=True)
class Filters:
    """What GET /v1/llm/models can be narrowed by. Units: `max_price` is USD per million tokens, in and out."""

    search: str = ""
    provider: str = ""
    modality: str = ""
    supported_parameters: frozenset[str] = frozenset()
    max_price: Decimal | None = None


def read_filters(query: Mapping[str, Any]) -> Filters:
    """Read the query string.

    Errors: InvalidInput naming the parameter.
    """
    text = str(query.get("max_price", "")).strip()
    try:
        max_price = Decimal(text) if text else None
    except InvalidOperation as exc:
        raise _bad_price(text) from exc
    if max_price is not None and not (max_price.is_finite() and max_price >= 0):
        raise _bad_price(text)
    parameters = str(query.get("supported_parameters", "")).split(",")
    return Filters(
        search=str(query.get("search", "")).strip().lower(),
        provider=str(query.get("provider", "")).strip().lower(),
        modality=str(query.get("modality", "")).strip().lower(),
        supported_parameters=frozenset(name.strip() for name in parameters if name.strip()),
        max_price=max_price,
    )


def select(filters: Filters, *, allowed: Callable[[str], bool]) -> list[Model]:
    """Return the models that pass the filters and that `allowed` lets through, in upstream's order."""
    return [model for model in _shelf.catalog.models if _passes(model, filters) and allowed(model.id)]


def _passes(model: Model, filters: Filters) -> bool:
    words = filters.search.split()
    text = f"{model.id} {model.name}".lower()
    if not all(word in text for word in words):
        return False
    if filters.provider and not model.id.lower().startswith(filters.provider + "/"):
        return False
    if not (filters.modality in _modalities(model.entry) if filters.modality else _writes_text(model.entry)):
        return False
    if not filters.supported_parameters <= set(model.entry.get("supported_parameters") or ()):
        return False
    if filters.max_price is None:
        return True
    price = model.price
    return price is not None and max(price.prompt, price.completion) * _MILLION <= filters.max_price


def _modalities(entry: Mapping[str, Any]) -> set[str]:
    architecture = entry.get("architecture")
    if not isinstance(architecture, Mapping):
        return set()
    listed = (architecture.get("input_modalities") or ()), (architecture.get("output_modalities") or ())
    return {str(name).lower() for names in listed for name in names}


def _writes_text(entry: Mapping[str, Any]) -> bool:
    """Whether a chat completion can come of it; upstream's other models are listed to who asks for their modality."""
    architecture = entry.get("architecture")
    outputs = architecture.get("output_modalities") if isinstance(architecture, Mapping) else None
    return outputs is None or "text" in outputs


def _bad_price(text: str) -> InvalidInput:
    return InvalidInput(
        f"max_price: {text[:40]!r} is not a price.",
        hint="Give USD per million tokens, such as max_price=2.5.",
        details={"field": "max_price"},
    )


async def _poll() -> None:
    while True:
        await asyncio.sleep(POLL_INTERVAL_S)
        try:
            await _load()
        except (Unavailable, ValueError) as exc:
            log.warning("Catalogue not reloaded, the one in memory is served on: %s", exc)


async def _load() -> None:
    """Take over the database's catalogue where it is another one than ours."""
    rows = await database.fetch_rows(_AGE)
    if not rows or bytes(rows[0][0]) == _shelf.catalog.sha256:
        return
    body, _ = (await database.fetch_rows(_LOAD))[0]
    _shelf.catalog = parse(bytes(body))


async def _age_s() -> float:
    rows = await database.fetch_rows(_AGE)
    return float(rows[0][1]) if rows else math.inf


async def _refresh_on_miss() -> None:
    """Ask upstream again, once for everyone who waits, at most every MISS_REFRESH_S."""
    now_s = asyncio.get_running_loop().time()
    if _shelf.refreshing is None or _shelf.refreshing.done():
        if _shelf.asked_at is not None and now_s - _shelf.asked_at < MISS_REFRESH_S:
            return
        _shelf.asked_at = now_s
        _shelf.refreshing = asyncio.create_task(_refresh(), name="catalog-refresh")
    await asyncio.shield(_shelf.refreshing)


async def _refresh() -> None:
    try:
        if await _age_s() < MISS_REFRESH_S:
            await _load()
            return
        body = await upstream.client().get("models", params=EVERYTHING, timeout_s=REFRESH_TIMEOUT_S)
        catalog = parse(body)
        parameters = {"body": body, "sha256": catalog.sha256, "count": len(catalog.models)}
        await _save(parameters)
        _shelf.catalog = catalog
    except (UpstreamError, NotConfigured, Unavailable, ValueError) as exc:
        log.warning("Catalogue not refreshed, the one in memory is served on: %s", exc)


async def _save(parameters: Mapping[str, Any]) -> None:
    try:
        async with database.pool().connection() as connection:
            await connection.execute(_SAVE, parameters)
    except (psycopg.Error, OSError) as exc:
        raise Unavailable("The database does not answer.", hint="Retry in a moment.") from exc
