"""Naive: 300+ models, billed in credits, apart for each of your users.

    from naive import Naive

    naive = Naive()
    print(naive.llm.chat(model="anthropic/claude-sonnet-4.6", prompt="Write a haiku about Paris").text)

`naive.types` has the answers, `naive.params` the parameters, `naive.webhooks` the verification of deliveries,
`naive.testing` a platform for your own tests.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from naive.client import AsyncNaive, Naive
from naive.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    InsufficientCreditsError,
    InternalServerError,
    InvalidResponseError,
    NaiveError,
    NotConfiguredError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    PreconditionFailedError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitError,
    ServiceUnavailableError,
    StreamInterruptedError,
    UnprocessableEntityError,
    WebhookVerificationError,
)
from naive.paging import AsyncPage, AsyncPages, Page
from naive.responses import RawResponse
from naive.streaming import AsyncStream, Stream

if TYPE_CHECKING:
    from naive import testing, types, webhooks

_LATER = frozenset({"testing", "types", "webhooks"})

__all__ = [
    "APIConnectionError", "APIStatusError", "APITimeoutError", "AsyncNaive", "AsyncPage", "AsyncPages", "AsyncStream",
    "AuthenticationError", "BadRequestError", "ConfigurationError", "ConflictError", "InsufficientCreditsError",
    "InternalServerError", "InvalidResponseError", "Naive", "NaiveError", "NotConfiguredError", "NotFoundError", "Page",
    "PayloadTooLargeError", "PermissionDeniedError", "PreconditionFailedError", "ProviderError", "ProviderTimeoutError",
    "RateLimitError", "RawResponse", "ServiceUnavailableError", "Stream", "StreamInterruptedError",
    "UnprocessableEntityError", "WebhookVerificationError", "__version__", "testing", "types", "webhooks",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """What most programs do not need is loaded when it is first looked at."""
    if name in _LATER:
        return importlib.import_module(f"naive.{name}")
    if name == "__version__":
        return importlib.import_module("naive.calls").version()
    raise AttributeError(f"module 'naive' has no attribute {name!r}")
