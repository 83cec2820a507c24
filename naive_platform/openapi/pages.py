"""/v1/openapi.json, /docs and /llms.txt: the committed document for programs, for people, and for language models."""

import functools
import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.csp import csp_override
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import condition, require_safe
from django.views.decorators.vary import vary_on_headers

from naive_platform.openapi import document, guide

# Nothing here changes anything; a method that is not allowed is told so, and not asked for a token.
KEPT_S = 300
# Scalar writes its styles into the page, and its icons as data; scripts stay our own files, and nobody else is asked.
_CSP = settings.SECURE_CSP | {"style-src": ["'self'", "'unsafe-inline'"], "img-src": ["'self'", "data:"]}
# No fonts, no help and no news from elsewhere; `proxyUrl` empty: requests go from the reader's browser to us.
CONFIGURATION = {
    "theme": "none",
    "layout": "modern",
    "withDefaultFonts": False,
    "telemetry": False,
    "proxyUrl": "",
    "showDeveloperTools": "never",
    "hideClientButton": True,
    "agent": {"disabled": True},
    "mcp": {"disabled": True},
    "documentDownloadType": "direct",
    "persistAuth": False,
    "authentication": {"preferredSecurityScheme": "ApiKey"},
    "defaultHttpClient": {"targetKey": "shell", "clientKey": "curl"},
}


@dataclass(frozen=True, slots=True)
class _Served:
    """The document as it is sent, and what tells one version of it from another."""

    document: dict[str, Any]
    text: bytes
    packed: bytes
    etag: str


@functools.cache
def served() -> _Served:
    """The committed document, read once. Errors: OSError where it is not there."""
    found = orjson.loads(document.FILE.read_bytes())
    text = orjson.dumps(found)
    digest = hashlib.sha256(text).hexdigest()[:32]
    return _Served(document=found, text=text, packed=gzip.compress(text, mtime=0), etag=f'"{digest}"')


def _etag(request: HttpRequest) -> str:
    return served().etag


@csrf_exempt
@require_safe
@cache_control(public=True, max_age=KEPT_S)
@vary_on_headers("Accept-Encoding")
@condition(etag_func=_etag)
def openapi(request: HttpRequest) -> HttpResponse:
    """GET /v1/openapi.json"""
    takes_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
    body = served().packed if takes_gzip else served().text
    answer = HttpResponse(body, content_type="application/json")
    if takes_gzip:
        answer["Content-Encoding"] = "gzip"
    # It is no secret, and tools in a browser may come from anywhere.
    answer["Access-Control-Allow-Origin"] = "*"
    return answer


@csrf_exempt
@require_safe
@csp_override(_CSP)
def docs(request: HttpRequest) -> HttpResponse:
    """GET /docs"""
    shown = {"configuration": json.dumps(CONFIGURATION), "operations": guide.by_tag(served().document)}
    return render(request, "docs.html", shown)


@csrf_exempt
@require_safe
def llms(request: HttpRequest) -> HttpResponse:
    """GET /llms.txt"""
    base_url = (settings.PUBLIC_URL or request.build_absolute_uri("/")).rstrip("/")
    text = guide.render(served().document, base_url=base_url)
    return HttpResponse(text, content_type="text/plain; charset=utf-8")
