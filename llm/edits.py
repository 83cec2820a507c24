"""What the platform changes in a request on its way upstream (docs/product.md 4). All else is the caller's."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

from accounts.kit_configs import LLMRules
from llm import bodies
from llm.admissions import Admission


def apply(admission: Admission, *, hold_id: UUID, max_tokens: int | None) -> bytes:
    """Return the body to send; `max_tokens` is None where the caller's own wish stands.

    Shape: every byte that is not ours to change is as it came.
    """
    return admission.request.body.splice(_changes(admission, hold_id, max_tokens))


def preferences(rules: LLMRules, theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a kit changes in a caller's routing preferences: its own under them, and what it requires over."""
    under = {name: value for name, value in (rules.provider or {}).items() if name not in theirs}
    return {**under, **(rules.provider_required or {})}


def _changes(admission: Admission, hold_id: UUID, max_tokens: int | None) -> dict[str, Any]:
    fields, body, shape = admission.request.fields, admission.request.body, admission.shape
    found: dict[str, Any] = {}
    # Where upstream knows them; and what a caller sends goes nowhere under another's name.
    if "user" in shape.adds or fields.get("user"):
        found["user"] = admission.user()
    if "trace" in shape.adds or fields.get("trace"):
        found["trace"] = orjson.Fragment(body.inner("trace").splice({"trace_id": str(hold_id)}))
    for name in ("session_id", "prompt_cache_key", "safety_identifier"):
        if fields.get(name):
            found[name] = admission.opaque(name, fields[name])
    if shape.names_user(fields):
        found["metadata"] = orjson.Fragment(body.inner("metadata").splice({"user_id": admission.user()}))
    if max_tokens is not None:
        sent = [name for name in shape.output_fields if fields.get(name) is not None]
        found |= {name: min(fields[name], max_tokens) for name in sent} or dict.fromkeys(
            shape.output_fields[:1], max_tokens
        )
    theirs = body.inner("provider")
    provider = _provider(admission, theirs, is_lowered=max_tokens is not None)
    if provider:
        found["provider"] = orjson.Fragment(theirs.splice(provider))
    return found


def _provider(admission: Admission, theirs: bodies.Body, *, is_lowered: bool) -> dict[str, Any]:
    """Return what to change in the routing preferences: the kit's wishes, and our price beside a lowering."""
    found = {} if admission.is_proxied else preferences(admission.subject.kit.rules, theirs.fields)
    if is_lowered and admission.bound.price_known:
        merged = {**theirs.fields, **found}.get("max_price")
        found["max_price"] = _lowest_price(merged, admission.bound.max_price())
    return found


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
