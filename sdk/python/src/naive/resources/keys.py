"""`naive.keys`: API keys of the company."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from naive import lazy, params, requests
from naive.requests import Listing, Request
from naive.routes import AsyncRaw, ListRoute, Raw, RawRoutes, Resource, Route

if TYPE_CHECKING:
    from naive import types
else:
    types = lazy.module("naive.types")


class Keys[M](Resource[M]):
    """API keys. A secret is shown once, by `create` and `rotate`."""

    with_raw_response: RawRoutes[Keys[Raw], Keys[AsyncRaw]] = RawRoutes()

    @Route
    def create(self, **given: Unpack[params.KeyParams]) -> Request[types.IssuedKey]:
        """Create a key. Keep its `api_key`: it is not shown again."""
        return requests.post("/v1/auth/keys", given, types.IssuedKey)

    @ListRoute
    def list(self, **given: Unpack[params.KeysParams]) -> Listing[types.APIKey]:
        """List keys, page after page."""
        return requests.listing("/v1/auth/keys", "keys", given, types.APIKey)

    @Route
    def get(self, key_id: str, **given: Unpack[params.Options]) -> Request[types.APIKey]:
        return requests.get(requests.at("auth", "keys", key_id), given, types.APIKey)

    @Route
    def update(self, key_id: str, **given: Unpack[params.KeyChanges]) -> Request[types.APIKey]:
        """Change what is given and leave the rest."""
        return requests.patch(requests.at("auth", "keys", key_id), given, types.APIKey)

    @Route
    def revoke(self, key_id: str, **given: Unpack[params.Options]) -> Request[types.APIKey]:
        """Revoke a key; within a second it opens nothing."""
        return requests.delete(requests.at("auth", "keys", key_id), given, types.APIKey)

    @Route
    def rotate(
        self, key_id: str, *, overlap_hours: int = 24, **given: Unpack[params.Options]
    ) -> Request[types.IssuedKey]:
        """Issue a successor; the old key goes on working for the overlap, with 0 it ends at once."""
        path = requests.at("auth", "keys", key_id, "rotate")
        return requests.post(path, {"overlap_hours": overlap_hours, **given}, types.IssuedKey)
