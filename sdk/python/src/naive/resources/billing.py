"""`naive.billing`: packs of credits, the ledger, statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from naive import lazy, params, requests
from naive.requests import Listing, Request
from naive.routes import AsyncRaw, ListRoute, Raw, RawRoutes, Resource, Route

if TYPE_CHECKING:
    from naive import types
else:
    types = lazy.module("naive.types")


class Billing[M](Resource[M]):
    """The company's credits: how to buy them, and where they went."""

    with_raw_response: RawRoutes[Billing[Raw], Billing[AsyncRaw]] = RawRoutes()

    @Route
    def packs(self, **given: Unpack[params.Options]) -> Request[types.Packs]:
        """What can be bought."""
        return requests.get("/v1/billing/packs", given, types.Packs)

    @Route
    def topup(self, pack_id: str, **given: Unpack[params.Options]) -> Request[types.Checkout]:
        """Open a checkout for a pack; `checkout_url` is where it is paid."""
        return requests.post("/v1/billing/topup", {"pack_id": pack_id, **given}, types.Checkout)

    @ListRoute
    def ledger(self, **given: Unpack[params.LedgerParams]) -> Listing[types.Entry]:
        """List the ledger's entries, the latest first, page after page; they sum to the balance."""
        return requests.listing("/v1/billing/ledger", "entries", given, types.Entry)

    @Route
    def statement(self, **given: Unpack[params.StatementParams]) -> Request[types.Statement]:
        """A month of the ledger, from its opening to its closing balance."""
        return requests.get("/v1/billing/statement", given, types.Statement)
