"""`naive.audit`: who changed what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from naive import lazy, params, requests
from naive.requests import Listing, Request
from naive.routes import AsyncRaw, ListRoute, Raw, RawRoutes, Resource, Route

if TYPE_CHECKING:
    from naive import types
else:
    types = lazy.module("naive.types")


class Audit[M](Resource[M]):
    """The company's audit log, for owners and admins."""

    with_raw_response: RawRoutes[Audit[Raw], Audit[AsyncRaw]] = RawRoutes()

    @ListRoute
    def list(self, **given: Unpack[params.AuditParams]) -> Listing[types.AuditEntry]:
        """List changes, the latest first, page after page."""
        return requests.listing("/v1/audit", "audit_entries", given, types.AuditEntry)

    @Route
    def export(self, **given: Unpack[params.AuditExportParams]) -> Request[str]:
        """Return changes as the text of a file: a table in CSV, or with `format="jsonl"` a JSON object a line."""
        return requests.text("/v1/audit/export", given)
