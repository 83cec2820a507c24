"""Which of upstream's providers go on, and charge, when their client has left; what else upstream knows is not here."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

# Source: docs/upstream.md 3.5. Names and slugs as `_plain` writes them; whoever is not listed is taken to stop.
_RUN_ON = frozenset({
    "01ai", "ai21", "aionlabs", "alibaba", "amazonbedrock", "awsbedrock", "bedrock", "featherless", "google",
    "googleaistudio", "googlevertex", "groq", "huggingface", "inferencenet", "inflection", "kluster", "lambda", "lynn",
    "minimax", "mistral", "modal", "nebius", "perplexity", "reflection", "replicate", "sambanova", "targon", "vertex",
    "zeroone", "zerooneai",
})  # fmt: skip
# Authors whose own provider is one of those and the first one asked.
_AUTHORS_RUN_ON = frozenset(
    {"01-ai", "ai21", "aion-labs", "amazon", "google", "inflection", "minimax", "mistralai", "perplexity"}
    | {"qwen", "alibaba"}
)
# Ways to have upstream choose by speed or price, which is to choose those who do not stop.
_ROUTING_VARIANTS = frozenset({"exacto", "floor", "nitro"})
_ROUTING_FIELDS = frozenset({"allow_fallbacks", "only", "order"})
# In a chunk of a stream; text that a model wrote has its quotes escaped.
_NAMED = re.compile(rb'"provider": ?"([^"\\]{1,100})"')


def stops(name: str | None) -> bool:
    """Whether this provider stops, and stops charging, when its client leaves; one that nobody has named does."""
    return name is None or _plain(name) not in _RUN_ON


def all_stop(models: Iterable[str], preferences: Mapping[str, Any]) -> bool:
    """Whether the providers that a request is expected to run on stop, as far as it and the models' authors tell.

    Upstream may choose another one, an author's own among several: the price list does not say. A request that says
    otherwise than by name who is to be chosen can choose those who do not, so it is expected to.
    """
    only = preferences.get("only")
    if not _names_that_stop(only) or not _names_that_stop(preferences.get("order")):
        return False
    if not only and not {name for name, value in preferences.items() if value is not None} <= _ROUTING_FIELDS:
        return False
    return all(map(_is_expected_to_stop, models))


def _names_that_stop(named: object) -> bool:
    """Whether a list of providers, which need not be there, has none that does not stop."""
    if named is None:
        return True
    return isinstance(named, list) and all(isinstance(name, str) and stops(name) for name in named)


def _is_expected_to_stop(model: str) -> bool:
    slug, *variants = model.lstrip("~").split(":")
    return slug.partition("/")[0].lower() not in _AUTHORS_RUN_ON and not _ROUTING_VARIANTS & set(variants)


def named_in(payload: bytes) -> str | None:
    """Return the provider that a chunk of a stream names, without reading it as JSON."""
    found = _NAMED.search(payload)
    return found.group(1).decode(errors="replace") if found else None


def _plain(name: str) -> str:
    # A slug may name an endpoint of the provider: google-vertex/global.
    return re.sub(r"[^a-z0-9]", "", name.partition("/")[0].lower())
