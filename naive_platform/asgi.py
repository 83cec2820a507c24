"""The ASGI application: sends a path to its plane."""

import os
import warnings
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from naive_platform import boot

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "naive_platform.settings")
boot.require_secrets()
boot.bound_waiting()
# WhiteNoise reads files synchronously; they are small, and Django says so once per file otherwise.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
control_plane = get_asgi_application()

# Django must be set up before its models are imported.
from naive_platform import dataplane, gateway, observability  # noqa: E402

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]


async def serve(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await gateway.lifespan(receive, send)
    elif scope["type"] != "http":
        # Before it is accepted, so that the server refuses the handshake.
        await send({"type": "websocket.close"})
    elif dataplane.takes(scope["path"]):
        await dataplane.handle(scope, receive, send)
    elif scope["path"] in gateway.PROBES:
        await gateway.probe(scope["path"], send, method=scope["method"])
    elif scope["path"] == observability.PATH:
        await observability.respond(scope, send)
    else:
        await control_plane(scope, receive, send)  # type: ignore[arg-type]


application = serve
if settings.TRUSTED_PROXIES:
    # Nobody else's X-Forwarded-For is believed: the server itself is started with --no-proxy-headers.
    application = ProxyHeadersMiddleware(serve, settings.TRUSTED_PROXIES)  # type: ignore[assignment, arg-type]
