"""The lean ASGI handler of the llm routes: Django's URL resolver, request and response, ninja's views, nothing else.

No middleware, no thread hops, no body in temporary files: those cost ten times what the call itself does
(docs/architecture.md, "What a call costs"). Pages and the control plane use Django's own handler.
"""

import asyncio
import functools
import io
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any
from uuid import UUID

from django.core.exceptions import DisallowedHost, SuspiciousOperation
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, URLResolver
from django.urls.resolvers import RegexPattern
from ninja import NinjaAPI

from accounts import ids
from accounts.auth import Principal
from accounts.errors import DomainError
from llm import answers, sightings
from llm.api import authenticate, router, webhooks
from llm.errors import RateLimited
from llm.proxy import door, headers
from llm.sightings import Sighting
from naive_platform import errors, traffic
from naive_platform.mcp import door as mcp
from naive_platform.uploads import ClientGone, Upload

log = logging.getLogger(__name__)

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]

_LOOK = "It may have run and been charged: look at GET /v1/llm/generation before you retry."
_PATHS = re.compile(r"/v1/(?:broadcast/?$|(?:users/[^/]+/)?llm(?:/|$)|proxy/openrouter(?:/|$))|/mcp/?$")
_PROXY = "/v1/proxy/"


# Whose share of the uploads webhooks have.
_NO_COMPANY = UUID(int=0)


class LeanRequest(ASGIRequest):
    """Django's request, with a body that is read only when a view asks for it: after the key was checked."""

    auth: Principal

    def __init__(self, scope: MutableMapping[str, Any], upload: Upload) -> None:
        super().__init__(scope, io.BytesIO())
        self.request_id = sightings.current().request_id
        self.path_user: str | None = None
        self.is_abandoned = False
        self._upload = upload

    async def read_body(self) -> bytes:
        """Return the whole body. Errors: those of Upload.read."""
        return await self._upload.read(self.auth.company_id)

    async def read_webhook(self) -> bytes:
        """Return the whole body of a sender who is no company. Errors: those of Upload.read_unpacked."""
        return await self._upload.read_unpacked(_NO_COMPANY)

    def pieces(self) -> AsyncGenerator[bytes]:
        """Return the body as it comes. Errors: those of Upload.pieces."""
        return self._upload.pieces(self.auth.company_id)


def takes(url_path: str) -> bool:
    """Whether this path belongs to the data plane."""
    return _PATHS.match(url_path) is not None


async def handle(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer one HTTP request of the data plane, and note what became of it."""
    request_id = scope.get(sightings.REQUEST_ID) or _request_id()
    seen = Sighting(request_id=request_id, method=scope["method"], began_at=time.monotonic())
    sightings.begin(seen)
    try:
        await _handle(scope, receive, send, seen)
    except BaseException as exc:
        if seen.outcome == "ok":
            seen.outcome = "broken" if isinstance(exc, asyncio.CancelledError) else errors.INTERNAL[0]
        raise
    finally:
        traffic.note(seen)


async def _handle(scope: MutableMapping[str, Any], receive: Receive, send: Send, seen: Sighting) -> None:
    upload = Upload(scope, receive)
    try:
        request = LeanRequest(scope, upload)
    except UnicodeDecodeError:
        response = _problem("invalid_input", 400, "The URL is not UTF-8.", seen.request_id)
        seen.status = response.status_code
        await _send_whole(response, upload, send)
        return
    seen.parent = request.META.get("HTTP_TRACEPARENT", "")
    try:
        answer = await _respond(request)
    except asyncio.CancelledError:
        # The server ends, and this call did not within its grace.
        seen.status = errors.UNAVAILABLE[1]
        await _send_whole(_cut(request.request_id), upload, send)
        raise
    finally:
        principal = getattr(request, "auth", None)
        if isinstance(principal, Principal):
            seen.company_id, seen.key_id = principal.company_id, principal.key_id
    if request.is_abandoned:
        seen.outcome, seen.status = "client_gone", traffic.CLIENT_GONE
        return
    seen.status = answer.status_code
    answer["X-Request-Id"] = request.request_id
    for name, value in (seen.limit_headers or {}).items():
        answer[name] = value
    if request.path_info.startswith(_PROXY) and request.path_info.endswith("/messages"):
        answer["Request-Id"] = request.request_id  # Where Anthropic's clients look for it, errors included.
    if isinstance(answer, answers.EventStream):
        await _send_stream(answer, upload, send, seen)
    else:
        await _send_whole(answer, upload, send)


async def _respond(request: LeanRequest) -> HttpResponseBase:
    refusal = _refusal(request)
    if refusal is not None:
        return _problem("invalid_input", 400, refusal, request.request_id)
    response: HttpResponseBase
    seen = sightings.current()
    if request.path_info.startswith(_PROXY):
        # No resolver: it works on decoded paths, and those decide nothing there.
        seen.route = "proxy/other"  # Until its table has said which.
        response = await _guarded(request, door.answer)
    elif request.path_info in mcp.PATHS:
        seen.route = "mcp"
        response = await _guarded(request, mcp.answer)
    else:
        try:
            match = _resolver.resolve(request.path_info)
        except Resolver404:
            return _problem(
                *errors.NOT_FOUND, f"There is no {request.path_info[:200]} here.", request.request_id
            )
        request.resolver_match = match
        seen.route = _route(match.route)
        request.path_user = match.kwargs.get("user_id")
        response = await match.func(request, *match.args, **match.kwargs)
    # Upstream may answer 405 too; only ours says what is allowed.
    if response.status_code == 405 and response.has_header("Allow"):
        allowed = ", ".join(sorted(response.get("Allow", "").split(", ")))  # Ninja keeps them in a set.
        message = f"{request.method} is not allowed here; {allowed} is."
        answer = _problem(*errors.METHOD_NOT_ALLOWED, message, request.request_id)
        answer["Allow"] = allowed
        return answer
    return response


async def _guarded(
    request: LeanRequest, answer: Callable[[LeanRequest], Awaitable[HttpResponseBase]]
) -> HttpResponseBase:
    try:
        return await answer(request)
    except DomainError as exc:
        return _on_domain_error(request, exc)
    except ClientGone as exc:
        return _on_client_gone(request, exc)
    except Exception as exc:
        return _on_bug(request, exc)


def _refusal(request: LeanRequest) -> str | None:
    """Say what in the request line and headers cannot be read; None where all can."""
    try:
        if "HTTP_HOST" not in request.META:
            return "The Host header is missing."
        request.get_host()
        if request.META["QUERY_STRING"]:
            # Parsed here once and kept: too much of it is refused on every route alike.
            len(request.GET)
    except DisallowedHost:
        return "The Host header names no host that is answered here (setting ALLOWED_HOSTS)."
    except SuspiciousOperation:
        return "The query string has too many parameters."
    return None


def _on_domain_error(request: HttpRequest, exc: DomainError | type[DomainError]) -> HttpResponse:
    assert isinstance(request, LeanRequest)  # noqa: S101 - for the type checker; only this handler makes requests.
    assert isinstance(exc, DomainError)  # noqa: S101
    if isinstance(exc, RateLimited):
        traffic.note_limit(exc.details.get("limit", "other"))
    status, body, headers = errors.render(exc, request_id=request.request_id)
    sightings.current().outcome = errors.classify(exc)[0]
    return answers.json_bytes(body, status=status, headers=headers)


def _on_client_gone(request: HttpRequest, exc: ClientGone | type[ClientGone]) -> HttpResponse:
    # Not raised further: an exception that its own frames hold would keep them until the collector comes by.
    assert isinstance(request, LeanRequest)  # noqa: S101 - as above.
    request.is_abandoned = True
    return HttpResponse(status=499)


def _on_bug(request: HttpRequest, exc: Exception | type[Exception]) -> HttpResponse:
    request_id = request.request_id if isinstance(request, LeanRequest) else ""
    route = sightings.current().route
    log.error("%s %s failed, request %s", request.method, route, request_id, exc_info=exc)  # type: ignore[arg-type]
    return _doubtful(*errors.INTERNAL, "Something broke on our side.", request_id)


def _cut(request_id: str) -> HttpResponse:
    message = "This gateway is restarting; the call was cut before its answer was there."
    return _doubtful(*errors.UNAVAILABLE, message, request_id)


def _doubtful(code: str, status: int, message: str, request_id: str) -> HttpResponse:
    """Return an error after which nobody here can say whether the call ran and was charged."""
    response = _problem(code, status, message, request_id, hint=_LOOK)
    response["x-should-retry"] = "false"
    return response


def _problem(
    code: str, status: int, message: str, request_id: str, *, hint: str | None = None
) -> HttpResponse:
    sightings.current().outcome = code
    body = errors.body(code=code, message=message, hint=hint, request_id=request_id)
    return answers.json_bytes(body, status=status, headers={"X-Request-Id": request_id})


def _request_id() -> str:
    return f"req_{ids.uuid7().hex}"


async def _send_whole(response: HttpResponseBase, upload: Upload, send: Send) -> None:
    body: bytes = getattr(response, "content", b"")
    written = _headers(response)
    written.append((b"content-length", b"%d" % len(body)))
    await upload.take_what_is_here()
    if upload.is_whole:
        await send({"type": "http.response.start", "status": response.status_code, "headers": written})
        await send({"type": "http.response.body", "body": body})
        return
    written.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status_code, "headers": written})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await upload.linger()
    await send({"type": "http.response.body", "body": b""})


async def _send_stream(response: answers.EventStream, upload: Upload, send: Send, seen: Sighting) -> None:
    pump = response.pump
    is_sse = response["Content-Type"].startswith("text/event-stream")
    leaving: asyncio.Future[None] | None = None
    try:
        await send(
            {"type": "http.response.start", "status": response.status_code, "headers": _headers(response)}
        )
        leaving = asyncio.ensure_future(upload.left())
        leaving.add_done_callback(lambda _: pump.leave())
        async for chunk in pump.chunks():
            # A comment says that upstream is there, not that the model has begun.
            if not seen.first_at and (not is_sse or b"data:" in chunk):
                seen.first_at = time.monotonic()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if leaving.done() and seen.outcome == "ok":
            seen.outcome = "client_gone"
        if pump.is_broken:
            seen.outcome = "broken"
            # The connection is cut instead of ended: that is how a client learns that bytes are missing.
            raise asyncio.CancelledError
        await send({"type": "http.response.body", "body": b""})
    finally:
        pump.leave()
        if leaving is not None:
            leaving.cancel()


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    found = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    return found if response.has_header("Content-Security-Policy") else [*found, *_GUARDS]


# Nothing that is answered here is ever shown as a page; the proxy's answers say so themselves.
_GUARDS = [(name.lower().encode(), value.encode()) for name, value in headers.GUARDS.items()]


@functools.cache
def _route(pattern: str) -> str:
    """Return the short name of a route, the same on every mount: `llm/chat/completions`."""
    _, is_llm, rest = pattern.rpartition("llm/")
    return f"llm/{rest}" if is_llm else pattern.rpartition("v1/")[2]


def _build() -> tuple[NinjaAPI, URLResolver]:
    api = NinjaAPI(
        title="Naive llm", urls_namespace="llm", docs_url=None, openapi_url=None, auth=authenticate
    )
    api.add_router("/v1/llm", router)
    api.add_router("/v1/users/{user_id}/llm", router, url_name_prefix="user")
    api.add_router("/v1", webhooks)
    api.add_exception_handler(DomainError, _on_domain_error)
    api.add_exception_handler(ClientGone, _on_client_gone)
    api.add_exception_handler(Exception, _on_bug)
    return api, URLResolver(RegexPattern(r"^/"), api.urls[0])


api, _resolver = _build()
