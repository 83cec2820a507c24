"""Refusals in OpenRouter's three envelopes: chat, Responses and Messages."""

from typing import Any

from simulator.traffic import Body

# APIError
# ├── raised anywhere below a route, rendered by `routes.answer` in the dialect of the path
USER_ID = "user_2simulatorAccount0000000000"

MESSAGES = {
    400: "Invalid request parameters",
    401: "Missing Authentication header",
    402: "Insufficient credits. Add more using https://openrouter.ai/credits",
    403: "Only management keys can perform this operation",
    404: "Resource not found",
    405: "Method not allowed",
    408: "Operation timed out. Please try again later.",
    409: "Conflict",
    410: "Gone",
    412: "Precondition failed",
    413: "Request payload too large",
    422: "Invalid argument",
    429: "Rate limit exceeded",
    499: "Client closed request",
    500: "Internal Server Error",
    502: "Provider returned error",
    503: "Service temporarily unavailable",
    504: "Gateway timeout",
    524: "Request timed out. Please try again later.",
    529: "Provider returned error",
}
ERROR_TYPES = {
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    408: "timeout",
    412: "precondition_failed",
    413: "payload_too_large",
    422: "unprocessable",
    429: "rate_limit_exceeded",
    500: "server",
    502: "provider_unavailable",
    503: "provider_overloaded",
    504: "timeout",
    524: "timeout",
    529: "provider_overloaded",
}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    524: "timeout_error",
    529: "overloaded_error",
}


class APIError(Exception):
    """An answer other than success, before it is put into its dialect's envelope."""

    def __init__(
        self,
        status: int,
        message: str = "",
        *,
        metadata: Body | None = None,
        error_type: str = "",
        headers: tuple[tuple[str, str], ...] = (),
        known_user: bool = True,
    ) -> None:
        self.status = status
        self.message = message or message_of(status)
        self.metadata = metadata
        self.error_type = error_type or ERROR_TYPES.get(status, "unmapped")
        self.headers = headers
        self.known_user = known_user
        super().__init__(self.message)


def message_of(status: int) -> str:
    return MESSAGES.get(status, "Invalid request parameters" if status < 500 else "Internal Server Error")


def _chat(error: APIError) -> Body:
    inner: Body = {"message": error.message, "code": error.status}
    if error.metadata is not None:
        inner["metadata"] = error.metadata
    return {"error": inner, "user_id": USER_ID} if error.known_user else {"error": inner}


def _responses(error: APIError) -> Body:
    return {**_chat(error), "error_type": error.error_type}


def anthropic_type(status: int) -> str:
    return _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def _messages(error: APIError) -> Body:
    kind = anthropic_type(error.status)
    inner: dict[str, Any] = {"type": kind, "message": error.message, "error_type": error.error_type}
    return {"type": "error", "error": inner, "request_id": None}


def envelope(error: APIError, path: str) -> Body:
    """The JSON body of an error, as the route at `path` would send it."""
    if path.endswith("/messages"):
        return _messages(error)
    return _responses(error) if path.endswith("/responses") else _chat(error)
