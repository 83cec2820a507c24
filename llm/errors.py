"""Errors of a call to a model; statuses live in naive_platform/errors.py."""

from collections.abc import Mapping
from dataclasses import dataclass

from accounts import errors
from accounts.errors import DomainError, Unavailable


class PayloadTooLarge(DomainError):
    """The body is longer than the gateway reads."""


class UnsupportedMediaType(DomainError):
    """The body is compressed."""


class NotConfigured(errors.NotConfigured):
    """The operator has not set what this route needs."""


class RateLimited(DomainError):
    """The company has as many calls running as it may."""


class GatewayFull(DomainError):
    """This gateway process has as many calls running as it can carry."""


class SettlementDebt(Unavailable):
    """So much is not settled yet that new calls would be sold blind."""


class UpstreamError(DomainError):
    """Upstream answered with an error, or not at all.

    `status` is what our client gets; `retry_after` is upstream's own header, passed on.
    `maybe_charged` says that a cost may exist upstream, so that clients must not retry by themselves.
    `headers` name the call, where one was begun.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 502,
        retry_after: str | None = None,
        maybe_charged: bool = False,
        hint: str | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.status = status
        self.retry_after = retry_after
        self.maybe_charged = maybe_charged
        self.headers: dict[str, str] = {}


class UpstreamRefused(UpstreamError):
    """Upstream answered with an error status.

    `passed` is that answer itself without the operator's data, where the caller's client knows upstream's errors.
    """

    @dataclass(frozen=True, slots=True)
    class Passed:
        """Upstream's answer; `headers` are all of upstream's, in lower case, still to be chosen from."""

        status: int
        body: bytes
        headers: Mapping[str, str]

    passed: Passed | None = None


class UpstreamUnreachable(UpstreamError):
    """No connection could be made: nothing was sent, nothing can have been charged."""


class UpstreamTimeout(UpstreamError):
    """The request was sent and no answer came in time."""


class UpstreamLost(UpstreamError):
    """The connection broke after the request was sent."""
