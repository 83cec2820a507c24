"""Names of models: which one was meant, where one is not known."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from naive import errors

OFFERED = 3
# How alike two names have to be; of what follows the provider alone, a little more.
ALIKE = 0.6


@contextlib.contextmanager
def suggested(llm: Any, names: Sequence[str]) -> Iterator[None]:
    """Where a call is refused and one of its models is not known, say which one may have been meant."""
    try:
        yield
    except (errors.BadRequestError, errors.NotFoundError, errors.ProviderError) as exc:
        with contextlib.suppress(errors.NaiveError):
            _advise(exc, known=[row.id for row in llm.models().models], names=names)
        raise


def closest(name: str, known: Sequence[str]) -> list[str]:
    """Return the names that are most like one, with its provider or without."""
    found = difflib.get_close_matches(name.lower(), known, n=OFFERED, cutoff=ALIKE)
    by_tail = {one.rpartition("/")[2]: one for one in reversed(known)}
    tails = difflib.get_close_matches(name.lower().rpartition("/")[2], by_tail, n=OFFERED, cutoff=ALIKE)
    return list(dict.fromkeys([*found, *(by_tail[tail] for tail in tails)]))[:OFFERED]


def _advise(error: errors.NaiveError, *, known: Sequence[str], names: Sequence[str]) -> None:
    unknown = [name for name in names if name.partition(":")[0] not in known and name not in known]
    if not unknown:
        return
    meant = closest(unknown[0], known)
    words = unknown[0].rpartition("/")[2]
    error.hint = f"Did you mean {', '.join(meant)}?" if meant else "No model has a name like that."
    search = f"naive llm models {words.split('-')[0]}" if words else "naive llm models"
    error.details["next_steps"] = [search]
    error.details["suggestions"] = meant
