"""`naive.users`: your own users, each with a kit, usage and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from naive import lazy, params, requests
from naive.requests import Listing, Request
from naive.routes import AsyncRaw, ListRoute, Raw, RawRoutes, Resource, Route

if TYPE_CHECKING:
    from naive import types
else:
    types = lazy.module("naive.types")


class Users[M](Resource[M]):
    """Tenant users. Wherever one is named: an id, `ext:<external_id>`, `default` or `me`."""

    with_raw_response: RawRoutes[Users[Raw], Users[AsyncRaw]] = RawRoutes()

    @property
    def sessions(self) -> Sessions[M]:
        """Short-lived tokens for your users' own devices."""
        return Sessions(self._sender)

    @Route
    def create(self, **given: Unpack[params.UserParams]) -> Request[types.User]:
        """Create a user. Errors: ConflictError `duplicate_record` for an `external_id` that is taken."""
        return requests.post("/v1/users", given, types.User)

    @ListRoute
    def list(self, **given: Unpack[params.UsersParams]) -> Listing[types.User]:
        """List users, page after page."""
        return requests.listing("/v1/users", "users", given, types.User)

    @Route
    def get(self, user_id: str, **given: Unpack[params.Options]) -> Request[types.User]:
        return requests.get(requests.at("users", user_id), given, types.User)

    @Route
    def update(self, user_id: str, **given: Unpack[params.UserChanges]) -> Request[types.User]:
        """Change what is given and leave the rest."""
        return requests.patch(requests.at("users", user_id), given, types.User)

    @Route
    def delete(self, user_id: str, **given: Unpack[params.Options]) -> Request[types.User]:
        """Suspend a user: their calls are refused, what they used stays in the books."""
        return requests.delete(requests.at("users", user_id), given, types.User)

    @Route
    def usage(self, user_id: str, **given: Unpack[params.UserUsageParams]) -> Request[types.Usage]:
        """What one user has used; the balance is the company's."""
        return requests.get(requests.at("users", user_id, "usage"), given, types.Usage)


class Sessions[M](Resource[M]):
    """Session tokens: they open the typed llm routes for one user, and end by themselves."""

    with_raw_response: RawRoutes[Sessions[Raw], Sessions[AsyncRaw]] = RawRoutes()

    @Route
    def create(
        self, user_id: str, *, ttl_seconds: int = 900, **given: Unpack[params.Options]
    ) -> Request[types.IssuedSession]:
        """Issue a token for a user's own device; no longer than the API key that issues it."""
        path = requests.at("users", user_id, "sessions")
        return requests.post(path, {"ttl_seconds": ttl_seconds, **given}, types.IssuedSession)

    @ListRoute
    def list(self, user_id: str, **given: Unpack[params.PageParams]) -> Listing[types.Session]:
        return requests.listing(requests.at("users", user_id, "sessions"), "sessions", given, types.Session)

    @Route
    def revoke(
        self, user_id: str, session_id: str, **given: Unpack[params.Options]
    ) -> Request[types.Session]:
        """End a session at once."""
        return requests.delete(requests.at("users", user_id, "sessions", session_id), given, types.Session)
