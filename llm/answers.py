"""Responses of the data plane: bytes as they are, without the layers that pages need."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase


class Source(Protocol):
    """Where the bytes of an answer come from while it is sent; `is_broken` once they ended before their end."""

    is_broken: bool

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield what goes to the client."""

    def leave(self) -> None:
        """Note that the client has gone."""


def json_bytes(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Return a JSON answer whose text is there already."""
    return HttpResponse(body, status=status, content_type="application/json", headers=dict(headers or {}))


def json_object(found: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Return a JSON answer; nested bytes of JSON go in as orjson.Fragment."""
    return json_bytes(orjson.dumps(found), status=status, headers=headers)


class EventStream(HttpResponseBase):
    """Bytes on their way, server-sent events unless the headers say so: naive_platform/dataplane.py sends them."""

    streaming = True

    def __init__(self, pump: Source, *, headers: Mapping[str, str], status: int = 200) -> None:
        super().__init__(status=status, headers={"content-type": "text/event-stream", **headers})
        self["Cache-Control"] = "no-cache"
        # Asks nginx and its kin not to buffer what must flow.
        self["X-Accel-Buffering"] = "no"
        self.pump = pump
