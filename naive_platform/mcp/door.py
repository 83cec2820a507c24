"""The door of /mcp: who may come in, and how much they may bring; what is behind it is loaded for the first of them.

An idle gateway pays nothing for MCP: its package takes half a second and tens of megabytes.
"""

import asyncio
import gc
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpResponse, HttpResponseNotAllowed
from django.http.request import validate_host

from accounts import auth
from accounts.auth import Principal
from accounts.errors import Forbidden, Unauthorized
from llm import bodies
from llm.errors import PayloadTooLarge

if TYPE_CHECKING:
    from naive_platform.mcp.serving import Serving

PATHS = frozenset({"/mcp", "/mcp/"})
# A message is read at once and more than once on its way; files go as URLs. Unit: bytes.
MESSAGE_MAX = 4 * 1024 * 1024
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class DoorRequest(Protocol):
    """What naive_platform/dataplane.py reads of a request."""

    auth: Principal
    request_id: str

    @property
    def method(self) -> str | None: ...
    @property
    def META(self) -> Mapping[str, Any]: ...
    @property
    def scope(self) -> Mapping[str, Any]: ...
    def get_host(self) -> str: ...
    async def read_body(self) -> bytes: ...


class BearerRequired(Unauthorized):
    """No key, or none that opens anything; said as MCP's clients expect to hear it (RFC 6750)."""

    headers = {
        "WWW-Authenticate": 'Bearer realm="Naive", error="invalid_token", '
        'error_description="Send an API key or a session token as a bearer token."'
    }


class Door:
    """What is behind it, once somebody has come."""

    def __init__(self) -> None:
        self._serving: Serving | None = None
        self._opening = asyncio.Lock()

    async def opened(self) -> "Serving":
        """Return what answers messages; the first who asks waits while it is loaded, in a thread of its own."""
        if self._serving is None:
            async with self._opening:
                if self._serving is None:
                    loaded = await asyncio.to_thread(importlib.import_module, "naive_platform.mcp.serving")
                    # Modules stay: the collector need not walk them (as at the gateway's start).
                    gc.freeze()
                    serving: Serving = loaded.Serving()
                    await serving.start()
                    self._serving = serving
        return self._serving

    async def close(self) -> None:
        """End what was opened; whoever comes later opens it again."""
        serving, self._serving = self._serving, None
        if serving is not None:
            await serving.stop()


door = Door()


async def answer(request: DoorRequest) -> HttpResponse:
    """Answer one message of MCP's streamable HTTP.

    Shape: stateless, so that any gateway may answer; one JSON answer, never a stream, and so nothing to GET.
    Errors: BearerRequired, Forbidden (another site's page), PayloadTooLarge, and those of reading a body.
    Source: docs/mcp.md.
    """
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    _require_own_origin(request)
    try:
        request.auth = await auth.authenticate(request.META.get("HTTP_AUTHORIZATION"))
    except Unauthorized as exc:
        raise BearerRequired(exc.message, hint=exc.hint, details=exc.details) from exc
    message = await _message(request)
    serving = await door.opened()
    return await serving.answer(request, message)


def _require_own_origin(request: DoorRequest) -> None:
    """Refuse what a page of another site sends, by whatever name it reached us (DNS rebinding). Errors: Forbidden."""
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None:
        return
    if not validate_host(_host_of(origin), _own_hosts()):
        raise Forbidden(
            "A page of another site may not use MCP here.",
            hint="Send no Origin header, or this platform's own (setting ALLOWED_HOSTS).",
            details={"reason": "origin"},
        )


def _host_of(origin: str) -> str:
    """Return the host of a page's origin as ALLOWED_HOSTS writes it; nothing for one that is no page's."""
    try:
        found = urlsplit(origin)
    except ValueError:
        return ""
    host = found.hostname if found.scheme in ("http", "https") else None
    return f"[{host}]" if host and ":" in host else host or ""


def _own_hosts() -> list[str]:
    # `*` stands for any name that leads here; a page that was led here by one is what this is against.
    hosts = [host for host in settings.ALLOWED_HOSTS if host != "*"]
    public = urlsplit(settings.PUBLIC_URL).hostname
    return [*hosts, *([public] if public else []), *(LOOPBACK if settings.DEBUG else ())]


async def _message(request: DoorRequest) -> bytes:
    announced = request.META.get("CONTENT_LENGTH", "")
    if announced.isdigit() and int(announced) > MESSAGE_MAX:
        raise _too_large()
    message = await request.read_body()
    if len(message) > MESSAGE_MAX:
        raise _too_large()
    # One object of bearable make, before MCP's own reader takes it apart.
    bodies.read(message)
    return message


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The message is larger than {MESSAGE_MAX // 1024**2} MB.",
        hint="Send less, for example images as URLs.",
        details={"limit_mb": MESSAGE_MAX // 1024**2},
    )
