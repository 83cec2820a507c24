"""Every error of this library, under one root; what the platform says in one is kept whole."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from naive import numbers, retries

if TYPE_CHECKING:
    import httpx


class NaiveError(Exception):
    """The root of the tree. `code` is for programs, `message` for people, `hint` says what to do next.

    `status` is None where there was no answer; `request_id` is what support asks for.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "error",
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.hint = hint
        self.details = dict(details or {})
        self.request_id = request_id

    def __str__(self) -> str:
        about = " ".join(part for part in (str(self.status or ""), self.code, self.request_id or "") if part)
        return f"{self.message} {self.hint or ''}".rstrip() + f" [{about}]"

    @property
    def reason(self) -> str | None:
        """What a 403 or a 404 names as its reason, such as `model_not_allowed_by_kit`."""
        found = self.details.get("reason")
        return found if isinstance(found, str) else None

    @property
    def generation_id(self) -> str | None:
        """The call to a model that this is about: `naive.llm.generation(...)` says what became of it."""
        found = self.details.get("generation_id")
        return found if isinstance(found, str) else None


class ConfigurationError(NaiveError):
    """Nothing was sent: a key, an address or an argument is missing or cannot be right."""


class APIConnectionError(NaiveError):
    """No answer came: the platform cannot be reached, or the connection broke before it had answered."""


class APITimeoutError(APIConnectionError):
    """No answer came in time. The call may still run, and what it costs is charged."""


class InvalidResponseError(NaiveError):
    """An answer came that is none of the platform's: not JSON, or of another shape."""


class StreamInterruptedError(NaiveError):
    """A stream ended before its end. It is not asked for again: what was produced is charged.

    `text` is what had come; `generation_id` finds what it cost with `naive.llm.generation(...)`.
    """

    def __init__(
        self, message: str, *, text: str = "", generation_id: str | None = None, **more: Any
    ) -> None:
        super().__init__(message, **more)
        self.text = text
        if generation_id:
            self.details.setdefault("generation_id", generation_id)


class WebhookVerificationError(NaiveError):
    """A delivery is not signed with this endpoint's secret, or is too old: do not act on it."""


class APIStatusError(NaiveError):
    """The platform answered with an error; `response` is all of its answer."""

    response: httpx.Response
    # Credits that can be bought, beside a 402.
    packs: list[dict[str, Any]]

    @property
    def retry_after_s(self) -> float | None:
        """When the platform asks to come back, in seconds."""
        return retries.retry_after_s(self.response)

    @property
    def generation_id(self) -> str | None:
        return super().generation_id or self.response.headers.get("x-naive-generation-id")


class BadRequestError(APIStatusError):
    """400: a field is missing or wrong; `details["field"]` names it."""


class AuthenticationError(APIStatusError):
    """401: the key is missing, unknown, expired or revoked."""


class InsufficientCreditsError(APIStatusError):
    """402: what the call may cost is not there. `limit` says whose limit: `wallet`, `key_cap` or `user_cap`."""

    @property
    def limit(self) -> str | None:
        found = self.details.get("limit")
        return found if isinstance(found, str) else None

    @property
    def required(self) -> Decimal | None:
        """Credits that the call needs at least."""
        return _credits(self.details.get("required"))

    @property
    def available(self) -> Decimal | None:
        """Credits that are there and not held."""
        return _credits(self.details.get("available"))


class PermissionDeniedError(APIStatusError):
    """403: the key or the account kit does not allow it; `reason` says which rule."""


class NotFoundError(APIStatusError):
    """404: there is no such thing in your company."""


class ConflictError(APIStatusError):
    """409: it is there already, is in use, runs already, or (`already_completed`) was done and is not kept."""


class PreconditionFailedError(APIStatusError):
    """412: somebody changed it since it was read; `details["etag"]` is its state now."""


class PayloadTooLargeError(APIStatusError):
    """413: the body is larger than the platform takes."""


class UnprocessableEntityError(APIStatusError):
    """422: the Idempotency-Key was used for another request, or upstream cannot process this one."""


class RateLimitError(APIStatusError):
    """429: too many calls; `retry_after_s` says when to come back. Credits are never a 429."""


class InternalServerError(APIStatusError):
    """500: a fault of the platform's."""


class NotConfiguredError(APIStatusError):
    """501: the operator has not configured it; `details["missing"]` names what."""


class ProviderError(APIStatusError):
    """502: the model's provider failed."""


class ServiceUnavailableError(APIStatusError):
    """503: the platform, or the provider, cannot take the call now."""


class ProviderTimeoutError(APIStatusError):
    """504: the model's provider did not answer in time."""


BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    412: PreconditionFailedError,
    413: PayloadTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    500: InternalServerError,
    501: NotConfiguredError,
    502: ProviderError,
    503: ServiceUnavailableError,
    504: ProviderTimeoutError,
}


def from_response(response: httpx.Response) -> APIStatusError:
    """Return the error that a read answer of 300 or more stands for.

    Shape: the platform's `{"error": {...}}` where it is one; else what a proxy in between said, shortened.
    """
    body = _body(response)
    told = body.get("error")
    told = told if isinstance(told, dict) else {}
    details = told.get("details")
    shown = f"HTTP {response.status_code}: {response.text.strip()[:200]}".rstrip(": ")
    error = BY_STATUS.get(response.status_code, APIStatusError)(
        str(told.get("message") or shown),
        status=response.status_code,
        code=str(told.get("code") or "unexpected_answer"),
        hint=_text(told.get("hint")),
        details=details if isinstance(details, dict) else None,
        request_id=_text(told.get("request_id")) or response.headers.get("x-request-id"),
    )
    error.response = response
    packs = body.get("packs")
    error.packs = packs if isinstance(packs, list) else []
    return error


def _body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = numbers.read(response.content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _credits(value: object) -> Decimal | None:
    found = numbers.exact(value)
    return found if isinstance(found, Decimal) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
