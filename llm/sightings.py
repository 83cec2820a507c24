"""What is seen of one request on its way through the gateway: for its log line, the figures and its span.

Never what it said: no prompt, no completion, no key, no header of its sender's. Whoever learns something notes it here;
naive_platform/traffic.py tells it when the request is over.
"""

from collections import Counter
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

# In the ASGI scope of a call from inside: the id of the request that it belongs to. No client can put it there.
REQUEST_ID = "naive.request_id"


@dataclass(slots=True, eq=False)
class Sighting:
    """One request. Units: the moments are of the monotonic clock, in seconds; 0 is not yet.

    `route` is the table's own spelling, `outcome` an error's code or another word of ours: both are labels of figures.
    """

    request_id: str = ""
    method: str = ""
    route: str = "other"
    outcome: str = "ok"
    status: int = 500  # What was answered.
    began_at: float = 0.0
    answered_at: float = 0.0  # Upstream's headers.
    first_at: float = 0.0  # The first bytes of an answer that comes in pieces.
    company_id: UUID | None = None
    key_id: UUID | None = None
    hold_id: UUID | None = None
    held_at: float = 0.0
    generation_id: str | None = None  # Upstream's.
    shape: str = ""
    models: tuple[str, ...] = ()
    facts: Mapping[str, Any] | None = None  # What upstream said of the call: model, provider, counts.
    limit_headers: Mapping[str, str] | None = None
    parent: str = ""  # The client's `traceparent`.


@dataclass(slots=True)
class Count:
    """Since this process began: holds that were placed, and calls that it settled itself, by the books' source."""

    placed: int = 0
    settled: Counter[str] = field(default_factory=Counter)


count = Count()
_current: ContextVar[Sighting | None] = ContextVar("sighting", default=None)


def begin(sighting: Sighting) -> None:
    """Let whatever runs from here on, in this task and those it starts, note what it sees here."""
    _current.set(sighting)


def current() -> Sighting:
    """Return where to note what is seen; without a request, somewhere nobody looks."""
    return _current.get() or Sighting()
