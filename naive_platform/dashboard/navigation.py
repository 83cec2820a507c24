"""The dashboard's pages in the order of its sidebar, and which of the API's permissions opens each."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.urls import reverse

from naive_platform.api import permissions
from naive_platform.api.permissions import ADMIN, VIEWER, Permission


@dataclass(frozen=True, slots=True)
class Entry:
    """One page. `route` is the row of PERMISSIONS whose GET opens it; its name is its icon's in icons.svg, too."""

    name: str
    title: str
    route: str
    group: str = ""

    @property
    def url(self) -> str:
        return reverse(f"dashboard-{self.name}")


ENTRIES = (
    Entry("overview", "Overview", "status"),
    Entry("playground", "Playground", "users"),
    Entry("generations", "Generations", "usage"),
    Entry("models", "Models", "account-kits"),
    Entry("kits", "Account Kits", "account-kits", "Govern"),
    Entry("users", "Users", "users", "Govern"),
    Entry("keys", "API keys", "keys", "Govern"),
    Entry("billing", "Billing", "ledger", "Company"),
    Entry("team", "Team", "team", "Company"),
    Entry("webhooks", "Webhooks", "webhooks", "Company"),
    Entry("audit", "Audit log", "audit", "Company"),
    Entry("settings", "Settings", "company", "Company"),
)

# The API's own table, and what only pages can do.
PERMISSIONS: Mapping[str, Mapping[str, Permission]] = {
    **permissions.TABLE,
    "team": {"get": VIEWER, "post": ADMIN, "patch": ADMIN, "delete": ADMIN},
    "team-leave": {"post": VIEWER},
    "company": {"get": VIEWER, "patch": ADMIN},
    # What users wrote and were answered, where their kit stores it.
    "prompts": {"get": ADMIN},
    "person": {"patch": VIEWER},
    # What is in a file, its own kind's row says (exports/kinds.py).
    "exports": {"get": VIEWER, "post": VIEWER},
}
