"""What an answer of upstream says it cost: foreign bytes in, exact figures out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

# Ids and names of upstream's are some 40 characters; a longer text is something else.
TEXT_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class Report:
    """One JSON object of upstream's, read for what the books and the request log need.

    Units: `cost_usd` is USD for the whole request exactly as written on the wire, None where upstream gave no number
    (absent, null, a string): missing is not zero. It is not range-checked here; the books do that.
    """

    body: dict[str, Any]
    usage: dict[str, Any] | None
    cost_usd: Decimal | None

    @property
    def error(self) -> dict[str, Any] | None:
        """The in-band error, at the top or in a choice; a call with one may still have cost something."""
        found = self.body.get("error")
        for choice in self.choices:
            found = found or choice.get("error")
        return found if isinstance(found, dict) else {"message": str(found)} if found else None

    @property
    def choices(self) -> list[dict[str, Any]]:
        listed = self.body.get("choices")
        return [choice for choice in listed if isinstance(choice, dict)] if isinstance(listed, list) else []

    @property
    def generation_id(self) -> str | None:
        return text(self.body.get("id"))

    def without_account(self, raw: bytes) -> bytes:
        """Return the object's bytes without the operator's account id, which upstream adds to errors."""
        account = self.body.get("user_id")
        if self.error is None or not isinstance(account, str) or not account.isascii():
            return raw
        return raw.replace(b'"%s"' % account.encode(), b"null")

    def is_last(self, *, finish_seen: bool) -> bool:
        """Whether usage in this object is upstream's final word, as far as its shape tells (docs/upstream.md 3.3)."""
        return finish_seen or not self.choices or any(choice.get("finish_reason") for choice in self.choices)

    def facts(self) -> dict[str, Any]:
        """What the request log keeps of an answer: model, provider, counts; never content."""
        found: dict[str, Any] = {name: self.body.get(name) for name in ("model", "provider")}
        for choice in self.choices:
            found |= {
                name: choice[name] for name in ("finish_reason", "native_finish_reason") if choice.get(name)
            }
        found |= {name: _at(self.usage, path) for name, path in _COUNTS.items()}
        found["is_byok"] = _at(self.usage, ("is_byok",))
        return storable(found)


_COUNTS: dict[str, tuple[str, ...]] = {
    "tokens_prompt": ("prompt_tokens",),
    "tokens_completion": ("completion_tokens",),
    "native_tokens_reasoning": ("completion_tokens_details", "reasoning_tokens"),
    "native_tokens_cached": ("prompt_tokens_details", "cached_tokens"),
}


def read(payload: bytes) -> Report | None:
    """Read one JSON object of upstream's; None where it is not one (cut, NaN, HTML, not an object).

    Errors: none; what cannot be read has no cost, and the call is then settled from its generation record.
    Source: docs/books.md, "Exact numbers".
    """
    try:
        body = json.loads(payload, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, InvalidOperation, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else None
    return Report(body=body, usage=usage, cost_usd=cost_of(usage))


def cost_of(usage: dict[str, Any] | None, field: str = "cost") -> Decimal | None:
    """Return the number upstream wrote as cost, exact; None where there is no number."""
    cost = (usage or {}).get(field)
    if isinstance(cost, bool) or not isinstance(cost, int | Decimal):
        return None
    return Decimal(cost)


def storable(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of upstream's facts that JSON and PostgreSQL can keep: flags, counts of 64 bits, short texts."""
    kept = {}
    for name, value in facts.items():
        if isinstance(value, str):
            value = text(value)
        if isinstance(value, str | bool) or (isinstance(value, int) and abs(value) < 2**63):
            kept[name] = value
    return kept


def text(found: object) -> str | None:
    """A foreign text of sensible length and plain characters, else None."""
    is_plain = isinstance(found, str) and 0 < len(found) <= TEXT_CHARS_MAX and found.isprintable()
    return str(found) if is_plain else None


def _at(found: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
