"""`naive.account_kits`: templates of what users may do."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Unpack

from naive import lazy, params, requests
from naive.requests import Listing, Request
from naive.routes import AsyncRaw, ListRoute, Raw, RawRoutes, Resource, Route

if TYPE_CHECKING:
    from naive import types
else:
    types = lazy.module("naive.types")


class AccountKits[M](Resource[M]):
    """Account kits: which primitives and models their users may call, and how much."""

    with_raw_response: RawRoutes[AccountKits[Raw], AccountKits[AsyncRaw]] = RawRoutes()

    @Route
    def create(self, **given: Unpack[params.KitParams]) -> Request[types.AccountKit]:
        """Create a kit. Errors: ConflictError `duplicate_record` for a name that is taken."""
        return requests.post("/v1/account-kits", given, types.AccountKit)

    @ListRoute
    def list(self, **given: Unpack[params.KitsParams]) -> Listing[types.AccountKit]:
        """List kits, page after page."""
        return requests.listing("/v1/account-kits", "account_kits", given, types.AccountKit)

    @Route
    def get(self, kit_id: str, **given: Unpack[params.Options]) -> Request[types.AccountKit]:
        return requests.get(_at(kit_id), given, types.AccountKit)

    @Route
    def update(self, kit_id: str, **given: Unpack[params.KitChanges]) -> Request[types.AccountKit]:
        """Change what is given; with `if_match=kit.etag`, only what was read, else PreconditionFailedError."""
        return requests.patch(_at(kit_id), given, types.AccountKit)

    @Route
    def delete(self, kit_id: str, **given: Unpack[params.KitDeletion]) -> Request[types.Deleted]:
        """Remove a kit. Errors: ConflictError for the default kit, and for one that users have."""
        return requests.delete(_at(kit_id), given, types.Deleted)

    @Route
    def assign_user(self, kit_id: str, user_id: str, **given: Unpack[params.Options]) -> Request[types.User]:
        """Give one user this kit; it acts on their next call."""
        return requests.post(_at(kit_id, "users", user_id, "assign"), given, types.User)

    @Route
    def assign(
        self,
        kit_id: str,
        *,
        user_ids: builtins.list[str] | None = None,
        from_kit_id: str | None = None,
        all: bool | None = None,
        **given: Unpack[params.Options],
    ) -> Request[types.Assigned]:
        """Give many users this kit: these, those of another kit, or all. Exactly one of the three says whom."""
        whom = {"user_ids": user_ids, "from_kit_id": from_kit_id, "all": all}
        chosen = {name: value for name, value in whom.items() if value is not None}
        return requests.post(_at(kit_id, "assign"), {**chosen, **given}, types.Assigned)

    @Route
    def effective(self, kit_id: str, **given: Unpack[params.Options]) -> Request[types.EffectiveKit]:
        """What a user of the kit may do: the platform's limits and the kit's together."""
        return requests.get(_at(kit_id, "effective"), given, types.EffectiveKit)

    @Route
    def preview(self, kit_id: str, **given: Unpack[params.KitPreviewParams]) -> Request[types.KitPreview]:
        """What a change would make of the kit, and whom it would touch. Nothing is changed."""
        return requests.post(_at(kit_id, "preview"), given, types.KitPreview)


def _at(*segments: str) -> str:
    return requests.at("account-kits", *segments)
