"""JSON of the management API: read with exact decimals, written with exact amounts, errors in their one shape."""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import IO, Any

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse, UnreadablePostError
from rest_framework import exceptions
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from accounts import fields, ids
from accounts.errors import DomainError, InvalidInput, Unavailable
from billing import money
from naive_platform import errors

log = logging.getLogger(__name__)

JSON = "application/json"
# A key sent where logs and browsers' histories would keep it.
_MISPLACED = ("api_key", "apikey", "key", "access_token", "token")


class ExactJSONParser(BaseParser):
    """A JSON object; its numbers as written, whole ones as integers and all others as Decimal."""

    media_type = JSON

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        body = stream.read()
        try:
            # Decoded here, for json takes UTF-16 and UTF-32 too.
            text = body.decode()
            found = json.loads(
                text, parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_once_each
            )
            if b"\\u" in body:
                # Half of a surrogate pair can be spelt, and neither kept nor said back.
                json.dumps(found, ensure_ascii=False, default=str).encode()
        except (ValueError, RecursionError, ArithmeticError) as exc:
            raise InvalidInput("The body is not JSON.", hint="Send one JSON object, as UTF-8.") from exc
        if not isinstance(found, dict):
            raise InvalidInput("The body must be a JSON object.")
        return found


class ExactJSONRenderer(BaseRenderer):
    """Writes what a view returned; amounts stand in it as orjson.Fragment (see `amount`)."""

    media_type = JSON
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return data if isinstance(data, bytes) else dumps(data)


def dumps(data: Any) -> bytes:
    """The JSON of an answer: times in UTC with a Z, ids as text, amounts exact."""
    return orjson.dumps(data, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS, default=_other)


def amount(nanocredits: int) -> orjson.Fragment:
    """An amount as a JSON number of credits, exact to 9 decimals."""
    return orjson.Fragment(money.json_number(nanocredits))


def problem(error: Exception, *, request_id: str) -> HttpResponse | None:
    """The answer to an expected failure, ours or Django's or REST framework's; None for a bug."""
    if isinstance(error, DomainError):
        status, body, headers = errors.render(error, request_id=request_id)
        return HttpResponse(body, status=status, content_type=JSON, headers=headers)
    if isinstance(error, OperationalError | InterfaceError):
        log.warning("request %s: the database did not answer: %s", request_id, error)
        unavailable = Unavailable("The database cannot be reached.", hint="Try again in a moment.")
        return problem(unavailable, request_id=request_id)
    found = _known(error)
    if found is None:
        return None
    (code, status), message = found
    body = errors.body(code=code, message=message, request_id=request_id)
    headers = {"X-Request-Id": request_id} | _headers(error)
    return HttpResponse(body, status=status, content_type=JSON, headers=headers)


def new_request_id() -> str:
    return f"req_{ids.uuid7().hex}"


def _known(error: Exception) -> tuple[tuple[str, int], str] | None:
    if isinstance(error, Http404 | exceptions.NotFound):
        return errors.NOT_FOUND, "There is nothing here."
    if isinstance(error, exceptions.MethodNotAllowed):
        return errors.METHOD_NOT_ALLOWED, str(error.detail)
    if isinstance(error, exceptions.UnsupportedMediaType):
        return errors.UNSUPPORTED_MEDIA_TYPE, "The body must be JSON: send Content-Type: application/json."
    if isinstance(error, exceptions.Throttled):
        return errors.RATE_LIMITED, "Too many requests; wait a moment."
    if isinstance(error, RequestDataTooBig):
        return errors.PAYLOAD_TOO_LARGE, "The body is longer than this route reads."
    if isinstance(error, exceptions.PermissionDenied | PermissionDenied):
        return errors.FORBIDDEN, "This is not allowed."
    if isinstance(
        error, exceptions.NotAcceptable | exceptions.ParseError | SuspiciousOperation | UnreadablePostError
    ):
        return errors.INVALID_INPUT, "This is not a request we can read."
    return None


def _headers(error: Exception) -> dict[str, str]:
    wait_s = getattr(error, "wait", None) if isinstance(error, exceptions.Throttled) else None
    return {"Retry-After": str(max(1, int(wait_s)))} if wait_s is not None else {}


def misplaced_key(query: Mapping[str, Any]) -> str | None:
    """The parameter in which somebody sent a key, if any."""
    return next((name for name in _MISPLACED if name in query), None)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        shown = twice[: fields.SHOWN_LENGTH_MAX].encode(errors="replace").decode()
        raise fields.refuse(shown, "stands twice in the body.")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _other(value: object) -> object:
    if isinstance(value, Decimal):
        return orjson.Fragment(f"{value:f}")
    raise TypeError(type(value).__name__)
