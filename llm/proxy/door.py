"""The drop-in proxy's one entrance: key, place, method, treatment. Bytes in, one call down, bytes out."""

from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from django.http import HttpResponse
from django.http.response import HttpResponseBase

from accounts import auth
from accounts.auth import Principal
from accounts.errors import Forbidden, InvalidInput
from llm import answers, completions, requests, sightings
from llm.completions import Caller, Completion, Stream
from llm.errors import UnsupportedMediaType, UpstreamRefused
from llm.proxy import accounts, conversations, free, headers, jobs, paths
from llm.proxy.paths import Place, Route, Treatment
from llm.shapes import forms, table
from llm.shapes.table import Shape


class ProxyRequest(Protocol):
    """What naive_platform/dataplane.py knows of a request to the proxy."""

    auth: Principal
    method: str
    META: dict[str, Any]
    scope: Mapping[str, Any]

    async def read_body(self) -> bytes:
        """Return the body. Errors: PayloadTooLarge, UnsupportedMediaType, InvalidInput where it does not arrive."""

    def pieces(self) -> AsyncGenerator[bytes]:
        """Return the body as it comes. Errors: as `read_body`."""


async def answer(request: ProxyRequest) -> HttpResponseBase:
    """Answer whatever came below the proxy's base URL.

    Shape: the path is taken as it was written, never decoded; 405 with `Allow` for another method on a known place.
    Errors: Unauthorized, Forbidden, NotFound (path_not_proxied) before a byte of the body is read; then those of the
    treatment.
    Source: docs/product.md 4, "Drop-in proxy"; order of checks as there.
    """
    given = request.scope["headers"]
    principal = request.auth = await auth.authenticate(headers.authorization(given))
    if principal.is_narrow:
        raise Forbidden(
            "This API key is sealed or scoped to a kit; it does not open the proxy.",
            hint="Use a key of the whole company, or the typed routes under /v1/llm.",
            details={"reason": "key_scope"},
        )
    place = paths.find(paths.suffix(request.scope.get("raw_path") or b""))
    route = place.routes.get(request.method)
    if route is None:
        return HttpResponse(status=405, headers={"Allow": ", ".join(place.methods)})
    header_user = requests.read_user(request.META.get("HTTP_X_NAIVE_USER_ID"))
    caller = await completions.identify(principal, path_user=None, header_user=header_user)
    sightings.current().route = f"proxy/{route.template}"
    if route.method != "GET":
        auth.require_write(principal)
    try:
        return await _treat(request, caller, place, route)
    except UpstreamRefused as exc:
        if exc.passed is None:
            raise
        return _refused(exc, exc.passed)


async def _treat(request: ProxyRequest, caller: Caller, place: Place, route: Route) -> HttpResponseBase:
    raw_query = request.scope.get("query_string") or b""
    if route.treatment is Treatment.OURS:
        return answers.json_bytes(await _ours(caller.principal, route, raw_query))
    if route.treatment is Treatment.FREE:
        query = paths.query(route, raw_query)
        page = await free.fetch(place.upstream_path, query, company_id=caller.principal.company_id)
        return HttpResponse(page.body, status=page.status, headers=dict(page.headers))
    if route.method == "GET":
        return await _job(caller.principal, place, route, raw_query)
    found = await _metered(request, caller, table.SHAPES[route.shape])
    if isinstance(found, Stream):
        return answers.EventStream(found.pump, status=found.status, headers=found.headers)
    return HttpResponse(found.body, status=found.status, headers=found.headers)


async def _job(principal: Principal, place: Place, route: Route, raw_query: bytes) -> HttpResponseBase:
    job, company_id = place.names["job"], principal.company_id
    if route.shape == "video":
        found: Completion | jobs.Film = await jobs.status(job, company_id=company_id)
    else:
        found = await jobs.content(job, paths.query(route, raw_query), company_id=company_id)
    if isinstance(found, jobs.Film):
        return answers.EventStream(found.passage, status=found.status, headers=found.headers)
    return HttpResponse(found.body, status=found.status, headers=found.headers)


async def _metered(request: ProxyRequest, caller: Caller, shape: Shape) -> Completion | Stream:
    given = request.scope["headers"]
    key_sha256 = requests.read_key(request.META.get("HTTP_IDEMPOTENCY_KEY"))
    content_type = request.META.get("CONTENT_TYPE", "")
    if forms.is_form(content_type) and shape.name == "transcriptions":
        boundary = forms.boundary(content_type)
        length = request.META.get("CONTENT_LENGTH") or ""
        if key_sha256 is not None:
            raise InvalidInput(
                "A form takes no Idempotency-Key: it is not kept to be compared.",
                hint="Send the sound as JSON, or leave the header out.",
                details={"header": "Idempotency-Key"},
            )
        return await conversations.upload(
            caller,
            shape,
            request.pieces(),
            boundary=boundary,
            length=int(length) if length.isdigit() else None,
            given=given,
        )
    if forms.is_form(content_type):
        raise UnsupportedMediaType(
            "This path takes JSON, not a form.",
            hint="Send application/json.",
            details={"header": "Content-Type"},
        )
    asked = shape.read(await request.read_body())
    return await conversations.ask(caller, shape, asked, given=given, key_sha256=key_sha256)


async def _ours(principal: Principal, route: Route, raw_query: bytes) -> bytes:
    now = datetime.now(UTC)  # noqa: TID251 - the door of the data plane.
    query = paths.read_query(route, raw_query)
    match route.template:
        case "key" | "auth/key":
            return await accounts.key(principal, now=now)
        case "credits":
            return await accounts.credits(principal, now=now)
        case "activity":
            return await accounts.activity(query, company_id=principal.company_id, now=now)
        case _:
            return await accounts.generation(query.get("id", ""), company_id=principal.company_id)


def _refused(error: UpstreamRefused, passed: UpstreamRefused.Passed) -> HttpResponse:
    """Return upstream's own error, with the headers that name the call."""
    told = headers.incoming(passed.headers, status=passed.status) | error.headers
    told.pop("content-encoding", None)
    if error.maybe_charged:
        told["x-should-retry"] = "false"
    return HttpResponse(passed.body, status=passed.status, headers=told)
