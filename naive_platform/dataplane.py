"""The lean ASGI handler of the llm routes: Django's URL resolver, request and response, ninja's views, nothing else.

No middleware, no thread hops, no body in temporary files: those cost ten times what the call itself does
(docs/architecture.md, "What a call costs"). Pages and the control plane use Django's own handler.
"""

import asyncio
import io
import logging
import re
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
from llm import answers
from llm.api import authenticate, router, webhooks
from llm.proxy import door
from naive_platform import errors
from naive_platform.uploads import ClientGone, Upload

log = logging.getLogger(__name__)

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]

_LOOK = "It may have run and been charged: look at GET /v1/llm/generation before you retry."
_PATHS = re.compile(r"/v1/(?:broadcast/?$|(?:users/[^/]+/)?llm(?:/|$)|proxy/openrouter(?:/|$))")
_PROXY = "/v1/proxy/"


# Whose share of the uploads webhooks have.
_NO_COMPANY = UUID(int=0)


class LeanRequest(ASGIRequest):
    """Django's request, with a body that is read only when a view asks for it: after the key was checked."""

    auth: Principal

    def __init__(self, scope: MutableMapping[str, Any], upload: Upload) -> None:
        super().__init__(scope, io.BytesIO())
        self.request_id = _request_id()
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
    """Answer one HTTP request of the data plane."""
    upload = Upload(scope, receive)
    try:
        request = LeanRequest(scope, upload)
    except UnicodeDecodeError:
        response = _problem("invalid_input", 400, "The URL is not UTF-8.", _request_id())
        await _send_whole(response, upload, send)
        return
    try:
        answer = await _respond(request)
    except asyncio.CancelledError:
        # The server ends, and this call did not within its grace.
        await _send_whole(_cut(request.request_id), upload, send)
        raise
    if request.is_abandoned:
        return
    answer["X-Request-Id"] = request.request_id
    if request.path_info.startswith(_PROXY) and request.path_info.endswith("/messages"):
        answer["Request-Id"] = request.request_id  # Where Anthropic's clients look for it, errors included.
    if isinstance(answer, answers.EventStream):
        await _send_stream(answer, upload, send)
    else:
        await _send_whole(answer, upload, send)


async def _respond(request: LeanRequest) -> HttpResponseBase:
    refusal = _refusal(request)
    if refusal is not None:
        return _problem("invalid_input", 400, refusal, request.request_id)
    response: HttpResponseBase
    if request.path_info.startswith(_PROXY):
        # No resolver: it works on decoded paths, and those decide nothing there.
        response = await _proxied(request)
    else:
        try:
            match = _resolver.resolve(request.path_info)
        except Resolver404:
            return _problem(
                *errors.NOT_FOUND, f"There is no {request.path_info[:200]} here.", request.request_id
            )
        request.resolver_match = match
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


async def _proxied(request: LeanRequest) -> HttpResponseBase:
    try:
        return await door.answer(request)
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
    status, body, headers = errors.render(exc, request_id=request.request_id)
    return answers.json_bytes(body, status=status, headers=headers)


def _on_client_gone(request: HttpRequest, exc: ClientGone | type[ClientGone]) -> HttpResponse:
    # Not raised further: an exception that its own frames hold would keep them until the collector comes by.
    assert isinstance(request, LeanRequest)  # noqa: S101 - as above.
    request.is_abandoned = True
    return HttpResponse(status=499)


def _on_bug(request: HttpRequest, exc: Exception | type[Exception]) -> HttpResponse:
    request_id = request.request_id if isinstance(request, LeanRequest) else ""
    log.error("%s %s failed, request %s", request.method, request.path, request_id, exc_info=exc)  # type: ignore[arg-type]
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
    body = errors.body(code=code, message=message, hint=hint, request_id=request_id)
    return answers.json_bytes(body, status=status, headers={"X-Request-Id": request_id})


def _request_id() -> str:
    return f"req_{ids.uuid7().hex}"


async def _send_whole(response: HttpResponseBase, upload: Upload, send: Send) -> None:
    body: bytes = getattr(response, "content", b"")
    headers = _headers(response)
    headers.append((b"content-length", b"%d" % len(body)))
    await upload.take_what_is_here()
    if upload.is_whole:
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await upload.linger()
    await send({"type": "http.response.body", "body": b""})


async def _send_stream(response: answers.EventStream, upload: Upload, send: Send) -> None:
    pump = response.pump
    await send({"type": "http.response.start", "status": response.status_code, "headers": _headers(response)})
    leaving = asyncio.ensure_future(upload.left())
    leaving.add_done_callback(lambda _: pump.leave())
    try:
        async for chunk in pump.chunks():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if pump.is_broken:
            # The connection is cut instead of ended: that is how a client learns that bytes are missing.
            raise asyncio.CancelledError
        await send({"type": "http.response.body", "body": b""})
    finally:
        pump.leave()
        leaving.cancel()


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()]


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
