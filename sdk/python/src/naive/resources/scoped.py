"""`naive.for_user(id)`: the same primitives, for one tenant user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from naive import lazy, params, requests
from naive.requests import Request
from naive.resources.llm import LLM
from naive.routes import AsyncRaw, Raw, RawRoutes, Resource, Route

if TYPE_CHECKING:
    from naive import types
else:
    types = lazy.module("naive.types")


class ForUser[M](Resource[M]):
    """What a client can do for one of its users; their kit gates it, and their limits count it."""

    with_raw_response: RawRoutes[ForUser[Raw], ForUser[AsyncRaw]] = RawRoutes()

    @property
    def user_id(self) -> str:
        return self._path[1]

    @property
    def llm(self) -> LLM[M]:
        return LLM(self._sender, *self._path)

    @Route
    def usage(self, **given: Unpack[params.UserUsageParams]) -> Request[types.Usage]:
        """What the user has used; the balance is the company's."""
        return requests.get(requests.at(*self._path, "usage"), given, types.Usage)
