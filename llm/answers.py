"""Responses of the data plane: bytes as they are, without the layers that pages need."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from llm.pumps import Pump


def json_bytes(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Return a JSON answer whose text is there already."""
    return HttpResponse(body, status=status, content_type="application/json", headers=dict(headers or {}))


def json_object(found: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Return a JSON answer; nested bytes of JSON go in as orjson.Fragment."""
    return json_bytes(orjson.dumps(found), status=status, headers=headers)


class EventStream(HttpResponseBase):
    """Server-sent events on their way from a pump; naive_platform/dataplane.py sends them and tells who left."""

    streaming = True

    def __init__(self, pump: Pump, *, headers: Mapping[str, str]) -> None:
        super().__init__(content_type="text/event-stream", headers=dict(headers))
        self["Cache-Control"] = "no-cache"
        # Asks nginx and its kin not to buffer what must flow.
        self["X-Accel-Buffering"] = "no"
        self.pump = pump
