"""Answers where no view has one: JSON for programs under /v1/, a page for people elsewhere."""

import logging

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin

from accounts import ids
from naive_platform import errors

log = logging.getLogger(__name__)

API = "/v1/"
SAID = {
    400: ("invalid_input", "This is not a request we can read."),
    403: ("forbidden", "This is not allowed."),
    404: (errors.NOT_FOUND[0], "There is no {path} here."),
    405: (errors.METHOD_NOT_ALLOWED[0], "{method} is not allowed here; {allowed} is."),
    500: (errors.INTERNAL[0], "Something broke on our side."),
}


class ProblemMiddleware(MiddlewareMixin):
    """Gives Django's own refusals, in DEBUG too, the shape that their reader expects.

    The response is changed in place, so that the headers which other middleware set stay.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if response.status_code not in SAID or not isinstance(response, HttpResponse):
            return response
        if request.path_info.startswith(API) and response.get("Content-Type") != "application/json":
            _say_in_json(request, response)
        elif response.status_code == 405 and not response.content:
            _replace(response, render_to_string("405.html", request=request).encode())
        return response


def _say_in_json(request: HttpRequest, response: HttpResponse) -> None:
    code, message = SAID[response.status_code]
    request_id = f"req_{ids.uuid7().hex}"
    if response.status_code == 500:
        log.error("%s %s answered 500, request %s", request.method, request.path_info[:200], request_id)
    text = message.format(
        path=request.path_info[:200], method=request.method, allowed=response.get("Allow", "")
    )
    _replace(response, errors.body(code=code, message=text, request_id=request_id))
    response["Content-Type"] = "application/json"
    response["X-Request-Id"] = request_id


def _replace(response: HttpResponse, content: bytes) -> None:
    response.content = content
    response["Content-Length"] = str(len(content))
