"""The switch that opens and closes llm for the users of a kit, and what it governs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse

from accounts import kits
from accounts.models import AccountKit
from billing import spending
from billing.spending import Spent
from naive_platform import kit_effects
from naive_platform.dashboard import doors
from naive_platform.dashboard.doors import Place
from naive_platform.kit_effects import PRIMITIVES, Consequences

# The tab on which it stands, the editor's first.
TAB = "primitives"
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Governed:
    """What the switch decides about: whose calls, to which models, and how many there were in the last day."""

    found: Consequences
    day: Spent

    @property
    def is_on(self) -> bool:
        return kits.is_open(self.found.preview.before, "llm")

    @property
    def fault(self) -> str:
        return self.found.preview.before.fault

    @property
    def requires_approval(self) -> bool:
        entry = self.found.preview.before.config.get("llm")
        return isinstance(entry, Mapping) and entry.get("requiresApproval") is True


@dataclass(frozen=True, slots=True)
class Other:
    """A primitive that this deployment does not run, as the kit keeps it."""

    name: str
    enabled: bool
    requires_approval: bool


def governed(*, company_id: UUID, kit_id: UUID, now: datetime) -> Governed:
    """Errors: NotFound, Unavailable, BooksUnavailable."""
    return Governed(
        found=kit_effects.preview(company_id=company_id, kit_id=kit_id, now=now),
        # The hour that runs is part of it.
        day=spending.of_kit(company_id=company_id, kit_id=kit_id, since=now - DAY, until=now + HOUR),
    )


def others(governed: Governed) -> list[Other]:
    """Primitives the kit speaks of and this deployment does not run, by name."""
    gate = governed.found.preview.before
    return [
        Other(
            name=name,
            enabled=kits.is_open(gate, name),
            requires_approval=isinstance(entry, Mapping) and entry.get("requiresApproval") is True,
        )
        for name, entry in sorted(gate.config.items())
        if name not in PRIMITIVES
    ]


def context(place: Place, kit: AccountKit, *, now: datetime) -> dict[str, Any]:
    found = governed(company_id=place.company_id, kit_id=kit.id, now=now)
    return {
        "kit": found.found.preview.kit,
        "governed": found,
        "others": others(found),
        "why_not": place.refusal("account-kit", "patch"),
    }


def card(request: HttpRequest, place: Place, kit: AccountKit, *, now: datetime) -> HttpResponse:
    """The switch alone, as it stands now: what htmx puts in its place."""
    return doors.render(request, place, "dashboard/_kit_llm.html", context(place, kit, now=now))
