"""Which entries a page or a file of the ledger is about, as the words of its URL say: an action, and a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from accounts.errors import InvalidInput
from naive_platform.dashboard import ranges

# What an action is called on pages.
ACTIONS = {
    "llm_call": "Call",
    "credit_topup": "Top-up",
    "grant": "Grant",
    "refund": "Refund",
    "correction": "Correction",
    "chargeback": "Chargeback",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Entries written from `since` to before `until`, of one action or, where that is empty, of all."""

    since: datetime
    until: datetime
    action: str

    @property
    def actions(self) -> list[str]:
        return [self.action] if self.action else []


def read(query: Mapping[str, str], *, now: datetime) -> Filters:
    """Errors: InvalidInput for an action that is none."""
    action = query.get("action", "")
    if action and action not in ACTIONS:
        raise InvalidInput(
            f"There is no action {action[:40]!r} in a ledger.", hint=f"One of {', '.join(ACTIONS)}."
        )
    span = ranges.read(query, now=now)
    return Filters(since=span.since, until=span.until, action=action)


def words(filters: Filters) -> dict[str, str]:
    """The same for a file that is written later: it must not move with the clock."""
    return {
        "since": filters.since.isoformat(),
        "until": filters.until.isoformat(),
        "action": filters.action,
    }


def fixed(wanted: Mapping[str, str]) -> Filters:
    """What `words` were made of."""
    return Filters(
        since=datetime.fromisoformat(wanted["since"]),
        until=datetime.fromisoformat(wanted["until"]),
        action=wanted["action"],
    )
