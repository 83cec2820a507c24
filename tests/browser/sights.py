"""Every page there is to look at, and how what stands in its address is found; shared by tests and pictures."""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

from playwright.sync_api import APIRequestContext

_ID = r"[0-9a-f-]{36}"


@dataclass(frozen=True, slots=True)
class Sight:
    """A page by its name; `address` names in braces what has to be found first (FOUND), or whatever there is."""

    name: str
    address: str

    def path(self, things: Mapping[str, str]) -> str:
        return self.address.format(**things)


# A link of this shape on that page; what is found here may stand in the addresses below it.
FOUND = {
    "kit": ("/dashboard/kits/", rf"/dashboard/kits/{_ID}/"),
    "user": ("/dashboard/users/", rf"/dashboard/users/{_ID}/"),
    "key": ("/dashboard/keys/", rf"/dashboard/keys/{_ID}/"),
    "call": ("/dashboard/generations/?range=30d", rf"/dashboard/generations/gen_{_ID}/"),
    "prompt": ("{call}", rf"/dashboard/generations/{_ID}/prompt/"),
    "model": ("/dashboard/models/?search=claude+sonnet+4.6", r"/dashboard/models/[a-z0-9-]+/[a-z0-9.:-]+/"),
    "statement": ("/dashboard/billing/statements/", r"/dashboard/billing/statements/\d{4}-\d\d/"),
    "member": ("/dashboard/team/", rf"/dashboard/team/{_ID}/"),
    "webhook": ("/dashboard/webhooks/", rf"/dashboard/webhooks/{_ID}/"),
    "delivery": ("{webhook}", rf"/dashboard/webhooks/{_ID}/deliveries/{_ID}/"),
    "entry": ("/dashboard/audit/", rf"/dashboard/audit/{_ID}/"),
}

# Those of the sidebar, by their names in navigation.py, and what is below them.
DASHBOARD = (
    Sight("overview", "/dashboard/"),
    Sight("playground", "/dashboard/playground/"),
    Sight("generations", "/dashboard/generations/?range=30d"),
    Sight("generations-call", "{call}"),
    Sight("generations-prompt", "{prompt}"),
    Sight("exports", "/dashboard/exports/"),
    Sight("exports-wish", "/dashboard/exports/?kind=generations&range=30d"),
    Sight("models", "/dashboard/models/"),
    Sight("models-one", "{model}"),
    Sight("kits", "/dashboard/kits/"),
    Sight("kits-new", "/dashboard/kits/new/"),
    Sight("kits-primitives", "{kit}"),
    Sight("kits-models", "{kit}models/"),
    Sight("kits-limits", "{kit}limits/"),
    Sight("kits-connections", "{kit}connections/"),
    Sight("kits-prompts", "{kit}prompts/"),
    Sight("kits-users", "{kit}users/"),
    Sight("kits-json", "{kit}json/"),
    Sight("kits-details", "{kit}details/"),
    Sight("kits-delete", "{kit}delete/"),
    Sight("users", "/dashboard/users/"),
    Sight("users-new", "/dashboard/users/new/"),
    Sight("users-user", "{user}"),
    Sight("users-edit", "{user}edit/"),
    Sight("users-suspend", "{user}suspend/"),
    Sight("users-delete", "{user}delete/"),
    Sight("keys", "/dashboard/keys/"),
    Sight("keys-new", "/dashboard/keys/new/"),
    Sight("keys-key", "{key}"),
    Sight("keys-rotate", "{key}rotate/"),
    Sight("keys-revoke", "{key}revoke/"),
    Sight("billing", "/dashboard/billing/"),
    Sight("billing-ledger", "/dashboard/billing/ledger/?range=30d"),
    Sight("billing-statements", "/dashboard/billing/statements/"),
    Sight("billing-statement", "{statement}"),
    Sight("billing-usage", "/dashboard/billing/usage/?range=30d"),
    Sight("billing-usage-by-model", "/dashboard/billing/usage/?by=model&range=30d"),
    Sight("team", "/dashboard/team/"),
    Sight("team-invite", "/dashboard/team/invite/"),
    Sight("team-member", "{member}"),
    Sight("team-remove", "{member}remove/"),
    Sight("team-leave", "/dashboard/team/leave/"),
    Sight("webhooks", "/dashboard/webhooks/"),
    Sight("webhooks-new", "/dashboard/webhooks/new/"),
    Sight("webhooks-webhook", "{webhook}"),
    Sight("webhooks-delivery", "{delivery}"),
    Sight("webhooks-edit", "{webhook}edit/"),
    Sight("webhooks-rotate", "{webhook}rotate/"),
    Sight("webhooks-delete", "{webhook}delete/"),
    Sight("audit", "/dashboard/audit/"),
    Sight("audit-entry", "{entry}"),
    Sight("settings", "/dashboard/settings/"),
)

# A person's own pages.
OWN = (
    Sight("own-email", "/accounts/email/"),
    Sight("own-password", "/accounts/password/change/"),
    Sight("own-second-factor", "/accounts/2fa/"),
    Sight("own-authenticator", "/accounts/2fa/totp/activate/"),
    Sight("own-sessions", "/accounts/sessions/"),
)
# For whoever is not signed in.
ENTRANCE = (
    Sight("entrance-sign-in", "/accounts/login/"),
    Sight("entrance-sign-up", "/accounts/signup/"),
    Sight("entrance-reset", "/accounts/password/reset/"),
)
# The operator's console; {company} and {anomaly} are found on its own pages.
OPERATOR = (
    Sight("operator-companies", "/operator/"),
    Sight("operator-company", "{company}"),
    Sight("operator-move", "{company}move/"),
    Sight("operator-standing", "{company}standing/"),
    Sight("operator-viewing", "{company}view/"),
    Sight("operator-reconciliation", "/operator/reconciliation/"),
    Sight("operator-anomalies", "/operator/reconciliation/anomalies/"),
    Sight("operator-anomaly", "{anomaly}"),
    Sight("operator-economics", "/operator/economics/"),
    Sight("operator-upstream", "/operator/upstream/"),
    Sight("operator-audit", "/operator/audit/"),
    Sight("operator-books", "/operator/audit/books/"),
    Sight("operator-audit-entry", "{operator_entry}"),
    Sight("operator-raw-rows", "/admin/"),
)
OPERATORS_FOUND = {
    "company": ("/operator/", rf"/operator/companies/{_ID}/"),
    "anomaly": ("/operator/reconciliation/anomalies/", r"/operator/reconciliation/anomaly/\?.+"),
    "operator_entry": ("/operator/audit/", rf"/operator/audit/[^/]+/{_ID}/"),
}


def things(
    asked: APIRequestContext, url: str, *, of: Mapping[str, tuple[str, str]] = FOUND
) -> dict[str, str]:
    """The paths of things that whoever asks may see, by their names."""
    found: dict[str, str] = {}
    for name, (page, shape) in of.items():
        found[name] = first(asked, url, page.format(**found), shape)
    return found


def first(asked: APIRequestContext, url: str, page: str, shape: str) -> str:
    """The first link of this shape on that page."""
    answer = asked.get(f"{url}{page}")
    assert answer.ok, f"{page}: {answer.status}"
    links = (html.unescape(link) for link in re.findall(r'href="([^"]+)"', answer.text()))
    found = next((link for link in links if re.fullmatch(shape, link)), None)
    assert found, f"{page} has no link of the shape {shape}"
    return found
