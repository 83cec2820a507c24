"""`naive.auth`: sign up, sign in, choose a company, ask who one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from naive import lazy, params, requests
from naive.requests import Request
from naive.routes import AsyncRaw, Raw, RawRoutes, Resource, Route

if TYPE_CHECKING:
    from naive import types
else:
    types = lazy.module("naive.types")


class Auth[M](Resource[M]):
    """What a person does; each of these gives a new API key. None is sent again where no answer came."""

    with_raw_response: RawRoutes[Auth[Raw], Auth[AsyncRaw]] = RawRoutes()

    @Route
    def register(self, **given: Unpack[params.RegisterParams]) -> Request[types.Registered]:
        """Found a company. Errors: ConflictError `duplicate_record` for an address that is taken."""
        return requests.post("/v1/auth/register", given, types.Registered, is_repeatable=False)

    @Route
    def login(self, **given: Unpack[params.LoginParams]) -> Request[types.LoggedIn]:
        """Sign in. Errors: AuthenticationError, with reason `mfa_required` where `mfa_code` is needed."""
        return requests.post("/v1/auth/login", given, types.LoggedIn, is_repeatable=False)

    @Route
    def select_company(self, company_id: str, **given: Unpack[params.Options]) -> Request[types.Selected]:
        """Get a key for another company of yours."""
        body = {"company_id": company_id, **given}
        return requests.post("/v1/auth/select-company", body, types.Selected)

    @Route
    def me(self, **given: Unpack[params.Options]) -> Request[types.Me]:
        """Who asks, and what that opens."""
        return requests.get("/v1/auth/me", given, types.Me)
