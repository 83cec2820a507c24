"""An HTTP answer and what it says: read at once, or when `parse()` is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from naive import errors, numbers

if TYPE_CHECKING:
    import httpx

    from naive.requests import Request

RETURNED_WHOLE = 500


class RawResponse[T]:
    """The HTTP answer of a call: its status and headers, and by `parse()` what the call returns otherwise."""

    def __init__(self, request: Request[T], response: httpx.Response) -> None:
        self._request = request
        self.http_response = response

    @property
    def status_code(self) -> int:
        return self.http_response.status_code

    @property
    def headers(self) -> httpx.Headers:
        return self.http_response.headers

    @property
    def content(self) -> bytes:
        return self.http_response.content

    @property
    def request_id(self) -> str | None:
        found: str | None = self.headers.get("x-request-id")
        return found

    def parse(self) -> T:
        return read(self._request, self.http_response)


def read[T](request: Request[T], response: httpx.Response) -> T:
    """Return what the request makes of the answer, with its request id. Errors: InvalidResponseError."""
    data = response.text if request.is_text else json_of(response)
    answer = understood(request, data, response)
    remember = getattr(answer, "remember", None)
    if remember is not None:
        remember(response.headers)
    return answer


def understood[T](request: Request[T], data: Any, response: httpx.Response) -> T:
    try:
        return request.answer(data)
    except (KeyError, TypeError, ValueError) as exc:
        raise unreadable(response, "is JSON of another shape than documented") from exc


def json_of(response: httpx.Response) -> Any:
    try:
        return numbers.read(response.content)
    except ValueError as exc:
        raise unreadable(response, "is not JSON") from exc


def unreadable(response: httpx.Response, what: str) -> errors.InvalidResponseError:
    told = response.text[:RETURNED_WHOLE]
    return errors.InvalidResponseError(
        f"The answer to {response.request.method} {response.request.url.path} {what}: {told!r}",
        status=response.status_code,
        code="invalid_response",
        hint="Is base_url the platform's address, and does a proxy stand in between?",
        details={"generation_id": response.headers.get("x-naive-generation-id")},
        request_id=response.headers.get("x-request-id"),
    )
