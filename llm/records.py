"""Upstream's record of a call, judged: whether it is that call's, what it says was charged, what of it is kept."""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from billing import reconciliation
from llm import catalog, metering
from llm.models import CatalogSnapshot

# A record from before its call, by any clock's mistake, is another call's.
CLOCKS_APART = timedelta(hours=26)
# How long a worker goes by the catalogue it has read. Unit: seconds.
CATALOG_KEPT_S = 60.0


class _Shelf:
    """This worker's copy of the catalogue."""

    def __init__(self) -> None:
        self.catalog = catalog.EMPTY
        self.stale_at = 0.0


_shelf = _Shelf()


def mismatch(
    record: Mapping[str, Any], *, generation_id: str | None, held_at: datetime, details: Mapping[str, Any]
) -> str | None:
    """Say in which word a record contradicts the call it was given for; None where it may be that call's.

    Shape: `details` are those of the call's hold. What either side does not tell contradicts nothing.
    Source: docs/books.md, "Evidence".
    """
    if not reconciliation.is_record_of(
        details, generation_id, told_id=record.get("id"), user=record.get("external_user")
    ):
        return "id" if record.get("id") != generation_id else "external_user"
    if _is_older(record.get("created_at"), held_at):
        return "created_at"
    return "model" if _is_another_model(record.get("model"), details) else None


def told(record: Mapping[str, Any], why: str) -> dict[str, Any]:
    """What of a record that contradicts its call a person needs to see."""
    names = ("id", "external_user", "model", "created_at")
    cost = metering.cost_of(dict(record), "total_cost")
    seen = metering.storable({name: record.get(name) for name in names})
    return {**seen, "total_cost": None if cost is None else str(cost)[:200], "contradicts": why}


def facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """What of a record is kept with the settlement."""
    kept = {
        "model": record.get("model"),
        "provider": record.get("provider_name"),
        "finish_reason": record.get("finish_reason"),
        "native_finish_reason": record.get("native_finish_reason"),
        "tokens_prompt": record.get("native_tokens_prompt"),
        "tokens_completion": record.get("native_tokens_completion"),
        "native_tokens_reasoning": record.get("native_tokens_reasoning"),
        "native_tokens_cached": record.get("native_tokens_cached"),
        "cancelled": record.get("cancelled"),
        "is_byok": record.get("is_byok"),
    }
    return metering.storable(kept)


def forget_catalog() -> None:
    """Read the catalogue again the next time it is needed."""
    _shelf.stale_at = 0.0


def _is_older(written: object, held_at: datetime) -> bool:
    try:
        at = datetime.fromisoformat(written) if isinstance(written, str) else None
    except ValueError:
        return False
    return at is not None and at.tzinfo is not None and at < held_at - CLOCKS_APART


def _is_another_model(told_model: object, details: Mapping[str, Any]) -> bool:
    """Whether the record names a catalogued model that was not asked for, where upstream had no choice of its own."""
    asked = details.get("models") or [details.get("model")]
    names = [name for name in asked if isinstance(name, str)]
    if not isinstance(told_model, str) or not names or any(catalog.is_dynamic(name) for name in names):
        return False
    known = _catalog()
    may_run = [known.find(name) for name in names]
    ran = known.find(told_model)
    if ran is None or None in may_run:
        return False
    return _base(ran.id) not in {_base(model.id) for model in may_run if model is not None}


def _base(model_id: str) -> str:
    return model_id.partition(":")[0]


def _catalog() -> catalog.Catalog:
    """Return the catalogue as it was in the database a moment ago; EMPTY where there never was one."""
    if time.monotonic() >= _shelf.stale_at:
        _shelf.stale_at = time.monotonic() + CATALOG_KEPT_S
        stored = CatalogSnapshot.objects.exclude(sha256=_shelf.catalog.sha256).first()
        if stored is not None:
            _shelf.catalog = catalog.parse(bytes(stored.body))
    return _shelf.catalog
